"""So many calls at a time, in event loops and threads."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from backstay.errors import BadIntegration, BulkheadFull
from backstay.integration import sp
from backstay.testing import FakeClock
from tests.support import PATIENCE_S, async_test


class Busy:
    """Counts how many are in it at a time."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0
        self.may_end = asyncio.Event()

    async def ask(self) -> str:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.may_end.wait()
            await asyncio.sleep(0)
        finally:
            self.now -= 1
        return "answer"


@async_test
async def test_a_thousand_calls_are_answered_or_refused_and_never_too_many_at_once() -> None:
    busy = Busy()
    ask = sp.Bulkhead(10, max_queue=500)(busy.ask)
    calls = [asyncio.create_task(ask()) for _ in range(1000)]
    await asyncio.sleep(0)
    for each in calls[100:150]:
        each.cancel()
    busy.may_end.set()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert ends.count("answer") == 460
    assert sum(isinstance(each, asyncio.CancelledError) for each in ends) == 50
    assert sum(isinstance(each, BulkheadFull) for each in ends) == 490
    assert busy.most == 10
    assert await ask() == "answer"


@async_test
async def test_who_has_waited_long_enough_is_refused() -> None:
    clock, busy = FakeClock(), Busy()
    ask = sp.Bulkhead(1, max_queue=1, max_wait=2, clock=clock)(busy.ask)
    first = asyncio.create_task(ask())
    await asyncio.sleep(0)
    second = asyncio.create_task(ask())
    await clock.until_waiting()
    await clock.advance(2)
    with pytest.raises(BulkheadFull) as raised:
        await second
    assert (raised.value.status, raised.value.retry_after_s) == (503, 1)
    busy.may_end.set()
    assert await first == "answer"
    assert await ask() == "answer"
    assert clock.waiting == []


def test_threads_wait_for_each_other() -> None:
    running, most = 0, 0
    lock = threading.Lock()

    @sp.Bulkhead(3, max_queue=100)
    def ask(_: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        with lock:
            running -= 1
        return 1

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(ask, range(1000))) == 1000
    assert most <= 3


def test_a_thread_does_not_wait_for_ever() -> None:
    is_in, may_end = threading.Event(), threading.Event()

    @sp.Bulkhead(1, max_queue=1, max_wait=0.01)
    def ask() -> None:
        is_in.set()
        may_end.wait(PATIENCE_S)

    first = threading.Thread(target=ask)
    first.start()
    assert is_in.wait(PATIENCE_S)
    with pytest.raises(BulkheadFull):
        ask()
    may_end.set()
    first.join(PATIENCE_S)
    ask()


def test_places_are_shared_by_event_loops_one_after_the_other() -> None:
    busy = sp.Bulkhead(1)(asyncio.sleep)
    for _ in range(3):
        asyncio.run(busy(0))


def test_a_loop_that_ended_keeps_no_place() -> None:
    @sp.Bulkhead(1, max_queue=5)
    async def ask(*, hang: bool) -> str:
        if hang:
            await asyncio.Event().wait()
        return "answer"

    async def leave_some() -> None:
        calls = [asyncio.create_task(ask(hang=True)) for _ in range(4)]
        await asyncio.sleep(0)
        assert len(calls) == 4

    asyncio.run(leave_some())  # which cancels what still runs
    assert asyncio.run(ask(hang=False)) == "answer"


@pytest.mark.parametrize("options", [{"max_calls": 0}, {"max_queue": -1}, {"max_wait": 0}], ids=str)
def test_bounds_that_could_never_work_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(BadIntegration):
        sp.Bulkhead(**options)  # type: ignore[arg-type]  # as a sloppy user does
