"""Plain functions look, wait and make in their threads, and disturb no event loop."""

import asyncio
import threading

import anyio.to_thread
import pytest

from backstay.cache import Cache, Fill, Outcome
from backstay.cache.blocking import run_in_loop
from backstay.testing import FakeClock
from tests.cache.fakes import Shaky
from tests.support import async_test


def ask(
    cache: Cache, value: bytes | None = b"1", *, ttl_s: float = 10, stale_s: float = 0
) -> Outcome:
    def produce() -> Fill | None:
        return None if value is None else Fill(value)

    return cache.get_or_fill_blocking("k", produce, ttl_s=ttl_s, stale_s=stale_s, tags=["t"])


def test_in_memory_no_event_loop_is_needed() -> None:
    cache = Cache()
    assert [ask(cache).status for _ in range(2)] == ["MISS", "HIT"]
    cache.invalidate_blocking("t")
    assert ask(cache, b"2").value == b"2"
    cache.invalidate_blocking("t")
    assert (ask(cache, None).value, ask(cache, None).status) == (None, "BYPASS")
    assert cache.stats().asked == 5


@async_test
async def test_elsewhere_the_event_loop_is_asked_from_a_worker_thread() -> None:
    store = Shaky(FakeClock())
    cache = Cache(store)

    def work() -> list[str]:
        found = [ask(cache).status for _ in range(2)]
        cache.invalidate_blocking("t")
        return [*found, ask(cache).status]

    assert await anyio.to_thread.run_sync(work) == ["MISS", "HIT", "MISS"]
    store.break_down()
    assert (await anyio.to_thread.run_sync(ask, cache)).status == "BYPASS"


def test_what_is_a_little_too_old_one_makes_anew_while_others_are_given_it() -> None:
    clock = FakeClock()
    cache = Cache(clock=clock)
    ask(cache, b"old", stale_s=5)
    asyncio.run(clock.advance(11))
    began, gate = threading.Event(), threading.Event()

    def slowly() -> Fill:
        began.set()
        gate.wait(10)
        return Fill(b"new")

    first = threading.Thread(
        target=lambda: cache.get_or_fill_blocking("k", slowly, ttl_s=10, stale_s=5, tags=["t"])
    )
    first.start()
    began.wait(10)
    found = ask(cache, b"mine", stale_s=5)
    assert (found.value, found.status) == (b"old", "STALE")
    gate.set()
    first.join()
    assert ask(cache).value == b"new"


def test_a_value_invalidated_while_a_thread_makes_it_is_not_kept() -> None:
    cache = Cache()

    def produce() -> Fill:
        cache.invalidate_blocking("t")
        return Fill(b"old")

    found = cache.get_or_fill_blocking("k", produce, ttl_s=10, tags=["t"])
    assert (found.value, found.status) == (b"old", "BYPASS")
    assert cache.peek("k") is None


def test_calling_oneself_is_no_waiting_for_ever() -> None:
    cache = Cache()

    def outer() -> Fill:
        return Fill(b"outer of " + (ask(cache, b"inner").value or b""))

    found = cache.get_or_fill_blocking("k", outer, ttl_s=10, tags=["t"])
    assert found.value == b"outer of inner"


def test_a_failure_is_its_callers_alone() -> None:
    cache = Cache()

    def fail() -> Fill:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cache.get_or_fill_blocking("k", fail, ttl_s=10)
    assert cache.get_or_fill_blocking("k", lambda: Fill(b"1"), ttl_s=10).status == "MISS"


@async_test
async def test_only_worker_threads_have_a_loop_to_ask() -> None:
    async def double(number: int) -> int:
        return 2 * number

    async def fail() -> None:
        raise RuntimeError("its own")

    assert await anyio.to_thread.run_sync(run_in_loop, double, 21) == 42
    with pytest.raises(RuntimeError, match="its own"):
        await anyio.to_thread.run_sync(run_in_loop, fail)
    with pytest.raises(TypeError, match="only from a worker thread"):
        run_in_loop(double, 21)
