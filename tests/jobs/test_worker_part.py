"""The worker as a part of an app: when it starts, what it may be told, how signals stop it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from backstay.context import Context
from backstay.errors import BadJob, ContextClosed
from backstay.jobs.part import DurablePart
from backstay.jobs.run import JobRun
from backstay.jobs.worker_part import WorkerPart
from backstay.tasks import Retry, State, Tasks, add_tasks, connect, task
from backstay.testing import RunningApp, running
from backstay.web import installed
from tests.support import async_test


def make_app(**options: Any) -> FastAPI:
    app = FastAPI()
    add_tasks(app, **{"database": "memory://", **options})
    return app


def part_of(app: FastAPI) -> WorkerPart:
    part = installed(app).part("job")
    assert isinstance(part, WorkerPart)
    return part


def registry_of(client: RunningApp) -> Any:
    part = client.ctx.app.part("durable")
    assert isinstance(part, DurablePart)
    return part.registry


@async_test
async def test_there_is_a_worker_while_the_app_runs_unless_told_otherwise() -> None:
    app = make_app()
    async with running(app):
        assert part_of(app).worker is not None
    assert part_of(app).worker is None
    app = make_app(worker=False)
    async with running(app):
        assert part_of(app).worker is None


@async_test
async def test_the_ledger_knows_the_worker_while_it_is_there(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/shop.db"
    app = make_app(database=database, concurrency=7, worker_queues=["mail"], lease_s=3.0)
    async with connect(database) as durable:
        ledger = await durable._writer.awake()
        async with running(app):
            [row] = await ledger.workers()
            worker = part_of(app).worker
            assert worker is not None
            assert (row.id, row.concurrency, row.queues, row.lease_s) == (
                worker.id,
                7,
                ("mail",),
                3.0,
            )
        assert await ledger.workers() == []


@async_test
async def test_a_worker_serves_only_the_queues_it_was_given() -> None:
    @task(queue="mail")
    async def send() -> str:
        return "sent"

    @task(queue="slow")
    async def other() -> None: ...

    async with running(make_app(worker_queues=["mail"])) as client:
        left = await client.durable.enqueue(other)
        assert await (await client.durable.enqueue(send)).result() == "sent"
        await client.drain()
        assert (await left.status()).state is State.AVAILABLE


def test_options_may_be_changed_before_the_start() -> None:
    app = make_app(worker=False)
    part_of(app).configure(enabled=True, concurrency=3, queues=["mail"], grace_s=1)
    part_of(app).configure()

    @async_test
    async def check() -> None:
        async with running(app):
            worker = part_of(app).worker
            assert worker is not None
            assert worker._queues() == ["mail"]

    check()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"concurrency": 0}, "concurrency="),
        ({"concurrency": 2.5}, "concurrency="),
        ({"queues": "mail"}, "list of names; got the string 'mail'"),
        ({"queues": ["two words"]}, "two words"),
        ({"grace_s": -1}, "grace_s="),
        ({"grace_s": float("inf")}, "grace_s="),
    ],
)
def test_options_that_make_no_sense_are_refused(options: Any, says: str) -> None:
    with pytest.raises(BadJob, match=says):
        part_of(make_app()).configure(**options)


@pytest.mark.parametrize("option", ["lease_s", "poll_s"])
@pytest.mark.parametrize("value", [0, -1, "1", float("inf"), float("nan")])
def test_times_that_make_no_sense_are_refused(option: str, value: Any) -> None:
    with pytest.raises(BadJob, match=f"{option}="):
        make_app(**{option: value})


@async_test
async def test_ctx_job_is_for_jobs() -> None:
    seen: list[Any] = []

    @task
    async def look(ctx: Context) -> None:
        seen.append(ctx.job)

    app = make_app()

    @app.get("/")
    async def endpoint(tasks: Tasks) -> str:
        from backstay import current_context

        with pytest.raises(ContextClosed, match="this is a request"):
            _ = current_context().job
        return "ok"

    async with running(app) as client:
        assert (await client.get("/")).json() == "ok"
        job = await client.durable.enqueue(look)
        await job.wait()
    [run] = seen
    assert isinstance(run, JobRun)
    assert run.id == job.id


@async_test
async def test_the_first_signal_stops_claiming_and_the_second_hands_back(tmp_path: Path) -> None:
    began = asyncio.Event()

    @task(retry=Retry(attempts=1), name="tests.worker_part.endless")
    async def endless() -> None:
        began.set()
        await asyncio.get_running_loop().create_future()

    @task
    async def later() -> None: ...

    database = f"sqlite:///{tmp_path}/shop.db"
    app = make_app(database=database, shutdown_grace_s=60)
    async with running(app) as client:
        running_job = await client.durable.enqueue(endless)
        await began.wait()
        part_of(app).hurry()
        waiting = await client.durable.enqueue(later)
        await asyncio.sleep(0)
        assert (await running_job.status()).state is State.RUNNING
        part_of(app).hurry()
        while (status := await running_job.status()).state is State.RUNNING:
            await asyncio.sleep(0.001)
        assert (status.state, status.attempt) == (State.AVAILABLE, 0)
        assert (await waiting.status()).state is State.AVAILABLE


@async_test
async def test_an_app_that_was_hurried_works_again_when_it_starts_again(tmp_path: Path) -> None:
    @task
    async def send() -> str:
        return "sent"

    app = make_app(database=f"sqlite:///{tmp_path}/shop.db")
    async with running(app):
        part_of(app).hurry()
    async with running(app) as client:
        registry_of(client).add(send)
        assert await (await client.durable.enqueue(send)).result() == "sent"
