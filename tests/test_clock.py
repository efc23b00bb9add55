"""The machine's own clock keeps the promises of ``Clock``."""

import asyncio
from datetime import UTC, datetime, timedelta

from backstay.clock import Clock, SystemClock
from backstay.testing import FakeClock
from tests.support import async_test

CLOCKS: list[Clock] = [SystemClock(), FakeClock()]  # both are clocks to the type checker too


def test_now_is_the_present_in_utc() -> None:
    before = datetime.now(UTC)
    now = SystemClock().now()
    after = datetime.now(UTC)
    assert now.utcoffset() == timedelta(0)
    assert before <= now <= after


def test_monotonic_never_goes_back() -> None:
    clock = SystemClock()
    readings = [clock.monotonic() for _ in range(1000)]
    assert readings == sorted(readings)


def test_random_is_at_least_0_and_below_1() -> None:
    drawn = [SystemClock().random() for _ in range(1000)]
    assert all(0 <= number < 1 for number in drawn)
    assert len(set(drawn)) > 1


def test_new_ids_are_32_hex_digits_and_differ() -> None:
    ids = [SystemClock().new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(len(each) == 32 and set(each) <= set("0123456789abcdef") for each in ids)


@async_test
async def test_calls_come_in_the_order_of_their_delays() -> None:
    clock, made, done = SystemClock(), [], asyncio.Event()

    def last() -> None:
        made.append("last")
        done.set()

    clock.call_later(0.02, last)
    clock.call_later(0.0, lambda: made.append("first"))
    assert made == []
    await done.wait()
    assert made == ["first", "last"]


@async_test
async def test_a_cancelled_call_is_never_made() -> None:
    clock, made, done = SystemClock(), [], asyncio.Event()
    timer = clock.call_later(0.0, lambda: made.append("cancelled"))
    clock.call_later(0.01, done.set)
    timer.cancel()
    await done.wait()
    assert made == []
    timer.cancel()


@async_test
async def test_sleeping_leaves_the_event_loop_to_others() -> None:
    clock, order = SystemClock(), []

    async def sleeper() -> None:
        order.append("asleep")
        await clock.sleep(0.001)
        order.append("awake")

    sleeping = asyncio.create_task(sleeper())
    await asyncio.sleep(0)
    order.append("meanwhile")
    await sleeping
    assert order == ["asleep", "meanwhile", "awake"]
