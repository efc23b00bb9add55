"""Whatever dies between any two statements: an operation happened whole or not at all."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest
import sqlalchemy

from backstay.errors import BackstayError, LedgerUnavailable
from backstay.ledger import Finish, NewJob, State, new_job_id
from backstay.ledger.postgres import PostgresLedger
from backstay.ledger.sqlite import SqliteLedger
from backstay.testing.ledger_conformance.stage import worker_row
from tests.ledger.crashing import dump
from tests.ledger.databases import POSTGRES_URL, fresh_schema, need_postgres, quick_directory
from tests.ledger.operations import NOW, OPERATIONS, Operation, prepare
from tests.support import PATIENCE_S

T = TypeVar("T")

NAMES = [each.name for each in OPERATIONS]
TABLES = ["jobs", "edges", "queues", "gates", "workers", "ticks"]


@pytest.fixture(scope="module")
def reports() -> dict[str, dict[str, Any]]:
    with tempfile.TemporaryDirectory(dir=quick_directory()) as directory:
        shares = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.ledger.crashing", directory, str(first), "2"],
                cwd=Path(__file__).parents[2],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for first in range(2)
        ]
        try:
            said = [share.communicate(timeout=120) for share in shares]
        finally:
            for share in shares:
                share.kill()
                share.wait()
    assert [share.returncode for share in shares] == [0, 0], said
    found = [json.loads(line) for out, _ in said for line in out.splitlines()]
    return {each["name"]: each for each in found}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
@pytest.mark.parametrize("name", NAMES)
def test_a_killed_process_leaves_the_file_as_before_or_as_after(
    name: str, reports: dict[str, dict[str, Any]]
) -> None:
    report = reports[name]
    assert report["torn"] == []
    assert report["statements"] >= 3, "BEGIN, something, COMMIT"
    assert report["before"] >= 2


class _Failing(sqlite3.Connection):
    """A connection on a disk that is full from the n-th statement on."""

    left: int | None = None

    def _count(self, sql: str) -> None:
        kind = type(self)
        if kind.left is None or sql == "ROLLBACK":
            return
        kind.left -= 1
        if kind.left <= 0:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            error.sqlite_errorname = "SQLITE_FULL"
            raise error

    def execute(self, *args: Any) -> sqlite3.Cursor:
        self._count(args[0])
        return super().execute(*args)

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        self._count(args[0])
        return super().executemany(*args)


@pytest.mark.parametrize("operation", OPERATIONS, ids=NAMES)
def test_a_disk_that_is_full_undoes_the_operation_and_it_can_be_done_again(
    operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **kw: connect(*a, factory=_Failing, **kw))
    monkeypatch.setattr(_Failing, "left", None)
    with tempfile.TemporaryDirectory(dir=quick_directory()) as directory:
        file = Path(directory) / "ledger.db"

        async def run() -> None:
            ledger = SqliteLedger(f"sqlite:///{file}", now=lambda: NOW)
            await ledger.open()
            await prepare(ledger)
            before = dump(file)
            failures = 0
            while True:
                _Failing.left = failures + 1
                try:
                    await operation.run(ledger)
                except LedgerUnavailable:
                    pass
                else:
                    break
                finally:
                    _Failing.left = None
                failures += 1
                assert dump(file) == before, f"the failure of statement {failures} left something"
            assert failures >= 1
            assert dump(file) != before
            await ledger.close()

        asyncio.run(asyncio.wait_for(run(), PATIENCE_S))


# A backend that ends itself when a statement writes for the n-th time. Sequences are not rolled
# back, so the count goes on.
_TRIGGER = """
CREATE SEQUENCE {schema}.writes;
CREATE TABLE {schema}.deadline (at bigint);
CREATE FUNCTION {schema}.die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('{schema}.writes') = (SELECT at FROM {schema}.deadline) THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
        PERFORM pg_sleep(5);
    END IF;
    RETURN NULL;
END $$;
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[tuple[str, sqlalchemy.Engine]]:
    need_postgres()
    with fresh_schema() as (schema, engine):

        async def make_tables() -> None:
            ledger = PostgresLedger(POSTGRES_URL, now=lambda: NOW, schema=schema)
            await ledger.open()
            await ledger.close()

        asyncio.run(make_tables())
        with engine.begin() as connection:
            connection.exec_driver_sql(_TRIGGER.format(schema=schema))
            for table in TABLES:
                for when in ("BEFORE", "AFTER"):
                    connection.exec_driver_sql(
                        f"CREATE TRIGGER die_{when} {when} INSERT OR UPDATE OR DELETE "
                        f"ON {schema}.backstay_{table} "
                        f"FOR EACH STATEMENT EXECUTE FUNCTION {schema}.die()"
                    )
        yield schema, engine


