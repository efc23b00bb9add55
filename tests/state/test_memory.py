"""The store in memory leaves nothing behind."""

import pytest

from backstay.errors import StateUnavailable
from backstay.state.memory import MemoryStore
from backstay.testing import FakeClock
from tests.support import async_test


@async_test
async def test_closing_forgets_everything() -> None:
    store = MemoryStore(clock=FakeClock())
    await store.open()
    await store.write(b"s", b"k", "1", 60)
    await store.close()
    with pytest.raises(StateUnavailable, match="not open"):
        await store.read(b"s", b"k")
    await store.open()
    assert await store.read(b"s", b"k") is None
    assert await store.sweep(10) == 0


@async_test
async def test_a_value_set_again_and_again_leaves_no_trace_of_each_time() -> None:
    store = MemoryStore(clock=FakeClock())
    await store.open()
    for number in range(10_000):
        await store.write(b"s", b"k", "1", 60 + number)
    assert len(store._due) < 1100
    for number in range(3000):
        await store.write(b"s", b"%d" % number, "1", 60)
        await store.remove(b"s", b"%d" % number)
    assert len(store._due) < 1100


@async_test
async def test_scopes_that_are_empty_are_forgotten() -> None:
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    await store.open()
    for number in range(10):
        await store.write(b"%d" % number, b"k", "1", 60 if number % 2 else None)
        if not number % 2:
            await store.remove(b"%d" % number, b"k")
    await clock.advance(60)
    assert await store.sweep(100) == 5
    assert store._scopes == {}


@async_test
async def test_expiry_is_exact_to_the_microsecond_on_the_clock_it_was_given() -> None:
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    await store.open()
    await store.write(b"s", b"k", "1", 1.0)
    await clock.advance(0.999999)
    assert await store.read(b"s", b"k") == "1"
    await clock.advance(0.000001)
    assert await store.read(b"s", b"k") is None
