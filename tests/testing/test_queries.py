"""Statements are counted whoever executes them, zero is a number, and repetitions stand out."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import select, text

from backstay.db.manager import MainDatabaseManager
from backstay.testing.queries import Query, QueryTracker, track_queries
from tests.support import async_test
from tests.testing.town import EITHER, Person, Pet, town

either = pytest.mark.parametrize("kind", EITHER)


@either
@async_test
async def test_sync_and_async_statements_are_counted_in_order(kind: str, tmp_path: Path) -> None:
    with town(kind, tmp_path) as manager:
        with track_queries(manager, expected_count=4) as tracker:
            with manager.session() as session:
                session.execute(text("SELECT 1"))
            async with manager.asession() as asession:
                await asession.execute(text("SELECT 2"))
            await manager.database.fetch(text("SELECT 3"))
            await asyncio.to_thread(run, manager, "SELECT 4")
        await manager.dispose()
    assert [query.statement for query in tracker.queries] == [
        f"SELECT {number}" for number in (1, 2, 3, 4)
    ]


def run(manager: MainDatabaseManager, statement: str) -> None:
    with manager.engine.connect() as connection:
        connection.execute(text(statement))


@either
def test_what_begins_and_ends_transactions_does_not_count(kind: str, tmp_path: Path) -> None:
    with town(kind, tmp_path) as manager:
        with track_queries(manager, expected_count=1), manager.session.begin() as session:
            with session.begin_nested():
                session.execute(text("SELECT 1"))
            nested = session.begin_nested()
            nested.rollback()


def test_too_many_and_too_few_are_both_refused_and_shown(tmp_path: Path) -> None:
    with town("sqlite", tmp_path) as manager:
        for expected in (0, 2):
            with pytest.raises(
                AssertionError, match=rf"^1 queries .* {expected} expected:\n1\. SELECT 1"
            ):
                with track_queries(manager, expected_count=expected):
                    run(manager, "SELECT 1")
        with track_queries(manager, expected_count=0):
            pass


def test_the_blocks_own_error_is_not_hidden_by_the_count(tmp_path: Path) -> None:
    with town("sqlite", tmp_path) as manager:
        with pytest.raises(ZeroDivisionError):
            with track_queries(manager, expected_count=5):
                raise ZeroDivisionError


def test_a_query_for_each_row_is_found(tmp_path: Path) -> None:
    with town("sqlite", tmp_path) as manager:
        with manager.session.begin() as session:
            session.add_all(
                [Person(name=f"p{number}", pets=[Pet(name="Rex")]) for number in range(3)]
            )
        with track_queries(manager) as tracker:
            look_at_pets(manager)
        assert tracker.count == 4
        assert list(tracker.repeated.values()) == [3]
        assert "3 times the same: SELECT pets.id" in str(tracker)
        with pytest.raises(AssertionError, match=r"executed 3 times, 2 at most"):
            with track_queries(manager, max_repeats=2):
                look_at_pets(manager)
        with track_queries(manager, max_repeats=3):
            look_at_pets(manager)


def look_at_pets(manager: MainDatabaseManager) -> None:
    with manager.session() as session:
        for person in session.scalars(select(Person)):
            assert person.pets


def test_one_engine_or_a_database_will_do(tmp_path: Path) -> None:
    with town("sqlite", tmp_path) as manager:
        with track_queries(manager.engine, 1), track_queries(manager.aengine, 0):
            with track_queries(manager.database, 1):
                run(manager, "SELECT 1")


def test_anything_else_is_refused() -> None:
    with pytest.raises(TypeError, match="a MainDatabaseManager, a Database or an engine; got 7"):
        with track_queries(7):  # type: ignore[arg-type]  # which is the point
            pass


def test_nothing_listens_afterwards(tmp_path: Path) -> None:
    with town("sqlite", tmp_path) as manager:
        with track_queries(manager) as tracker:
            run(manager, "SELECT 1")
        run(manager, "SELECT 2")
        assert tracker.count == 1
        assert list(manager.engine.dispatch.before_cursor_execute) == []


def test_long_statements_and_parameters_are_shown_shortened() -> None:
    shown = str(Query("SELECT\n  " + "x" * 1000, ["y" * 1000], executemany=False))
    assert len(shown) < 750
    assert shown.startswith("SELECT xxx")
    assert str(QueryTracker()) == "no query"
