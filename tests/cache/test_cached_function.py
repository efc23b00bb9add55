"""A cached function is as before, only that it runs less often."""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from pydantic import BaseModel, field_serializer

from backstay.cache import Cache, add_cache, cached
from backstay.cache.cached_function import CachedAsync, CachedFunction
from backstay.cache.entry import pack, unpack
from backstay.calls import is_async_callable
from backstay.errors import BadCache
from backstay.testing import FakeClock, running
from backstay.web import Ctx, install
from tests.cache.fakes import Shaky
from tests.support import async_test


class Rate(BaseModel):
    currency: str
    value: Decimal


class Counter:
    """Counts runs."""

    def __init__(self) -> None:
        self.runs: list[Any] = []

    def __call__(self, *seen: Any) -> int:
        self.runs.append(seen)
        return len(self.runs)


@async_test
async def test_it_runs_once_for_the_same_arguments_and_again_when_their_time_is_over() -> None:
    clock, count = FakeClock(), Counter()

    @cached(ttl=timedelta(seconds=10), cache=Cache(clock=clock))
    async def rate(currency: str, *, day: int = 0) -> Rate:
        return Rate(currency=currency, value=Decimal(count(currency, day)))

    first = await rate("EUR")
    assert first == await rate(currency="EUR") == await rate("EUR", day=0)
    assert first is not await rate("EUR"), "nobody shares it"
    assert (await rate("EUR", day=1)).value == 2
    await clock.advance(10)
    assert (await rate("EUR")).value == 3
    assert count.runs == [("EUR", 0), ("EUR", 1), ("EUR", 0)]


def test_a_plain_function_is_cached_in_memory_from_anywhere() -> None:
    clock, count = FakeClock(), Counter()

    @cached(10, cache=Cache(clock=clock), stale=5)
    def rate(currency: str) -> list[int]:
        return [count(currency)]

    assert rate("EUR") == rate("EUR") == [1]
    rate("EUR").append(9)
    assert rate("EUR") == [1]
    rate.invalidate("EUR")
    assert rate("EUR") == [2]
    asyncio.run(clock.advance(11))
    assert rate("EUR") == [3], "the first who finds it old makes it anew"
    rate.invalidate("USD")
    assert rate("EUR") == [3]


@async_test
async def test_invalidating_is_for_one_call_and_tags_are_for_many() -> None:
    count = Counter()
    cache = Cache()

    @cached(60, cache=cache, tags=lambda item, *_: [f"item:{item}", "items"])
    async def price(item: int, currency: str = "EUR") -> int:
        return count(item, currency)

    asked = [(1, "EUR"), (1, "USD"), (2, "EUR")]
    assert [await price(*each) for each in asked] == [1, 2, 3]
    await price.invalidate(1)
    assert [await price(*each) for each in asked] == [4, 2, 3]
    await cache.invalidate("item:1")
    assert [await price(*each) for each in asked] == [5, 6, 3]
    await cache.invalidate("items")
    assert [await price(*each) for each in asked] == [7, 8, 9]


@async_test
async def test_a_call_that_was_under_way_when_it_was_invalidated_is_not_kept() -> None:
    gate, count = asyncio.Event(), Counter()

    @cached(60, cache=Cache())
    async def slow() -> int:
        found = count()
        await gate.wait()
        return found

    first = asyncio.create_task(slow())
    while not count.runs:
        await asyncio.sleep(0)
    await slow.invalidate()
    gate.set()
    assert await first == 1
    assert await slow() == 2


@async_test
async def test_of_several_at_once_one_runs() -> None:
    gate, count = asyncio.Event(), Counter()

    @cached(60)
    async def slow(number: int) -> int:
        await gate.wait()
        return count(number)

    asking = [asyncio.create_task(slow(number % 2)) for number in range(20)]
    await asyncio.sleep(0)
    gate.set()
    assert sorted(set(await asyncio.gather(*asking))) == [1, 2]
    assert len(count.runs) == 2


def test_of_several_threads_at_once_one_runs() -> None:
    gate, count = threading.Event(), Counter()

    @cached(60)
    def slow() -> int:
        gate.wait(10)
        return count()

    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(slow())) for _ in range(8)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    assert found == [1] * 8


@async_test
async def test_a_failure_is_not_kept() -> None:
    count = Counter()

    @cached(60)
    async def fail() -> int:
        if count() == 1:
            raise ZeroDivisionError
        return 7

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await fail() == 7


