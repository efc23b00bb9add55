"""``add_tasks(app, session=...)``: data and the jobs about it in one transaction."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import Depends, HTTPException
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from backstay.errors import BadJob
from backstay.tasks import Tasks
from backstay.testing import running
from backstay.web import Ctx
from tests.support import async_test
from tests.tasks.notebook import durable_app, note_task, noted, notes


class Shop:
    """A SQLite file with orders, sessions on it, and a view from outside."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "shop.db"
        self.outside = sqlite3.connect(self.file)
        self.outside.execute("PRAGMA journal_mode=WAL")
        self.outside.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        self.engine = create_async_engine(f"sqlite+aiosqlite:///{self.file}")
        self.sync_engine = create_engine(f"sqlite:///{self.file}")
        self.new_session = async_sessionmaker(self.engine)
        self.new_sync_session = sessionmaker(self.sync_engine)

    async def get_session(self) -> AsyncIterator[AsyncSession]:
        """Commits nothing by itself."""
        async with self.new_session() as session:
            yield session

    async def get_committed_session(self) -> AsyncIterator[AsyncSession]:
        async with self.new_session() as session, session.begin():
            yield session

    def get_sync_session(self) -> Iterator[Session]:
        with self.new_sync_session() as session, session.begin():
            yield session

    def counts(self) -> tuple[int, int]:
        """Orders and jobs that are committed."""
        [(orders,)] = self.outside.execute("SELECT count(*) FROM orders").fetchall()
        [(jobs,)] = self.outside.execute("SELECT count(*) FROM backstay_jobs").fetchall()
        return orders, jobs


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    asyncio.run(shop.engine.dispose())
    shop.sync_engine.dispose()
    shop.outside.close()


ADD = text("INSERT INTO orders DEFAULT VALUES")


def test_an_order_and_its_job_are_committed_together_or_not_at_all(shop: Shop) -> None:
    @async_test
    async def check() -> None:
        get_session = shop.get_committed_session
        app = durable_app(database=f"sqlite:///{shop.file}", session=get_session)
        note = note_task()

        @app.post("/")
        async def endpoint(
            tasks: Tasks,
            session: Annotated[AsyncSession, Depends(get_session, scope="function")],
            fails: bool = False,
            first: bool = False,
        ) -> None:
            if first:  # the session has not run a statement yet
                tasks.durable.schedule(note, "a")
            await session.execute(ADD)
            if not first:
                tasks.durable.schedule(note, "a")
            assert shop.counts()[1] == 0 or first or not fails
            if fails:
                raise HTTPException(409)

        async with running(app) as client:
            assert (await client.post("/?fails=1")).status_code == 409
            assert (await client.post("/?fails=1&first=1")).status_code == 409
            assert shop.counts() == (0, 0)
            assert (await client.post("/")).status_code == 200
            assert (await client.post("/?first=1")).status_code == 200
            assert shop.counts() == (2, 2)

    check()


def test_sync_endpoints_with_sync_sessions_too(shop: Shop) -> None:
    @async_test
    async def check() -> None:
        get_session = shop.get_sync_session
        app = durable_app(database=f"sqlite:///{shop.file}", session=get_session)
        note = note_task()

        @app.post("/")
        def endpoint(
            tasks: Tasks,
            session: Annotated[Session, Depends(get_session, scope="function")],
            fails: bool = False,
        ) -> None:
            session.execute(ADD)
            tasks.durable.schedule(note, "a")
            if fails:
                raise HTTPException(409)

        async with running(app) as client:
            assert (await client.post("/?fails=1")).status_code == 409
            assert shop.counts() == (0, 0)
            assert (await client.post("/")).status_code == 200
            assert shop.counts() == (1, 1)

    check()


def test_a_session_that_would_commit_after_the_answer_stops_the_start(shop: Shop) -> None:
    @async_test
    async def check() -> None:
        get_session = shop.get_committed_session
        app = durable_app(database=f"sqlite:///{shop.file}", session=get_session)

        @app.post("/orders")
        async def create_order(
            tasks: Tasks, session: Annotated[AsyncSession, Depends(get_session)]
        ) -> None: ...

        with pytest.raises(BadJob, match=r"/orders .*create_order.*scope=\"function\""):
            async with running(app):
                raise AssertionError

    check()


