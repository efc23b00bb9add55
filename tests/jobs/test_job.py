"""Handles: status, waiting, results of every kind, cancelling, and what they say of what is not."""

import asyncio
import dataclasses
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from backstay.errors import JobFailed, UnknownJob
from backstay.jobs.arguments import UnreadableResult
from backstay.jobs.part import DurablePart
from backstay.tasks import Discard, Job, Retry, State, add_tasks, connect, task
from backstay.testing import FakeClock, RunningApp, drain, running
from backstay.web import install
from tests.support import async_test


class Receipt(BaseModel):
    order: int
    total: Decimal
    at: datetime


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.5


class Color(Enum):
    RED = "red"


def make_app(clock: FakeClock | None = None, **options: Any) -> FastAPI:
    app = FastAPI()
    install(app, clock=clock)
    add_tasks(app, **{"database": "memory://", **options})
    return app


def part_of(client: RunningApp) -> DurablePart:
    part = client.ctx.app.part("durable")
    assert isinstance(part, DurablePart)
    return part


VALUES: list[tuple[Any, Any]] = [
    (Receipt, Receipt(order=1, total=Decimal("9.90"), at=datetime(2027, 1, 1, tzinfo=UTC))),
    (Point, Point(1)),
    (Color, Color.RED),
    (bytes, b"\x00\xff not text"),
    (UUID, UUID("610514d2-f627-43ee-acbd-c5693bb56bca")),
    (Decimal, Decimal("0.10")),
    (date, date(2027, 1, 1)),
    (timedelta, timedelta(seconds=1.5)),
    (list[Point], [Point(1), Point(2)]),
    (dict[str, Receipt | None], {"none": None}),
    (set[int], {1, 2}),
    (tuple[int, str], (1, "two")),
    (None, None),
    (int | None, None),
    (str, ""),
    (int, 0),
    (bool, False),
    (list[int], []),
    (Any, {"free": [1, None, "form"]}),
]


@pytest.mark.parametrize(("annotation", "value"), VALUES, ids=lambda each: str(each)[:40])
def test_a_result_comes_back_as_it_was(annotation: Any, value: Any) -> None:
    @async_test
    async def check() -> None:
        async def give() -> Any:
            return value

        give.__annotations__["return"] = annotation
        given = task(give)
        async with running(make_app()) as client:
            job = await client.durable.enqueue(given)
            result = await job.result()
            assert result == value
            assert type(result) is type(value)

    check()


@async_test
async def test_by_id_alone_the_result_is_what_json_says(tmp_path: Path) -> None:
    @task
    async def give() -> Point:
        return Point(1)

    async with running(make_app()) as client:
        job = await client.durable.enqueue(give)
        await job.wait()
        assert await client.durable.job(job.id).result() == {"x": 1, "y": 0.5}
        assert await client.durable.job(str(job.id)).result() == {"x": 1, "y": 0.5}


@async_test
async def test_a_result_that_its_type_has_outgrown_says_so() -> None:
    @task
    async def give() -> Any:
        return "many"

    @task(name=give.name)
    async def now() -> int:
        return 1

    async with running(make_app()) as client:
        job = await client.durable.enqueue(give)
        await job.wait()
        later: Job[Any] = Job(part_of(client), job.id, now.name, now.decode_result)
        with pytest.raises(UnreadableResult):
            await later.result()


@async_test
async def test_the_result_of_a_failed_job_is_its_failure() -> None:
    @task(retry=Retry(attempts=1))
    async def fail() -> None:
        raise ConnectionError("no route")

    @task
    async def discard() -> None:
        raise Discard("no such card")

    async with running(make_app()) as client:
        job = await client.durable.enqueue(fail)
        with pytest.raises(JobFailed, match="discarded: ConnectionError: no route") as failed:
            await job.result()
        assert failed.value.state == "discarded"
        assert failed.value.error is not None
        assert failed.value.error["type"] == "ConnectionError"
        with pytest.raises(JobFailed, match="no such card"):
            await (await client.durable.enqueue(discard)).result()


@async_test
async def test_the_result_of_a_cancelled_job_is_the_reason() -> None:
    @task
    async def never() -> None: ...

    async with running(make_app(worker=False)) as client:
        job = await client.durable.enqueue(never)
        assert await job.cancel("the order is gone")
        with pytest.raises(JobFailed, match="cancelled.*the order is gone") as failed:
            await job.result()
        assert failed.value.state == "cancelled"


# ---------------------------------------------------------------------- waiting


@async_test
async def test_waiting_has_an_end_of_its_own_and_the_job_goes_on() -> None:
    release = asyncio.Event()

    @task
    async def slow() -> str:
        await release.wait()
        return "done"

    async with running(make_app()) as client:
        job = await client.durable.enqueue(slow)
        with pytest.raises(TimeoutError, match=r"has not finished within 0\.01 s"):
            await job.wait(0.01)
        with pytest.raises(TimeoutError):
            await job.result(timeout_s=0.01)
        release.set()
        assert await job.result() == "done"


