"""What every store of the cache has to prove, as a class of pytest tests.

Whoever writes a store subclasses ``CacheConformance`` in a test module and says how to make one;
the tests come along. ::

    pytest.register_assert_rewrite("backstay.testing.cache_conformance")  # in a conftest.py

    from backstay.testing.cache_conformance import CacheConformance

    class TestMyStore(CacheConformance):
        def new_store(self, clock, namespace):
            return MyStore("my://" + fresh_database(), namespace=namespace, clock=clock)

        def same_store(self, store, clock, namespace):      # optional, as are the rest
            return MyStore(store.url, namespace=namespace, clock=clock)

Neither plug-ins nor fixtures of pytest are needed: each test is a function that runs an event loop
of its own, twenty seconds (``patience_s``) at most. Fixtures of the subclass (``autouse``) work as
in any class.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from backstay.cache.cache import Cache
from backstay.cache.names import Names
from backstay.cache.outcome import Fill
from backstay.cache.port import CacheStore, LocalStore, LockingStore
from backstay.testing.fake_clock import FakeClock

__all__ = ["CacheConformance", "CacheStage"]

Home = TypeVar("Home", bound="CacheConformance")

_LIFE_S = 1000.0
_BYTES = [b"", b"\x00", b"\xff\xfe", bytes(range(256)), "Grüße 👋".encode(), b'"', b"null", b"1"]
_KEYS = ["a", "a:b", "a b", "1", "{a}", "%", "*", "[a-z]", "'", '"', "\\", "#a", "a" * 250]


class CacheStage:
    """One test's store, open, and its clock.

    Attributes:
        clock: what the store was told to go by.
        store: the store.
        namespace: what the store's keys begin with, before a colon.
    """

    def __init__(self, home: CacheConformance) -> None:
        self.namespace = home.namespace
        self.clock = FakeClock()
        self._home = home
        self._opened: list[CacheStore] = []
        self.store: CacheStore

    async def open(self) -> None:
        """Open the store of this test."""
        self.store = self._home.new_store(self.clock, self.namespace)
        self._opened.append(self.store)
        await self.store.open()

    async def close(self) -> None:
        """Close every store of this test."""
        try:
            for store in reversed(self._opened):
                await store.close()
        finally:
            if self._opened:
                self._home.clean_up(self._opened[0])

    async def another(self, namespace: str | None = None) -> CacheStore | None:
        """The store as another process sees it; ``None`` if only one can reach it."""
        name = self.namespace if namespace is None else namespace
        store = self._home.same_store(self.store, self.clock, name)
        if store is not None:
            self._opened.append(store)
            await store.open()
        return store

    def key(self, rest: str) -> str:
        """A key of the namespace."""
        return f"{self.namespace}:{rest}"

    async def get(self, rest: str, store: CacheStore | None = None) -> bytes | None:
        """What stands under a key of the namespace."""
        [found] = await (self.store if store is None else store).get_many([self.key(rest)])
        return found

    async def set(self, rest: str, value: bytes, ttl_s: float = 10 * _LIFE_S) -> None:
        """Put something there."""
        await self.store.set(self.key(rest), value, ttl_s)

    async def almost(self, seconds: float) -> float:
        """Let nearly so much time pass; what is missing."""
        rest = max(self._home.slack_s, 0.001)
        await self.wait(seconds - rest)
        return rest

    async def wait(self, seconds: float) -> None:
        """Let time pass."""
        await self._home.pass_time(self.store, self.clock, seconds)

    def cache(self, store: CacheStore | None = None) -> Cache:
        """A cache over it."""
        return Cache(
            self.store if store is None else store,
            namespace=self.namespace,
            clock=self.clock,
            op_timeout_s=self._home.patience_s,
        )


def _test(test: Callable[[Home, CacheStage], Awaitable[None]]) -> Callable[[Home], None]:
    def run(self: Home) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(self.patience_s):
                stage = CacheStage(self)
                try:
                    await stage.open()
                    await test(self, stage)
                finally:
                    await stage.close()

        asyncio.run(bounded())

    # Not functools.wraps: pytest would take the wrapped test's parameters for fixtures.
    run.__name__ = test.__name__
    run.__qualname__ = test.__qualname__
    run.__doc__ = test.__doc__
    run.__module__ = test.__module__
    return run


def _skip(why: str) -> None:
    import pytest  # whoever runs this has it, and nobody else needs it

    pytest.skip(why)


class CacheConformance:
    """The promises of ``backstay.cache.port.CacheStore``, one test each.

    To override: ``new_store`` at least; ``same_store`` for stores that others can reach;
    ``pass_time`` and ``slack_s`` for those that go by a server's clock; ``clean_up`` for what has
    to be done after each test.

    Attributes:
        patience_s: seconds after which a test is failed rather than left hanging.
        slack_s: how near to the end of a value's life a test may look, in seconds. More than 0 for
            stores whose time goes on by itself.
        namespace: of the keys. One of its own for each test where tests share a back end.
    """

    namespace = "stage"
    patience_s = 20.0
    slack_s = 0.0

    def new_store(self, clock: FakeClock, namespace: str) -> CacheStore:
        """A store with nothing in it, not opened."""
        raise NotImplementedError(f"{type(self).__name__} has to say how a store is made")

    def same_store(self, store: CacheStore, clock: FakeClock, namespace: str) -> CacheStore | None:
        """Another one with the same values, as another process would have it, not opened.

        ``None``: this process alone reaches it.
        """
        return None

    async def pass_time(self, store: CacheStore, clock: FakeClock, seconds: float) -> None:
        """Let so much time pass for the store."""
        await clock.advance(seconds)

    def clean_up(self, store: CacheStore) -> None:
        """After a test; its stores are closed."""

    # ------------------------------------------------------------------ values

    @_test
    async def test_what_comes_back_is_what_was_put_there(self, stage: CacheStage) -> None:
        for number, value in enumerate(_BYTES):
            await stage.set(f"k{number}", value)
        keys = [stage.key(f"k{number}") for number in range(len(_BYTES))]
        assert await stage.store.get_many(keys) == _BYTES
        await stage.set("large", b"\xa5\x00" * 100_000)
        assert await stage.get("large") == b"\xa5\x00" * 100_000

    @_test
    async def test_answers_come_in_the_order_of_the_keys(self, stage: CacheStage) -> None:
        await stage.set("a", b"a")
        await stage.set("c", b"c")
        keys = [stage.key(each) for each in ("c", "b", "a", "c")]
        assert await stage.store.get_many(keys) == [b"c", None, b"a", b"c"]

    @_test
    async def test_no_two_keys_are_the_same(self, stage: CacheStage) -> None:
        for key in _KEYS:
            assert await stage.get(key) is None, key
            await stage.set(key, key.encode())
        assert [await stage.get(key) for key in _KEYS] == [key.encode() for key in _KEYS]
        for key in _KEYS:
            assert await stage.store.delete([stage.key(key)]) == 1
            assert await stage.get(key) is None

    @_test
    async def test_the_last_that_was_put_there_counts(self, stage: CacheStage) -> None:
        for value in (b"1", b"2", b"3"):
            await stage.set("k", value)
        assert await stage.get("k") == b"3"
        values = {stage.key("k"): b"4", stage.key("l"): b"5", stage.key("m"): b""}
        await stage.store.set_many(values, _LIFE_S)
        assert await stage.store.get_many(list(values)) == [b"4", b"5", b""]

    @_test
    async def test_what_is_given_out_cannot_be_changed_from_outside(
        self, stage: CacheStage
    ) -> None:
        value = bytearray(b"before")
        await stage.store.set(stage.key("k"), bytes(value), _LIFE_S)
        value[:] = b"behind"
        assert await stage.get("k") == b"before"
        assert type(await stage.get("k")) is bytes

    @_test
    async def test_deleting_says_how_many_there_were(self, stage: CacheStage) -> None:
        for key in "abc":
            await stage.set(key, b"1")
        assert await stage.store.delete([stage.key(each) for each in "abx"]) == 2
        assert await stage.store.delete([stage.key("a")]) == 0
        assert await stage.get("c") == b"1"

    @_test
    async def test_clearing_takes_what_is_of_this_namespace_only(self, stage: CacheStage) -> None:
        for number in range(30):
            await stage.set(f"k{number}", b"1")
        others = []
        for namespace in (f"{stage.namespace}2", stage.namespace[:-1], f"{stage.namespace}.k"):
            other = await stage.another(namespace)
            if other is not None:
                await other.set(f"{namespace}:k1", b"2", _LIFE_S)
                others.append((other, namespace))
        assert await stage.store.clear() == 30
        assert await stage.get("k1") is None
        assert await stage.store.clear() == 0
        for other, namespace in others:
            assert await other.get_many([f"{namespace}:k1"]) == [b"2"]
            await other.clear()

    # ------------------------------------------------------------------ time

    @_test
    async def test_a_value_is_there_until_its_time_is_over_and_not_after(
        self, stage: CacheStage
    ) -> None:
        await stage.set("k", b"1", _LIFE_S)
        await stage.store.set_many({stage.key("l"): b"2", stage.key("m"): b"3"}, _LIFE_S)
        await stage.set("longer", b"4", 3 * _LIFE_S)
        rest = await stage.almost(_LIFE_S)
        assert [await stage.get(key) for key in "klm"] == [b"1", b"2", b"3"]
        await stage.wait(rest)
        assert [await stage.get(key) for key in "klm"] == [None, None, None]
        assert await stage.get("longer") == b"4"
        assert await stage.store.delete([stage.key("k")]) == 0

    @_test
    async def test_putting_something_there_says_anew_how_long_it_lives(
        self, stage: CacheStage
    ) -> None:
        await stage.set("longer", b"1", _LIFE_S)
        await stage.set("longer", b"2", 3 * _LIFE_S)
        await stage.set("shorter", b"1", 3 * _LIFE_S)
        await stage.set("shorter", b"2", _LIFE_S)
        await stage.wait(_LIFE_S)
        assert await stage.get("longer") == b"2"
        assert await stage.get("shorter") is None
        await stage.wait(2 * _LIFE_S)
        assert await stage.get("longer") is None

    # ------------------------------------------------------------------ settling

    @_test
    async def test_settling_leaves_what_stands_there(self, stage: CacheStage) -> None:
        await stage.set("a", b"old", _LIFE_S)
        keys = [stage.key("a"), stage.key("b")]
        assert await stage.store.settle(keys, b"new", 3 * _LIFE_S) == [b"old", b"new"]
        assert await stage.store.settle(keys, b"newer", _LIFE_S) == [b"old", b"new"]
        await stage.wait(_LIFE_S)
        assert await stage.store.settle(keys, b"newest", _LIFE_S) == [b"newest", b"new"]
        await stage.wait(2 * _LIFE_S)
        assert await stage.store.get_many(keys) == [None, None]

    @_test
    async def test_of_many_that_settle_at_once_all_get_the_same(self, stage: CacheStage) -> None:
        other = await stage.another() or stage.store
        keys = [stage.key("a"), stage.key("b")]
        found = await asyncio.gather(
            *(
                (other if number % 2 else stage.store).settle(keys, b"%d" % number, _LIFE_S)
                for number in range(24)
            )
        )
        assert len({tuple(each) for each in found}) <= 2, "each key has one, all the same"
        for number in range(2):
            assert len({each[number] for each in found}) == 1
        assert await other.get_many(keys) == found[0]

    # ------------------------------------------------------------------ several processes

    @_test
    async def test_another_process_finds_what_one_has_put_there(self, stage: CacheStage) -> None:
        other = await stage.another()
        if other is None:
            _skip("one process alone reaches this store")
            return
        await stage.set("k", b"1")
        assert await stage.get("k", other) == b"1"
        assert await other.delete([stage.key("k")]) == 1
        assert await stage.get("k") is None
        await stage.set("k", b"2")
        await stage.store.close()
        assert await stage.get("k", other) == b"2"
        await stage.store.open()
        assert await stage.get("k") == b"2"

    @_test
    async def test_a_lock_is_one_processs_until_it_is_freed_or_its_time_is_over(
        self, stage: CacheStage
    ) -> None:
        store = stage.store
        if not isinstance(store, LockingStore):
            _skip("this store has no locks")
            return
        other = await stage.another() or store
        assert isinstance(other, LockingStore)
        name = stage.key("lock")
        assert await store.lock(name, b"mine", _LIFE_S)
        assert not await other.lock(name, b"theirs", _LIFE_S)
        await other.unlock(name, b"theirs")
        assert not await other.lock(name, b"theirs", _LIFE_S), "it was not theirs to free"
        await store.unlock(name, b"mine")
        assert await other.lock(name, b"theirs", _LIFE_S)
        await stage.wait(_LIFE_S)
        assert await store.lock(name, b"mine", _LIFE_S), "whoever had it may be dead"
        tokens = [b"%d" % number for number in range(16)]
        got = await asyncio.gather(
            *(store.lock(stage.key("race"), token, _LIFE_S) for token in tokens)
        )
        assert sum(got) == 1

    @_test
    async def test_what_can_be_had_at_once_is_the_same_as_what_is_awaited(
        self, stage: CacheStage
    ) -> None:
        store = stage.store
        if not isinstance(store, LocalStore):
            _skip("this store is not in this process's memory")
            return
        store.put({stage.key("a"): b"1"}, _LIFE_S)
        await stage.set("b", b"2", _LIFE_S)
        keys = [stage.key(each) for each in "abc"]
        assert store.peek(keys) == await store.get_many(keys) == [b"1", b"2", None]
        assert store.settle_now(keys, b"3", _LIFE_S) == [b"1", b"2", b"3"]
        assert store.peek(keys) == [b"1", b"2", b"3"]
        await stage.wait(_LIFE_S)
        assert store.peek(keys) == [None, None, None]

    @_test
    async def test_opening_and_closing_twice_does_nothing(self, stage: CacheStage) -> None:
        await stage.store.open()
        await stage.store.close()
        await stage.store.close()
        await stage.store.open()
        await stage.set("k", b"1")
        assert await stage.get("k") == b"1"

    # ------------------------------------------------------------------ under a cache

    @_test
    async def test_an_invalidated_value_never_comes_back(self, stage: CacheStage) -> None:
        """Not even if the mark of its tag gets lost, and is made anew."""
        here = stage.cache()
        there = stage.cache(await stage.another() or stage.store)
        made = 0

        async def produce() -> Fill:
            nonlocal made
            made += 1
            return Fill(b"%d" % made)

        async def value(cache: Cache) -> bytes | None:
            found = await cache.get_or_fill("k", produce, ttl_s=_LIFE_S, tags=["t", "u"])
            return found.value

        assert [await value(here), await value(there)] == [b"1", b"1"]
        await there.invalidate("u")
        assert [await value(here), await value(there)] == [b"2", b"2"]
        for _ in range(3):
            assert await stage.store.delete([Names(stage.namespace).tag("u")]) == 1
            before = await value(here)
            assert before == b"%d" % made
            assert await value(there) == before
        assert made == 5

    @_test
    async def test_a_value_filled_from_before_an_invalidation_is_not_kept(
        self, stage: CacheStage
    ) -> None:
        here = stage.cache()
        there = stage.cache(await stage.another() or stage.store)
        table = [b"old"]

        async def read_slowly() -> Fill:
            read = table[0]
            table[0] = b"new"  # somebody commits,
            await there.invalidate("t")  # and says so
            return Fill(read)

        async def read() -> Fill:
            return Fill(table[0])

        first = await here.get_or_fill("k", read_slowly, ttl_s=_LIFE_S, tags=["t"])
        assert first.value == b"old", "it was asked before"
        for cache in (here, there):
            found = await cache.get_or_fill("k", read, ttl_s=_LIFE_S, tags=["t"])
            assert found.value == b"new"
