"""Everything that leads to the database is inside a test's transaction, which is rolled back."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text

from backstay.db.manager import MainDatabaseManager
from backstay.testing.rollback_isolation import RollbackIsolation
from backstay.testing.write_turn import IsolationError
from tests.support import async_test
from tests.testing.town import EITHER, Person, count, town

either = pytest.mark.parametrize("kind", EITHER)


@contextmanager
def isolated(kind: str, folder: Path) -> Iterator[tuple[MainDatabaseManager, RollbackIsolation]]:
    with town(kind, folder) as manager:
        isolation = RollbackIsolation(manager.database, wait_s=5.0)
        try:
            yield manager, isolation
        finally:
            isolation.close()
        assert count(manager) == 0


@either
@async_test
async def test_every_way_to_the_database_is_inside(kind: str, tmp_path: Path) -> None:
    with isolated(kind, tmp_path) as (manager, isolation), isolation.one_test():
        database = manager.database
        with manager.session.begin() as session:
            session.add(Person(name="session"))
        async with manager.asession.begin() as asession:
            asession.add(Person(name="asession"))
        with database.sync_session() as sync_session:
            sync_session.add(Person(name="sync_session"))
            sync_session.commit()
        async with database.session() as async_session:
            async_session.add(Person(name="async_session"))
            await async_session.commit()
        await database.write(insert(Person), [{"name": "write"}, {"name": "written"}])
        with manager.engine.begin() as connection:
            connection.execute(insert(Person).values(name="engine"))
        for session in manager.get_session_transaction():
            session.add(Person(name="get_session_transaction"))
        async for orm in manager.aget_orm():
            await orm.create_item(Person(name="aget_orm"))
        async with database.reading() as reading:
            read = (await reading.execute(select(Person.name))).scalars().all()
        fetched = await database.fetch(select(Person.name))
        assert sorted(read) == sorted(row.name for row in fetched)
        assert sorted(read) == [
            "aget_orm",
            "asession",
            "async_session",
            "engine",
            "get_session_transaction",
            "session",
            "sync_session",
            "write",
            "written",
        ]
        await manager.dispose()  # as an app does at its end
        assert count(manager) == 9


@either
def test_each_test_begins_with_what_was_there_before_all_of_them(kind: str, tmp_path: Path) -> None:
    with isolated(kind, tmp_path) as (manager, isolation):
        for _ in range(3):
            with isolation.one_test():
                assert count(manager) == 0
                with manager.session.begin() as session:
                    session.add(Person(name="Ada"))
                assert count(manager) == 1


@either
def test_a_test_in_event_loops_one_after_the_other_stays_one_test(
    kind: str, tmp_path: Path
) -> None:
    with isolated(kind, tmp_path) as (manager, isolation), isolation.one_test():

        async def add(name: str) -> None:
            async with manager.asession.begin() as session:
                session.add(Person(name=name))

        asyncio.run(add("Ada"))
        asyncio.run(add("Bob"))
        assert count(manager) == 2


@either
def test_tables_that_a_test_makes_go_with_it(kind: str, tmp_path: Path) -> None:
    with isolated(kind, tmp_path) as (manager, isolation):
        for _ in range(2):
            with isolation.one_test(), manager.engine.begin() as connection:
                connection.execute(text("CREATE TABLE made_by_a_test (id INTEGER)"))


@either
def test_a_test_that_fails_is_undone_as_well(kind: str, tmp_path: Path) -> None:
    with isolated(kind, tmp_path) as (manager, isolation):

        def fail() -> None:
            with isolation.one_test(), manager.session.begin() as session:
                session.add(Person(name="Ada"))
                session.flush()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert manager.engine.pool.status()  # the database's own engine again


@either
def test_a_session_that_has_not_committed_is_noticed_before_somebody_waits_for_it(
    kind: str, tmp_path: Path
) -> None:
    with isolated(kind, tmp_path) as (manager, isolation):
        isolation.require_committed()
        with isolation.one_test(), isolation.new_session(manager.session) as session:
            session.scalars(select(Person)).all()
            isolation.require_committed()
            session.add(Person(name="Ada"))
            session.flush()
            with pytest.raises(IsolationError, match="INSERT INTO people"):
                isolation.require_committed()
            session.commit()
            isolation.require_committed()


@either
def test_a_connection_that_a_test_has_broken_is_replaced_for_the_next(
    kind: str, tmp_path: Path
) -> None:
    with isolated(kind, tmp_path) as (manager, isolation):

        def break_it() -> None:
            with isolation.one_test(), manager.engine.connect() as connection:
                lease: Any = connection.connection.driver_connection
                lease.shared.raw.close()

        with pytest.raises(Exception, match="closed"):
            break_it()
        with isolation.one_test(), manager.session.begin() as session:
            session.add(Person(name="Ada"))
