"""Many at once, in any order: whoever asks after an invalidation never gets what was before it."""

import asyncio
import random
from collections import Counter

import pytest

from backstay.cache import Cache, Fill
from backstay.testing import FakeClock
from tests.cache.fakes import Shaky
from tests.support import async_test


class Race:
    """A number that grows, readers that ask for it through caches, and writers that say so.

    Turns of the event loop stand for time, and a seed for chance, so that every run is the same.
    """

    def __init__(self, caches: list[Cache], seed: int, *, extra: bool, lossy: bool) -> None:
        self.caches = caches
        self.chance = random.Random(seed)
        self.extra = extra
        self.lossy = lossy
        self.committed = 0
        self.said = 0
        self.seen: Counter[str] = Counter()
        self.over = False

    async def turns(self, most: int) -> None:
        for _ in range(self.chance.randrange(most)):
            await asyncio.sleep(0)

    async def produce(self) -> Fill:
        await self.turns(8)
        if self.chance.random() < 0.1:
            raise ZeroDivisionError
        found = self.committed
        await self.turns(8)
        return Fill(b"%d" % found, tags=["t"] if self.extra else [])

    async def read(self) -> None:
        while not self.over:
            said = self.said
            cache = self.chance.choice(self.caches)
            asking = asyncio.ensure_future(
                cache.get_or_fill("k", self.produce, ttl_s=10, tags=[] if self.extra else ["t"])
            )
            if self.chance.random() < 0.1:
                await self.turns(8)
                asking.cancel()
            try:
                found = await asking
            except (ZeroDivisionError, asyncio.CancelledError):
                continue
            self.seen[found.status] += 1
            assert found.value is not None
            assert int(found.value) >= said
            await self.turns(6)

    async def write(self) -> None:
        for _ in range(100):
            await self.turns(60)
            self.committed += 1
            mine = self.committed
            await self.chance.choice(self.caches).invalidate("t")
            self.said = max(self.said, mine)
            if self.lossy and self.chance.random() < 0.3:
                shelf = self.caches[0]._shelf
                await shelf.store.delete([shelf.names.tag("t")])

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(12):
                group.create_task(self.read())
            await asyncio.gather(self.write(), self.write())
            self.over = True


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", ["memory", "shared", "in turns"])
@pytest.mark.parametrize("what", ["tags", "lossy tags", "tags of values"])
def test_nobody_gets_what_was_before(kind: str, what: str, seed: int) -> None:
    @async_test
    async def run() -> None:
        clock = FakeClock()
        if kind == "memory":
            caches = [Cache(clock=clock)]
        else:
            store = Shaky(clock)
            caches = [
                Cache(store, clock=clock, op_timeout_s=10, across=kind == "in turns")
                for _ in range(2)
            ]
        race = Race(caches, seed, extra=what == "tags of values", lossy=what == "lossy tags")

        async def tick() -> None:
            while True:
                await clock.advance(0.01)
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        try:
            await race.run()
        finally:
            ticking.cancel()
        # Where processes wait for each other, little is kept of what changes all the time.
        assert race.seen["HIT"] > (0 if kind == "in turns" else 50), race.seen
        assert race.seen["MISS"] > (0 if kind == "in turns" else 20), race.seen

    run()
