"""What every store of state has to prove, as a class of pytest tests.

Whoever writes a store subclasses ``StateConformance`` in a test module and says how to make one;
the tests come along. ::

    pytest.register_assert_rewrite("backstay.testing.state_conformance")  # in a conftest.py

    from backstay.testing.state_conformance import StateConformance

    class TestMyStore(StateConformance):
        def new_store(self, clock):
            return MyStore("my://" + fresh_database(), clock=clock)

        def same_store(self, store, clock):      # optional, as are the rest
            return MyStore(store.url, clock=clock)

Neither plug-ins nor fixtures of pytest are needed: each test is a function that runs an event loop
of its own, twenty seconds (``patience_s``) at most. Fixtures of the subclass (``autouse``) work as
in any class.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from backstay.errors import BadState, StateUnavailable
from backstay.state.port import StateStore
from backstay.state.state import State
from backstay.testing.fake_clock import FakeClock

__all__ = ["StateConformance", "StateStage"]

Home = TypeVar("Home", bound="StateConformance")

_LIFE_S = 1000.0
_JSON: list[Any] = [
    None,
    True,
    0,
    -7,
    10**40,
    1.5,
    5e-324,
    "",
    "Grüße 👋 \x00 \ud800",
    [],
    {},
    [1, [2.0, {"a": None, "": [False]}]],
    {"é": "\u2028", "nul": "\x00"},
]
_NAMES = [
    "",
    "a",
    "a:b",
    "1:a",
    "\x00",
    "é",
    "👋",
    "\ud800",
    "\uffff",
    "{a}",
    "%",
    "*",
    "a\nb",
    "'",
]


class StateStage:
    """One test's store, open, and its clock.

    Attributes:
        clock: what the store was told to go by.
        store: the store.
        state: one scope of it.
    """

    def __init__(self, home: StateConformance) -> None:
        self.clock = FakeClock()
        self._home = home
        self._opened: list[StateStore] = []
        self.store: StateStore
        self.state: State

    async def open(self) -> None:
        """Open the store of this test."""
        self.store = self._home.new_store(self.clock)
        self._opened.append(self.store)
        await self.store.open()
        self.state = State(self.store, "scope")

    async def close(self) -> None:
        """Close every store of this test."""
        try:
            for store in reversed(self._opened):
                await store.close()
        finally:
            if self._opened:
                self._home.clean_up(self._opened[0])

    async def another(self) -> State:
        """The same scope as another process sees it; the same store if only one can reach it."""
        store = self._home.same_store(self.store, self.clock)
        if store is None:
            return self.state
        self._opened.append(store)
        await store.open()
        return State(store, "scope")

    async def almost(self, seconds: float) -> float:
        """Let nearly so much time pass; what is missing."""
        rest = max(self._home.slack_s, 0.001)
        await self.wait(seconds - rest)
        return rest

    async def wait(self, seconds: float) -> None:
        """Let time pass."""
        await self._home.pass_time(self.store, self.clock, seconds)


def _test(test: Callable[[Home, StateStage], Awaitable[None]]) -> Callable[[Home], None]:
    def run(self: Home) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(self.patience_s):
                stage = StateStage(self)
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


async def _refused(call: Awaitable[object], error: type[Exception] = BadState) -> str:
    try:
        await call
    except error as refused:
        return str(refused)
    raise AssertionError(f"this should have raised {error.__name__}")


def _skip(why: str) -> None:
    import pytest  # whoever runs this has it, and nobody else needs it

    pytest.skip(why)


class StateConformance:
    """The promises of ``backstay.state.port.StateStore``, one test each.

    To override: ``new_store`` at least; ``same_store`` for stores that others can reach;
    ``pass_time`` and ``slack_s`` for those that go by a server's clock; ``cut_connections`` for
    those that have some; ``clean_up`` for what has to be done after each test.

    Attributes:
        patience_s: seconds after which a test is failed rather than left hanging.
        slack_s: how near to the end of a value's life a test may look, in seconds. More than 0 for
            stores whose time goes on by itself.
    """

    patience_s: float = 20.0
    slack_s: float = 0.0

    def new_store(self, clock: FakeClock) -> StateStore:
        """A store in which nothing is. Not opened. Called once per test."""
        raise NotImplementedError(
            f"{type(self).__name__} has no new_store(); return a store that is not opened"
        )

    def same_store(self, store: StateStore, clock: FakeClock) -> StateStore | None:
        """One more store over the same database, as another process would make it."""
        return None

    async def pass_time(self, store: StateStore, clock: FakeClock, seconds: float) -> None:
        """Make the store believe that so much time has passed."""
        await clock.advance(seconds)

    async def cut_connections(self, store: StateStore) -> bool:
        """Have the server end every connection of the store; ``False``: there are none."""
        return False

    def clean_up(self, store: StateStore) -> None:
        """After each test, whatever came of it, with the store closed."""

    # ------------------------------------------------------------------ values

    @_test
    async def test_what_was_set_is_got_whatever_json_it_is(self, stage: StateStage) -> None:
        for number, value in enumerate(_JSON):
            await stage.state.set(f"k{number}", value)
            found = await stage.state.get(f"k{number}", "nothing")
            assert found == value
            assert type(found) is type(value)

    @_test
    async def test_a_later_set_wins(self, stage: StateStage) -> None:
        other = await stage.another()
        for value in ("one", "two", ["three"]):
            await stage.state.set("k", value)
            assert await other.get("k") == value

    @_test
    async def test_the_default_is_for_what_is_not_there(self, stage: StateStage) -> None:
        assert await stage.state.get("k") is None
        assert await stage.state.get("k", 7) == 7
        await stage.state.set("k", None)
        assert await stage.state.get("k", 7) is None

    @_test
    async def test_a_default_is_neither_stored_nor_shared(self, stage: StateStage) -> None:
        default: dict[str, list[int]] = {"seen": []}
        found = await stage.state.get("k", default)
        found["seen"].append(1)
        assert default == {"seen": []}
        assert await stage.state.get("k", default) == {"seen": []}
        assert await stage.state.keys() == []

    @_test
    async def test_changing_what_was_got_or_set_changes_nothing(self, stage: StateStage) -> None:
        value = {"a": [1]}
        await stage.state.set("k", value)
        value["a"].append(2)
        (await stage.state.get("k"))["a"].append(3)
        assert await stage.state.get("k") == {"a": [1]}

    @_test
    async def test_large_values_come_back_whole(self, stage: StateStage) -> None:
        large = "é" * 500_000
        await stage.state.set("k", large)
        assert await stage.state.get("k") == large

    # ------------------------------------------------------------------ deleting and listing

    @_test
    async def test_delete_says_whether_there_was_something(self, stage: StateStage) -> None:
        await stage.state.set("k", 1)
        assert await stage.state.delete("k") is True
        assert await stage.state.get("k") is None
        assert await stage.state.delete("k") is False

    @_test
    async def test_clear_takes_one_scope_and_counts(self, stage: StateStage) -> None:
        other = State(stage.store, "other")
        for key in ("a", "b", "c"):
            await stage.state.set(key, 1)
        await other.set("a", 2)
        assert await stage.state.clear() == 3
        assert await stage.state.keys() == []
        assert await stage.state.clear() == 0
        assert await other.get("a") == 2

    @_test
    async def test_keys_are_sorted_and_chosen_by_their_beginning(self, stage: StateStage) -> None:
        for name in _NAMES:
            await stage.state.set(name, 1)
            await stage.state.set("cart:" + name, 1)
        everything = sorted([*_NAMES, *("cart:" + name for name in _NAMES)])
        assert await stage.state.keys() == everything
        for prefix in ("cart:", "cart:a", "a", "\uffff", "\U0010ffff", "cart:\ud800"):
            assert await stage.state.keys(prefix) == [
                each for each in everything if each.startswith(prefix)
            ]

    # ------------------------------------------------------------------ scopes

    @_test
    async def test_two_scopes_never_see_each_other(self, stage: StateStage) -> None:
        pairs = [(scope, key) for scope in _NAMES for key in _NAMES]
        for number, (scope, key) in enumerate(pairs):
            await State(stage.store, scope).set(key, number)
        for number, (scope, key) in enumerate(pairs):
            assert await State(stage.store, scope).get(key) == number
        assert await State(stage.store, "a").clear() == len(_NAMES)
        assert await State(stage.store, "a:b").get("a") is not None
        assert await State(stage.store, "").keys() == sorted(_NAMES)

    @_test
    async def test_the_longest_names_are_told_apart(self, stage: StateStage) -> None:
        scope, key = "s" * 1023, "k" * 511
        await State(stage.store, scope + "1").set(key + "1", 1)
        await State(stage.store, scope + "2").set(key + "1", 2)
        await State(stage.store, scope + "1").set(key + "2", 3)
        assert await State(stage.store, scope + "1").get(key + "1") == 1
        assert await State(stage.store, scope + "2").keys("k" * 500) == [key + "1"]

    # ------------------------------------------------------------------ time

    @_test
    async def test_a_value_lives_until_its_time_is_over_and_no_longer(
        self, stage: StateStage
    ) -> None:
        other = await stage.another()
        await stage.state.set("k", "v", ttl=_LIFE_S)
        rest = await stage.almost(_LIFE_S)
        assert await other.get("k") == "v"
        assert await stage.state.keys() == ["k"]
        await stage.wait(rest)
        assert await stage.state.get("k", "gone") == "gone"
        assert await other.get("k", "gone") == "gone"
        assert await other.keys() == []

    @_test
    async def test_what_has_expired_is_as_if_it_had_never_been(self, stage: StateStage) -> None:
        for key in ("deleted", "cleared", "counted", "updated"):
            await stage.state.set(key, "old", ttl=_LIFE_S)
        await stage.wait(_LIFE_S)
        assert await stage.state.incr("counted") == 1
        assert await stage.state.update("updated", lambda value: [value], "new") == ["new"]
        assert await stage.state.delete("deleted") is False
        await stage.wait(10 * _LIFE_S)
        assert await stage.state.keys() == ["counted", "updated"], "they have no end of their own"
        assert await stage.state.clear() == 2

    @_test
    async def test_set_says_anew_how_long_a_value_lives(self, stage: StateStage) -> None:
        for key, ttl in (("longer", 2 * _LIFE_S), ("for ever", None)):
            await stage.state.set(key, 1, ttl=_LIFE_S)
            await stage.state.set(key, 2, ttl=ttl)
        await stage.state.set("shorter", 1)
        await stage.state.set("shorter", 2, ttl=_LIFE_S)
        await stage.wait(_LIFE_S)
        assert await stage.state.keys() == ["for ever", "longer"]
        await stage.wait(_LIFE_S)
        assert await stage.state.keys() == ["for ever"]

    @_test
    async def test_incr_and_update_keep_the_end_unless_told_otherwise(
        self, stage: StateStage
    ) -> None:
        async def change(key: str, **ttl: Any) -> None:
            await stage.state.set(key, 1, ttl=_LIFE_S)
            if key.startswith("i"):
                await stage.state.incr(key, **ttl)
            elif key.startswith("f"):
                await stage.state.incr(key, 0.5, **ttl)
            else:
                await stage.state.update(key, lambda value: value + 1, **ttl)

        for kind in "ifu":
            await change(f"{kind} kept")
            await change(f"{kind} longer", ttl=3 * _LIFE_S)
        await change("u for ever", ttl=None)
        await stage.wait(_LIFE_S)
        assert await stage.state.keys() == ["f longer", "i longer", "u for ever", "u longer"]
        await stage.wait(2 * _LIFE_S)
        assert await stage.state.keys() == ["u for ever"]

    @_test
    async def test_a_new_counter_lives_as_long_as_it_was_told(self, stage: StateStage) -> None:
        assert await stage.state.incr("k", ttl=_LIFE_S) == 1
        assert await stage.state.incr("k") == 2
        await stage.wait(_LIFE_S)
        assert await stage.state.incr("k") == 1

    @_test
    async def test_sweeping_forgets_what_has_expired_and_nothing_else(
        self, stage: StateStage
    ) -> None:
        other = await stage.another()
        for number in range(7):
            await State(stage.store, f"scope {number}").set("old", 1, ttl=_LIFE_S)
        await stage.state.set("again", 1, ttl=_LIFE_S)
        await stage.state.set("again", 2, ttl=3 * _LIFE_S)
        await stage.state.set("for ever", 3)
        assert await stage.store.sweep(100) == 0
        await stage.wait(_LIFE_S + 1)
        assert await stage.store.sweep(3) == 3
        swept = await asyncio.gather(*(stage.store.sweep(100) for _ in range(3)))
        assert sum(swept) == 4
        assert await other.keys() == ["again", "for ever"]
        await stage.wait(2 * _LIFE_S)
        assert await stage.store.sweep(100) == 1
        assert await other.keys() == ["for ever"]

    # ------------------------------------------------------------------ numbers

    @_test
    async def test_incr_adds_exactly(self, stage: StateStage) -> None:
        assert await stage.state.incr("k") == 1
        assert await stage.state.incr("k", 41) == 42
        assert await stage.state.incr("k", -50) == -8
        assert await stage.state.get("k") == -8
        for start in (2**53, 2**63 - 1, -(2**63), 10**30):
            await stage.state.set("large", start)
            assert await stage.state.incr("large", 1) == start + 1
            assert await stage.state.incr("large", -2) == start - 1
        assert await stage.state.incr("huge", 10**25) == 10**25

    @_test
    async def test_incr_of_floats_is_what_python_makes_of_it(self, stage: StateStage) -> None:
        assert await stage.state.incr("k", 0.1) == 0.1
        assert await stage.state.incr("k", 0.2) == 0.1 + 0.2
        assert await stage.state.incr("k", 1) == 0.1 + 0.2 + 1
        await stage.state.set("k", 1.0)
        total = await stage.state.incr("k", 1)
        assert (total, type(total)) == (2.0, float)

    @_test
    async def test_incr_refuses_what_is_no_number_and_leaves_it(self, stage: StateStage) -> None:
        for value in ("1", "1e5", True, None, [1], {"n": 1}, ""):
            await stage.state.set("k", value)
            for by in (1, 1.5):
                assert "needs a number" in await _refused(stage.state.incr("k", by))
            assert await stage.state.get("k") == value
        await stage.state.set("k", 1e308)
        await _refused(stage.state.incr("k", 1e308))
        assert await stage.state.get("k") == 1e308

    # ------------------------------------------------------------------ at the same time

    @_test
    async def test_sixty_four_at_once_lose_nothing(self, stage: StateStage) -> None:
        states = [stage.state, await stage.another()]

        async def more(number: int) -> None:
            state = states[number % 2]
            await state.incr("whole")
            await state.incr("half", 0.5)
            await state.update("list", lambda seen: [*seen, number], [])

            async def slowly(count: int) -> int:
                await asyncio.sleep(0)
                return count + 1

            if number < 16:  # nobody queues for these, so each round has one winner
                await state.update("async", slowly, 0)

        await asyncio.gather(*(more(number) for number in range(64)))
        assert await stage.state.get("whole") == 64
        assert await stage.state.get("half") == 32.0
        assert sorted(await stage.state.get("list")) == list(range(64))
        assert await stage.state.get("async") == 16

    @_test
    async def test_of_many_who_would_be_first_one_is(self, stage: StateStage) -> None:
        states = [stage.state, await stage.another()]
        wins = await asyncio.gather(
            *(states[n % 2]._store.swap(b"s", b"k", None, str(n), None) for n in range(32))
        )
        assert sum(wins) == 1
        assert await stage.store.read(b"s", b"k") == str(wins.index(True))

    @_test
    async def test_swap_sees_a_change_a_removal_and_an_end(self, stage: StateStage) -> None:
        store = stage.store
        assert await store.swap(b"s", b"k", "1", "2", None) is False
        assert await store.swap(b"s", b"k", None, "1", _LIFE_S) is True
        assert await store.swap(b"s", b"k", None, "2", None) is False
        assert await store.swap(b"s", b"k", "0", "2", None) is False
        assert await store.swap(b"s", b"k", "1", "2", ...) is True
        assert await store.read(b"s", b"k") == "2"
        await stage.wait(_LIFE_S)
        assert await store.swap(b"s", b"k", "2", "3", None) is False
        assert await store.swap(b"s", b"k", None, "3", ...) is True
        assert await store.remove(b"s", b"k") is True
        assert await store.swap(b"s", b"k", "3", "4", None) is False

    @_test
    async def test_whoever_fails_in_an_update_changes_nothing(self, stage: StateStage) -> None:
        def fail(_: object) -> None:
            raise ZeroDivisionError

        await stage.state.set("k", {"a": 1})
        await _refused(stage.state.update("k", fail), ZeroDivisionError)
        await _refused(stage.state.update("k", lambda value: value.clear() or {1: 2}))
        assert await stage.state.get("k") == {"a": 1}

    # ------------------------------------------------------------------ life

    @_test
    async def test_another_opens_what_is_there_and_closing_takes_nothing(
        self, stage: StateStage
    ) -> None:
        await stage.state.set("k", "v")
        other = await stage.another()
        if other is stage.state:
            _skip("one process alone reaches this store")
        await stage.store.close()
        assert await other.get("k") == "v"
        await stage.store.open()
        assert await stage.state.get("k") == "v"

    @_test
    async def test_a_closed_store_says_so(self, stage: StateStage) -> None:
        await stage.store.open()
        await stage.store.close()
        await stage.store.close()
        state, store = stage.state, stage.store
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: state.get("k"),
            lambda: state.set("k", 1),
            lambda: state.delete("k"),
            state.clear,
            state.keys,
            lambda: state.incr("k"),
            lambda: state.update("k", lambda value: value),
            lambda: store.sweep(1),
        ]
        for call in calls:
            assert "not open" in await _refused(call(), StateUnavailable)

    @_test
    async def test_a_lost_connection_loses_nothing_in_silence(self, stage: StateStage) -> None:
        """Each call after it is done, or says that it was not or may not have been."""
        await stage.state.set("k", 0)
        certain = possible = 0
        for _ in range(6):
            if not await self.cut_connections(stage.store):
                _skip("this store has no connections that could be lost")
            try:
                await stage.state.incr("k")
                certain += 1
            except StateUnavailable:
                possible += 1
            assert certain <= await stage.state.get("k") <= certain + possible
        await self.cut_connections(stage.store)
        await stage.state.set("k", "set")
        await self.cut_connections(stage.store)
        assert await stage.state.get("k") == "set"
