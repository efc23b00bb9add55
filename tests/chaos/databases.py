"""The databases that processes are killed on: each test's own, looked at in plain SQL."""

import json
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.ledger.databases import POSTGRES_URL, need_postgres

__all__ = ["Database", "PostgresDatabase", "Row", "SqliteDatabase", "fresh_postgres"]

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Row:
    """What the ledger says of a job."""

    task: str
    number: int | None
    state: str
    attempt: int
    errors: tuple[str, ...]
    fence: int


class Database:
    """A database with tables of the service's own beside the ledger's."""

    url: str

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    def execute(self, sql: str) -> None:
        raise NotImplementedError

    def prepare(self) -> None:
        """Make the tables of ``durable_service``. No keys: what is written twice shall be seen."""
        self.execute("CREATE TABLE orders (number INTEGER)")
        self.execute("CREATE TABLE payments (number INTEGER, attempt INTEGER)")

    def numbers(self, table: str) -> list[int]:
        return [number for (number,) in self.rows(f"SELECT number FROM {table} ORDER BY number")]

    def jobs(self) -> list[Row]:
        found = self.rows("SELECT task, args, state, attempt, errors, fence FROM backstay_jobs")
        return [
            Row(
                name,
                _number(_decoded(args)),
                state,
                attempt,
                tuple(_decoded(each)["type"] for each in _decoded(errors) or ()),
                fence,
            )
            for name, args, state, attempt, errors, fence in found
        ]

    def states(self) -> dict[str, int]:
        """How many jobs are in each state."""
        found = self.rows("SELECT state, count(*) FROM backstay_jobs GROUP BY state")
        return {str(state): int(count) for state, count in found}

    def workers(self) -> set[int]:
        """The processes that are registered to work, by their ids."""
        try:
            return {int(pid) for (pid,) in self.rows("SELECT pid FROM backstay_workers")}
        except (sqlite3.OperationalError, psycopg.errors.UndefinedTable):
            return set()  # nobody has made the table yet

    def story(self) -> str:
        """Who holds what, for people who wonder why it does not end."""
        held = self.rows(
            "SELECT task, state, worker, count(*), min(attempt), max(attempt) FROM backstay_jobs "
            "WHERE state NOT IN ('succeeded') GROUP BY task, state, worker"
        )
        workers = self.rows("SELECT id, pid, beat_at FROM backstay_workers")
        return "\n".join(map(repr, [*held, *workers]))

    def unfinished(self) -> int:
        over = ("succeeded", "discarded", "cancelled")
        return sum(count for state, count in self.states().items() if state not in over)


class SqliteDatabase(Database):
    """A file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.url = f"sqlite:///{file}"

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.file, timeout=PATIENCE_S, isolation_level=None)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(self._connect()) as connection:
            return connection.execute(sql).fetchall()

    def execute(self, sql: str) -> None:
        with closing(self._connect()) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(sql)

    def is_free(self) -> bool:
        """Whether nobody holds the write lock."""
        with closing(sqlite3.connect(self.file, timeout=0, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
            except sqlite3.OperationalError:
                return False
            return True

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the write lock."""
        with closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")


class PostgresDatabase(Database):
    """A database of a server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True, connect_timeout=10) as connection:
            return connection.execute(sql).fetchall()

    def execute(self, sql: str) -> None:
        with psycopg.connect(self.url, autocommit=True, connect_timeout=10) as connection:
            connection.execute(sql)

    def is_free(self) -> bool:
        """Nobody's sleep stands in the way of others here."""
        return True

    def clear(self) -> None:
        """Drop every table, whoever still works with it."""
        self.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


@contextmanager
def fresh_postgres() -> Iterator[PostgresDatabase]:
    """A database on the tests' server, gone at the end. Making one costs seconds on a busy disk."""
    need_postgres()
    name = f"chaos_{uuid.uuid4().hex[:16]}"
    server = PostgresDatabase(POSTGRES_URL)
    server.execute(f"CREATE DATABASE {name}")
    try:
        yield PostgresDatabase(f"{POSTGRES_URL.rpartition('/')[0]}/{name}")
    finally:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _decoded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str | bytes) else value


def _number(args: Any) -> int | None:
    """The argument ``number``, however the arguments are written."""
    if isinstance(args, Mapping):
        found = args.get("number")
        return found if isinstance(found, int) else None
    return None
