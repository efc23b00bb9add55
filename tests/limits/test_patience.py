"""A store is waited for, but not for long, and left alone when it keeps failing."""

from __future__ import annotations

import asyncio

import pytest

from backstay.errors import BadLimit, LimitsUnavailable
from backstay.limits.patience import Patience
from backstay.testing import FakeClock
from tests.support import async_test


def made(timeout_s: float = 10.0) -> tuple[FakeClock, Patience]:
    clock = FakeClock()
    return clock, Patience("store://", clock=clock, timeout_s=timeout_s, retry_after_s=1.0)


async def answers() -> int:
    return 42


async def fails() -> int:
    raise OSError("away")


@async_test
async def test_what_it_answers_is_the_answer() -> None:
    _, patience = made()
    assert await patience.ask(answers) == 42


@async_test
async def test_what_takes_too_long_is_given_up_without_waiting_for_its_end() -> None:
    _, patience = made(0.01)
    let_go = asyncio.Event()

    async def hangs() -> int:
        try:
            await asyncio.Event().wait()
        finally:
            await let_go.wait()  # a driver that says goodbye to a server which does not answer
        return 1

    with pytest.raises(LimitsUnavailable, match=r"within 0\.01 s"):
        await patience.ask(hangs)
    let_go.set()
    await patience.close(within_s=10)


@async_test
async def test_after_three_failures_one_asks_and_the_others_do_not_wait() -> None:
    clock, patience = made()
    for _ in range(3):
        with pytest.raises(LimitsUnavailable, match="OSError: away"):
            await patience.ask(fails)
    with pytest.raises(LimitsUnavailable, match="just now"):
        await patience.ask(answers)
    await clock.advance(1.0)
    found = await asyncio.gather(
        patience.ask(answers), patience.ask(answers), return_exceptions=True
    )
    assert found[0] == 42
    assert isinstance(found[1], LimitsUnavailable)
    assert await patience.ask(answers) == 42


@async_test
async def test_what_is_wrong_here_is_no_outage() -> None:
    _, patience = made()

    async def refuses() -> None:
        raise BadLimit("not ours")

    for _ in range(5):
        with pytest.raises(BadLimit):
            await patience.ask(refuses)
    assert await patience.ask(answers) == 42


@async_test
async def test_closing_waits_for_what_it_gives_up_but_not_for_ever() -> None:
    _, patience = made()
    never = asyncio.Event()

    async def clings() -> None:
        while not never.is_set():
            try:
                await never.wait()
            except asyncio.CancelledError:
                continue

    task = patience.start(clings())
    await asyncio.sleep(0)
    await patience.close(within_s=0.01)
    assert not task.done()
    never.set()
    await task
