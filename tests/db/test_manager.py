"""One object has everything about a database, and what destroys data works in development only."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, String, inspect, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase

from backstay.db import address as address_module
from backstay.db.database import Database
from backstay.db.manager import (
    BaseDatabaseManager,
    DatabaseAsyncSessionMixin,
    DatabaseSyncSessionMixin,
    MainDatabaseManager,
)
from backstay.errors import MissingExtra, NotInDevelopment
from tests.db.places import EVERY_KIND, at, in_use
from tests.support import async_test


class Shelf:
    """A manager in development, with one model."""

    def __init__(self, url: str) -> None:
        self.manager = MainDatabaseManager(url, pool_size=2, DEV_STATUS=True)

        class File(self.manager.Base):  # type: ignore[misc, name-defined]  # made here
            __tablename__ = "files"
            id = Column(Integer, primary_key=True, index=True)
            name = Column(String, unique=True)

        self.model: Any = File

    def names(self) -> list[str]:
        with self.manager.session() as session:
            return list(session.scalars(select(self.model.name).order_by(self.model.id)))


@asynccontextmanager
async def shelved(kind: str, folder: Path) -> AsyncIterator[Shelf]:
    with at(kind, folder) as url:
        shelf = Shelf(url)
        await shelf.manager.acreate_all()
        try:
            yield shelf
            while in_use(shelf.manager.database) != [0, 0]:
                await asyncio.sleep(0.001)  # generators that were left are closed by the loop
        finally:
            await shelf.manager.dispose()


@pytest.mark.parametrize(
    ("url", "sync", "asynchronous"),
    [
        ("sqlite:///x.db", "sqlite+pysqlite:///x.db", "sqlite+aiosqlite:///x.db"),
        ("sqlite+aiosqlite:///x.db", "sqlite+pysqlite:///x.db", "sqlite+aiosqlite:///x.db"),
        (
            "postgres://u:p%25q@h/x",
            "postgresql+psycopg://u:p%25q@h/x",
            "postgresql+asyncpg://u:p%25q@h/x",
        ),
        (
            "postgresql+psycopg://u:p@h/x",
            "postgresql+psycopg://u:p@h/x",
            "postgresql+psycopg://u:p@h/x",
        ),
    ],
)
def test_there_is_a_url_for_each_kind_of_code(url: str, sync: str, asynchronous: str) -> None:
    manager = MainDatabaseManager(url)
    assert (manager.database_url, manager.adatabase_url) == (sync, asynchronous)


def test_the_password_is_in_the_urls_and_in_no_repr() -> None:
    manager = MainDatabaseManager("postgres://shop:secret@h/shop")
    assert "secret" in manager.database_url
    assert repr(manager) == "<MainDatabaseManager postgresql://shop:***@h/shop>"
    assert "secret" not in repr(vars(manager))


def test_nothing_connects_and_no_driver_is_asked_for_before_it_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(address_module, "find_spec", lambda _: None)
    manager = MainDatabaseManager("postgres://nobody@127.0.0.1:1/nothing", DEV_STATUS=True)
    with pytest.raises(MissingExtra, match="'psycopg'"):
        _ = manager.engine
    with pytest.raises(MissingExtra, match="'asyncpg'"):
        _ = manager.aengine
    with pytest.raises(MissingExtra):
        manager.session()


def test_pool_and_echo_reach_both_engines(tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path / 'x.db'}", "postgresql://h/x"):
        manager = MainDatabaseManager(url, pool_size=3, max_overflow=2, options={"echo": "debug"})
        for engine in (manager.engine, manager.aengine):
            assert engine.pool.size() == 3  # type: ignore[attr-defined]  # of a QueuePool
            assert engine.pool._max_overflow == 2  # type: ignore[attr-defined]  # of a QueuePool
            assert engine.echo == "debug"


def test_there_may_be_several_and_each_has_a_base_of_its_own(tmp_path: Path) -> None:
    one = Shelf(f"sqlite:///{tmp_path / 'one.db'}")
    two = Shelf(f"sqlite:///{tmp_path / 'two.db'}")
    assert one.manager.Base is not two.manager.Base
    one.manager.create_all()
    assert inspect(one.manager.engine).has_table("files")
    assert not inspect(two.manager.engine).has_table("files")
    for each in (one, two):
        each.manager.engine.dispose()


def test_a_base_of_ones_own_is_used(tmp_path: Path) -> None:
    class Mine(DeclarativeBase):
        pass

    class File(Mine):
        __tablename__ = "files"
        id = Column(Integer, primary_key=True)

    manager = MainDatabaseManager(f"sqlite:///{tmp_path / 'x.db'}", base=Mine, DEV_STATUS=True)
    assert manager.Base is Mine
    manager.create_all()
    assert list(manager.get_metadata().tables) == ["files"]
    manager.engine.dispose()


def test_it_may_be_made_around_a_database_there_is(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    manager = MainDatabaseManager(database)
    assert manager.database is database
    assert (manager.engine, manager.aengine) == (database.engine, database.async_engine)
    assert not manager.DEV_STATUS


def test_both_halves_stand_on_one_base_class() -> None:
    for half in (DatabaseSyncSessionMixin, DatabaseAsyncSessionMixin):
        assert issubclass(half, BaseDatabaseManager)
        assert issubclass(MainDatabaseManager, half)


@async_test
async def test_what_destroys_data_is_refused_outside_of_development(tmp_path: Path) -> None:
    shelf = Shelf(f"sqlite:///{tmp_path / 'x.db'}")
    shelf.manager.create_all()
    shelf.manager.DEV_STATUS = False
    said = r"changes the tables of 'sqlite:.*DEV_STATUS=True\), or use migrations"
    for operation in ("create_all", "drop_all", "clear_all"):
        with pytest.raises(NotInDevelopment, match=rf"^{operation}\(\) {said}"):
            getattr(shelf.manager, operation)()
        with pytest.raises(NotInDevelopment, match=rf"^a{operation}\(\) {said}"):
            await getattr(shelf.manager, f"a{operation}")()
    with pytest.raises(NotInDevelopment, match="this operation"):
        shelf.manager.check_dev()
    assert inspect(shelf.manager.engine).has_table("files")
    await shelf.manager.dispose()


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_tables_are_made_emptied_and_dropped_by_async_code(kind: str, tmp_path: Path) -> None:
    async with shelved(kind, tmp_path) as shelf:
        manager = shelf.manager
        async with manager.asession() as session:
            session.add(shelf.model(name="a"))
            await session.commit()
        await manager.aclear_all(["files"])
        assert shelf.names() == ["a"]
        with pytest.raises(ValueError, match="'filez'"):
            await manager.aclear_all(["filez"])
        await manager.aclear_all()
        assert shelf.names() == []
        await manager.adrop_all()
        assert not await asyncio.to_thread(manager.get_metadata().tables.keys)


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_tables_are_made_emptied_and_dropped_by_sync_code(kind: str, tmp_path: Path) -> None:
    async with shelved(kind, tmp_path) as shelf:
        manager = shelf.manager
        manager.create_all()
        with manager.session.begin() as session:
            session.add(shelf.model(name="a"))
        manager.clear_all(exclude_tables_name=["files"])
        assert shelf.names() == ["a"]
        manager.clear_all()
        assert shelf.names() == []
        assert list(manager.get_metadata().tables) == ["files"]
        manager.drop_all()
        assert not manager.get_metadata().tables


@async_test
async def test_session_makers_follow_the_database_wherever_it_is(tmp_path: Path) -> None:
    shelf = Shelf(f"sqlite:///{tmp_path / 'x.db'}")
    sessions, asessions = shelf.manager.session, shelf.manager.asession
    async with shelf.manager.database.redirected(f"sqlite:///{tmp_path / 'test.db'}"):
        await shelf.manager.acreate_all()
        with sessions.begin() as session:
            session.add(shelf.model(name="a"))
        async with asessions() as asession:
            assert (await asession.scalars(select(shelf.model.name))).all() == ["a"]
        assert shelf.manager.database_url.endswith("test.db")
    with sessions() as session, pytest.raises(OperationalError, match="no such table"):
        session.scalars(select(shelf.model.name))
    await shelf.manager.dispose()


# ------------------------------------------------------------------ generators, outside of requests


def begin(session: Any) -> None:
    session.execute(text("SELECT 1"))


@async_test
async def test_a_session_from_the_generator_is_closed_at_its_end_and_nothing_is_committed(
    tmp_path: Path,
) -> None:
    async with shelved("sqlite", tmp_path) as shelf:
        generator: Iterator[Any] = shelf.manager.get_session()
        session = next(generator)
        session.add(shelf.model(name="lost"))
        session.flush()
        assert in_use(shelf.manager.database) == [1, 0]
        assert next(generator, None) is None
        assert in_use(shelf.manager.database) == [0, 0]
        async for asession in shelf.manager.aget_session():
            asession.add(shelf.model(name="lost"))
            await asession.flush()
        assert in_use(shelf.manager.database) == [0, 0]
        assert shelf.names() == []


@pytest.mark.parametrize("name", ["aget_session", "aget_session_transaction", "aget_orm"])
@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_a_loop_that_is_broken_off_gives_the_connection_back(
    kind: str, name: str, tmp_path: Path
) -> None:
    async with shelved(kind, tmp_path) as shelf:
        for _ in range(5):  # with two connections in the pool
            async for found in getattr(shelf.manager, name)():
                session = getattr(found, "asession", found)
                await session.execute(text("SELECT 1"))
                break
            while in_use(shelf.manager.database) != [0, 0]:
                await asyncio.sleep(0)


@async_test
async def test_a_sync_generator_that_is_dropped_gives_the_connection_back(tmp_path: Path) -> None:
    async with shelved("sqlite", tmp_path) as shelf:
        for name in ("get_session", "get_session_transaction"):
            for session in getattr(shelf.manager, name)():
                begin(session)
                break
            gc.collect()
            assert in_use(shelf.manager.database) == [0, 0]


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_a_transaction_is_committed_at_the_generators_end_and_only_then(
    kind: str, tmp_path: Path
) -> None:
    async with shelved(kind, tmp_path) as shelf:
        async for asession in shelf.manager.aget_session_transaction():
            asession.add(shelf.model(name="kept"))
        for session in shelf.manager.get_session_transaction():
            session.add(shelf.model(name="kept too"))
        async for asession in shelf.manager.aget_session_transaction():
            asession.add(shelf.model(name="broken off"))
            await asession.flush()
            break
        while in_use(shelf.manager.database) != [0, 0]:
            await asyncio.sleep(0)
        with suppress(ZeroDivisionError):
            for session in shelf.manager.get_session_transaction():
                session.add(shelf.model(name="failed"))
                session.flush()
                raise ZeroDivisionError
        assert shelf.names() == ["kept", "kept too"]


@async_test
async def test_outside_of_requests_the_orm_commits_each_write(tmp_path: Path) -> None:
    async with shelved("sqlite", tmp_path) as shelf:
        async for orm in shelf.manager.aget_orm():
            await orm.create_item(shelf.model(name="kept"))
            break
        assert shelf.names() == ["kept"]
