"""Databases with sessions of every kind, and a view from outside of what is committed in them."""

import inspect
import os
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from sqlalchemy.pool import NullPool

from backstay.jobs.session import jobs_of
from backstay.ledger.ids import new_job_id
from backstay.ledger.port import Execute, Wake
from backstay.ledger.rows import Finish, Inserted, NewJob

__all__ = [
    "KINDS",
    "POSTGRES",
    "TABLES",
    "Base",
    "Desk",
    "Order",
    "TableLedger",
    "closing_session",
    "desk_of",
    "every_kind",
    "needs_postgres",
    "now",
    "plain_desk",
    "postgres_desk",
    "sessions_of",
    "sqlite_desk",
]

POSTGRES = "postgresql://postgres@127.0.0.1:5432/test"


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)


class TableLedger:
    """As much of a ledger as sessions see: one table of jobs, and a memory of who was told."""

    def __init__(self, url: str, dialect: str) -> None:
        self.url = url
        self.dialect = dialect
        self.wakes: list[Wake] = []
        self.batches: list[list[str]] = []

    def insert_through(self, execute: Execute, jobs: Sequence[NewJob]) -> list[Inserted]:
        self.batches.append([job.task for job in jobs])
        inserted = []
        for job in jobs:
            rows = execute(
                "INSERT INTO work (id, task, args) VALUES (CAST(:id AS VARCHAR(36)), :task, :args) "
                "ON CONFLICT DO NOTHING RETURNING id",
                {"id": str(job.id), "task": job.task, "args": job.args},
            )
            inserted.append(Inserted(job.id, bool(rows)))
        return inserted

    def finish_through(self, execute: Execute, finish: Finish) -> bool:
        rows = execute(
            "UPDATE work SET task = 'done' WHERE id = :id RETURNING id", {"id": str(finish.id)}
        )
        return [tuple(row) for row in rows] == [(str(finish.id),)]

    def tell(self, wake: Wake) -> None:
        self.wakes.append(wake)


class Desk:
    """A database, sessions of one kind, and a view from outside of what is committed."""

    def __init__(
        self, session: Callable[..., Any], look: Callable[[str], list[str]], ledger: Any
    ) -> None:
        self.session = session
        self.look = look
        self.ledger = ledger
        self.told: list[Inserted | None] = []

    def add(self, session: object, task: str = "send") -> NewJob:
        new = NewJob(new_job_id(), task, args='{"at": "12:30", "x": ":id"}')
        jobs_of(session).add(self.ledger, new, self.told.append)
        return new

    def jobs(self) -> list[str]:
        return self.look("SELECT task FROM work ORDER BY id")

    def orders(self) -> list[str]:
        return self.look("SELECT id FROM orders ORDER BY id")


async def now(value: Any) -> Any:
    """The same line for sessions that are awaited and sessions that are not."""
    return await value if inspect.isawaitable(value) else value


def reachable() -> bool:
    try:
        psycopg.connect(POSTGRES, connect_timeout=3).close()
    except psycopg.OperationalError:
        if os.environ.get("CI") == "true":
            raise
        return False
    return True


needs_postgres = pytest.mark.skipif(not reachable(), reason=f"no PostgreSQL at {POSTGRES}")

TABLES = (
    "CREATE TABLE orders (id INTEGER PRIMARY KEY)",
    "CREATE TABLE work (id VARCHAR(36) PRIMARY KEY, task TEXT NOT NULL, args TEXT)",
)


@asynccontextmanager
async def sqlite_desk(kind: str, folder: Path) -> AsyncIterator[Desk]:
    file = folder / "shop.db"
    with closing(sqlite3.connect(file)) as outside:
        outside.execute("PRAGMA journal_mode=WAL")
        for table in TABLES:
            outside.execute(table)

        def look(sql: str) -> list[str]:
            return [str(row[0]) for row in outside.execute(sql)]

        ledger = TableLedger(f"sqlite:///{file}", "sqlite")
        async with sessions_of(f"sqlite+{kind}:///{file}") as session:
            yield Desk(session, look, ledger)


@asynccontextmanager
async def postgres_desk(kind: str) -> AsyncIterator[Desk]:
    schema = f"joining_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(POSTGRES, autocommit=True) as outside:
        outside.execute(f"CREATE SCHEMA {schema}")
        try:
            outside.execute(f"SET search_path TO {schema}")
            for table in TABLES:
                outside.execute(table)

            def look(sql: str) -> list[str]:
                return [str(row[0]) for row in outside.execute(sql)]

            ledger = TableLedger(POSTGRES, "postgresql")
            driver, _, mode = kind.partition(" ")
            url = POSTGRES.replace("postgresql", f"postgresql+{driver}")
            async with sessions_of(url, schema=schema, asynchronous=mode != "sync") as session:
                yield Desk(session, look, ledger)
        finally:
            outside.execute(f"DROP SCHEMA {schema} CASCADE")


@asynccontextmanager
async def sessions_of(
    url: str, *, schema: str | None = None, asynchronous: bool = False
) -> AsyncIterator[Callable[..., Any]]:
    options: dict[str, Any] = {}
    if schema is not None and "asyncpg" in url:
        options["connect_args"] = {"server_settings": {"search_path": schema}}
    elif schema is not None:
        options["connect_args"] = {"options": f"-c search_path={schema}"}
    if asynchronous or "aiosqlite" in url:
        engine = create_async_engine(url, **options)
        try:
            yield async_sessionmaker(engine)
        finally:
            await engine.dispose()
    else:
        sync_engine = create_engine(url, **options)
        try:
            yield sessionmaker(sync_engine)
        finally:
            sync_engine.dispose()


KINDS = [
    "pysqlite",
    "aiosqlite",
    pytest.param("psycopg sync", marks=needs_postgres),
    pytest.param("psycopg async", marks=needs_postgres),
    pytest.param("asyncpg", marks=needs_postgres),
]

every_kind = pytest.mark.parametrize("kind", KINDS)


@asynccontextmanager
async def desk_of(kind: str, folder: Path) -> AsyncIterator[Desk]:
    opened = sqlite_desk(kind, folder) if "sqlite" in kind else postgres_desk(kind)
    async with opened as desk:
        yield desk


@asynccontextmanager
async def closing_session(desk: Desk, **options: Any) -> AsyncIterator[Any]:
    session = desk.session(**options)
    try:
        yield session
    finally:
        await now(session.close())


@contextmanager
def plain_desk(folder: Path) -> Iterator[Desk]:
    """A SQLite database with sync sessions and no pool."""
    file = folder / "shop.db"
    with closing(sqlite3.connect(file)) as outside:
        outside.execute("PRAGMA journal_mode=WAL")
        for table in TABLES:
            outside.execute(table)
        engine = create_engine(f"sqlite:///{file}", poolclass=NullPool)
        # As SQLAlchemy's documentation advises, so that savepoints of SQLite's work.
        event.listen(engine, "connect", lambda dbapi, _: setattr(dbapi, "isolation_level", None))
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        yield Desk(
            sessionmaker(engine),
            lambda sql: [str(row[0]) for row in outside.execute(sql)],
            TableLedger(f"sqlite:///{file}", "sqlite"),
        )
        engine.dispose()
