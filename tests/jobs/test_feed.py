"""Many listen, one asks."""

import asyncio
import logging
import signal
from contextlib import ExitStack

import pytest

from backstay.jobs.feed import JobFeed, Listener
from backstay.ledger import JobRow, State
from backstay.testing import FakeClock
from tests.cli.shelf import Shelf, a_job
from tests.support import async_test


class Desk:
    """A feed of a shelf, and the time between its questions."""

    def __init__(self, *rows: JobRow, poll_s: tuple[float, float] = (0.2, 2.0)) -> None:
        self.shelf = Shelf(*rows)
        self.clock = FakeClock()
        self.feed = JobFeed(self.shelf.awake, self.clock, poll_s=poll_s)

    async def pass_time(self, seconds: float) -> None:
        """In steps, so that what happens in one can have consequences in the next."""
        for _ in range(10):
            for _ in range(20):
                await asyncio.sleep(0)
            await self.clock.advance(seconds / 10)


async def heard(listener: Listener) -> JobRow | str | None:
    """What is known already: without waiting."""
    return await asyncio.wait_for(listener.hear(1e9), 1.0)


@async_test
async def test_listeners_hear_of_changes_and_of_nothing_else() -> None:
    row, other = a_job(1, state=State.RUNNING), a_job(2, state=State.RUNNING)
    desk = Desk(row, other)
    with desk.feed.listen(row) as listener, desk.feed.listen(other) as silent:
        done = desk.shelf.put(row, state=State.SUCCEEDED)
        await desk.pass_time(1)
        assert await heard(listener) == done
        hearing = asyncio.create_task(silent.hear(5.0))
        await desk.pass_time(10)
        assert await hearing is None


@async_test
async def test_a_job_that_is_deleted_is_gone() -> None:
    row = a_job(state=State.RUNNING)
    desk = Desk(row)
    with desk.feed.listen(row) as listener:
        desk.shelf.rows.clear()
        await desk.pass_time(1)
        assert await heard(listener) == "gone"


@async_test
async def test_a_feed_forgets_listeners_that_have_left() -> None:
    row = a_job(state=State.RUNNING)
    feed = Desk(row).feed
    with feed.listen(row), feed.listen(row):
        assert feed.listeners == 2
    assert feed.listeners == 0
    with feed.listen(a_job(2, state=State.SUCCEEDED)):
        assert feed.listeners == 0, "a finished job is nothing to ask about"


@async_test
async def test_nothing_is_asked_while_nobody_listens() -> None:
    row = a_job(state=State.RUNNING)
    desk = Desk(row)
    await desk.pass_time(10)
    assert desk.shelf.asked == []
    with desk.feed.listen(row):
        await desk.pass_time(1)
        assert desk.shelf.asked
    asked = len(desk.shelf.asked)
    await desk.pass_time(10)
    assert len(desk.shelf.asked) == asked


@async_test
async def test_one_question_is_asked_for_five_hundred_jobs() -> None:
    rows = [a_job(n, state=State.RUNNING) for n in range(1, 1201)]
    desk = Desk(*rows)
    with ExitStack() as stack:
        for row in rows:
            stack.enter_context(desk.feed.listen(row))
        while len(desk.shelf.asked) < 3:
            await desk.pass_time(0.1)
        assert [len(each) for each in desk.shelf.asked[:3]] == [500, 500, 200]


@async_test
async def test_an_outage_is_told_once_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    row = a_job(state=State.RUNNING)
    desk = Desk(row)
    caplog.set_level(logging.WARNING, "backstay.jobs")
    with desk.feed.listen(row) as listener:
        desk.shelf.break_down()
        await desk.pass_time(30)
        assert len(caplog.records) == 1
        desk.shelf.broken = None
        done = desk.shelf.put(row, state=State.SUCCEEDED)
        await desk.pass_time(10)
        assert await heard(listener) == done


@async_test
async def test_a_bug_reaches_every_listener() -> None:
    rows = [a_job(n, state=State.RUNNING) for n in (1, 2)]
    desk = Desk(*rows)
    desk.shelf.broken = ZeroDivisionError("a bug")
    with desk.feed.listen(rows[0]) as one, desk.feed.listen(rows[1]) as two:
        await desk.pass_time(1)
        for listener in (one, two):
            with pytest.raises(ZeroDivisionError):
                await heard(listener)


@async_test
async def test_listeners_hear_that_the_process_is_stopping() -> None:
    numbers: list[int] = []
    previous = signal.signal(signal.SIGTERM, lambda number, _: numbers.append(number))
    try:
        row = a_job(state=State.RUNNING)
        with Desk(row).feed.listen(row) as listener:
            signal.raise_signal(signal.SIGTERM)
            assert await heard(listener) == "stopping"
    finally:
        signal.signal(signal.SIGTERM, previous)
