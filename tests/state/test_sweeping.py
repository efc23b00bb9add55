"""The sweeper comes again and again, takes little at a time, and survives outages."""

import asyncio
import logging

import pytest

from backstay.errors import StateUnavailable
from backstay.state.memory import MemoryStore
from backstay.state.sweeping import Sweeper
from backstay.testing import FakeClock
from tests.support import async_test


class Watched(MemoryStore):
    """A store that says how it was swept, and may fail."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.calls: list[int] = []
        self.swept = asyncio.Event()
        self.error: Exception | None = None

    async def sweep(self, limit: int) -> int:
        self.swept.set()
        if self.error is not None:
            self.calls.append(-1)
            raise self.error
        found = await super().sweep(limit)
        self.calls.append(found)
        return found


async def a_round(store: Watched, clock: FakeClock, seconds: float) -> None:
    store.swept.clear()
    await clock.advance(seconds)
    await store.swept.wait()
    await clock.until_polling()


@async_test
async def test_it_sweeps_every_so_often_from_start_to_stop() -> None:
    clock = FakeClock(chance=0.5)  # neither early nor late
    store = Watched(clock)
    await store.open()
    await store.write(b"s", b"k", "1", 5)
    sweeper = Sweeper(store, clock, 60)
    sweeper.start()
    await clock.advance(59.9)
    assert store.calls == []
    await a_round(store, clock, 0.1)
    assert store.calls == [1]
    await a_round(store, clock, 60)
    assert store.calls == [1, 0]
    await sweeper.stop()
    await clock.advance(600)
    assert store.calls == [1, 0]


@pytest.mark.parametrize(("chance", "after_s"), [(0.0, 30), (0.75, 75)])
@async_test
async def test_processes_that_started_together_do_not_stay_together(
    chance: float, after_s: float
) -> None:
    clock = FakeClock(chance=chance)
    store = Watched(clock)
    await store.open()
    sweeper = Sweeper(store, clock, 60)
    sweeper.start()
    await clock.advance(after_s - 0.1)
    assert store.calls == []
    await a_round(store, clock, 0.1)
    assert store.calls == [0]
    await sweeper.stop()


@async_test
async def test_much_is_swept_in_batches() -> None:
    clock = FakeClock()
    store = Watched(clock)
    await store.open()
    for number in range(1200):
        await store.write(b"s", b"%d" % number, "1", 1)
    await clock.advance(1)
    assert await Sweeper(store, clock, 60).sweep() == 1200
    assert store.calls == [500, 500, 200]


@async_test
async def test_an_outage_is_logged_once_and_over_by_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    store = Watched(clock)
    await store.open()
    sweeper = Sweeper(store, clock, 60)
    store.error = StateUnavailable("away")
    sweeper.start()
    with caplog.at_level(logging.WARNING, "backstay.state"):
        for _ in range(3):
            await a_round(store, clock, 60)
        assert [record.message for record in caplog.records] == [
            "expired state could not be swept, and will be later: away"
        ]
        store.error = None
        await a_round(store, clock, 60)
        store.error = ZeroDivisionError()
        await a_round(store, clock, 60)
    assert caplog.records[-1].exc_info is not None
    assert store.calls == [-1, -1, -1, 0, -1]
    await sweeper.stop()


@async_test
async def test_stopping_before_starting_is_harmless() -> None:
    await Sweeper(MemoryStore(), FakeClock(), 60).stop()
