"""One attempt as the job itself sees it: ``ctx.job``, its moments, and what waits for them."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI

from backstay import Moment, Origin, current_context
from backstay.context import Context
from backstay.errors import ContextClosed
from backstay.jobs.part import DurablePart
from backstay.jobs.run import JobRun
from backstay.ledger.rows import NewJob
from backstay.tasks import Job, Retry, Snooze, State, add_tasks, task
from backstay.testing import FakeClock, RunningApp, enqueued, running
from backstay.web import install
from tests.support import async_test

ONCE = Retry(attempts=1)


def make_app(clock: FakeClock | None = None, **options: Any) -> FastAPI:
    app = FastAPI()
    install(app, clock=clock)
    add_tasks(app, database="memory://", **options)
    return app


def part_of(client: RunningApp) -> DurablePart:
    part = client.ctx.app.part("durable")
    assert isinstance(part, DurablePart)
    return part


@async_test
async def test_a_job_knows_who_it_is() -> None:
    seen: list[JobRun] = []

    @task(queue="mail", retry=Retry(attempts=4))
    async def look(ctx: Context) -> None:
        assert ctx.origin is Origin.JOB
        assert ctx.moment is Moment.OPENED
        assert current_context() is ctx
        seen.append(ctx.job)

    async with running(make_app()) as client:
        job = await client.durable.enqueue(look)
        await job.wait()
        [run] = seen
        assert (run.id, run.name, run.queue) == (job.id, look.name, "mail")
        assert (run.attempt, run.max_attempts) == (1, 4)
        assert isinstance(run.created_at, datetime)
        assert run.handle.id == job.id
        assert (await run.handle.status()).state is State.SUCCEEDED
        assert repr(run) == f"<attempt 1 of job {job.id} of {look.name}>"


@async_test
async def test_attempts_are_counted_and_the_correlation_id_stays() -> None:
    seen: list[tuple[int, str]] = []

    @task(retry=Retry(attempts=3, base_s=0, jitter=False))
    async def fail(ctx: Context) -> None:
        seen.append((ctx.job.attempt, ctx.correlation_id))
        raise ConnectionError

    async with running(make_app()) as client:
        await (await client.durable.enqueue(fail)).wait()
    assert [attempt for attempt, _ in seen] == [1, 2, 3]
    assert len({correlation for _, correlation in seen}) == 1


@pytest.mark.parametrize("meta", ["{}", '{"correlation": 7}', '{"other": 1}'])
def test_a_row_without_a_correlation_id_gets_one_from_its_own(meta: str) -> None:
    @async_test
    async def check() -> None:
        seen: list[str] = []

        @task(name="tests.run.look")
        async def look(ctx: Context) -> None:
            seen.append(ctx.correlation_id)

        async with running(make_app()) as client:
            part_of(client).registry.add(look)
            new = NewJob(uuid4(), look.name, meta=meta)
            await part_of(client).ledger.insert([new])
            await client.drain()
            assert seen == [new.id.hex]

    check()


@async_test
async def test_its_moments_come_when_it_has_returned_and_when_its_end_is_recorded() -> None:
    moments: list[tuple[str, bool]] = []

    @task(retry=ONCE)
    async def work(fails: bool, ctx: Context) -> None:
        ctx.at(Moment.RETURNED, lambda ok: moments.append(("returned", ok)))
        ctx.at(Moment.ANSWERED, lambda ok: moments.append(("answered", ok)))
        ctx.at(Moment.CLOSED, lambda ok: moments.append(("closed", ok)))
        if fails:
            raise LookupError

    async with running(make_app()) as client:
        await (await client.durable.enqueue(work, False)).wait()
        await client.drain()
        assert moments == [("returned", True), ("answered", True), ("closed", True)]
        moments.clear()
        await (await client.durable.enqueue(work, True)).wait()
        await client.drain()
        assert moments == [("returned", False), ("answered", False), ("closed", False)]


@async_test
async def test_in_process_tasks_of_a_job_wait_for_its_success() -> None:
    ran: list[str] = []

    async def note(text: str) -> None:
        ran.append(text)

    @task(retry=ONCE)
    async def work(fails: bool, ctx: Context) -> None:
        ctx.tasks.after_route.schedule(note, "returned")
        ctx.tasks.after_response.schedule(note, "answered")
        ctx.tasks.after_response.task(when="failure").schedule(note, "failed")
        if fails:
            raise LookupError

    async with running(make_app()) as client:
        await (await client.durable.enqueue(work, False)).wait()
        await client.tasks.settle()
        assert sorted(ran) == ["answered", "returned"]
        ran.clear()
        await (await client.durable.enqueue(work, True)).wait()
        await client.tasks.settle()
        assert ran == ["failed"]


@async_test
async def test_a_held_task_that_fails_fails_the_job() -> None:
    async def held() -> None:
        raise LookupError

    @task(retry=ONCE)
    async def work(ctx: Context) -> None:
        ctx.tasks.after_route.task(wait=True).schedule(held)

    async with running(make_app()) as client:
        status = await (await client.durable.enqueue(work)).wait()
        assert status.state is State.DISCARDED
        assert status.error is not None
        assert status.error["type"] == "HeldTaskFailed"


@async_test
async def test_a_job_without_parents_has_none() -> None:
    counts: list[int] = []

    @task
    async def look(ctx: Context) -> None:
        counts.append(len(await ctx.job.parents()))

    async with running(make_app()) as client:
        await (await client.durable.enqueue(look)).wait()
    assert counts == [0]


@async_test
async def test_parents_that_failed_can_be_asked_why() -> None:
    seen: list[str] = []

    @task(retry=ONCE)
    async def fail() -> None:
        raise ConnectionError("no route")

    @task
    async def clean_up(ctx: Context) -> None:
        for parent in await ctx.job.parents():
            status = await parent.status()
            assert status.error is not None
            seen.append(status.error["message"])

    async with running(make_app()) as client:
        parent = await client.durable.enqueue(fail)
        child = await client.durable.task(after=parent, on_parent_failure="run").enqueue(clean_up)
        assert (await child.wait()).state is State.SUCCEEDED
    assert seen == ["no route"]


@async_test
async def test_schedule_after_the_job_is_over_is_refused() -> None:
    kept: list[Context] = []

    @task
    async def child() -> None: ...

    @task
    async def work(ctx: Context) -> None:
        kept.append(ctx)

    async with running(make_app()) as client:
        await (await client.durable.enqueue(work)).wait()
        await client.drain()
        with pytest.raises(ContextClosed, match="await tasks.durable.enqueue"):
            kept[0].durable.schedule(child)
        assert await enqueued(client, child) == []


@async_test
async def test_a_durable_kept_beyond_its_job_loses_nothing_without_a_word() -> None:
    kept: list[Any] = []

    @task
    async def child() -> None: ...

    @task
    async def work(ctx: Context) -> None:
        kept.append(ctx.durable)
        ctx.durable.schedule(child)

    async with running(make_app()) as client:
        await (await client.durable.enqueue(work)).wait()
        await client.drain()
        with pytest.raises(ContextClosed):
            kept[0].schedule(child)
        assert len(await enqueued(client, child)) == 1


@async_test
async def test_a_job_started_beside_another_schedules_with_its_own_completion_only() -> None:
    """A task the job starts in the process outlives it; what that schedules is its own."""
    release = asyncio.Event()
    told: list[str] = []

    @task
    async def child(number: int) -> None: ...

    async def beside() -> None:
        await release.wait()
        current_context().durable.schedule(child, 2)
        told.append("scheduled")

    @task
    async def work(ctx: Context) -> None:
        ctx.durable.schedule(child, 1)
        ctx.tasks.schedule(beside)

    async with running(make_app()) as client:
        await (await client.durable.enqueue(work)).wait()
        await client.drain()
        release.set()
        await client.tasks.settle()
        assert told == ["scheduled"]
        assert [row.args for row in await enqueued(client, child)] == [
            '{"number":1}',
            '{"number":2}',
        ]


@async_test
async def test_jobs_that_enqueue_themselves_go_on_for_generations() -> None:
    numbers: list[int] = []
    handles: list[Job[None]] = []

    @task
    async def again(number: int, ctx: Context) -> None:
        numbers.append(number)
        if number < 20:
            handles.append(ctx.durable.schedule(again, number + 1))

    async with running(make_app()) as client:
        await client.durable.enqueue(again, 0)
        await client.drain()
    assert numbers == list(range(21))


@async_test
async def test_progress_from_a_thread_may_come_faster_than_it_is_written() -> None:
    clock = FakeClock()

    @task(retry=ONCE)
    def work(ctx: Context) -> Snooze | None:
        for done in range(100):
            ctx.progress(done + 1, 100, "resizing")
        return None

    async with running(make_app(clock)) as client:
        job = await client.durable.enqueue(work)
        await client.drain()
        progress = None
        for _ in range(10):
            await clock.advance(0.3)
            progress = (await job.status()).progress
        assert (await job.status()).state is State.SUCCEEDED
        assert progress is None or progress["done"] <= 100
