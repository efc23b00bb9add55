"""Calls that take too long are given up, and nobody else is."""

import asyncio
import threading

import pytest

from backstay.errors import StabilityTimeoutError
from backstay.integration import sp
from backstay.testing import FakeClock
from tests.support import PATIENCE_S, async_test


@async_test
async def test_an_async_call_that_takes_longer_is_cancelled() -> None:
    clock = FakeClock()
    ended: list[str] = []

    @sp.Timeout(seconds=10, clock=clock)
    async def ask() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    call = asyncio.create_task(ask())
    await clock.until_waiting()
    await clock.advance(9.9)
    assert not call.done()
    await clock.advance(0.2)
    with pytest.raises(StabilityTimeoutError, match="ask took longer than 10 s") as raised:
        await call
    assert isinstance(raised.value, TimeoutError)
    assert raised.value.status == 504
    assert ended == ["cancelled"]
    assert call.cancelling() == 0


@async_test
async def test_a_call_in_time_leaves_no_timer() -> None:
    clock = FakeClock()
    assert await sp.Timeout(clock=clock)(asyncio.sleep)(0, "answer") == "answer"
    assert clock.waiting == []


@async_test
async def test_somebody_elses_cancellation_is_no_time_out() -> None:
    clock = FakeClock()
    call = asyncio.create_task(sp.Timeout(clock=clock)(asyncio.Event().wait)())
    await clock.until_waiting()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert clock.waiting == []


@async_test
async def test_a_cancellation_together_with_the_time_out_goes_first() -> None:
    clock = FakeClock()
    call = asyncio.create_task(sp.Timeout(clock=clock)(asyncio.Event().wait)())
    await clock.until_waiting()
    call.cancel()
    clock._timers[0][2].call()
    with pytest.raises(asyncio.CancelledError):
        await call


@async_test
async def test_of_two_time_outs_the_shorter_one_is_the_one() -> None:
    clock = FakeClock()
    inner = sp.Timeout(1, clock=clock)(asyncio.Event().wait)
    call = asyncio.create_task(sp.Timeout(5, clock=clock)(inner)())
    await clock.until_waiting(2)
    await clock.advance(1)
    with pytest.raises(StabilityTimeoutError, match="1 s"):
        await call


def test_another_function_is_left_behind_in_its_thread() -> None:
    may_end, has_ended = threading.Event(), threading.Event()

    @sp.Timeout(0.01)
    def ask() -> None:
        may_end.wait(PATIENCE_S)
        has_ended.set()

    with pytest.raises(StabilityTimeoutError):
        ask()
    may_end.set()
    assert has_ended.wait(PATIENCE_S)


def test_another_function_in_time_gives_what_it_gives() -> None:
    @sp.Timeout()
    def ask(answer: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert ask(3) == 3
    with pytest.raises(OSError, match="no route"):
        ask(OSError("no route"))
