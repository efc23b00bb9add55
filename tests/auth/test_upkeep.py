"""What has ended is forgotten while an app runs, and nothing goes on when it has stopped."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from backstay.auth.memory_store import MemoryAuthStore
from backstay.auth.upkeep import Upkeep
from backstay.errors import TokensUncheckable
from backstay.testing import FakeClock, running
from tests.auth.service import FragileStore, log_in, service
from tests.support import async_test


class Counted(MemoryAuthStore):
    """Says when it was pruned; fails or hangs when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.rounds: asyncio.Queue[datetime] = asyncio.Queue()
        self.down = False
        self.hangs = False

    async def prune(self, *, now: datetime) -> int:
        self.rounds.put_nowait(now)
        if self.hangs:
            await asyncio.Event().wait()
        if self.down:
            raise TokensUncheckable("the store is out of reach")
        return await super().prune(now=now)


async def a_round(clock: FakeClock, store: Counted) -> None:
    await clock.advance(901)
    async with asyncio.timeout(10):
        await store.rounds.get()
    for _ in range(5):
        await asyncio.sleep(0)


@async_test
async def test_it_prunes_again_and_again_until_it_is_closed() -> None:
    store, clock = Counted(), FakeClock()
    upkeep = Upkeep(store, clock)
    upkeep.start()
    upkeep.start()
    await clock.advance(299)
    assert store.rounds.empty()
    for _ in range(3):
        await a_round(clock, store)
    assert store.rounds.empty()
    await upkeep.close()
    await upkeep.close()
    await clock.advance(10_000)
    assert store.rounds.empty()


@async_test
async def test_a_store_out_of_reach_is_told_once_each_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, clock = Counted(), FakeClock()
    upkeep = Upkeep(store, clock)
    upkeep.start()
    for store.down in (True, True, False, True, True):
        await a_round(clock, store)
    assert [each.message for each in caplog.records] == [
        "old sessions and revocations are not forgotten"
    ] * 2
    await upkeep.close()


@async_test
async def test_a_round_that_hangs_is_given_up_and_the_next_one_comes() -> None:
    store, clock = Counted(), FakeClock()
    upkeep = Upkeep(store, clock, patience_s=0.01)
    upkeep.start()
    store.hangs = True
    await a_round(clock, store)
    assert upkeep._round is not None
    await upkeep._round
    store.hangs = False
    await a_round(clock, store)
    await upkeep.close()


@async_test
async def test_closing_ends_a_round_that_is_under_way() -> None:
    store, clock = Counted(), FakeClock()
    upkeep = Upkeep(store, clock)
    upkeep.start()
    store.hangs = True
    await a_round(clock, store)
    await upkeep.close()
    await clock.advance(10_000)
    assert store.rounds.qsize() == 0


@async_test
async def test_an_app_forgets_what_has_ended_while_it_runs() -> None:
    clock, store = FakeClock(), FragileStore()
    app, auth = service(clock=clock, store=store)
    async with running(app) as client:
        await log_in(client)
        [record] = await store.sessions("ada", now=clock.now())
        await clock.advance(31 * 86_400)
        async with asyncio.timeout(10):
            while await store.find_refresh(record.digest):
                await asyncio.sleep(0)
        assert await auth.prune() == 0
    before = len(clock.waiting)
    await clock.advance(10_000)
    assert len(clock.waiting) == before
