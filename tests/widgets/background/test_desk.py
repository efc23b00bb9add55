"""Tasks asked about where they are kept, without the protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from backstay.jobs.durable import DurableScheduler
from backstay.jobs.part import DurablePart
from backstay.ledger.rows import JobFilter
from backstay.widgets.background.desk import TaskDesk, TaskView, clip_ttl_ms
from backstay.widgets.background.record import TaskRecords
from tests.support import async_test
from tests.widgets.background.errands import Errands
from tests.widgets.background.test_job import work_of

ADA = ("user", None, "ada")
NAMES = {key: {"action": "accept", "content": {"name": key}} for key in ("you", "that")}


class Desk:
    """The tasks of a running app."""

    def __init__(self, errands: Errands) -> None:
        self.errands = errands
        app = errands.server.app
        state = app.part("state")
        self.records = TaskRecords(lambda: state.state("tasks of the test"))  # type: ignore[attr-defined]  # a StatePart
        self.desk = TaskDesk(app, self.records)
        part = app.part(DurablePart.attribute)
        assert isinstance(part, DurablePart)
        self.part = part

    async def make(self, tool: str, **arguments: Any) -> TaskView:
        return await self.desk.make(
            work_of(tool, **arguments), owner=ADA, ttl_ms=60_000, correlation_id="a-request"
        )

    async def until(self, view: TaskView, status: str) -> TaskView:
        while view.status != status:
            found = await self.desk.find(view.record.id, ADA)
            assert found is not None
            view = found
            await asyncio.sleep(0.01)
        return view

    async def jobs(self) -> int:
        return len(await (await self.part.awake()).find(JobFilter()))


@asynccontextmanager
async def open_desk() -> AsyncIterator[Desk]:
    errands = Errands()
    async with errands.open():
        yield Desk(errands)


@async_test
async def test_a_task_can_be_asked_about_as_soon_as_it_is_made() -> None:
    async with open_desk() as desk:
        made = await desk.make("wait")
        found = await desk.desk.find(made.record.id, ADA)
        assert found is not None
        assert found.status == "working"
        desk.errands.may_end.set()


@pytest.mark.parametrize(
    "owner", [(), ("user", None, "ben"), ("user", "x", "ada"), ("session", "a")]
)
@async_test
async def test_nobody_but_its_owner_finds_it(owner: tuple[str | None, ...]) -> None:
    async with open_desk() as desk:
        made = await desk.make("echo", text="")
        assert await desk.desk.find(made.record.id, owner) is None


@async_test
async def test_waiting_ends_with_the_task_or_with_a_question() -> None:
    async with open_desk() as desk:
        done = await desk.desk.wait(await desk.make("echo", text="hello"))
        assert done is not None
        assert done.status == "completed"
        asks = await desk.desk.wait(await desk.make("introduce"))
        assert asks is not None
        assert asks.status == "input_required"


@async_test
async def test_the_same_answers_twice_make_one_more_job_and_not_two() -> None:
    async with open_desk() as desk:
        view = await desk.until(await desk.make("introduce"), "input_required")
        await asyncio.gather(*(desk.desk.answer(view, NAMES) for _ in range(5)))
        await desk.until(view, "completed")
        assert await desk.jobs() == 2


@async_test
async def test_a_task_goes_on_if_whoever_had_the_last_answer_died_before_saying_so() -> None:
    async with open_desk() as desk:
        view = await desk.until(await desk.make("introduce"), "input_required")
        # Its last act: the answers are written, and the job that goes on with them is not.
        await desk.records.change(view.record, lambda latest: replace(latest, answered=NAMES))
        done = await desk.until(view, "completed")
        assert done.result is not None
        assert done.result["content"][0]["text"] == "you meets that"
        assert await desk.jobs() == 2


@async_test
async def test_answers_to_a_task_that_asks_nothing_are_left_aside() -> None:
    async with open_desk() as desk:
        view = await desk.until(await desk.make("echo", text=""), "completed")
        await desk.desk.answer(view, NAMES)
        assert await desk.jobs() == 1


@async_test
async def test_a_task_that_waits_for_an_answer_can_be_cancelled() -> None:
    async with open_desk() as desk:
        view = await desk.until(await desk.make("introduce"), "input_required")
        assert (await desk.desk.cancel(view)).status == "cancelled"
        await desk.desk.answer(view, NAMES)
        found = await desk.desk.find(view.record.id, ADA)
        assert found is not None
        assert found.status == "cancelled"
        assert await desk.jobs() == 1


@async_test
async def test_cancelling_what_has_ended_changes_nothing() -> None:
    async with open_desk() as desk:
        view = await desk.until(await desk.make("echo", text=""), "completed")
        assert await desk.desk.cancel(view) == view


@async_test
async def test_a_job_cancelled_by_the_app_is_a_cancelled_task() -> None:
    async with open_desk() as desk:
        view = await desk.make("wait")
        await desk.errands.begun.wait()
        ctx = desk.errands.server.app.open("script")  # type: ignore[arg-type]  # an origin's value
        await DurableScheduler(desk.part, ctx).job(view.record.job).cancel()
        assert (await desk.until(view, "cancelled")).ended


@async_test
async def test_a_task_whose_job_was_pruned_is_unknown() -> None:
    async with open_desk() as desk:
        view = await desk.until(await desk.make("echo", text=""), "completed")
        await (await desk.part.awake()).delete(JobFilter())
        assert await desk.desk.find(view.record.id, ADA) is None


def test_a_task_is_kept_for_a_minute_to_a_week_and_a_day_if_nobody_says() -> None:
    assert clip_ttl_ms(None) == 86_400_000
    assert clip_ttl_ms(-5) == clip_ttl_ms(0) == 60_000
    assert clip_ttl_ms(90_000) == 90_000
    assert clip_ttl_ms(10**15) == 7 * 86_400_000
