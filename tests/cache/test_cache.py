"""A cache keeps what it is told, forgets what it must, and is never the reason of a failure."""

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest

from backstay.cache import Cache
from backstay.errors import BadCache
from backstay.testing import FakeClock
from tests.cache.fakes import Maker, Shaky, filled
from tests.support import async_test


def shaky(**options: Any) -> tuple[FakeClock, Shaky, Cache]:
    clock = FakeClock()
    store = Shaky(clock)
    return clock, store, Cache(store, clock=clock, **options)


# ---------------------------------------------------------------------- values for people


@async_test
async def test_what_was_set_is_there_until_its_time_is_over() -> None:
    clock = FakeClock()
    cache = Cache(clock=clock, default_ttl=timedelta(minutes=1))
    await cache.set("a", {"n": [1, None]}, ttl=10)
    await cache.set("b", None)
    assert await cache.get("a") == {"n": [1, None]}
    assert await cache.get("b", "default") is None
    assert await cache.get("c", "default") == "default"
    await clock.advance(10)
    assert await cache.get("a") is None
    assert await cache.get("b", "default") is None
    await clock.advance(50)
    assert await cache.get("b", "default") == "default"


@async_test
async def test_what_one_gets_is_his_own() -> None:
    cache = Cache()
    value = {"list": [1]}
    await cache.set("k", value)
    value["list"].append(2)
    first = await cache.get("k")
    first["list"].append(3)
    assert await cache.get("k") == {"list": [1]}


@async_test
async def test_what_was_set_can_be_deleted_cleared_and_invalidated() -> None:
    cache = Cache()
    for key in "abcd":
        await cache.set(key, key, tags=[key, "all"])
    await cache.delete("a", "x")
    await cache.invalidate("b")
    assert [await cache.get(key) for key in "abcd"] == [None, None, "c", "d"]
    await cache.invalidate("all")
    assert [await cache.get(key) for key in "abcd"] == [None] * 4
    await cache.set("a", 1)
    await cache.clear()
    assert await cache.get("a") is None
    await cache.delete()
    await cache.invalidate()


@async_test
async def test_nonsense_is_refused_before_anything_is_done() -> None:
    cache = Cache()
    for call in (
        lambda: cache.set("k", {1: 2}),
        lambda: cache.set("k", 1, ttl=0),
        lambda: cache.set("k", 1, tags="several"),
        lambda: cache.set("k", 1, tags=[1]),  # type: ignore[list-item]  # that is what is tried
        lambda: cache.set(1, 1),  # type: ignore[arg-type]  # as above
        lambda: cache.invalidate(1),  # type: ignore[arg-type]  # as above
        lambda: cache.invalidate_now(b"t"),  # type: ignore[arg-type]  # as above
    ):
        with pytest.raises(BadCache):
            await call()
    assert await cache.get("k", "nothing") == "nothing"


