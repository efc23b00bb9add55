"""The databases that the ledger's tests run on, and how each is made, shared, joined and damaged."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest
import sqlalchemy

from backstay.ledger import Execute, Ledger
from backstay.ledger.postgres import PostgresLedger
from backstay.ledger.sqlite import SqliteLedger
from backstay.testing.ledger_conformance import LedgerConformance

__all__ = [
    "OnMemory",
    "OnPostgres",
    "OnSqlite",
    "POSTGRES_URL",
    "fresh_schema",
    "need_postgres",
    "quick_directory",
]

Now = Callable[[], datetime] | None

POSTGRES_URL = os.environ.get("BACKSTAY_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test")
BROKEN = '{"broken'


class OnMemory(LedgerConformance):
    """``memory://``: one process, gone when it is closed."""

    def new_ledger(self, now: Now) -> Ledger:
        return SqliteLedger("memory://", now=now)


class OnSqlite(LedgerConformance):
    """A file of its own for every test."""

    directory: Path

    @pytest.fixture(autouse=True)
    def _directory(self) -> Iterator[None]:
        with tempfile.TemporaryDirectory(dir=quick_directory()) as directory:
            self.directory = Path(directory)
            yield

    @property
    def file(self) -> Path:
        return self.directory / "ledger.db"

    def new_ledger(self, now: Now) -> Ledger:
        return SqliteLedger(f"sqlite:///{self.file}", now=now)

    def same_ledger(self, ledger: Ledger, now: Now) -> Ledger:
        return SqliteLedger(ledger.url, now=now)

    @contextmanager
    def transaction(self, ledger: Ledger) -> Iterator[Execute]:
        # As an application does that knows nothing of the ledger: sqlite3 as it comes.
        with closing(sqlite3.connect(self.file)) as connection, connection:

            def execute(sql: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
                return connection.execute(sql, parameters).fetchall()

            yield execute

    def damage(self, ledger: Ledger, job_id: UUID) -> bool:
        with closing(sqlite3.connect(self.file)) as connection, connection:
            connection.execute(
                "UPDATE backstay_jobs SET args = ? WHERE id = ?", (BROKEN, job_id.bytes)
            )
        return True


class OnPostgres(LedgerConformance):
    """A schema of its own for every class, emptied for every test."""

    schema: str
    engine: sqlalchemy.Engine
    tables: ClassVar[list[str] | None] = None

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _schema(cls) -> Iterator[None]:
        need_postgres()
        with fresh_schema() as (cls.schema, cls.engine):
            yield

    def new_ledger(self, now: Now) -> Ledger:
        # TRUNCATE would make new files of every table and index, and wait for each to be on disk.
        with self.engine.begin() as connection:
            if type(self).tables is None:
                names = connection.scalars(
                    sqlalchemy.text("SELECT tablename FROM pg_tables WHERE schemaname = :schema"),
                    {"schema": self.schema},
                )
                type(self).tables = [each for each in names if not each.endswith("_meta")] or None
            if type(self).tables is not None:
                connection.exec_driver_sql(
                    ";".join(f'DELETE FROM {self.schema}."{name}"' for name in type(self).tables)
                )
        return PostgresLedger(POSTGRES_URL, now=now, schema=self.schema)

    def same_ledger(self, ledger: Ledger, now: Now) -> Ledger:
        return PostgresLedger(POSTGRES_URL, now=now, schema=self.schema)

    @contextmanager
    def transaction(self, ledger: Ledger) -> Iterator[Execute]:
        with self.engine.begin() as connection:

            def execute(sql: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
                result = connection.execute(sqlalchemy.text(sql), parameters)
                return result.all() if result.returns_rows else ()

            yield execute

    def damage(self, ledger: Ledger, job_id: UUID) -> bool:
        with self.engine.begin() as connection:
            connection.execute(
                sqlalchemy.text(
                    f"UPDATE {self.schema}.backstay_jobs SET args = :args WHERE id = :id"
                ),
                {"args": BROKEN, "id": job_id},
            )
        return True


def quick_directory() -> str | None:
    """Where fsync costs nothing, if there is such a place: what disks do is not tested here."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@contextmanager
def fresh_schema() -> Iterator[tuple[str, sqlalchemy.Engine]]:
    """A schema that is dropped at the end, and an application's engine on its database."""
    engine = sqlalchemy.create_engine(
        POSTGRES_URL.replace("postgresql:", "postgresql+psycopg:", 1),
        # What disks do is not tested here.
        connect_args={"options": "-c synchronous_commit=off"},
    )
    schema = f"t_{uuid.uuid4().hex[:20]}"
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
        try:
            yield schema, engine
        finally:
            with engine.begin() as connection:
                connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
    finally:
        engine.dispose()


def need_postgres() -> None:
    """Skip the test if no PostgreSQL answers; in CI that is a failure."""
    import psycopg

    try:
        psycopg.connect(POSTGRES_URL, connect_timeout=3).close()
    except psycopg.OperationalError as error:
        why = f"no PostgreSQL at {POSTGRES_URL}; name one with BACKSTAY_TEST_POSTGRES: {error}"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
