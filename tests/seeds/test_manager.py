"""fastapi-accelerator's ``DatabaseManager`` and ``OrmAsync``: as its documentation uses them, and
right where they were wrong.
"""

import asyncio
import sqlite3
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends
from sqlalchemy import Column, ForeignKey, Integer, String, delete, inspect, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, relationship, selectinload

from backstay.db import MainDatabaseManager, OrmAsync
from backstay.errors import NotInDevelopment
from tests.db.places import at, in_use
from tests.seeds.service import Service, both, serving
from tests.support import async_test


@asynccontextmanager
async def a_manager(database: str, folder: Path, **options: Any) -> AsyncIterator[Any]:
    with at(database, folder) as url:
        manager = MainDatabaseManager(url, **{"DEV_STATUS": True, **options})
        try:
            yield manager
        finally:
            await manager.dispose()


def shelves(manager: Any) -> tuple[Any, Any]:
    """Two mapped classes, the old way."""

    class Shelf(manager.Base):
        __tablename__ = "shelves"
        id = Column(Integer, primary_key=True, index=True)
        name = Column(String, unique=True, index=True)
        books = relationship("Book", back_populates="shelf", cascade="all, delete-orphan")

    class Book(manager.Base):
        __tablename__ = "books"
        id = Column(Integer, primary_key=True, index=True)
        shelf_id = Column(ForeignKey("shelves.id"), nullable=False)
        title = Column(String)
        shelf = relationship("Shelf", back_populates="books")

    return Shelf, Book


# ---------------------------------------------------------------------- as documented


@both
@async_test
async def test_files_are_made_listed_read_changed_and_deleted(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path) as service:
        client = service.client
        made = (await client.post("/file")).json()
        await client.post("/file")
        place = f"/file/{made['uid']}"
        assert made["filename"] == "unnamed"
        assert (await client.get(place)).json() == made
        assert len((await client.get("/file")).json()) == 2
        assert len((await client.get("/file?skip=1")).json()) == 1
        assert len((await client.get("/file?skip=0&limit=1")).json()) == 1
        assert (await client.put(place)).json() == {**made, "filename": "new"}
        assert (await client.delete(place)).json() == 1
        assert (await client.delete(place)).json() == 0
        assert (await client.get(place)).status_code == 404
        assert (await client.put(place)).json() is None


@both
@async_test
async def test_a_sync_session_reads_what_the_async_one_has_written(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path) as service:
        made = (await service.client.post("/file")).json()
        assert (await service.client.get("/file-sync")).json() == [made]


@both
@async_test
async def test_a_uuid_column_may_be_compared_with_a_text(database: str, tmp_path: Path) -> None:
    def prepare(service: Service) -> None:
        files, manager = service.models.File, service.manager
        schema = service["schemas.file"].File

        @service.app.get("/by-text/{file_uid}")
        async def by_text(file_uid: str, aorm: OrmAsync = Depends(manager.aget_orm)) -> schema:
            return await aorm.get(select(files).filter(files.uid == file_uid))

    async with serving(database, tmp_path, prepare=prepare) as service:
        made = (await service.client.post("/file")).json()
        assert (await service.client.get(f"/by-text/{made['uid']}")).json() == made


@both
@async_test
async def test_both_kinds_of_transaction_are_committed_if_all_went_well_and_not_otherwise(
    database: str, tmp_path: Path
) -> None:
    def prepare(service: Service) -> None:
        files, manager = service.models.File, service.manager

        @service.app.post("/sync/{name}")
        def write(name: str, session: Session = Depends(manager.get_session_transaction)) -> None:
            session.add(files(filename=name))
            session.flush()
            if name == "bad":
                raise ValueError(name)

        @service.app.post("/async/{name}")
        async def awrite(
            name: str, session: AsyncSession = Depends(manager.aget_session_transaction)
        ) -> None:
            session.add(files(filename=name))
            await session.flush()
            if name == "bad":
                raise ValueError(name)

    async with serving(database, tmp_path, prepare=prepare, raise_app_exceptions=False) as service:
        for kind in ("sync", "async"):
            assert (await service.client.post(f"/{kind}/good")).status_code == 200
            assert (await service.client.post(f"/{kind}/bad")).status_code == 500
        assert await service.count(service.models.File) == 2
        assert in_use(service.manager.database) == [0, 0]