@pytest.mark.parametrize("operation", OPERATIONS, ids=NAMES)
def test_a_backend_that_dies_while_it_writes_leaves_all_or_nothing(
    operation: Operation, postgres: tuple[str, sqlalchemy.Engine]
) -> None:
    schema, engine = postgres

    def rows() -> str:
        with engine.begin() as connection:
            found = {}
            for table in TABLES:
                name = f"{schema}.backstay_{table}"
                # Which claim took a job is chance, and no matter.
                query = f"SELECT CAST(to_jsonb(t) - 'ticket' AS text) FROM {name} t ORDER BY 1"
                found[table] = connection.scalars(sqlalchemy.text(query)).all()
        return repr(found)

    def die_at(number: int) -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"DELETE FROM {schema}.deadline")
            connection.exec_driver_sql(f"INSERT INTO {schema}.deadline VALUES ({number})")
            connection.exec_driver_sql(f"ALTER SEQUENCE {schema}.writes RESTART")

    def empty() -> None:
        with engine.begin() as connection:
            for table in TABLES:
                connection.exec_driver_sql(f"DELETE FROM {schema}.backstay_{table}")

    async def attempt(ledger: PostgresLedger, number: int) -> tuple[str, str, bool]:
        """Before, after, and whether it was done."""
        die_at(0)
        empty()
        await prepare(ledger)
        before = rows()
        die_at(number)
        try:
            await operation.run(ledger)
        except BackstayError:
            done = False
        else:
            done = True
        return before, rows(), done

    async def run() -> None:
        ledger = PostgresLedger(POSTGRES_URL, now=lambda: NOW, schema=schema)
        await ledger.open()
        try:
            _, whole, done = await attempt(ledger, 0)
            assert done
            with engine.begin() as connection:
                writes = connection.scalar(
                    sqlalchemy.text(f"SELECT last_value FROM {schema}.writes")
                )
            assert writes >= 2
            for number in sorted({1, 2, writes // 2 + 1, writes}):
                before, left, done = await attempt(ledger, number)
                # Some engines try again by themselves: then it is done, whole, and they say so.
                assert left == (whole if done else before), f"write {number} of {writes}"
        finally:
            await ledger.close()

    asyncio.run(asyncio.wait_for(run(), PATIENCE_S))


_KILL = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND application_name = 'backstay' AND query LIKE :ours
"""


def test_connections_that_die_at_any_moment_lose_and_double_nothing() -> None:
    need_postgres()
    with fresh_schema() as (schema, engine):
        asyncio.run(asyncio.wait_for(_under_fire(schema, engine), PATIENCE_S * 2))


async def _under_fire(schema: str, engine: sqlalchemy.Engine) -> None:
    ledger = PostgresLedger(POSTGRES_URL, schema=schema)
    await ledger.open()
    accepted: set[UUID] = set()
    maybe: set[UUID] = set()
    writing = True
    done = asyncio.Semaphore(0)

    def kill() -> int:
        with engine.begin() as connection:
            killed = connection.execute(sqlalchemy.text(_KILL), {"ours": f"%{schema}%"})
            return len(killed.all())

    async def insist(call: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await call()
            except LedgerUnavailable:
                continue

    async def write() -> None:
        for number in range(50):
            jobs = [NewJob(new_job_id(), "t", max_attempts=99) for _ in range(number % 5 + 1)]
            try:
                inserted = await ledger.insert(jobs)
            except LedgerUnavailable:
                maybe.update(each.id for each in jobs)
                if number % 2:
                    continue  # this caller gives up; that one tries again, which is harmless
                inserted = await insist(partial(ledger.insert, jobs))
            assert [each.id for each in inserted] == [each.id for each in jobs]
            accepted.update(each.id for each in jobs)
            done.release()

    async def work(name: str) -> None:
        await insist(partial(ledger.register, worker_row(name)))
        while True:
            try:
                taken = (await ledger.claim(name, {"default": 7})).jobs
            except LedgerUnavailable:
                continue
            if not taken and not writing:
                return
            finishes = [Finish(each.id, each.fence, State.SUCCEEDED) for each in taken]
            # After a lost answer a claim that had been ended is stale: no harm, and no news.
            await insist(partial(ledger.finish, finishes))

    async def shoot() -> None:
        shots = 0
        while writing:
            for _ in range(5):  # let a few through between two shots
                await done.acquire()
            shots += await asyncio.to_thread(kill)
        assert shots >= 3, "nobody was ever hit"

    async def write_all() -> None:
        nonlocal writing
        await asyncio.gather(write(), write())
        writing = False
        for _ in range(5):
            done.release()

    await asyncio.gather(write_all(), work("w1"), work("w2"), shoot())
    # What a worker took and never heard of is what a dead one leaves behind.
    for name in ("w1", "w2"):
        await insist(partial(ledger.unregister, name))
    await insist(partial(ledger.register, worker_row("w3")))
    for orphan in await insist(ledger.orphans):
        assert await ledger.finish([Finish(orphan.id, orphan.fence, State.AVAILABLE)]) == set()
    for each in (await ledger.claim("w3", {"default": 10_000})).jobs:
        assert await ledger.finish([Finish(each.id, each.fence, State.SUCCEEDED)]) == set()
    rows = await ledger.get(list(accepted | maybe))
    assert accepted <= set(rows), "an accepted job was lost"
    assert {row.state for row in rows.values()} == {State.SUCCEEDED}
    assert sum(each.jobs for each in await ledger.counts()) == len(rows)
    await ledger.close()
