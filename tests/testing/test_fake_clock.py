"""A clock that stands still: every call at its time, in order, and none by itself."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st

from backstay.testing import FakeClock, running
from backstay.web import Ctx, install
from tests.support import async_test

# Sixteenths of a second are exact in binary, so that times can be compared with ``==``.
SECONDS = st.integers(0, 160).map(lambda sixteenths: sixteenths / 16)


@given(
    calls=st.lists(st.tuples(SECONDS, st.booleans(), st.none() | SECONDS), max_size=12),
    steps=st.lists(SECONDS, max_size=6),
)
@settings(deadline=None)
def test_calls_are_made_in_order_of_time_each_at_its_own_and_only_when_that_has_come(
    calls: list[tuple[float, bool, float | None]], steps: list[float]
) -> None:
    """Each call is a delay, whether it is cancelled, and the delay of a call it makes itself."""

    async def main() -> None:
        clock = FakeClock()
        due: list[tuple[float, Any]] = []
        made: list[tuple[float, Any]] = []

        def call(name: Any, then: float | None) -> None:
            made.append((clock.monotonic(), name))
            if then is not None:
                due.append((clock.monotonic() + then, (name, "then")))
                clock.call_later(then, lambda: call((name, "then"), None))

        for number, (delay, cancelled, then) in enumerate(calls):
            timer = clock.call_later(delay, lambda number=number, then=then: call(number, then))
            if cancelled:
                timer.cancel()
            else:
                due.append((delay, number))
        for step in steps:
            await clock.advance(step)
        end = sum(steps)
        assert clock.monotonic() == end
        assert clock.now() == datetime(2027, 1, 1, tzinfo=UTC) + timedelta(seconds=end)
        assert sorted(made, key=str) == sorted((each for each in due if each[0] <= end), key=str)
        assert [at for at, _ in made] == sorted(at for at, _ in made)
        assert clock.waiting == sorted(at - end for at, _ in due if at > end)

    # With no step at all not even calls that are due have been made.
    if not steps:
        calls = [each for each in calls if each[0] > 0]
    asyncio.run(main())


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0]), max_size=10))
@settings(deadline=None)
def test_calls_of_the_same_time_are_made_in_the_order_they_were_asked_for(
    delays: list[float],
) -> None:
    async def main() -> list[tuple[float, int]]:
        clock, made = FakeClock(), []
        for number, delay in enumerate(delays):
            clock.call_later(delay, lambda delay=delay, number=number: made.append((delay, number)))
        await clock.advance(2)
        return made

    assert asyncio.run(main()) == sorted((delay, number) for number, delay in enumerate(delays))


@async_test
async def test_nothing_happens_until_time_is_moved() -> None:
    clock, made = FakeClock(), []
    clock.call_later(0, lambda: made.append(1))
    for _ in range(20):
        await asyncio.sleep(0)
    assert made == []
    assert clock.now() == FakeClock().now()
    await clock.advance(0)
    assert made == [1]


def test_time_starts_where_it_is_told() -> None:
    start = datetime(2030, 6, 1, 12, tzinfo=UTC)
    assert FakeClock(start).now() == start
    assert FakeClock(start).monotonic() == 0
    assert FakeClock().now().tzinfo is UTC


def test_chance_is_what_the_test_says() -> None:
    assert [FakeClock(chance=0.25).random() for _ in range(3)] == [0.25] * 3
    assert 0 <= FakeClock().random() < 1


def test_ids_are_counted() -> None:
    clock = FakeClock()
    assert [clock.new_id() for _ in range(2)] == ["0" * 31 + "1", "0" * 31 + "2"]


@async_test
async def test_sleepers_wake_when_their_time_has_come() -> None:
    clock, awake = FakeClock(), []

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        awake.append((seconds, clock.monotonic()))

    async with asyncio.TaskGroup() as group:
        for seconds in (3, 1, 2):
            group.create_task(sleep(seconds))
        await clock.until_waiting(3)
        assert clock.waiting == [1, 2, 3]
        await clock.advance(2)
        assert [seconds for seconds, _ in awake] == [1, 2]
        assert clock.waiting == [1]
        await clock.advance(1)
    assert awake == [(1, 1), (2, 2), (3, 3)]


@async_test
async def test_consequences_of_a_call_follow_before_the_next_one() -> None:
    clock, log = FakeClock(), []

    async def twice() -> None:
        await clock.sleep(1)
        log.append(("first", clock.monotonic()))
        await clock.sleep(1)
        log.append(("second", clock.monotonic()))

    sleeping = asyncio.create_task(twice())
    await clock.until_waiting()
    clock.call_later(1.5, lambda: log.append(("between", clock.monotonic())))
    await clock.advance(10)
    await sleeping
    assert log == [("first", 1), ("between", 1.5), ("second", 2)]


@async_test
async def test_a_sleeper_that_is_cancelled_waits_no_more() -> None:
    clock = FakeClock()
    sleeping = asyncio.create_task(clock.sleep(1))
    await clock.until_waiting()
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
    assert clock.waiting == []
    await clock.advance(1)


@async_test
async def test_one_can_wait_for_somebody_to_wait() -> None:
    clock = FakeClock()
    waiting = asyncio.create_task(clock.until_waiting(2))
    clock.call_later(1, lambda: None)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    clock.call_later(1, lambda: None)
    await waiting
    await clock.until_waiting(2)


@async_test
async def test_an_app_lives_by_the_clock_it_is_given() -> None:
    app, clock = FastAPI(), FakeClock()
    install(app, clock=clock)

    @app.get("/")
    async def endpoint(ctx: Ctx) -> str:
        ctx.progress(1)
        assert ctx.latest_progress is not None
        return ctx.latest_progress.at.isoformat()

    async with running(app) as client:
        await clock.advance(60)
        answer = await client.get("/")
    assert answer.json() == "2027-01-01T00:01:00+00:00"
    assert answer.headers["X-Request-ID"].startswith("0000")


@async_test
async def test_what_polls_is_called_once_at_the_end_of_an_advance() -> None:
    clock = FakeClock()
    seen: list[float] = []

    def poll() -> None:
        seen.append(clock.monotonic())
        clock.poll_later(1, poll)

    clock.poll_later(1, poll)
    await clock.until_polling()
    await clock.advance(0.5)
    assert seen == []
    await clock.advance(1000)
    assert seen == [1000.5]
    await clock.advance(1)
    assert seen == [1000.5, 1001.5]


@async_test
async def test_a_poll_that_is_cancelled_never_comes() -> None:
    clock = FakeClock()
    clock.poll_later(1, lambda: pytest.fail("it came")).cancel()
    await clock.advance(2)
