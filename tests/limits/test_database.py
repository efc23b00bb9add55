"""A database counts for all processes, by one clock, and says when it cannot."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi import Depends, FastAPI
from sqlalchemy import text

from backstay.db.database import Database
from backstay.errors import BadLimit, LimitsUnavailable
from backstay.limits import add_limits, rate_limit, read_limits
from backstay.limits.database import DatabaseCounts
from backstay.limits.port import Strategy
from backstay.testing import FakeClock, running
from tests.db.places import at
from tests.jobs.desks import needs_postgres
from tests.limits.stores import DATABASES
from tests.support import async_test

both = pytest.mark.parametrize("kind", DATABASES)


@both
@async_test
async def test_processes_share_the_counts(kind: str, tmp_path: Path) -> None:
    limits = read_limits("10/hour;20/day")
    with at(kind, tmp_path) as url:
        stores = [DatabaseCounts(Database(url), owned=True) for _ in range(4)]
        verdicts = await asyncio.gather(
            *(each.hit("k", limits, 1, Strategy.SLIDING) for each in stores for _ in range(10))
        )
        assert sum(each.allowed for each in verdicts) == 10
        for each in stores:
            await each.close()


@async_test
async def test_somebody_who_holds_sqlites_lock_lets_no_more_pass_than_a_process_allows(
    tmp_path: Path,
) -> None:
    file = tmp_path / "app.db"
    app = FastAPI()
    add_limits(app, f"sqlite:///{file}", timeout_s=0.05)

    @app.get("/", dependencies=[Depends(rate_limit("5/day"))])
    async def index() -> int:
        return 1

    async with running(app) as client:
        with closing(sqlite3.connect(file, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            answers = [await client.get("/") for _ in range(20)]
            writer.execute("ROLLBACK")
    assert [each.status_code for each in answers] == [200] * 5 + [429] * 15
    assert all("ratelimit" in each.headers for each in answers)


@both
@async_test
async def test_a_machine_whose_clock_is_behind_does_not_open_a_window_again(
    kind: str, tmp_path: Path
) -> None:
    ahead, behind = FakeClock(), FakeClock()
    await ahead.advance(61)
    limits = read_limits("5/minute")
    with at(kind, tmp_path) as url:
        first = DatabaseCounts(Database(url), clock=ahead, owned=True)
        second = DatabaseCounts(Database(url), clock=behind, owned=True)
        assert (await first.hit("k", limits, 5, Strategy.SLIDING)).allowed
        assert not (await second.hit("k", limits, 1, Strategy.SLIDING)).allowed
        await first.close()
        await second.close()


@needs_postgres
@async_test
async def test_whoever_keeps_all_connections_of_the_app_busy_is_counted(tmp_path: Path) -> None:
    limits = read_limits("2/minute")
    with at("postgresql", tmp_path) as url:
        database = Database(url, options={"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.1})
        store = DatabaseCounts(database)
        for _ in range(2):  # and again once it was closed
            async with database.session() as session:
                await session.execute(text("SELECT 1"))
                assert (await store.hit("k", limits, 1, Strategy.MOVING)).allowed
            await store.close()
        assert not (await store.hit("k", limits, 1, Strategy.MOVING)).allowed
        await store.close()
        assert await database.fetch(text("SELECT 1"))  # which is not the store's to close
        await database.close()


@both
@async_test
async def test_nobodys_address_can_be_read_in_it(kind: str, tmp_path: Path) -> None:
    with at(kind, tmp_path) as url:
        database = Database(url)
        store = DatabaseCounts(database)
        await store.hit("route|user:alice@example.org", read_limits("5/day"), 1, Strategy.MOVING)
        rows = await database.fetch(text("SELECT * FROM backstay_limits"))
        assert len(rows) == 1
        assert b"alice" not in bytes(rows[0].key)
        await store.close()
        await database.close()


@both
@async_test
async def test_errors_of_the_database_are_told_as_ours(kind: str, tmp_path: Path) -> None:
    with at(kind, tmp_path) as url:
        database = Database(url)
        store = DatabaseCounts(database)
        await store.open()
        await database.write(text("DROP TABLE backstay_limits"))
        for limits in (read_limits("5/day"), read_limits("5/hour;6/day")):
            with pytest.raises(LimitsUnavailable, match="out of reach") as caught:
                await store.hit("k", limits, 1, Strategy.MOVING)
            assert caught.value.__cause__ is not None
        await store.close()
        await database.close()


@async_test
async def test_a_closed_port_is_out_of_reach() -> None:
    database = Database("postgresql://postgres@127.0.0.1:1/test")
    store = DatabaseCounts(database, owned=True)
    with pytest.raises(LimitsUnavailable):
        await store.open()
    with pytest.raises(LimitsUnavailable):
        await store.hit("k", read_limits("5/day"), 1, Strategy.MOVING)
    await store.close()


@needs_postgres
@async_test
async def test_sessions_that_are_serializable_elsewhere_do_not_disturb_counting(
    tmp_path: Path,
) -> None:
    limits = read_limits("20/hour;30/day")
    with at("postgresql", tmp_path) as url:
        database = Database(url, options={"isolation_level": "SERIALIZABLE"})
        store = DatabaseCounts(database)
        verdicts = await asyncio.gather(
            *(store.hit("k", limits, 1, Strategy.SLIDING) for _ in range(60))
        )
        assert sum(each.allowed for each in verdicts) == 20
        await store.close()
        await database.close()


@needs_postgres
@async_test
async def test_postgres_goes_by_its_own_clock(tmp_path: Path) -> None:
    with at("postgresql", tmp_path) as url:
        database = Database(url)
        store = DatabaseCounts(database)
        await store.hit("k", read_limits("5/minute"), 1, Strategy.SLIDING)
        query = "SELECT expires_at - extract(epoch FROM now()) AS left_s FROM backstay_limits"
        [row] = await database.fetch(text(query))
        assert timedelta(seconds=59) < timedelta(seconds=float(row.left_s)) <= timedelta(minutes=2)
        await store.close()
        await database.close()


def test_other_databases_are_refused() -> None:
    class Other:
        dialect = "mysql"
        url = "mysql://host/x"

    with pytest.raises(BadLimit, match="mysql"):
        DatabaseCounts(Other())  # type: ignore[arg-type]  # as much of a database as is looked at
