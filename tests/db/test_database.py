"""Engines made when needed, and SQLite transactions that wait instead of failing."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import (
    create_engine,
    insert,
    select,
    text,
)
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool, StaticPool

from backstay.db.database import Database
from tests.db.places import EVERY_KIND, metadata, pools_of, stock, stocked
from tests.jobs.desks import POSTGRES, needs_postgres
from tests.support import async_test


async def pieces(database: Database) -> Any:
    [(number,)] = await database.fetch(text("SELECT pieces FROM stock"))
    return number


@asynccontextmanager
async def shop(folder: Path, **options: float) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{folder / 'shop.db'}", **options)  # type: ignore[arg-type]  # busy_timeout_s only
    async with database.session() as session:
        await session.execute(text("CREATE TABLE stock (id INTEGER PRIMARY KEY, pieces INTEGER)"))
        await session.execute(text("INSERT INTO stock VALUES (1, 0)"))
        await session.commit()
    try:
        yield database
    finally:
        await database.close()


@async_test
async def test_async_and_sync_sessions_see_the_same_sqlite_file(tmp_path: Path) -> None:
    async with shop(tmp_path) as database:
        with database.sync_session() as session:
            assert session.execute(text("SELECT pieces FROM stock")).scalar_one() == 0
            assert session.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
            assert session.execute(text("PRAGMA foreign_keys")).scalar_one() == 1
        async with database.session() as async_session:
            pragma = await async_session.execute(text("PRAGMA foreign_keys"))
            assert pragma.scalar_one() == 1
        assert database.dialect == "sqlite"


@needs_postgres
@pytest.mark.parametrize("driver", ["", "+asyncpg", "+psycopg"])
@async_test
async def test_async_and_sync_sessions_see_the_same_postgresql(driver: str) -> None:
    url = POSTGRES.replace("postgresql", f"postgresql{driver}")
    database = Database(f"{url}?application_name=joined&connect_timeout=5")
    asked = text("SELECT current_setting('application_name')")
    with database.sync_session() as session:
        assert session.execute(asked).scalar_one() == "joined"
    async with database.session() as async_session:
        assert (await async_session.execute(asked)).scalar_one() == "joined"
    await database.close()


@async_test
async def test_a_transaction_that_reads_first_may_write_whoever_else_has_written(
    tmp_path: Path,
) -> None:
    """Twenty threads and tasks add one each, by reading and writing back: none fails, none is lost."""
    async with shop(tmp_path) as database:
        read, write = text("SELECT pieces FROM stock"), text("UPDATE stock SET pieces = :pieces")

        def add_in_a_thread() -> None:
            with database.sync_session() as session:
                pieces = session.execute(read).scalar_one()
                session.execute(write, {"pieces": pieces + 1})
                session.commit()

        async def add() -> None:
            async with database.session() as session:
                pieces = (await session.execute(read)).scalar_one()
                await asyncio.sleep(0)
                await session.execute(write, {"pieces": pieces + 1})
                await session.commit()

        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(add())
                group.create_task(asyncio.to_thread(add_in_a_thread))
        async with database.session() as session:
            assert (await session.execute(read)).scalar_one() == 20


@async_test
async def test_a_transaction_that_only_reads_may_ask_not_to_wait(tmp_path: Path) -> None:
    async with shop(tmp_path, busy_timeout_s=0.01) as database:
        with database.sync_session() as writer, database.sync_session() as reader:
            writer.execute(text("UPDATE stock SET pieces = 5"))
            with pytest.raises(OperationalError, match="locked"):
                reader.execute(text("SELECT pieces FROM stock"))
            reader.rollback()
            reader.connection(execution_options={"sqlite_begin": "DEFERRED"})
            assert reader.execute(text("SELECT pieces FROM stock")).scalar_one() == 0
            with database.sync_session(reading=True) as another:
                assert another.execute(text("SELECT pieces FROM stock")).scalar_one() == 0
            async with database.session(reading=True) as session:
                found = await session.execute(text("SELECT pieces FROM stock"))
                assert found.scalar_one() == 0
            writer.commit()
        async with database.session(reading=True) as session:
            found = await session.execute(text("SELECT pieces FROM stock"))
            assert found.scalar_one() == 5
            await session.execute(text("UPDATE stock SET pieces = 6"))
            await session.commit()
        assert await pieces(database) == 6


@async_test
async def test_savepoints_work_on_sqlite(tmp_path: Path) -> None:
    async with shop(tmp_path) as database, database.session() as session:
        await session.execute(text("UPDATE stock SET pieces = 1"))
        savepoint = await session.begin_nested()
        await session.execute(text("UPDATE stock SET pieces = 2"))
        with pytest.raises(IntegrityError):
            await session.execute(text("INSERT INTO stock VALUES (1, 0)"))
        await savepoint.rollback()
        await session.commit()
        found = await session.execute(text("SELECT pieces FROM stock"))
        assert found.scalar_one() == 1


@async_test
async def test_a_file_in_use_in_another_mode_is_opened_all_the_same(tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE stock (id)")
        other.execute("BEGIN")
        other.execute("SELECT * FROM stock").fetchall()
        database = Database(f"sqlite:///{file}", busy_timeout_s=0.01)
        with database.sync_session() as session:
            session.connection(execution_options={"sqlite_begin": "DEFERRED"})
            assert session.execute(text("SELECT count(*) FROM stock")).scalar_one() == 0
        other.rollback()
        await database.close()
        with database.sync_session() as session:
            assert session.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        await database.close()


@async_test
async def test_a_closed_database_opens_again_when_it_is_used(tmp_path: Path) -> None:
    async with shop(tmp_path) as database:
        engines = database.engine, database.async_engine
        await database.close()
        async with database.session() as session:
            await session.execute(text("SELECT 1"))
        assert database.engine is not engines[0]
        assert database.async_engine is not engines[1]


@async_test
async def test_an_engine_of_the_users_is_used_as_it_is_and_left_open(tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    engine = create_engine(f"sqlite:///{file}")
    async_engine = create_async_engine(f"sqlite+aiosqlite:///{file}")
    for given, database in (
        (engine, Database(engine)),
        (async_engine, Database(async_engine)),
    ):
        assert given in (database.engine, database.async_engine)
        with database.sync_session() as session:
            session.execute(text("CREATE TABLE IF NOT EXISTS stock (id)"))
            session.commit()
        async with database.session() as async_session:
            await async_session.execute(text("SELECT * FROM stock"))
        pool = given.pool
        await database.close()
        assert given.pool is pool
    engine.dispose()
    await async_engine.dispose()


def test_an_engine_in_memory_serves_its_own_kind_only() -> None:
    engine = create_engine("sqlite://")
    database = Database(engine)
    with database.sync_session() as session:
        assert session.execute(text("SELECT 1")).scalar_one() == 1
    with pytest.raises(ValueError, match="in memory"):
        database.session()
    engine.dispose()


def test_options_reach_the_engines(tmp_path: Path) -> None:
    options = {"pool_size": 3, "connect_args": {"cached_statements": 7}}
    database = Database(f"sqlite:///{tmp_path}/shop.db", options=options)
    assert database.engine.pool.size() == 3  # type: ignore[attr-defined]  # of a QueuePool
    assert database.async_engine.pool.size() == 3  # type: ignore[attr-defined]  # of a QueuePool


def test_engines_are_made_once_however_many_threads_ask(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/shop.db")
    start = threading.Barrier(8)
    found = []

    def ask() -> None:
        start.wait()
        found.append(database.engine)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(map(id, found))) == 1


def test_what_is_no_database_is_refused() -> None:
    with pytest.raises(TypeError, match="is a URL or a SQLAlchemy engine; got 5 of type int"):
        Database(5)  # type: ignore[arg-type]  # the point
    with pytest.raises(ValueError, match="in memory"):
        Database("sqlite://")
    with pytest.raises(ValueError, match="no database URL"):
        Database("shop.db")


def test_the_password_is_never_shown() -> None:
    database = Database("postgresql://shop:secret@h/shop")
    assert database.url == "postgresql://shop:***@h/shop"


@needs_postgres
@async_test
async def test_a_connection_that_died_in_the_pool_is_replaced() -> None:
    database = Database(POSTGRES)
    pid = text("SELECT pg_backend_pid()")
    async with database.session() as session:
        died = (await session.execute(pid)).scalar_one()
    with psycopg.connect(POSTGRES, autocommit=True) as other:
        ended = other.execute("SELECT pg_terminate_backend(%s, 10000)", [died])
        assert ended.fetchone() == (True,)
    async with database.session() as session:
        assert (await session.execute(pid)).scalar_one() != died
    await database.close()


# ---------------------------------------------------------------------- another one meanwhile


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_a_redirected_database_is_another_for_everybody_and_itself_again_afterwards(
    kind: str, tmp_path: Path
) -> None:
    other, third = tmp_path / "other.db", tmp_path / "third.db"
    async with stocked(kind, tmp_path) as database:
        before = (database.url, database.engine, database.async_engine)
        with suppress(ZeroDivisionError):
            async with database.redirected(f"sqlite:///{other}") as inside:
                assert inside is database
                assert database.url == f"sqlite:///{other}"
                assert database.dialect == "sqlite"
                metadata.create_all(database.engine)
                assert list(await database.fetch(select(stock))) == []
                async with database.redirected(f"sqlite:///{third}"):
                    metadata.create_all(database.engine)
                    await database.write(insert(stock), {"pieces": 1})
                    async with database.session() as session:
                        assert len((await session.execute(select(stock))).all()) == 1
                async with database.session() as session:
                    assert (await session.execute(select(stock))).all() == []
                pools = pools_of(database)
                assert all(pool.checkedin() for pool in pools)
                raise ZeroDivisionError
        assert not any(pool.checkedin() for pool in pools), "closed"
        assert (database.url, database.engine, database.async_engine) == before
        assert len(await database.fetch(select(stock))) == 50


def test_a_redirection_in_sync_code_closes_what_was_used_in_it(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'shop.db'}")

    async def use() -> None:
        await database.fetch(text("SELECT 1"))
        async with database.session() as session:
            await session.execute(text("SELECT 1"))

    with database.redirected(f"sqlite:///{tmp_path / 'other.db'}"):
        asyncio.run(use())
        with database.sync_session() as session:
            session.execute(text("SELECT 1"))
        pools = pools_of(database)
        assert all(pool.checkedin() for pool in pools)
    assert not any(pool.checkedin() for pool in pools)
    assert not (tmp_path / "shop.db").exists()


@async_test
async def test_a_plain_with_in_async_code_closes_as_soon_as_the_loop_gets_to_it(
    tmp_path: Path,
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'shop.db'}")
    with database.redirected(f"sqlite:///{tmp_path / 'other.db'}"):
        async with database.session() as session:
            await session.execute(text("SELECT 1"))
        pool = database.async_engine.pool
        assert pool.checkedin() == 1  # type: ignore[attr-defined]  # of a QueuePool
    while pool.checkedin():  # type: ignore[attr-defined]  # of a QueuePool
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("wrong", ["shop.db", "sqlite://"])
def test_a_redirection_goes_to_a_database_only(wrong: str, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'shop.db'}")
    with pytest.raises(ValueError, match="database"):
        database.redirected(wrong)
    assert database.url.endswith("shop.db")


@async_test
async def test_overriding_engines_are_used_for_everything_as_they_are(tmp_path: Path) -> None:
    others = set(threading.enumerate())
    database = Database(f"sqlite:///{tmp_path / 'shop.db'}")
    memory = create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )
    async_memory = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
    metadata.create_all(memory)
    async with async_memory.begin() as connection:
        await connection.run_sync(metadata.create_all)
    with database.override_engines(engine=memory, async_engine=async_memory):
        assert database.engine_to_read is database.engine is memory
        assert database.async_engine_to_read is database.async_engine is async_memory
        with database.sync_session() as session:
            session.execute(insert(stock).values(pieces=1))
            session.commit()
        await database.write(insert(stock), {"pieces": 2})
        async with database.reading() as connection:
            assert (await connection.execute(select(stock.c.pieces))).all() == [(2,)]
        assert list(await database.fetch(select(stock.c.pieces))) == [(2,)]
        with database.override_engines(engine=memory):
            assert database.async_engine is async_memory
            assert list(await database.fetch(select(stock.c.pieces))) == [(1,)]
        await database.close()
        assert list(await database.fetch(select(stock.c.pieces))) == [(2,)], "they are not closed"
    assert database.engine is not memory
    assert "backstay-db" not in {each.name for each in {*threading.enumerate()} - others}
    memory.dispose()
    await async_memory.dispose()
    await database.close()


def test_only_engines_override_engines(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'shop.db'}")
    for wrong in ({}, {"engine": "sqlite:///x.db"}, {"async_engine": database.engine}):
        with pytest.raises(TypeError, match="engine="):
            database.override_engines(**wrong)


def test_who_has_to_connect_by_himself_gets_the_password() -> None:
    database = Database("postgresql://shop:s%25t@h/shop")
    assert database.address.password == "s%t"
    assert repr(database) == "<Database postgresql://shop:***@h/shop>"


@needs_postgres
@async_test
async def test_one_that_is_apart_waits_for_nobodys_connections() -> None:
    database = Database(POSTGRES, options={"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.1})
    apart = database.apart(connections=2)
    assert apart.address == database.address
    async with database.session() as session:
        await session.execute(text("SELECT 1"))
        assert await apart.fetch(text("SELECT 1"))
    pool: Any = apart.async_engine.pool
    assert (pool.size(), pool._max_overflow, pool._timeout) == (2, 0, 0.1)
    await apart.close()
    await database.close()


def test_where_nothing_would_be_won_by_it_nothing_is_apart(tmp_path: Path) -> None:
    file = Database(f"sqlite:///{tmp_path}/shop.db")
    given = Database(create_engine("postgresql+psycopg://127.0.0.1/shop"))
    unpooled = Database("postgresql://127.0.0.1/shop", options={"poolclass": NullPool})
    for each in (file, given, unpooled):
        assert each.apart(connections=2) is each


@async_test
async def test_pools_are_those_that_were_made(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/app.db")
    assert database.pools() == {}
    engine = database.engine
    assert database.pools() == {"sync": engine.pool}
    asynchronous = database.async_engine
    assert database.pools() == {"sync": engine.pool, "async": asynchronous.pool}
    await database.close()
    assert database.pools() == {}


@async_test
async def test_a_database_apart_is_closed_by_itself(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/app.db")
    assert database.apart(connections=2) is database, "SQLite has one writer anyhow"
    apart = database.apart(connections=2, of_sqlite=True)
    await apart.write(text("CREATE TABLE stock (pieces INTEGER)"))
    await database.close()
    await apart.write(text("INSERT INTO stock VALUES (3)"))
    await apart.close()
    assert await pieces(database) == 3
    await database.close()