def test_it_is_no_matter_where_nothing_is_scheduled(shop: Shop) -> None:
    @async_test
    async def check() -> None:
        get_session = shop.get_committed_session
        app = durable_app(database=f"sqlite:///{shop.file}", session=get_session)

        @app.post("/orders")
        async def create_order(
            session: Annotated[AsyncSession, Depends(get_session)],
        ) -> None: ...

        async with running(app) as client:
            assert (await client.post("/orders")).status_code == 200

    check()


def test_committing_in_the_endpoint_is_fine_in_any_scope(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    @async_test
    async def check() -> None:
        get_session = shop.get_session
        app = durable_app(database=f"sqlite:///{shop.file}", session=get_session)
        note = note_task()

        @app.post("/")
        async def endpoint(
            tasks: Tasks, session: Annotated[AsyncSession, Depends(get_session)]
        ) -> str:
            await session.execute(ADD)
            job = tasks.durable.schedule(note, "a")
            await session.commit()
            assert shop.counts() == (1, 1)
            return str(job.created)

        async with running(app) as client:
            assert (await client.post("/")).json() == "True"
            assert shop.counts() == (1, 1)

    check()
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


def test_a_session_nobody_commits_is_warned_about_and_the_job_written_all_the_same(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    @async_test
    async def check() -> None:
        get_session = shop.get_session
        app = durable_app(database=f"sqlite:///{shop.file}", session=get_session)
        note = note_task()

        @app.post("/")
        async def endpoint(
            tasks: Tasks, session: Annotated[AsyncSession, Depends(get_session)]
        ) -> None:
            tasks.durable.schedule(note, "a")

        async with running(app) as client:
            assert (await client.post("/")).status_code == 200
            assert shop.counts() == (0, 1)

    check()
    assert "had not committed when the answer was ready" in caplog.text
    assert 'scope="function"' in caplog.text


def test_one_that_holds_the_files_lock_cannot_keep_the_promise_and_is_answered_503(
    shop: Shop,
) -> None:
    @async_test
    async def check() -> None:
        get_session = shop.get_session
        app = durable_app(database=f"sqlite:///{shop.file}", session=get_session)
        note = note_task()

        @app.post("/")
        async def endpoint(
            tasks: Tasks, session: Annotated[AsyncSession, Depends(get_session)]
        ) -> None:
            await session.execute(ADD)
            tasks.durable.schedule(note, "a")

        async with running(app, raise_app_exceptions=False) as client:
            assert (await client.post("/")).status_code == 503
            assert shop.counts() == (0, 0)

    check()


def test_a_session_is_named_by_hand_and_its_rollback_forgets_the_job(shop: Shop) -> None:
    @async_test
    async def check() -> None:
        app, note = durable_app(database=f"sqlite:///{shop.file}"), note_task()

        async with running(app) as client, shop.new_session() as session:
            job = client.durable.on(session).task(priority=7).schedule(note, "a")
            await session.rollback()
            with pytest.raises(Exception, match="rolled back"):
                await job.status()
            job = client.durable.on(session).task(priority=7).schedule(note, "b")
            await session.execute(ADD)
            await session.commit()
            assert (await job.status()).priority == 7
            many = await client.durable.on(session).enqueue_many([note.bind("c"), note.bind("d")])
            assert [each.created for each in many] == [True, True]
            await session.rollback()
            one = await client.durable.on(session).enqueue(note, "e")
            assert shop.counts() == (1, 1)
            await session.commit()
            assert shop.counts() == (1, 2)
            assert (await one.status()).args == noted("e")[0]

    check()


@async_test
async def test_ctx_db_is_a_session_of_the_requests_own(tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    app, note = durable_app(database=f"sqlite:///{file}"), note_task()
    with closing(sqlite3.connect(file)) as outside:
        outside.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")

        def orders() -> int:
            [(count,)] = outside.execute("SELECT count(*) FROM orders").fetchall()
            return int(count)

        @app.post("/")
        async def endpoint(ctx: Ctx, fails: bool = False) -> None:
            await ctx.db.session.execute(ADD)
            ctx.durable.schedule(note, "a")
            if fails:
                raise HTTPException(409)

        @app.post("/sync")
        def sync_endpoint(ctx: Ctx, fails: bool = False) -> None:
            ctx.db.sync_session.execute(ADD)
            ctx.durable.schedule(note, "b")
            if fails:
                raise HTTPException(409)

        async with running(app) as client:
            for path in ("/", "/sync"):
                assert (await client.post(f"{path}?fails=1")).status_code == 409
            assert orders() == 0
            assert await notes(client) == []
            for path in ("/", "/sync"):
                assert (await client.post(path)).status_code == 200
            assert orders() == 2
            assert await notes(client) == noted("a", "b")
