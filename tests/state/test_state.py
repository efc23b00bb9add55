"""``State``: what is the same whatever the store is."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from backstay.errors import BadState, StateError
from backstay.state import State, open_store
from backstay.state.memory import MemoryStore
from backstay.testing import FakeClock
from tests.support import async_test


@asynccontextmanager
async def a_state(**options: Any) -> AsyncIterator[State]:
    store = await open_store("memory://", clock=FakeClock())
    try:
        yield State(store, "scope", **options)
    finally:
        await store.close()


@async_test
async def test_what_cannot_be_stored_leaves_what_was_there() -> None:
    async with a_state(max_value_bytes=20) as state:
        await state.set("k", "old")
        for value in ((1,), {1: 2}, b"x", float("nan"), "x" * 19):
            with pytest.raises(BadState):
                await state.set("k", value)
            with pytest.raises(BadState):
                await state.update("k", lambda _, new=value: new)
        with pytest.raises(BadState, match="ttl="):
            await state.set("k", 1, ttl=0)
        assert await state.get("k") == "old"


@pytest.mark.parametrize("key", [1, None, b"k", "x" * 513])
@async_test
async def test_every_method_refuses_what_is_no_key(key: Any) -> None:
    async with a_state() as state:
        for call in (
            state.get(key),
            state.set(key, 1),
            state.delete(key),
            state.incr(key),
            state.update(key, lambda value: value),
            state.keys(key),
        ):
            with pytest.raises(BadState, match="a state's "):
                await call


@async_test
async def test_a_default_of_any_kind_may_be_given() -> None:
    async with a_state() as state:
        marker = object()
        assert await state.get("k", marker) is marker
        nested = {"a": [{1}]}
        found = await state.get("k", nested)
        found["a"][0].add(2)
        assert nested == {"a": [{1}]}


@async_test
async def test_update_gives_its_function_a_default_of_its_own() -> None:
    async with a_state() as state:
        default: list[int] = []

        def add(seen: list[int]) -> list[int]:
            seen.append(1)
            return seen

        assert await state.update("k", add, default) == [1]
        assert await state.update("k", add, default) == [1, 1]
        assert default == []


@async_test
async def test_an_async_function_runs_again_if_somebody_was_faster() -> None:
    async with a_state() as state:
        seen = []

        async def slow(value: int) -> int:
            seen.append(value)
            if len(seen) == 1:
                await state.set("k", 10)
            return value + 1

        assert await state.update("k", slow, 0) == 11
        assert seen == [0, 10]


@async_test
async def test_a_function_that_changes_its_own_value_ends_in_an_error_and_not_in_a_hang() -> None:
    async with a_state() as state:

        async def change(value: int) -> int:
            await state.incr("k")
            return value

        with pytest.raises(StateError, match="overtaken 1000 times"):
            await state.update("k", change, 0)
        assert await state.get("k") == 1000


@async_test
async def test_a_function_may_update_other_values() -> None:
    async with a_state() as state:

        async def move(value: int) -> int:
            await state.update("other", lambda other: other + value, 0)
            return 0

        await state.set("k", 5)
        assert await state.update("k", move) == 0
        assert await state.get("other") == 5


@async_test
async def test_a_coroutine_is_no_function() -> None:
    async with a_state() as state:

        async def change(value: Any) -> Any:
            return value

        with pytest.raises(TypeError, match="has been called already"):
            await state.update("k", change(1))  # type: ignore[arg-type]  # that is the mistake


@pytest.mark.parametrize("by", ["1", None, True, float("nan"), float("inf"), [1]])
@async_test
async def test_incr_adds_numbers_only(by: Any) -> None:
    async with a_state() as state:
        with pytest.raises(BadState, match="by=\\) is a finite number"):
            await state.incr("k", by)
        assert await state.keys() == []


@async_test
async def test_a_sum_beyond_the_size_of_values_is_refused() -> None:
    async with a_state(max_value_bytes=30) as state:
        await state.set("k", 10**29)
        with pytest.raises(BadState, match="30 is the limit"):
            await state.incr("k", 10**30)
        assert await state.get("k") == 10**29


@async_test
async def test_an_int_that_no_float_can_hold_is_not_added_to_one() -> None:
    async with a_state() as state:
        await state.set("k", 10**400)
        with pytest.raises(BadState, match="beyond every float"):
            await state.incr("k", 0.5)


@async_test
async def test_a_scope_by_name_is_shared_by_whoever_names_it() -> None:
    async with a_state() as state:
        await state.scope("room").set("k", 1)
        assert await state.scope("other").scope("room").get("k") == 1
        assert await State.named(state._store, "room").get("k") == 1
        assert await state.get("k") is None
        assert await state.scope("other").get("k") is None


@async_test
async def test_no_name_leads_to_a_scope_that_is_somebody_s() -> None:
    """A name may come from a client."""
    async with a_state() as state:
        private = State(state._store, "widget:shop|ali")
        await private.set("k", "secret")
        for name in ("widget:shop|ali", "named:widget:shop|ali", "", "../widget:shop|ali"):
            assert await state.scope(name).get("k") is None
            await state.scope(name).clear()
        assert await private.get("k") == "secret"


@pytest.mark.parametrize("name", [1, None, b"x", "x" * 1024])
@async_test
async def test_a_scope_s_name_is_text_of_some_length(name: Any) -> None:
    async with a_state() as state:
        with pytest.raises(BadState, match="scope"):
            state.scope(name)


@async_test
async def test_a_timedelta_will_do_for_seconds() -> None:
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    await store.open()
    state = State(store, "s")
    await state.set("k", 1, ttl=timedelta(minutes=1))
    await clock.advance(59.999)
    assert await state.get("k") == 1
    await clock.advance(0.001)
    assert await state.get("k") is None


@async_test
async def test_many_sync_updates_run_their_function_once_each() -> None:
    async with a_state() as state:
        ran = 0

        def count(value: int) -> int:
            nonlocal ran
            ran += 1
            return value + 1

        await asyncio.gather(*(state.update("k", count, 0) for _ in range(64)))
        assert (ran, await state.get("k")) == (64, 64)
        gc.collect()
        assert len(state._turns) == 0


@async_test
async def test_its_repr_shows_the_scope_and_no_password() -> None:
    async with a_state() as state:
        assert repr(state) == "<State 'scope' in memory://>"


@async_test
async def test_nothing_outlives_the_time_that_is_kept_at_most_after_its_last_change() -> None:
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    await store.open()
    state = State(store, "visitor", keep_s=10)
    await state.set("set", 1)
    await state.set("longer", 1, ttl=100)
    await state.set("shorter", 1, ttl=2)
    await state.incr("counted")
    await state.update("updated", lambda value: 1)
    await clock.advance(3)
    assert await state.keys() == ["counted", "longer", "set", "updated"]
    await state.incr("counted")
    await state.update("updated", lambda value: value + 1)
    await clock.advance(8)
    assert await state.keys() == ["counted", "updated"]
    await clock.advance(3)
    assert await state.keys() == []
    await store.close()