@async_test
async def test_many_may_wait_for_one_job() -> None:
    release = asyncio.Event()

    @task
    async def slow() -> int:
        await release.wait()
        return 7

    async with running(make_app()) as client:
        job = await client.durable.enqueue(slow)
        waiting = [asyncio.create_task(job.result()) for _ in range(20)]
        waiting += [asyncio.create_task(client.durable.job(job.id).result())]
        await asyncio.sleep(0)
        waiting[0].cancel()
        release.set()
        assert await asyncio.gather(*waiting[1:]) == [7] * 20
        assert part_of(client)._waiting == {}


@async_test
async def test_waiting_for_a_job_that_another_process_runs(tmp_path: Path) -> None:
    @task
    async def give() -> int:
        return 7

    database = f"sqlite:///{tmp_path}/shop.db"
    async with connect(database) as durable, running(make_app(database=database)) as client:
        part_of(client).registry.add(give)
        assert await (await durable.enqueue(give)).result() == 7


@async_test
async def test_a_finished_job_is_not_waited_for() -> None:
    @task
    async def give() -> int:
        return 7

    clock = FakeClock()
    async with running(make_app(clock)) as client:
        job = await client.durable.enqueue(give)
        await drain(client)
        assert (await job.wait()).state is State.SUCCEEDED  # the clock stands still


@async_test
async def test_a_job_that_has_finished_is_told_however_short_the_patience() -> None:
    @task
    async def give() -> int:
        return 7

    async with running(make_app()) as client:
        job = await client.durable.enqueue(give)
        await job.wait()
        assert (await job.wait(0)).state is State.SUCCEEDED
        assert await job.result(timeout_s=0) == 7


@async_test
async def test_who_waits_when_the_app_stops_is_not_left_hanging() -> None:
    @task
    async def slow() -> None: ...

    async with running(make_app(worker=False)) as client:
        job = await client.durable.enqueue(slow)
        waiting = asyncio.create_task(job.wait())
        while not part_of(client)._waiting:
            await asyncio.sleep(0)
    async with asyncio.timeout(5):
        [outcome] = await asyncio.gather(waiting, return_exceptions=True)
    assert isinstance(outcome, Exception)


# ---------------------------------------------------------------------- cancelling


@async_test
async def test_cancel_says_whether_there_was_anything_to_cancel() -> None:
    @task
    async def give() -> int:
        return 7

    async with running(make_app(worker=False)) as client:
        job = await client.durable.enqueue(give)
        delayed = await client.durable.task(delay=60).enqueue(give)
        waiting = await client.durable.task(after=delayed).enqueue(give)
        assert await job.cancel() is True
        assert await job.cancel() is False
        assert await delayed.cancel("not today") is True
        assert (await waiting.status()).state is State.CANCELLED
        done = await client.durable.enqueue(give)
        await drain(client)
        assert await done.cancel() is False
        assert await done.result() == 7


@async_test
async def test_an_unknown_job_says_so_whatever_is_asked() -> None:
    async with running(make_app(worker=False)) as client:
        job = client.durable.job(uuid4())
        for asking in (job.status, job.wait, job.result, job.cancel):
            with pytest.raises(UnknownJob, match=f"{job.id}.*not in the ledger"):
                await asking()


# ---------------------------------------------------------------------- as an object


@async_test
async def test_a_handle_is_not_awaited_by_itself() -> None:
    @task
    async def give() -> None: ...

    async with running(make_app(worker=False)) as client:
        job: Any = await client.durable.enqueue(give)
        with pytest.raises(TypeError, match=r"await job\.result\(\)"):
            await job
        assert repr(job) == f"<Job {job.id} of {give.name}>"
        assert isinstance(job.id, UUID)
        assert str(job.id)[14] == "7"  # UUIDv7


@async_test
async def test_a_job_that_is_not_written_yet_says_when_it_will_be() -> None:
    @task
    async def give() -> None: ...

    told: list[str] = []
    app = make_app(worker=False)

    @app.post("/")
    async def endpoint() -> None:
        from backstay import current_context

        job = current_context().durable.schedule(give)
        with pytest.raises(UnknownJob) as unknown:
            await job.status()
        told.append(str(unknown.value))

    async with running(app) as client:
        assert (await client.post("/")).status_code == 200
    assert "not written yet" in told[0]


@async_test
async def test_status_shows_every_field_people_ask_for() -> None:
    clock = FakeClock()

    @task(retry=Retry(attempts=2, base_s=10, jitter=False))
    async def fail(order: int) -> None:
        raise ConnectionError("no route")

    async with running(make_app(clock)) as client:
        job = await client.durable.enqueue(fail, 17)
        await drain(client)
        status = await job.status()
        assert (status.state, status.attempt, status.max_attempts) == (State.RETRYING, 1, 2)
        assert status.created_at == clock.now()
        assert status.run_at == clock.now() + timedelta(seconds=10)
        assert status.error is not None
        assert status.error["at"] == clock.now().isoformat()
        assert not status.finished
        assert status.finished_at is None
        await clock.advance(11)
        await drain(client)
        status = await job.status()
        assert (status.finished, status.finished_at) == (True, clock.now())
        assert len(status.errors) == 2