@both
@async_test
async def test_tables_are_made_emptied_and_dropped(database: str, tmp_path: Path) -> None:
    async with a_manager(database, tmp_path) as manager:
        shelf, book = shelves(manager)

        def tables() -> set[str]:
            return set(inspect(manager.engine).get_table_names())

        def rows() -> list[int]:
            with manager.session() as session:
                return [session.query(each).count() for each in (shelf, book)]

        def fill() -> None:
            with manager.session() as session:
                session.add(shelf(name="s", books=[book(title="b")]))
                session.commit()

        manager.create_all()
        assert tables() == {"shelves", "books"} == set(manager.get_metadata().tables)
        fill()
        manager.clear_all()
        assert rows() == [0, 0]
        fill()
        manager.clear_all(exclude_tables_name=["shelves"])
        assert rows() == [1, 0]
        manager.drop_all()
        assert tables() == set()

        await manager.acreate_all()
        assert tables() == {"shelves", "books"}
        fill()
        await manager.aclear_all()
        assert rows() == [0, 0]
        await manager.adrop_all()
        assert tables() == set()


@async_test
async def test_outside_of_development_tables_are_left_alone(tmp_path: Path) -> None:
    async with a_manager("sqlite", tmp_path, DEV_STATUS=False) as manager:
        shelves(manager)
        for operation in (manager.create_all, manager.drop_all, manager.clear_all):
            with pytest.raises(NotInDevelopment, match="DEV_STATUS=True"):
                operation()
        for operation in (manager.acreate_all, manager.adrop_all, manager.aclear_all):
            with pytest.raises(NotInDevelopment, match="DEV_STATUS=True"):
                await operation()


@both
@async_test
async def test_the_orm_reads_and_writes_by_query_and_by_key(database: str, tmp_path: Path) -> None:
    async with a_manager(database, tmp_path) as manager:
        shelf, book = shelves(manager)
        await manager.acreate_all()
        async with manager.asession() as session:
            aorm = OrmAsync(session)
            made = await aorm.create_item(
                shelf(name="poems", books=[book(title="a"), book(title="b")]), deep=True
            )
            assert [each.title for each in made.books] == ["a", "b"]
            await aorm.create_item(shelf(name="maps"))
            assert (await aorm.get_item(shelf, made.id)).name == "poems"
            assert await aorm.get_item(shelf, 99) is None
            found = await aorm.get_list(select(shelf).order_by(shelf.name), deep=True)
            assert [(each.name, len(each.books)) for each in found] == [("maps", 0), ("poems", 2)]
            # The order of arguments that 0.0.5 of the original had.
            assert await aorm.get_list(shelf, select(shelf).order_by(shelf.name), True) == found
            changed = await aorm.update_item(shelf, made.id, {"name": "verse"})
            assert changed.name == "verse"
            changed = await aorm.update_item(shelf, made.id, {"books": [{"title": "c"}]}, deep=True)
            assert (changed.name, [each.title for each in changed.books]) == ("verse", ["c"])
            assert (await aorm.eager_refresh(changed)).books[0].title == "c"
            assert await aorm.update_item(shelf, 99, {"name": "x"}) is None
            changed = await aorm.update(update(shelf).filter(shelf.name == "maps"), {"name": "m"})
            assert changed.name == "m"
            assert await aorm.update(update(shelf).filter(shelf.id == 99), {"name": "x"}) is None
            assert await aorm.delete(delete(shelf).filter(shelf.name == "m")) == 1
            assert await aorm.delete_item(shelf, 99, deep=True) == 0
            assert await aorm.delete_item(shelf, made.id, deep=True) == 1
            assert await aorm.get_list(select(book)) == []


# ---------------------------------------------------------------------- where it went wrong