@async_test
async def test_stale_results_are_given_while_it_runs_in_the_background() -> None:
    clock, count = FakeClock(), Counter()
    cache = Cache(clock=clock)

    @cached(10, cache=cache, stale=5)
    async def rate() -> int:
        return count()

    assert await rate() == 1
    await clock.advance(11)
    assert await rate() == 1
    await cache.settle()
    assert await rate() == 2


class Shop:
    """Plain: an object is the same only as itself."""

    def __init__(self, factor: int) -> None:
        self.factor = factor
        self.count = Counter()

    @cached(60)
    async def price(self, item: int) -> int:
        """What it costs."""
        return self.factor * item + 0 * self.count(item)

    @cached(60)
    def plain(self, item: int) -> int:
        return self.factor * item + 0 * self.count(item)

    @classmethod
    @cached(60)
    async def named(cls, item: int) -> str:
        return f"{cls.__name__}{item}"

    @staticmethod
    @cached(60)
    async def alone(item: int) -> int:
        return item


class Branch(Shop):
    """Another class."""


@dataclass
class Tenant:
    name: str
    count: Counter

    def __cache_key__(self) -> str:
        return self.name

    @cached(60)
    async def limit(self) -> int:
        return self.count()


@async_test
async def test_methods_are_cached_for_each_object_by_itself() -> None:
    one, other = Shop(1), Shop(10)
    for _ in range(2):
        assert [await one.price(2), await other.price(2)] == [2, 20]
        assert [one.plain(2), other.plain(2)] == [2, 20]
    assert len(one.count.runs) == len(other.count.runs) == 2
    await one.price.invalidate(2)
    one.plain.invalidate(2)
    assert [await one.price(2), one.plain(2), await other.price(2), other.plain(2)] == [
        2,
        2,
        20,
        20,
    ]
    assert (len(one.count.runs), len(other.count.runs)) == (4, 2)
    assert await Shop.price(one, 2) == 2
    assert [await Shop.named(1), await Branch.named(1), await Shop.named(1)] == [
        "Shop1",
        "Branch1",
        "Shop1",
    ]
    assert await Shop.alone(3) == await one.alone(3) == 3


@async_test
async def test_an_object_that_says_what_it_is_shares_with_its_likes() -> None:
    count = Counter()
    assert [await Tenant(name, count).limit() for name in ("a", "b", "a")] == [1, 2, 1]


def test_it_looks_like_the_function_it_is_of() -> None:
    assert isinstance(Shop.price, CachedAsync)
    assert isinstance(Shop.plain, CachedFunction)
    assert Shop.price.__name__ == "price"
    assert Shop.price.__doc__ == "What it costs."
    assert list(inspect.signature(Shop.price).parameters) == ["self", "item"]
    assert is_async_callable(Shop.price)
    assert is_async_callable(Shop(1).price)
    assert inspect.iscoroutinefunction(Shop.price)
    assert not inspect.iscoroutinefunction(Shop.plain)
    assert not is_async_callable(Shop.plain)
    assert Shop.price.__wrapped__.__qualname__ == "Shop.price"
    assert repr(Shop.price) == "<cached Shop.price>"


def test_what_cannot_be_cached_is_refused_where_it_is_written() -> None:
    def generator() -> Iterator[int]:
        yield 1

    async def async_generator() -> AsyncIterator[int]:
        yield 1

    for func in (generator, async_generator):
        with pytest.raises(TypeError, match="yields its results one by one"):
            cached(60)(func)
    with pytest.raises(TypeError, match="needs a function"):
        cached(60)(17)  # type: ignore[call-overload]  # that is what is tried
    for options in ({"ttl": 0}, {"ttl": 1, "stale": -1}):
        with pytest.raises(BadCache):
            cached(**options)(print)  # type: ignore[arg-type]  # as above
    with pytest.raises(TypeError, match="tags= is several texts"):
        cached(60, tags="t")(print)


@async_test
async def test_an_argument_or_a_result_without_a_text_is_refused_when_it_comes() -> None:
    @cached(60)
    async def echo(value: Any, other: object = None) -> Any:
        return value

    with pytest.raises(TypeError, match=r"echo\(\) cannot be cached by its argument 'other'"):
        await echo(1, object())
    with pytest.raises(TypeError, match=r"what .*echo\(\) returned, of type tuple"):
        await echo((1,))


class OneWay(BaseModel):
    n: int

    @field_serializer("n")
    def _text(self, n: int) -> str:
        return f"number {n}"


@async_test
async def test_a_result_that_can_be_written_and_not_read_is_refused_at_once() -> None:
    @cached(60)
    async def broken() -> OneWay:
        return OneWay(n=1)

    with pytest.raises(TypeError, match="can be written by its return annotation, and not read"):
        await broken()


