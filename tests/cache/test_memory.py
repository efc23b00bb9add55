"""The store in memory is never larger than it was told, and forgets what was used least."""

import gc
import threading
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.cache.memory import MemoryStore
from backstay.errors import BadCache
from backstay.testing import FakeClock
from tests.support import async_test


def test_what_was_not_used_for_longest_makes_room() -> None:
    store = MemoryStore(max_bytes=3000)
    for key in "abcdefgh":
        store.put({key: bytes(100)}, 10)
    store.peek(["a"])
    for key in "ijk":
        store.put({key: bytes(100)}, 10)
    found = store.peek(list("abcdefghijk"))
    assert [value is not None for value in found] == [key not in "bcd" for key in "abcdefghijk"]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 600)), max_size=50))
def test_it_is_never_larger_than_told_and_knows_its_size(steps: list[tuple[str, int]]) -> None:
    store = MemoryStore(max_bytes=2000, clock=FakeClock())
    for key, size in steps:
        store.put({key: bytes(size)}, 10)
        assert 0 <= store.size_bytes <= 2000
        assert store.size_bytes == sum(
            251 + len(value) for value in store.peek("abcdef") if value is not None
        )


def test_a_value_too_large_for_it_takes_the_old_one_with_it() -> None:
    store = MemoryStore(max_bytes=4000)
    store.put({"k": b"old", "other": b"1"}, 10)
    store.put({"k": bytes(1000)}, 10)
    assert store.peek(["k", "other"]) == [None, b"1"]


@async_test
async def test_what_expired_is_forgotten_when_somebody_looks() -> None:
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    store.put({"k": b"1"}, 10)
    await clock.advance(10)
    assert store.peek(["k"]) == [None]
    assert len(store) == store.size_bytes == 0


@async_test
async def test_closed_it_is_empty() -> None:
    store = MemoryStore()
    store.put({"k": b"1"}, 10)
    await store.close()
    assert store.peek(["k"]) == [None]


def test_the_size_it_knows_is_about_what_python_needs() -> None:
    gc.collect()
    tracemalloc.start()
    store = MemoryStore()
    for number in range(5000):
        store.put({f"namespace:k:{number}": b"%0200d" % number}, 10)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < store.size_bytes * 1.3


@pytest.mark.parametrize("size", [0, -1, 1.5, True, None], ids=repr)
def test_a_size_is_a_number_of_bytes(size: int) -> None:
    with pytest.raises(BadCache, match="max_bytes= is a number of bytes"):
        MemoryStore(max_bytes=size)


def test_threads_may_use_it_at_once() -> None:
    store = MemoryStore(max_bytes=20_000)

    def work(number: int) -> None:
        for step in range(500):
            store.put({f"{step % 50}": b"%d" % number}, 10)
            store.peek([f"{step % 40}"])
            store.settle_now([f"s{step % 9}"], b"%d" % number, 10)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.size_bytes == sum(
        len(key) + len(value) + 250 for key, (value, _) in store._entries.items()
    )