@both
@async_test
async def test_a_second_manager_is_not_the_first(database: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    async with a_manager(database, tmp_path) as first, a_manager("sqlite", other) as second:
        assert first is not second
        assert first.Base is not second.Base
        assert first.database_url != second.database_url
        for manager in (first, second):
            shelves(manager)
        await first.acreate_all()
        assert set(first.get_metadata().tables) == {"shelves", "books"}
        assert set(second.get_metadata().tables) == set()


@pytest.mark.parametrize(
    ("url", "sync", "asynchronous"),
    [
        ("postgres://u:p%25w@host/db", "postgresql+psycopg", "postgresql+asyncpg"),
        ("postgresql://u:p%25w@host/db", "postgresql+psycopg", "postgresql+asyncpg"),
        ("postgresql+psycopg://u:p%25w@host/db", "postgresql+psycopg", "postgresql+psycopg"),
        ("postgresql+asyncpg://u:p%25w@host/db", "postgresql+psycopg", "postgresql+asyncpg"),
        ("sqlite:///a.db", "sqlite", "sqlite+aiosqlite"),
        ("sqlite+aiosqlite:///a.db", "sqlite", "sqlite+aiosqlite"),
    ],
)
def test_urls_with_and_without_a_driver_lead_to_drivers_for_both_kinds_of_code(
    url: str, sync: str, asynchronous: str
) -> None:
    manager = MainDatabaseManager(url)
    assert manager.database_url.partition("://")[0] in {sync, f"{sync}+pysqlite"}
    assert manager.adatabase_url.partition("://")[0] == asynchronous
    assert "p%25w" not in repr(manager)


@async_test
async def test_both_pools_have_the_size_that_was_asked_for(tmp_path: Path) -> None:
    async with a_manager("sqlite", tmp_path, pool_size=3, max_overflow=2) as manager:
        for pool in (manager.engine.pool, manager.aengine.pool):
            assert (pool.size(), pool._max_overflow) == (3, 2)
        assert not manager.engine.echo  # nobody has asked for it


@both
@async_test
async def test_leaving_the_loop_over_a_session_early_gives_its_connection_back(
    database: str, tmp_path: Path
) -> None:
    async with a_manager(database, tmp_path) as manager:
        for give in (manager.aget_session, manager.aget_session_transaction, manager.aget_orm):
            async for each in give():
                await getattr(each, "asession", each).execute(select(1))
                break
            # Nobody holds the generator any more, so asyncio closes it.
            while in_use(manager.database) != [0, 0]:
                await asyncio.sleep(0.001)


@async_test
async def test_what_a_broken_off_loop_has_written_is_not_committed(tmp_path: Path) -> None:
    async with a_manager("sqlite", tmp_path) as manager:
        shelf, _ = shelves(manager)
        manager.create_all()
        generator = manager.aget_session_transaction()
        async for session in generator:
            session.add(shelf(name="half"))
            await session.flush()
            break
        await generator.aclose()
        async for session in manager.aget_session_transaction():
            session.add(shelf(name="whole"))
        with closing(sqlite3.connect(tmp_path / "place.db")) as outside:
            assert outside.execute("SELECT name FROM shelves").fetchall() == [("whole",)]


@both
@async_test
async def test_joins_that_repeat_an_item_do_not_repeat_it_in_the_list(
    database: str, tmp_path: Path
) -> None:
    async with a_manager(database, tmp_path) as manager:
        shelf, book = shelves(manager)
        await manager.acreate_all()
        async with manager.asession() as session:
            aorm = OrmAsync(session)
            for name in "ab":
                books = [book(title=f"{name}{i}") for i in range(3)]
                await aorm.create_item(shelf(name=name, books=books))
        async with manager.asession() as session:
            aorm = OrmAsync(session)
            query = select(shelf).join(shelf.books).order_by(shelf.name)
            found = await aorm.get_list(query, deep=True)
            assert [(each.name, len(each.books)) for each in found] == [("a", 3), ("b", 3)]
            query = select(shelf).options(selectinload(shelf.books)).filter(shelf.name == "a")
            assert len((await aorm.get(query)).books) == 3


@both
@async_test
async def test_key_columns_of_every_documented_type_are_found_by_text(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path) as service:
        file = service.models.File(uid=uuid.uuid4(), filename="a")
        await service.put(file)
        async with service.manager.asession() as session:
            aorm = OrmAsync(session)
            assert (await aorm.get_item(service.models.File, str(file.uid))).filename == "a"
            assert await aorm.get_item(service.models.File, "no uuid") is None