@async_test
async def test_what_somebody_else_wrote_in_its_place_is_passed_over(tmp_path: Path) -> None:
    cache = Cache()

    @cached(60, cache=cache)
    async def rate() -> Rate:
        return Rate(currency="EUR", value=Decimal(1))

    first = await rate()
    [key] = [name for name in cache._shelf.local._entries if ":k" in name]  # type: ignore[union-attr]
    store = cache._shelf.local
    assert store is not None
    [raw] = store.peek([key])
    assert raw is not None
    entry = unpack(raw)
    assert entry is not None
    object.__setattr__(entry, "value", b'{"other": 1}')
    store.put({key: pack(entry)}, 60)
    assert await rate() == first


@async_test
async def test_another_annotation_reads_nothing_that_was_kept_before() -> None:
    cache, count = Cache(), Counter()

    async def before() -> int:
        return count()

    async def after() -> str:
        return f"{count()}"

    for func in (before, after):
        func.__module__, func.__qualname__ = "shop", "rate"
    assert await cached(60, cache=cache)(before)() == 1
    assert await cached(60, cache=cache)(after)() == "2"
    assert await cached(60, cache=cache)(before)() == 1


# ---------------------------------------------------------------------- in an app


@async_test
async def test_in_an_app_it_is_the_apps_cache_and_elsewhere_its_own() -> None:
    count = Counter()

    @cached(60, tags=["rates"])
    async def rate(currency: str) -> int:
        return count(currency)

    app = FastAPI()
    cache = add_cache(app)

    @app.get("/rate/{currency}")
    async def endpoint(currency: str) -> int:
        return await rate(currency)

    @app.put("/rate/{currency}")
    async def change(currency: str, ctx: Ctx) -> int:
        await rate.invalidate(currency)
        return await rate(currency)

    async with running(app) as client:
        assert [(await client.get("/rate/EUR")).json() for _ in range(2)] == [1, 1]
        assert cache.stats().hits == 1
        assert await rate("EUR") == 2, "outside of the app's work"
        assert await rate("EUR") == 2
        assert (await client.put("/rate/EUR")).json() == 3, "what it has changed is hidden from it"
        assert (await client.get("/rate/EUR")).json() == 4
        await cache.invalidate("rates")
        assert (await client.get("/rate/EUR")).json() == 5
        assert await rate("EUR") == 2


@async_test
async def test_an_app_without_a_cache_is_elsewhere() -> None:
    count = Counter()

    @cached(60)
    async def rate() -> int:
        return count()

    app = FastAPI()
    install(app)

    @app.get("/")
    async def endpoint(ctx: Ctx) -> int:
        return await rate()

    async with running(app) as client:
        assert [(await client.get("/")).json() for _ in range(2)] == [1, 1]


@async_test
async def test_a_dependency_may_be_cached() -> None:
    count = Counter()

    @cached(60)
    async def settings(tenant: str = "a") -> dict[str, int]:
        return {tenant: count()}

    app = FastAPI()

    @app.get("/")
    async def endpoint(found: dict[str, int] = Depends(settings)) -> dict[str, int]:
        return found

    install(app)
    async with running(app) as client:
        assert [(await client.get("/", params={"tenant": t})).json() for t in "aba"] == [
            {"a": 1},
            {"b": 2},
            {"a": 1},
        ]


@async_test
async def test_a_plain_function_reaches_the_apps_store_from_its_worker_threads() -> None:
    app, store, count = FastAPI(), Shaky(FakeClock()), Counter()
    cache = add_cache(app, store)

    @cached(60)
    def rate(currency: str) -> int:
        return count(currency)

    @app.get("/")
    def endpoint(ctx: Ctx) -> int:
        return rate("EUR")

    @app.put("/")
    def change(ctx: Ctx) -> int:
        rate.invalidate("EUR")
        return rate("EUR")

    async with running(app) as client:
        assert [(await client.get("/")).json() for _ in range(2)] == [1, 1]
        assert (await client.put("/")).json() == 2
        assert [(await client.get("/")).json() for _ in range(2)] == [3, 3]
        assert cache.stats().hits == 2


def test_elsewhere_a_plain_function_says_what_would_do() -> None:
    @cached(60, cache=Cache(Shaky(FakeClock())))
    def rate() -> int:
        return 1

    with pytest.raises(TypeError, match=r"Make it async, or give it a cache in memory"):
        rate()
    with pytest.raises(TypeError, match="Make it async"):
        rate.invalidate()
