"""What is not there is made once, and nobody pays for somebody else's failure."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextvars import ContextVar

import pytest
from fastapi import FastAPI

from backstay.cache import Cache, Fill, Outcome
from backstay.cache.outcome import Status
from backstay.observation import Kind
from backstay.testing import FakeClock, running
from tests.cache.fakes import Maker, Shaky, filled
from tests.observing import watched
from tests.support import async_test

REQUEST: ContextVar[str | None] = ContextVar("request", default=None)


def caches(clock: FakeClock) -> list[Cache]:
    """In memory, and where every look takes a turn of the event loop."""
    return [Cache(clock=clock), Cache(Shaky(clock), clock=clock)]


def statuses(found: list[Outcome]) -> Counter[Status]:
    return Counter(each.status for each in found)


@async_test
async def test_of_twenty_that_miss_at_once_one_makes_it() -> None:
    for cache in caches(FakeClock()):
        make = Maker()
        found = await asyncio.gather(*(filled(cache, make, tags=["t"]) for _ in range(20)))
        assert make.made == 1
        assert {each.value for each in found} == {b"1"}
        assert statuses(found) == {"MISS": 1, "HIT": 19}
        assert (await filled(cache, make, tags=["t"])).status == "HIT"


@async_test
async def test_the_same_where_making_it_takes_time() -> None:
    for cache in caches(FakeClock()):
        gate = asyncio.Event()
        make = Maker(gate=gate)
        asking = [asyncio.create_task(filled(cache, make)) for _ in range(20)]
        await make.began.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        asking += [asyncio.create_task(filled(cache, make)) for _ in range(20)]
        for _ in range(5):
            await asyncio.sleep(0)
        gate.set()
        assert statuses(await asyncio.gather(*asking)) == {"MISS": 1, "HIT": 39}
        assert make.made == 1


@async_test
async def test_a_failure_is_its_callers_alone_and_one_of_the_others_tries() -> None:
    for cache in caches(FakeClock()):
        gate = asyncio.Event()
        failing, working = Maker(gate=gate), Maker()
        failing.error = ZeroDivisionError()
        first = asyncio.create_task(filled(cache, failing))
        await failing.began.wait()
        others = [asyncio.create_task(filled(cache, working)) for _ in range(20)]
        for _ in range(5):
            await asyncio.sleep(0)
        gate.set()
        with pytest.raises(ZeroDivisionError):
            await first
        assert statuses(await asyncio.gather(*others)) == {"MISS": 1, "HIT": 19}
        assert (failing.made, working.made) == (1, 1)


@async_test
async def test_where_all_fail_each_hears_his_own_error_and_one_runs_at_a_time() -> None:
    running = most = 0

    async def fail() -> Fill:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        raise ZeroDivisionError

    for cache in caches(FakeClock()):
        ends = await asyncio.gather(
            *(filled(cache, fail) for _ in range(10)), return_exceptions=True
        )
        assert {type(end) for end in ends} == {ZeroDivisionError}
        assert most == 1


@async_test
async def test_a_client_that_leaves_takes_nobody_with_it() -> None:
    for cache in caches(FakeClock()):
        hanging, working = Maker(gate=asyncio.Event()), Maker()
        first = asyncio.create_task(filled(cache, hanging))
        await hanging.began.wait()
        others = [asyncio.create_task(filled(cache, working)) for _ in range(5)]
        for _ in range(5):
            await asyncio.sleep(0)
        first.cancel()
        others[0].cancel()
        found = await asyncio.gather(*others[1:])
        assert statuses(found) == {"MISS": 1, "HIT": 3}
        assert working.made == 1
        for task in (first, others[0]):
            with pytest.raises(asyncio.CancelledError):
                await task


@async_test
async def test_who_has_waited_long_enough_makes_it_himself() -> None:
    clock = FakeClock()
    for cache in caches(clock):
        gate = asyncio.Event()
        hanging, working = Maker(gate=gate), Maker()
        first = asyncio.create_task(filled(cache, hanging))
        await hanging.began.wait()
        second = asyncio.create_task(filled(cache, working))
        await clock.until_waiting()
        await clock.advance(9.9)
        assert not second.done()
        await clock.advance(0.1)
        assert (await second).status == "MISS"
        assert (await filled(cache, working)).status == "HIT", "and it was kept"
        gate.set()
        await first


@async_test
async def test_what_is_not_to_be_kept_each_makes_for_himself_at_once() -> None:
    for cache in caches(FakeClock()):
        gate = asyncio.Event()
        make = Maker(gate=gate)
        make.keep = False
        asking = [asyncio.create_task(filled(cache, make)) for _ in range(5)]
        await make.began.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        assert make.made == 1
        gate.set()
        found = await asyncio.gather(*asking)
        assert make.made == 5
        assert {(each.value, each.status) for each in found} == {(None, "BYPASS")}
        make.keep = True
        assert (await filled(cache, make)).status == "MISS"


@async_test
async def test_a_value_says_itself_how_long_it_is_good() -> None:
    clock = FakeClock()
    for cache in caches(clock):

        async def short() -> Fill:
            return Fill(b"short", ttl_s=5)

        async def none() -> Fill:
            return Fill(b"none", ttl_s=0)

        assert (await filled(cache, none)).status == "BYPASS"
        assert (await filled(cache, short)).left_s == 5
        await clock.advance(4)
        found = await filled(cache, short)
        assert (found.status, found.age_s, found.left_s) == ("HIT", 4, 1)
        await clock.advance(1)
        assert (await filled(cache, short)).status == "MISS"


@async_test
async def test_a_stale_value_is_given_at_once_and_made_anew_once() -> None:
    clock = FakeClock()
    for cache in caches(clock):
        make, gate = Maker(), asyncio.Event()
        await filled(cache, make, ttl_s=10, stale_s=5)
        await clock.advance(11)
        make.gate = gate
        found = await asyncio.gather(*(filled(cache, make, ttl_s=10, stale_s=5) for _ in range(10)))
        assert {(each.value, each.status) for each in found} == {(b"1", "STALE")}
        gate.set()
        await cache.settle()
        assert make.made == 2
        again = await filled(cache, make, ttl_s=10, stale_s=5)
        assert (again.value, again.status) == (b"2", "HIT")


@async_test
async def test_what_is_made_anew_belongs_to_no_request() -> None:
    clock = FakeClock()
    cache = Cache(clock=clock)
    seen = []

    async def produce() -> Fill:
        seen.append(("request", REQUEST.get()))
        return Fill(b"1")

    async def refresh() -> Fill:
        seen.append(("background", REQUEST.get()))
        return Fill(b"2")

    REQUEST.set("mine")
    for _ in range(2):
        await cache.get_or_fill("k", produce, ttl_s=10, stale_s=5, refresh=refresh)
        await clock.advance(11)
    await cache.settle()
    assert seen == [("request", "mine"), ("background", None)]


@async_test
async def test_after_its_last_moment_a_stale_value_is_gone() -> None:
    clock = FakeClock()
    for cache in caches(clock):
        make = Maker()
        await filled(cache, make, ttl_s=10, stale_s=5)
        await clock.advance(15)
        assert (await filled(cache, make, ttl_s=10, stale_s=5)).status == "MISS"


@async_test
async def test_a_failing_refresh_leaves_the_old_value_as_long_as_it_may_be_given() -> None:
    clock = FakeClock()
    for cache in caches(clock):
        make = Maker()
        await filled(cache, make, ttl_s=10, stale_s=5)
        await clock.advance(11)
        make.error = ZeroDivisionError()
        for _ in range(3):
            assert (await filled(cache, make, ttl_s=10, stale_s=5)).value == b"1"
            await cache.settle()
        assert make.made == 2, "not with every request"
        await clock.advance(1)
        await filled(cache, make, ttl_s=10, stale_s=5)
        await cache.settle()
        assert make.made == 3
        await clock.advance(3)
        with pytest.raises(ZeroDivisionError):
            await filled(cache, make, ttl_s=10, stale_s=5)


@async_test
async def test_who_asks_after_an_invalidation_does_not_wait_for_what_was_begun_before() -> None:
    for cache in caches(FakeClock()):
        gate = asyncio.Event()
        old, new = Maker(gate=gate), Maker()
        old.made = 100
        first = asyncio.create_task(filled(cache, old, tags=["t"]))
        await old.began.wait()
        early = asyncio.create_task(filled(cache, new, tags=["t"]))
        for _ in range(5):
            await asyncio.sleep(0)
        await cache.invalidate("t")
        assert (await filled(cache, new, tags=["t"])).value == b"1"
        gate.set()
        assert (await first).value == (await early).value == b"101"
        assert (await first).status == "BYPASS", "and it is not kept"
        assert (await filled(cache, new, tags=["t"])).value == b"1"


@async_test
async def test_a_key_deleted_while_its_value_is_made_stays_deleted() -> None:
    for delete in (lambda cache: cache.delete("k"), lambda cache: cache.clear()):
        for cache in caches(FakeClock()):
            gate = asyncio.Event()
            make = Maker(gate=gate)
            first = asyncio.create_task(filled(cache, make))
            await make.began.wait()
            await delete(cache)
            gate.set()
            assert (await first).value == b"1"
            assert await cache.lookup("k") is None


class Slow(Shaky):
    """A store whose answers take their time, once they are true.

    Attributes:
        late: what the next call of one kind waits for, before it does or after it did something.
    """

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.late: dict[str, asyncio.Event] = {}
        self.arrived = asyncio.Event()

    async def _wait(self, what: str) -> None:
        if event := self.late.pop(what, None):
            self.arrived.set()
            await event.wait()

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        found = self.inner.peek(keys)
        await self._wait("get_many")
        return found

    async def set(self, key: str, value: bytes, ttl_s: float) -> None:
        await self._wait("set")
        self.inner.put({key: value}, ttl_s)

    async def settle(self, keys: Sequence[str], value: bytes, ttl_s: float) -> list[bytes]:
        found = self.inner.settle_now(keys, value, ttl_s)
        await self._wait("settle")
        return found


@async_test
async def test_deleted_while_the_store_is_writing_it_is_deleted_after_that() -> None:
    clock = FakeClock()
    store = Slow(clock)
    cache = Cache(store, clock=clock)
    gate = store.late["set"] = asyncio.Event()
    first = asyncio.create_task(filled(cache, Maker()))
    await store.arrived.wait()
    await cache.delete("k")
    gate.set()
    assert (await first).status == "BYPASS"
    assert await cache.lookup("k") is None


@async_test
async def test_what_was_made_while_the_store_was_answering_is_not_made_again() -> None:
    clock = FakeClock()
    store = Slow(clock)
    cache = Cache(store, clock=clock)
    make = Maker()
    gate = store.late["get_many"] = asyncio.Event()
    late = asyncio.create_task(filled(cache, make))
    await store.arrived.wait()
    assert (await filled(cache, make)).status == "MISS"
    gate.set()
    assert (await late).status == "HIT"
    assert make.made == 1


@async_test
async def test_nobody_joins_once_it_is_looked_whether_the_value_is_of_now() -> None:
    clock = FakeClock()
    store = Slow(clock)
    here, there = (Cache(store, clock=clock) for _ in range(2))
    old, new = Maker(), Maker()
    old.made, old.tags = 100, ["item"]
    gate = store.late["settle"] = asyncio.Event()
    first = asyncio.create_task(filled(here, old))
    await store.arrived.wait()
    await there.invalidate("item")
    assert (await filled(here, new)).value == b"1"
    gate.set()
    assert (await first).value == b"101"


@async_test
async def test_tags_that_the_value_brings_invalidate_it_too() -> None:
    for cache in caches(FakeClock()):
        make = Maker()
        make.tags = ["item:1", "item:2"]
        assert (await filled(cache, make, tags=["t"])).status == "MISS"
        assert (await filled(cache, make, tags=["t"])).status == "HIT"
        for tag in ("item:2", "t", "item:1"):
            await cache.invalidate(tag)
            assert (await filled(cache, make, tags=["t"])).status == "MISS"
            assert (await filled(cache, make, tags=["t"])).status == "HIT"


@async_test
async def test_a_tag_that_the_value_brings_may_have_been_invalidated_while_it_was_made() -> None:
    clock = FakeClock()
    for cache in caches(clock):

        async def produce(cache: Cache = cache) -> Fill:
            await cache.invalidate_now("item:1")
            return Fill(b"old", tags=["item:1"])

        assert (await filled(cache, produce)).status == "BYPASS"
        await clock.advance(5)
        make = Maker()
        make.tags = ["item:1"]
        assert (await filled(cache, make)).status == "MISS"


@async_test
async def test_calling_oneself_is_no_waiting_for_ever() -> None:
    for cache in caches(FakeClock()):

        async def inner() -> Fill:
            return Fill(b"inner")

        async def outer(cache: Cache = cache) -> Fill:
            found = await filled(cache, inner)
            return Fill(b"outer of " + (found.value or b""))

        assert (await filled(cache, outer)).value == b"outer of inner"


@async_test
async def test_of_two_processes_one_makes_it_where_that_was_asked_for() -> None:
    clock = FakeClock()
    store = Shaky(clock)
    one, other = (Cache(store, clock=clock, across=True) for _ in range(2))
    gate = asyncio.Event()
    make, makes = Maker(gate=gate), Maker()
    first = asyncio.create_task(filled(one, make))
    await make.began.wait()
    second = asyncio.create_task(filled(other, makes))
    await clock.until_waiting()
    gate.set()
    await first
    await clock.advance(1)
    found = await second
    assert (found.value, found.status) == (b"1", "HIT")
    assert makes.made == 0
    await one.delete("k")
    assert (await filled(other, makes)).status == "MISS", "the lock is free"


@async_test
async def test_a_process_that_died_with_the_lock_delays_others_and_no_more() -> None:
    clock = FakeClock()
    store = Shaky(clock)
    cache = Cache(store, clock=clock, across=True, flight_timeout_s=3)
    assert await store.lock(cache._shelf.names.lock("k"), b"dead", 100)
    make = Maker()
    asking = asyncio.create_task(filled(cache, make))
    while not asking.done():
        await clock.advance(0.02)
        for _ in range(20):
            await asyncio.sleep(0)
    assert (await asking).status == "MISS"


@async_test
async def test_a_client_that_leaves_while_it_locks_leaves_no_lock_behind() -> None:
    clock = FakeClock()
    for turns in range(1, 40):
        store = Shaky(clock)
        cache = Cache(store, clock=clock, across=True)
        asking = asyncio.create_task(filled(cache, Maker(gate=asyncio.Event())))
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert store.inner.peek([cache._shelf.names.lock("k")]) == [None]


@async_test
async def test_making_a_value_is_seen_by_whoever_observes_the_app() -> None:
    app = FastAPI()
    watcher = watched(app)
    cache = Cache(clock=FakeClock())

    async def fail() -> Fill:
        raise ConnectionError("no origin")

    @app.get("/")
    async def endpoint() -> None:
        await filled(cache, Maker(), key="price:1")
        await filled(cache, Maker(), key="price:1")
        with pytest.raises(ConnectionError):
            await cache.get_or_fill("rate:2", fail, ttl_s=10)

    async with running(app) as client:
        await client.get("/")
    seen = [(each.name, each.outcome, each.error) for each in watcher.of(Kind.FILL)]
    assert seen == [("price", "ok", None), ("rate", "failed", "ConnectionError")]
