"""``connect``: durable work from scripts, async and sync, on every kind of database."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from backstay.errors import BadJob, ContextClosed, LedgerUnavailable
from backstay.jobs.part import DurablePart
from backstay.tasks import Job, State, add_tasks, connect, task
from backstay.testing import FakeClock, running
from tests.ledger.databases import POSTGRES_URL, fresh_schema, need_postgres
from tests.support import async_test


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Arguments of ``connect``."""
    if request.param == "sqlite":
        yield {"database": f"sqlite:///{tmp_path}/shop.db"}
        return
    need_postgres()
    with fresh_schema() as (schema, _):
        yield {"database": POSTGRES_URL, "schema": schema}


def make_app(where: dict[str, Any]) -> FastAPI:
    app = FastAPI()
    add_tasks(app, database=where["database"], database_schema=where.get("schema"))
    return app


def end_threads(before: set[threading.Thread]) -> None:
    """Those that have come since are ending."""
    for each in set(threading.enumerate()) - before:
        each.join(timeout=10)
        assert not each.is_alive(), each


def test_async_scripts_enqueue_and_apps_run_it(where: dict[str, Any]) -> None:
    @async_test
    async def check() -> None:
        @task(name="tests.connection.double")
        async def double(number: int) -> int:
            return 2 * number

        async with connect(**where) as durable:
            job = await durable.enqueue(double, 1)
            assert job.created
            many = await durable.enqueue_many([double.bind(2), double.bind(3)])
            chain = await durable.chain(double.bind(4), double.bind(5))
            assert (await job.status()).state is State.AVAILABLE
            async with running(make_app(where)) as client:
                part = client.ctx.app.part("durable")
                assert isinstance(part, DurablePart)
                part.registry.add(double)
                assert [await each.result() for each in (job, *many)] == [2, 4, 6]
                assert await chain.last.result() == 10

    check()


def test_sync_scripts_enqueue_and_schedule(where: dict[str, Any]) -> None:
    @task
    async def send(order: int) -> None: ...

    with connect(**where) as durable:
        job = durable.enqueue_now(send, 1)
        other = durable.schedule(send, 2)
        assert job.created
        assert other.created
        again = durable.task(unique="k").enqueue_now(send, 3)
        taken = durable.task(unique="k").enqueue_now(send, 4)
        assert (taken.id, taken.created) == (again.id, False)

    @async_test
    async def look() -> None:
        async with connect(**where) as durable:
            states = [(await durable.job(each.id).status()).args for each in (job, other, again)]
            assert states == ['{"order":1}', '{"order":2}', '{"order":3}']

    look()


def test_many_threads_share_a_connection(where: dict[str, Any]) -> None:
    @task
    async def send(order: int) -> None: ...

    jobs: list[Job[Any]] = []
    with connect(**where) as durable:

        def enqueue(first: int) -> None:
            jobs.extend(durable.enqueue_now(send, first + each) for each in range(5))

        threads = [threading.Thread(target=enqueue, args=(n * 5,)) for n in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert len({job.id for job in jobs}) == 20
    assert all(job.created for job in jobs)


@async_test
async def test_schedule_in_async_scripts_is_told_to_be_enqueue(tmp_path: Path) -> None:
    @task
    async def send() -> None: ...

    async with connect(f"sqlite:///{tmp_path}/shop.db") as durable:
        with pytest.raises(ContextClosed, match="await tasks.durable.enqueue"):
            durable.schedule(send)


def test_queues_of_no_task_are_named(tmp_path: Path) -> None:
    @task
    async def send() -> None: ...

    with connect(f"sqlite:///{tmp_path}/shop.db", queues=["slow"]) as durable:
        durable.task(queue="slow").enqueue_now(send)
        with pytest.raises(BadJob, match="no queue 'fast'"):
            durable.task(queue="fast").enqueue_now(send)


def test_the_setting_names_the_database(tmp_path: Path) -> None:
    @task
    async def send() -> None: ...

    settings = {"BACKSTAY_DATABASE": f"sqlite:///{tmp_path}/setting.db"}
    with connect(settings=settings, prefix="own_") as durable:
        durable.enqueue_now(send)
    connection = sqlite3.connect(tmp_path / "setting.db")
    assert connection.execute("SELECT count(*) FROM own_jobs").fetchall() == [(1,)]
    connection.close()


def test_a_database_that_is_not_there_is_said_on_entering_and_leaves_no_thread(
    tmp_path: Path,
) -> None:
    before = set(threading.enumerate())
    with pytest.raises(LedgerUnavailable), connect(f"sqlite:///{tmp_path}/no/folder/shop.db"):
        raise AssertionError
    end_threads(before)


def test_an_error_inside_comes_out_and_everything_is_closed(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with pytest.raises(LookupError), connect(f"sqlite:///{tmp_path}/shop.db"):
        raise LookupError
    end_threads(before)
    (tmp_path / "shop.db").unlink()


def test_after_the_end_it_says_so(tmp_path: Path) -> None:
    @task
    async def send() -> None: ...

    with connect(f"sqlite:///{tmp_path}/shop.db") as durable:
        pass
    with pytest.raises(LedgerUnavailable):
        durable.enqueue_now(send)

    @async_test
    async def check() -> None:
        async with connect(f"sqlite:///{tmp_path}/shop.db") as durable:
            pass
        with pytest.raises(LedgerUnavailable):
            await durable.enqueue(send)

    check()


@async_test
async def test_an_address_with_an_async_driver_is_the_same_file(tmp_path: Path) -> None:
    @task
    async def send() -> None: ...

    async with connect(f"sqlite+aiosqlite:///{tmp_path}/shop.db") as durable:
        job = await durable.enqueue(send)
    async with connect(f"sqlite:///{tmp_path}/shop.db") as durable:
        assert (await durable.job(job.id).status()).task == send.name


@async_test
async def test_its_clock_can_be_the_tests() -> None:
    @task
    async def send() -> None: ...

    clock = FakeClock()
    async with connect("memory://", clock=clock) as durable:
        job = await durable.task(delay=60).enqueue(send)
        assert (await job.status()).created_at == clock.now()
        waiting = asyncio.create_task(job.wait(0.01))
        with pytest.raises(TimeoutError):
            await waiting
