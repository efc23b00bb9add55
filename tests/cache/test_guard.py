"""A store that fails costs one attempt now and then, and a line in the log."""

import asyncio
import logging

import pytest

from backstay.cache.guard import Guard, StoreSilent
from backstay.errors import CacheError
from backstay.testing import FakeClock
from tests.cache.fakes import Shaky
from tests.support import async_test


def guarded(clock: FakeClock, *, timeout_s: float = 5.0) -> tuple[Shaky, Guard]:
    store = Shaky(clock)
    return store, Guard(store, clock, timeout_s=timeout_s, retry_after_s=1.0)


async def ask(guard: Guard) -> object:
    try:
        return await guard.ask(lambda: guard.store.get_many(["k"]), "reading")
    except StoreSilent:
        return "silent"


@async_test
async def test_the_store_is_opened_once_when_it_is_first_needed() -> None:
    store, guard = guarded(FakeClock())
    assert await asyncio.gather(*(ask(guard) for _ in range(5))) == [[None]] * 5
    assert store.calls == ["open", *["get_many"] * 5]


@async_test
async def test_after_a_failure_nobody_asks_for_a_while_and_then_one_does() -> None:
    clock = FakeClock()
    store, guard = guarded(clock)
    store.break_down()
    assert [await ask(guard) for _ in range(3)] == ["silent"] * 3
    assert store.calls == ["open"]
    assert guard.is_silent
    await clock.advance(1)
    assert await asyncio.gather(*(ask(guard) for _ in range(5))) == ["silent"] * 5
    assert store.calls == ["open"] * 2
    store.error = None
    await clock.advance(1)
    assert await ask(guard) == [None]
    assert not guard.is_silent


@async_test
async def test_while_one_asks_whether_it_is_back_the_others_do_not() -> None:
    clock = FakeClock()
    store, guard = guarded(clock)
    await ask(guard)
    store.break_down()
    await ask(guard)
    await clock.advance(1)
    store.calls.clear()
    store.hang = asyncio.Event()
    asking = [asyncio.create_task(ask(guard)) for _ in range(5)]
    for _ in range(3):
        await asyncio.sleep(0)
    store.hang.set()
    assert await asyncio.gather(*asking) == ["silent"] * 5
    assert store.calls == ["get_many"]


@async_test
async def test_no_answer_in_time_is_a_failure() -> None:
    store, guard = guarded(FakeClock(), timeout_s=0.02)
    await ask(guard)
    store.hang = asyncio.Event()
    assert await ask(guard) == "silent"
    assert guard.is_silent


@pytest.mark.parametrize(
    "error", [CacheError("too large"), ValueError("no"), KeyError("k")], ids=repr
)
def test_an_error_about_one_call_keeps_nobody_else_from_asking(error: Exception) -> None:
    @async_test
    async def run() -> None:
        store, guard = guarded(FakeClock())
        await ask(guard)
        store.error = error
        assert await ask(guard) == "silent"
        assert not guard.is_silent
        store.error = None
        assert await ask(guard) == [None]

    run()


@async_test
async def test_whoever_asks_first_may_leave_and_the_others_still_get_an_open_store() -> None:
    store, guard = guarded(FakeClock())
    store.hang = asyncio.Event()
    first, second = asyncio.create_task(ask(guard)), asyncio.create_task(ask(guard))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    store.hang.set()
    assert await second == [None]
    assert store.calls.count("open") == 1


@async_test
async def test_an_outage_is_logged_once_in_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    store, guard = guarded(clock)
    store.break_down()
    with caplog.at_level(logging.WARNING, logger="backstay.cache"):
        for _ in range(11):
            await ask(guard)
            await clock.advance(1)
    assert len(caplog.records) == 2
    message = caplog.messages[0]
    assert message.startswith("reading the cache at shaky:// failed, and the work goes on without")
    assert message.endswith("CacheUnavailable: nobody there")


@async_test
async def test_closed_it_is_opened_again_for_whoever_asks() -> None:
    store, guard = guarded(FakeClock())
    await ask(guard)
    await guard.close()
    assert store.opened == 0
    assert await ask(guard) == [None]
    assert store.opened == 1


def test_another_event_loop_gets_the_store_opened_for_itself() -> None:
    store, guard = guarded(FakeClock())
    for _ in range(3):
        assert asyncio.run(ask(guard)) == [None]
    assert store.calls == ["open", "get_many"] * 3


def test_a_store_in_memory_keeps_what_it_has_for_the_next_event_loop() -> None:
    clock = FakeClock()
    store = Shaky(clock).inner
    guard = Guard(store, clock, timeout_s=1, retry_after_s=1)

    async def put() -> None:
        await guard.ask(lambda: store.set("k", b"1", 10), "writing to")

    asyncio.run(put())
    assert asyncio.run(ask(guard)) == [b"1"]


@async_test
async def test_a_cancelled_caller_is_cancelled_and_no_failure() -> None:
    store, guard = guarded(FakeClock())
    await ask(guard)
    store.hang = asyncio.Event()
    task = asyncio.create_task(ask(guard))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not guard.is_silent


@async_test
async def test_closing_a_store_that_cannot_be_closed_is_no_error() -> None:
    store, guard = guarded(FakeClock())
    await ask(guard)

    async def fail() -> None:
        raise OSError("gone")

    store.close = fail  # type: ignore[method-assign]  # as it happens with servers that are gone
    await guard.close()
