"""Events that are kept so that a client can have them again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.server.streamable_http import EventMessage
from mcp_types import JSONRPCNotification

from backstay.widgets.event_store import MemoryEventStore
from tests.support import async_test


def note(number: int) -> JSONRPCNotification:
    return JSONRPCNotification(jsonrpc="2.0", method=f"n/{number}")


async def after(store: MemoryEventStore, event_id: str) -> tuple[str | None, list[str]]:
    again: list[str] = []

    async def take(event: EventMessage) -> None:
        assert isinstance(event.message, JSONRPCNotification)
        again.append(event.message.method)

    return await store.replay_events_after(event_id, take), again


@async_test
async def test_what_came_after_an_event_on_its_stream_comes_again_in_order() -> None:
    store = MemoryEventStore()
    first = await store.store_event("a", None)
    second = await store.store_event("a", note(1))
    await store.store_event("b", note(2))
    third = await store.store_event("a", note(3))
    assert await after(store, first) == ("a", ["n/1", "n/3"])
    assert await after(store, second) == ("a", ["n/3"])
    assert await after(store, third) == ("a", [])


@async_test
async def test_the_name_of_a_stream_may_have_dots() -> None:
    store = MemoryEventStore()
    first = await store.store_event("a.b.c", None)
    await store.store_event("a.b.c", note(1))
    assert await after(store, first) == ("a.b.c", ["n/1"])


@async_test
async def test_only_the_latest_events_of_the_latest_streams_are_kept() -> None:
    store = MemoryEventStore(per_stream=2, streams=2)
    first = await store.store_event("a", note(1))
    for number in (2, 3, 4):
        await store.store_event("a", note(number))
    assert await after(store, first) == ("a", ["n/3", "n/4"])
    await store.store_event("b", note(5))
    await store.store_event("c", note(6))
    assert await after(store, first) == (None, [])


@pytest.mark.parametrize(
    "event_id", ["", "1", "1.nobody", "x.a", "-1.a", "1e3.a", "9" * 5000 + ".a", "².a"]
)
@async_test
async def test_an_event_that_is_none_gives_nothing(event_id: str) -> None:
    store = MemoryEventStore()
    await store.store_event("a", note(1))
    assert await after(store, event_id) == (None, [])


@given(st.text(max_size=40))
def test_whatever_a_client_names_is_an_event_or_is_none(event_id: str) -> None:
    @async_test
    async def ask() -> None:
        store = MemoryEventStore()
        await store.store_event("a", note(1))
        stream, _ = await after(store, event_id)
        assert stream in {None, "a"}

    ask()
