"""``transactional=True``: what a job writes through ``ctx.db`` and its completion are one commit."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import text

from backstay.context import Context
from backstay.jobs.part import DurablePart
from backstay.jobs.worker_part import WorkerPart
from backstay.ledger.rows import Finish
from backstay.tasks import Discard, Job, Retry, State, add_tasks, task
from backstay.testing import RunningApp, enqueued, running
from tests.ledger.databases import POSTGRES_URL, fresh_schema, need_postgres
from tests.support import async_test

ONCE = Retry(attempts=1)


class Desk:
    """An app on a database with orders, and a view from outside of what is committed."""

    def __init__(self, look: Callable[[], list[int]], table: str, **options: Any) -> None:
        self.look = look
        self.add = text(f"INSERT INTO {table} (id) VALUES (:id)")
        self.options = options

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[RunningApp]:
        app = FastAPI()
        add_tasks(app, **self.options, **options)
        async with running(app) as client:
            yield client


@contextmanager
def on_sqlite(folder: Path) -> Iterator[Desk]:
    file = folder / "shop.db"
    with closing(sqlite3.connect(file)) as outside:
        outside.execute("PRAGMA journal_mode=WAL")
        outside.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        yield Desk(
            lambda: [row[0] for row in outside.execute("SELECT id FROM orders ORDER BY id")],
            "orders",
            database=f"sqlite:///{file}",
        )


@contextmanager
def on_postgres(folder: Path) -> Iterator[Desk]:
    need_postgres()
    with fresh_schema() as (schema, engine):
        with engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE TABLE {schema}.orders (id INTEGER PRIMARY KEY)")

        def look() -> list[int]:
            with engine.connect() as connection:
                rows = connection.exec_driver_sql(f"SELECT id FROM {schema}.orders ORDER BY id")
                return [row[0] for row in rows]

        yield Desk(look, f"{schema}.orders", database=POSTGRES_URL, database_schema=schema)


@pytest.fixture(params=[on_sqlite, on_postgres], ids=["sqlite", "postgres"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    with request.param(tmp_path) as desk:
        yield desk


async def take_over(client: RunningApp, job_id: Any) -> None:
    """Somebody else ends the job, as a rescue does."""
    durable, workers = client.ctx.app.part("durable"), client.ctx.app.part("job")
    assert isinstance(durable, DurablePart)
    assert isinstance(workers, WorkerPart)
    assert workers.worker is not None
    claim = workers.worker.running[job_id].claim
    await durable.ledger.finish([Finish(claim.id, claim.fence, State.DISCARDED)])


def test_effects_and_completion_are_there_together(desk: Desk) -> None:
    @async_test
    async def check() -> None:
        @task(transactional=True)
        async def pay(order: int, ctx: Context) -> str:
            await ctx.db.session.execute(desk.add, {"id": order})
            return "paid"

        @task(transactional=True)
        def pay_in_thread(order: int, ctx: Context) -> str:
            ctx.db.sync_session.execute(desk.add, {"id": order})
            return "paid"

        async with desk.open() as client:
            job = await client.durable.enqueue(pay, 1)
            other = await client.durable.enqueue(pay_in_thread, 2)
            assert await job.result() == await other.result() == "paid"
            assert desk.look() == [1, 2]

    check()


def test_an_attempt_that_fails_leaves_nothing_and_the_next_one_everything_once(desk: Desk) -> None:
    @async_test
    async def check() -> None:
        @task(transactional=True, retry=Retry(attempts=3, base_s=0, jitter=False))
        async def pay(order: int, ctx: Context) -> None:
            await ctx.db.session.execute(desk.add, {"id": order})
            if ctx.job.attempt < 3:
                raise ConnectionError

        @task(transactional=True)
        async def give_up(order: int, ctx: Context) -> Discard:
            await ctx.db.session.execute(desk.add, {"id": order})
            return Discard("no such card")

        async with desk.open() as client:
            status = await (await client.durable.enqueue(pay, 1)).wait()
            assert (status.state, status.attempt) == (State.SUCCEEDED, 3)
            given_up = await (await client.durable.enqueue(give_up, 2)).wait()
            assert given_up.state is State.DISCARDED
            assert desk.look() == [1]

    check()


def test_a_job_that_was_taken_over_rolls_its_writes_back(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    @async_test
    async def check() -> None:
        began, release = asyncio.Event(), asyncio.Event()
        children: list[Job[None]] = []
        ends: list[bool] = []

        @task
        async def child() -> None: ...

        @task(transactional=True, retry=ONCE)
        async def pay(order: int, ctx: Context) -> str:
            children.append(ctx.durable.schedule(child))  # with the completion
            began.set()
            await release.wait()
            await ctx.db.session.execute(desk.add, {"id": order})
            children.append(ctx.durable.schedule(child))  # with the session
            return "paid"

        async with desk.open() as client:
            job = await client.durable.enqueue(pay, 1)
            await began.wait()
            await take_over(client, job.id)
            release.set()
            while not children[1:] or "was rolled back" not in caplog.text.replace("\n", " "):
                await asyncio.sleep(0.001)
            await client.drain()
            assert (await job.status()).state is State.DISCARDED
            assert desk.look() == []
            assert await enqueued(client, child) == []
            ends.extend(bool(each.created) for each in children)
        assert ends == [False, False]

    check()


def test_what_it_schedules_is_written_with_both(desk: Desk) -> None:
    @async_test
    async def check() -> None:
        @task
        async def child(number: int) -> int:
            return number

        @task(transactional=True, retry=ONCE)
        async def pay(order: int, fails: bool, ctx: Context) -> None:
            ctx.durable.schedule(child, 1)
            await ctx.db.session.execute(desk.add, {"id": order})
            ctx.durable.schedule(child, 2)
            await ctx.durable.enqueue(child, 3)
            if fails:
                raise LookupError

        async with desk.open() as client:
            await (await client.durable.enqueue(pay, 1, True)).wait()
            assert await enqueued(client, child) == []
            await (await client.durable.enqueue(pay, 1, False)).wait()
            await client.drain()
            rows = await enqueued(client, child)
            assert sorted(row.args for row in rows) == [
                f'{{"number":{each}}}' for each in (1, 2, 3)
            ]
            assert {row.state for row in rows} == {State.SUCCEEDED}

    check()


def test_a_commit_that_fails_is_a_failed_attempt(desk: Desk) -> None:
    @async_test
    async def check() -> None:
        @task(transactional=True, retry=ONCE)
        async def pay(order: int, ctx: Context) -> None:
            await ctx.db.session.execute(desk.add, {"id": order})

        async with desk.open() as client:
            assert (await (await client.durable.enqueue(pay, 1)).wait()).state is State.SUCCEEDED
            status = await (await client.durable.enqueue(pay, 1)).wait()  # the key is taken
            assert status.state is State.DISCARDED
            assert status.error is not None
            assert "IntegrityError" in status.error["type"]
            assert desk.look() == [1]

    check()


@async_test
async def test_without_a_session_there_is_nothing_to_commit_together_with() -> None:
    @task(transactional=True)
    async def idle(ctx: Context) -> str:
        return "idle"

    app = FastAPI()
    add_tasks(app, database="memory://")
    async with running(app) as client:
        assert await (await client.durable.enqueue(idle)).result() == "idle"


def test_both_kinds_of_session_at_once_are_two_transactions_and_refused(tmp_path: Path) -> None:
    @async_test
    async def check() -> None:
        with on_postgres(tmp_path) as desk:

            @task(transactional=True, retry=ONCE)
            async def both(ctx: Context) -> None:
                await ctx.db.session.execute(desk.add, {"id": 1})
                await asyncio.to_thread(ctx.db.sync_session.execute, desk.add, {"id": 2})

            async with desk.open() as client:
                status = await (await client.durable.enqueue(both)).wait()
                assert status.state is State.DISCARDED
                assert status.error is not None
                assert "use one" in status.error["message"]
                assert desk.look() == []

    check()


def test_an_ordinary_job_commits_its_session_before_it_counts_as_done(desk: Desk) -> None:
    @async_test
    async def check() -> None:
        @task(retry=ONCE)
        async def pay(order: int, fails: bool, ctx: Context) -> None:
            await ctx.db.session.execute(desk.add, {"id": order})
            if fails:
                raise LookupError

        async with desk.open() as client:
            await (await client.durable.enqueue(pay, 1, True)).wait()
            await (await client.durable.enqueue(pay, 2, False)).wait()
            assert desk.look() == [2]

    check()


def test_a_timeout_in_the_middle_rolls_back(desk: Desk) -> None:
    @async_test
    async def check() -> None:
        @task(transactional=True, timeout=0.05, retry=ONCE)
        async def pay(order: int, ctx: Context) -> None:
            await ctx.db.session.execute(desk.add, {"id": order})
            await asyncio.get_running_loop().create_future()

        async with desk.open() as client:
            status = await (await client.durable.enqueue(pay, 1)).wait()
            assert status.error is not None
            assert status.error["type"] == "TaskTimeout"
            assert desk.look() == []

    check()


def test_many_at_a_time_are_each_done_exactly_once(desk: Desk) -> None:
    @async_test
    async def check() -> None:
        @task(transactional=True)
        async def pay(order: int, ctx: Context) -> None:
            await ctx.db.session.execute(desk.add, {"id": order})

        async with desk.open(concurrency=5) as client:
            jobs = await client.durable.enqueue_many([pay.bind(each) for each in range(30)])
            states = [(await job.wait()).state for job in jobs]
            assert states == [State.SUCCEEDED] * 30
            assert desk.look() == list(range(30))

    check()