@pytest.mark.parametrize(
    "options",
    [
        {"default_ttl": 0},
        {"stale_s": -1},
        {"flight_timeout_s": 0},
        {"op_timeout_s": "1"},
        {"retry_after_s": None},
        {"namespace": "a:b"},
        {"max_bytes": 0},
        {"across": True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadCache):
        Cache(**options)


@async_test
async def test_two_namespaces_share_a_store_and_nothing_else() -> None:
    clock, store, one = shaky(namespace="one")
    other = Cache(store, namespace="other", clock=clock)
    await one.set("k", 1, tags=["t"])
    await other.set("k", 2, tags=["t"])
    await one.invalidate("t")
    assert [await one.get("k"), await other.get("k")] == [None, 2]


@async_test
async def test_what_is_filled_and_what_is_set_do_not_take_each_other_for_json() -> None:
    cache = Cache()
    await cache.get_or_fill("k", Maker(), ttl_s=10)
    assert await cache.get("k", "default") == 1, "the bytes are JSON by chance"
    await cache.delete("k")

    async def page() -> Any:
        from backstay.cache import Fill

        return Fill(b"\xff<html>")

    await cache.get_or_fill("k", page, ttl_s=10)
    assert await cache.get("k", "default") == "default"


# ---------------------------------------------------------------------- looking


@async_test
async def test_looking_makes_nothing_and_peeking_waits_for_nothing() -> None:
    clock = FakeClock()
    cache = Cache(clock=clock)
    assert await cache.lookup("k") is None
    assert cache.peek("k") is None
    await filled(cache, Maker(), tags=["t"], ttl_s=10, stale_s=10)
    for found in (cache.peek("k", ["t"]), cache.peek("k"), await cache.lookup("k")):
        assert found is not None
        assert (found.value, found.status) == (b"1", "HIT")
    await clock.advance(10)
    stale = await cache.lookup("k", ["t"])
    assert stale is not None
    assert stale.status == "STALE"
    assert cache.peek("k", ["t"]) is None
    await cache.invalidate("t")
    assert await cache.lookup("k") is None


@async_test
async def test_only_memory_can_be_peeked_into() -> None:
    _, store, cache = shaky()
    await filled(cache, Maker())
    store.calls.clear()
    assert cache.peek("k") is None
    assert store.calls == []


@async_test
async def test_everything_is_counted_once() -> None:
    clock = FakeClock()
    cache = Cache(clock=clock)
    make = Maker()
    await filled(cache, make, key="a:1", ttl_s=10, stale_s=10)
    await filled(cache, make, key="a:1")
    cache.peek("a:1")
    cache.peek("a:2")
    await cache.lookup("a:1")
    await cache.lookup("a:2")
    await clock.advance(11)
    await filled(cache, make, key="a:1")
    make.keep = False
    await filled(cache, make, key="b")
    await cache.get("c")
    await cache.settle()
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.stale, stats.bypass) == (3, 2, 1, 2)
    assert set(stats.by_prefix) == {"a", "b", "c"}


# ---------------------------------------------------------------------- a store that fails


@async_test
async def test_a_store_that_is_down_is_nobodys_failure() -> None:
    for error in (None, OSError("no route"), TimeoutError(), ValueError("what")):
        _, store, cache = shaky()
        store.break_down()
        store.error = error or store.error
        make = Maker()
        found = await filled(cache, make, tags=["t"])
        assert (found.value, found.status) == (b"1", "BYPASS")
        assert await cache.lookup("k") is None
        assert await cache.get("k", "default") == "default"
        await cache.set("k", 1)
        await cache.delete("k")
        await cache.clear()
        await cache.invalidate("t")
        await cache.close()


@async_test
async def test_a_store_that_is_down_protects_nobody_but_one_still_makes_it_for_all() -> None:
    _, store, cache = shaky()
    store.break_down()
    make = Maker(gate=asyncio.Event())
    asking = [asyncio.create_task(filled(cache, make)) for _ in range(10)]
    await make.began.wait()
    for _ in range(10):
        await asyncio.sleep(0)
    make.gate.set()  # type: ignore[union-attr]  # it has one
    found = await asyncio.gather(*asking)
    assert make.made == 1
    assert [each.status for each in found].count("BYPASS") == 1


@async_test
async def test_a_store_that_hangs_costs_its_time_once() -> None:
    _, store, cache = shaky(op_timeout_s=0.02)
    await cache.open()
    store.hang = asyncio.Event()
    store.calls.clear()
    make = Maker()
    for _ in range(5):
        assert (await filled(cache, make)).status == "BYPASS"
    assert store.calls == ["get_many"]


@async_test
async def test_it_is_used_again_when_it_is_back() -> None:
    clock, store, cache = shaky()
    make = Maker()
    await filled(cache, make)
    store.break_down()
    assert (await filled(cache, make)).status == "BYPASS"
    store.error = None
    assert (await filled(cache, make)).status == "BYPASS", "not asked yet"
    await clock.advance(1)
    found = await filled(cache, make)
    assert (found.value, found.status) == (b"1", "HIT")


@async_test
async def test_an_app_starts_without_its_cache() -> None:
    clock, store, cache = shaky()
    store.break_down()
    await cache.open()
    store.error = None
    await clock.advance(1)
    assert (await filled(cache, Maker())).status == "MISS"


@async_test
async def test_a_store_that_refuses_one_value_goes_on_being_asked() -> None:
    _, store, cache = shaky()
    await cache.open()

    async def refuse(key: str, value: bytes, ttl_s: float) -> None:
        raise ValueError("too large")

    store.set = refuse  # type: ignore[method-assign]  # as servers do with large values
    assert (await filled(cache, Maker())).status == "BYPASS"
    assert await cache.lookup("k") is None
    assert not cache._shelf.guard.is_silent


@async_test
async def test_what_could_not_be_invalidated_is_not_trusted_until_it_was() -> None:
    clock, store, cache = shaky()
    other = Cache(store, clock=clock)
    make = Maker()
    for key, tags in (("k", ["t"]), ("l", ["u"]), ("m", [])):
        await filled(cache, make, key=key, tags=tags)
    store.break_down()
    await cache.invalidate("t")
    await cache.delete("m")
    await clock.advance(0.5)
    store.error = None
    await clock.advance(0.4)
    # Known, because the store was not asked since it failed.
    cache._shelf.guard._silent_until = None
    assert await cache.lookup("k") is None
    assert await cache.lookup("m") is None
    assert (await filled(cache, make, key="k", tags=["t"])).status == "BYPASS"
    assert (await cache.lookup("l")) is not None
    assert (await other.lookup("k")) is not None, "it cannot know yet"
    await clock.advance(2)
    await cache.settle()
    assert not cache._shelf.debts
    for each in (cache, other):
        assert await each.lookup("k") is None
        assert await each.lookup("m") is None
    assert (await filled(cache, make, key="k", tags=["t"])).status == "MISS"


@async_test
async def test_making_up_goes_on_until_it_succeeds() -> None:
    clock, store, cache = shaky()
    await filled(cache, Maker(), tags=["t"])
    store.break_down()
    await cache.invalidate("t")
    await cache.clear()
    for _ in range(5):
        await clock.advance(1)
        await cache.settle()
    assert cache._shelf.debts
    store.error = None
    await clock.advance(2)
    await cache.settle()
    assert not cache._shelf.debts
    assert clock.waiting == []


@async_test
async def test_closing_makes_up_for_what_it_can() -> None:
    clock, store, cache = shaky()
    other = Cache(store, clock=clock)
    await filled(cache, Maker(), tags=["t"])
    store.break_down()
    await cache.invalidate("t")
    store.error = None
    cache._shelf.guard._silent_until = None
    await cache.close()
    assert await other.lookup("k") is None


@async_test
async def test_an_outage_says_what_and_where_and_no_more_than_now_and_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, store, cache = shaky()
    store.break_down()
    with caplog.at_level(logging.INFO, logger="backstay.cache"):
        for _ in range(20):
            await filled(cache, Maker())
    assert len(caplog.records) == 1
    assert "Traceback" not in caplog.text


# ---------------------------------------------------------------------- life


@async_test
async def test_closed_it_may_be_used_again() -> None:
    cache = Cache()
    async with cache:
        await cache.set("k", 1)
    assert await cache.get("k") is None
    await cache.set("k", 2)
    assert await cache.get("k") == 2


def test_one_cache_serves_one_event_loop_after_another() -> None:
    cache = Cache()
    make = Maker()

    async def run() -> str:
        return (await filled(cache, make)).status

    assert [asyncio.run(run()) for _ in range(3)] == ["MISS", "HIT", "HIT"]


def test_it_says_what_it_is() -> None:
    assert repr(Cache(namespace="shop")) == "<Cache 'shop' in memory://>"
    assert Cache("redis://user:secret@127.0.0.1/1").url == "redis://user:***@127.0.0.1/1"
