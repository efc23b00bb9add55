"""``drain``, ``enqueued``, ``assert_enqueued``: durable tasks in tests of services."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI

from backstay.context import Context
from backstay.errors import BadJob
from backstay.jobs.worker_part import WorkerPart
from backstay.tasks import Retry, State, TaskFunction, Tasks, add_tasks, task
from backstay.testing import (
    FakeClock,
    assert_enqueued,
    assert_not_enqueued,
    drain,
    enqueued,
    running,
)
from backstay.web import install
from tests.support import async_test


def make_app(clock: FakeClock | None = None, **options: Any) -> FastAPI:
    app = FastAPI()
    install(app, clock=clock)
    add_tasks(app, **{"database": "memory://", **options})
    return app


@pytest.mark.parametrize("worker", [True, False])
def test_drain_runs_what_is_due_and_what_that_schedules(worker: bool) -> None:
    @async_test
    async def check() -> None:
        ran: list[int] = []

        @task
        async def count(down: int, ctx: Context) -> None:
            ran.append(down)
            if down:
                ctx.durable.schedule(count, down - 1)

        async with running(make_app(worker=worker)) as client:
            await client.durable.enqueue(count, 3)
            later = await client.durable.task(delay=60).enqueue(count, 0)
            await drain(client)
            assert ran == [3, 2, 1, 0]
            assert (await later.status()).state is State.SCHEDULED
            await client.drain()
            assert ran == [3, 2, 1, 0]

    check()


@async_test
async def test_drain_waits_for_what_a_job_schedules_that_was_running_already() -> None:
    began, release = asyncio.Event(), asyncio.Event()
    ran: list[str] = []

    @task
    async def child() -> None:
        ran.append("child")

    @task
    async def parent(ctx: Context) -> None:
        began.set()
        await release.wait()
        ctx.durable.schedule(child)

    async with running(make_app()) as client:
        workers = client.ctx.app.part("job")
        assert isinstance(workers, WorkerPart)
        assert workers.worker is not None
        await client.durable.enqueue(parent)
        await began.wait()
        looks = workers.worker._looked_after
        draining = asyncio.create_task(client.drain())
        while workers.worker._looked_after <= looks:  # it has looked, and nothing was there yet
            await asyncio.sleep(0.001)
        release.set()
        await draining
        assert ran == ["child"]


@async_test
async def test_a_fake_clock_drives_delays_and_retries() -> None:
    clock = FakeClock()
    attempts: list[float] = []

    @task(retry=Retry(attempts=3, backoff="constant", base_s=30, jitter=False))
    async def fail() -> None:
        attempts.append(clock.monotonic())
        raise ConnectionError

    async with running(make_app(clock, worker=False)) as client:
        await client.durable.task(delay=10).enqueue(fail)
        for _ in range(12):
            await client.drain()
            await clock.advance(10)
    assert attempts == [10, 40, 70]


@async_test
async def test_enqueued_shows_all_jobs_the_oldest_first_or_one_tasks() -> None:
    @task
    async def one(number: int) -> None: ...

    @task
    async def other() -> None: ...

    async with running(make_app(worker=False)) as client:
        await client.durable.enqueue(one, 1)
        await client.durable.enqueue(other)
        await client.durable.enqueue(one, 2)
        await client.drain()
        assert [row.task for row in await enqueued(client)] == [one.name, other.name, one.name]
        assert [row.args for row in await enqueued(client, one)] == ['{"number":1}', '{"number":2}']
        assert {row.state for row in await enqueued(client)} == {State.SUCCEEDED}


@async_test
async def test_assert_enqueued_compares_arguments_however_they_were_given() -> None:
    @task
    async def send(order: int, copy: bool = False) -> None: ...

    app = make_app(worker=False)

    @app.post("/")
    async def endpoint(tasks: Tasks) -> None:
        tasks.durable.schedule(send, 17, copy=True)

    async with running(app) as client:
        await assert_not_enqueued(client, send)
        await client.post("/")
        row = await assert_enqueued(client, send, order=17, copy=True)
        assert row.state is State.AVAILABLE
        await assert_enqueued(client, send, 17, True)
        with pytest.raises(AssertionError) as missing:
            await assert_enqueued(client, send, 18)
        assert '{"order": 18}' in str(missing.value)
        assert '{"order":17,"copy":true} (available)' in str(missing.value)
        with pytest.raises(AssertionError, match=r'1 job\(s\) of .*send.*\{"order":17'):
            await assert_not_enqueued(client, send)


@async_test
async def test_assert_enqueued_of_nothing_says_none() -> None:
    @task
    async def send() -> None: ...

    async with running(make_app(worker=False)) as client:
        with pytest.raises(AssertionError, match="its jobs are:\n  none"):
            await assert_enqueued(client, send)


@async_test
async def test_what_is_no_task_is_a_mistake_of_the_test() -> None:
    async def plain() -> None: ...

    wrong: TaskFunction[..., ..., Any] = plain  # type: ignore[assignment]  # the mistake under test
    async with running(make_app(worker=False)) as client:
        for asking in (enqueued, assert_enqueued, assert_not_enqueued):
            with pytest.raises(BadJob, match="@task"):
                await asking(client, wrong)


@async_test
async def test_a_call_that_could_not_be_made_is_a_mistake_of_the_test() -> None:
    @task
    async def send(order: int) -> None: ...

    async with running(make_app(worker=False)) as client:
        with pytest.raises(TypeError, match="order"):
            await assert_enqueued(client, send)
