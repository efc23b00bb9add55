"""One statement by the cheapest way: what it returns, what travels, what is left behind."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import bindparam, create_engine, delete, event, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import StaticPool
from sqlalchemy.schema import CreateTable

from backstay.db.database import Database
from tests.db.places import EVERY_KIND, in_use, stock, stocked
from tests.jobs.desks import needs_postgres
from tests.support import async_test


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_fetch_returns_the_rows_of_a_statement(kind: str, tmp_path: Path) -> None:
    async with stocked(kind, tmp_path) as database:
        rows = await database.fetch(select(stock.c.name, stock.c.pieces).order_by(stock.c.id))
        assert [(row.name, row.pieces) for row in rows] == [(f"n{i}", i) for i in range(50)]
        cheap = select(stock.c.name).where(stock.c.pieces < bindparam("most"))
        assert len(await database.fetch(cheap, {"most": 3})) == 3
        asked = text("SELECT name FROM stock WHERE pieces = :pieces")
        assert list(await database.fetch(asked, {"pieces": 7})) == [("n7",)]
        assert list(await database.fetch(asked, {"pieces": -1})) == []


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_many_fetches_at_once_need_no_more_connections_than_the_pool_has(
    kind: str, tmp_path: Path
) -> None:
    async with stocked(kind, tmp_path) as database:
        statement = select(stock.c.pieces).where(stock.c.id == bindparam("id"))
        asked = [database.fetch(statement, {"id": 1 + i % 50}) for i in range(200)]
        found = await asyncio.gather(*asked)
        assert [rows[0].pieces for rows in found] == [i % 50 for i in range(200)]


@pytest.mark.parametrize(
    "statement",
    [
        insert(stock).values(pieces=1),
        update(stock).values(pieces=1).returning(stock.c.id),
        delete(stock),
        CreateTable(stock),
    ],
    ids=lambda statement: type(statement).__name__,
)
@async_test
async def test_fetch_refuses_what_writes(statement: Any, tmp_path: Path) -> None:
    async with stocked("sqlite", tmp_path) as database:
        said = f"fetch.. is for statements that read, and {type(statement).__name__} writes"
        with pytest.raises(TypeError, match=said):
            await database.fetch(statement)


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_write_is_committed_when_it_returns_with_what_it_returned(
    kind: str, tmp_path: Path
) -> None:
    async with stocked(kind, tmp_path) as database:
        new = {"name": "new", "pieces": 5}
        [row] = await database.write(insert(stock).returning(stock.c.id, stock.c.pieces), new)
        assert row == (51, 5)
        assert list(await database.write(update(stock).values(pieces=1))) == []
        with database.sync_session() as session:
            assert set(session.scalars(select(stock.c.pieces))) == {1}
        with pytest.raises(IntegrityError):
            await database.write(insert(stock), new)
        several = [{"name": "more", "pieces": 1}, {"name": "new", "pieces": 1}]
        with pytest.raises(IntegrityError):
            await database.write(insert(stock), several)
        assert len(await database.fetch(select(stock.c.id))) == 51, "all or none"


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_64_writers_lose_nothing(kind: str, tmp_path: Path) -> None:
    async with stocked(kind, tmp_path) as database:
        more = update(stock).where(stock.c.id == 1).values(pieces=stock.c.pieces + 1)

        async def in_a_session() -> None:
            async with database.session() as session:
                await session.execute(more)
                await session.commit()

        both = [database.write(more) if i % 2 else in_a_session() for i in range(64)]
        await asyncio.gather(*both)
        assert list(await database.fetch(select(stock.c.pieces).where(stock.c.id == 1))) == [(64,)]


@async_test
async def test_neither_fetch_nor_reading_waits_for_a_writer_with_sqlite(tmp_path: Path) -> None:
    async with stocked("sqlite", tmp_path) as database:
        count = select(stock.c.id).where(stock.c.pieces == 99)
        with database.sync_session() as writer:
            writer.execute(update(stock).values(pieces=99))
            assert list(await database.fetch(count)) == []
            async with database.reading() as connection:
                assert (await connection.execute(count)).all() == []
                writer.commit()
                assert (await connection.execute(count)).all() == [], "as it was at the first"
        assert len(await database.fetch(count)) == 50


@needs_postgres
@pytest.mark.parametrize("kind", EVERY_KIND[1:])
@async_test
async def test_nothing_but_the_statement_travels_to_postgresql(kind: str, tmp_path: Path) -> None:
    async with stocked(kind, tmp_path) as database:
        idle = text("SELECT state, query FROM pg_stat_activity WHERE pid = :pid")
        mine = text("SELECT pg_backend_pid() AS pid")
        [(pid,)] = await database.fetch(mine)
        with database.sync_session() as outside:
            seen = outside.execute(idle, {"pid": pid}).one()
        assert seen.state == "idle"
        # The last thing this connection was told is the statement: no ROLLBACK, no ping after it.
        assert "pg_backend_pid" in seen.query
        async with database.reading() as connection:
            await connection.execute(mine)
            with database.sync_session() as outside:
                assert outside.execute(idle, {"pid": pid}).one().state == "idle"


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_listeners_on_the_engines_hear_of_every_fetch(kind: str, tmp_path: Path) -> None:
    async with stocked(kind, tmp_path) as database:
        await database.fetch(text("SELECT 0"))  # connections are open before anybody listens
        heard: list[str] = []
        for engine in (database.engine, database.async_engine.sync_engine):

            @event.listens_for(engine, "before_cursor_execute")
            def hear(_: object, __: object, statement: str, *___: object) -> None:
                heard.append(statement)

        await database.fetch(text("SELECT 1"))
        await database.write(text("UPDATE stock SET pieces = 1"))
        assert heard == ["SELECT 1", "UPDATE stock SET pieces = 1"]


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_cancellation_anywhere_gives_every_connection_back(kind: str, tmp_path: Path) -> None:
    async with stocked(kind, tmp_path) as database:
        statement = select(stock)

        async def read() -> None:
            async with database.reading() as connection:
                await connection.execute(statement)

        async def use_session() -> None:
            async with database.session() as session:
                await session.execute(statement)
                await session.execute(update(stock).values(pieces=1))
                await session.commit()

        calls: list[Any] = [
            lambda: database.fetch(statement),
            lambda: database.write(update(stock).values(pieces=2)),
            read,
            use_session,
        ]
        for call in calls:
            for turns in range(25):
                task = asyncio.ensure_future(call())
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        # The threads of SQLite's drivers end what they were at.
        while in_use(database) != [0, 0]:
            await asyncio.sleep(0.001)
        assert len(await database.fetch(statement)) == 50


@async_test
async def test_an_engine_of_the_users_is_fetched_from_as_well(tmp_path: Path) -> None:
    memory = create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )
    async_memory = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
    for engine in (memory, async_memory):
        database = Database(engine)
        await database.write(CreateTable(stock))
        await database.write(insert(stock), {"name": "a", "pieces": 1})
        await database.write(insert(stock), [{"name": name, "pieces": 2} for name in "bc"])
        assert list(await database.fetch(select(stock.c.name))) == [("a",), ("b",), ("c",)]
        await database.close()
    memory.dispose()
    await async_memory.dispose()
