"""What a test has committed is deleted, whoever wrote it and however, and nothing else is."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.engine import Connection

from backstay.db.manager import MainDatabaseManager
from backstay.testing.truncate_isolation import TruncateIsolation, tables_in
from backstay.testing.write_turn import IsolationError
from tests.testing.town import EITHER, Person, Pet, count, town

either = pytest.mark.parametrize("kind", EITHER)


@contextmanager
def outside(manager: MainDatabaseManager) -> Iterator[Connection]:
    with manager.engine.begin() as connection:
        yield connection


def schema_of(manager: MainDatabaseManager) -> str | None:
    if manager.database.dialect == "sqlite":
        return None
    with outside(manager) as connection:
        found: str = connection.execute(text("SELECT current_schema()")).scalar_one()
        return found


def isolation_of(manager: MainDatabaseManager, **options: bool) -> TruncateIsolation:
    """PostgreSQL's database is shared with others, each in a schema of its own."""
    schema = schema_of(manager)
    with outside(manager) as connection:
        others = [name for name in tables_in(connection) if name[0] != schema]
    return TruncateIsolation(manager.database, spares_tables=others, **options)


@either
def test_what_a_test_has_committed_is_deleted(kind: str, tmp_path: Path) -> None:
    with town(kind, tmp_path) as manager:
        isolation = isolation_of(manager)
        for _ in range(2):
            with isolation.one_test():
                assert count(manager) == 0
                with manager.session.begin() as session:
                    session.add(Person(name="Ada", pets=[Pet(name="Rex")]))
                with outside(manager) as connection:
                    connection.execute(text("INSERT INTO people (name) VALUES ('Bob')"))
        with outside(manager) as connection:
            assert connection.execute(text("SELECT COUNT(*) FROM pets")).scalar_one() == 0
        assert count(manager) == 0


@either
def test_tables_that_refer_to_each_other_in_a_circle_are_emptied(kind: str, tmp_path: Path) -> None:
    with town(kind, tmp_path) as manager:
        with outside(manager) as connection:
            connection.execute(text("CREATE TABLE hens (id INTEGER PRIMARY KEY, egg INTEGER)"))
            connection.execute(
                text("CREATE TABLE eggs (id INTEGER PRIMARY KEY, hen INTEGER REFERENCES hens)")
            )
            if kind == "postgresql":
                connection.execute(text("ALTER TABLE hens ADD FOREIGN KEY (egg) REFERENCES eggs"))
        with isolation_of(manager).one_test(), outside(manager) as connection:
            connection.execute(text("INSERT INTO hens VALUES (1, NULL)"))
            connection.execute(text("INSERT INTO eggs VALUES (1, 1)"))
            connection.execute(text("UPDATE hens SET egg = 1"))
        with outside(manager) as connection:
            assert connection.execute(text("SELECT * FROM hens, eggs")).all() == []


@either
def test_rows_that_restrict_others_are_deleted_before_them(kind: str, tmp_path: Path) -> None:
    with town(kind, tmp_path) as manager:
        with outside(manager) as connection:
            connection.execute(text("CREATE TABLE a_parents (id INTEGER PRIMARY KEY)"))
            connection.execute(
                text(
                    "CREATE TABLE b_children (id INTEGER PRIMARY KEY, "
                    "parent INTEGER REFERENCES a_parents ON DELETE RESTRICT)"
                )
            )
        with isolation_of(manager).one_test(), outside(manager) as connection:
            connection.execute(text("INSERT INTO a_parents VALUES (1)"))
            connection.execute(text("INSERT INTO b_children VALUES (1, 1)"))
        with outside(manager) as connection:
            assert connection.execute(text("SELECT * FROM a_parents")).all() == []


@either
def test_rows_that_were_there_are_spared_if_they_should_be(kind: str, tmp_path: Path) -> None:
    with town(kind, tmp_path) as manager:
        with manager.session.begin() as session:
            session.add(Person(name="by migration"))
        with isolation_of(manager, spares_rows=True).one_test(), manager.session.begin() as session:
            session.add(Person(name="by test"))
        with manager.session() as session:
            assert session.scalars(select(Person.name)).all() == ["by migration"]
        isolation_of(manager)
        assert count(manager) == 0


@either
def test_tables_of_others_are_left_alone(kind: str, tmp_path: Path) -> None:
    with town(kind, tmp_path) as manager:
        with outside(manager) as connection:
            connection.execute(text("CREATE TABLE someone_elses (id INTEGER)"))
            connection.execute(text("INSERT INTO someone_elses VALUES (1)"))
            others = [
                name
                for name in tables_in(connection)
                if name[1] == "someone_elses" or (name[0] and not name[0].startswith("place_"))
            ]
        isolation = TruncateIsolation(manager.database, spares_tables=others)
        with isolation.one_test():
            pass
        with outside(manager) as connection:
            assert connection.execute(text("SELECT * FROM someone_elses")).all() == [(1,)]


@either
def test_what_migrations_and_durable_tasks_know_about_themselves_stays(
    kind: str, tmp_path: Path
) -> None:
    keep = ("alembic_version", "backstay_meta", "backstay_queues", "backstay_workers", "my_meta")
    with town(kind, tmp_path) as manager:
        with outside(manager) as connection:
            for name in (*keep, "backstay_jobs"):
                connection.execute(text(f"CREATE TABLE {name} (id INTEGER)"))
        with isolation_of(manager).one_test(), outside(manager) as connection:
            for name in (*keep, "backstay_jobs"):
                connection.execute(text(f"INSERT INTO {name} VALUES (1)"))
        with outside(manager) as connection:
            filled = {
                name
                for name in (*keep, "backstay_jobs")
                if connection.execute(text(f"SELECT * FROM {name}")).all()
            }
        assert filled == {"alembic_version", "backstay_meta", "backstay_queues", "backstay_workers"}


def test_what_a_trigger_writes_about_the_deleting_is_deleted_too(tmp_path: Path) -> None:
    with town("sqlite", tmp_path) as manager:
        with outside(manager) as connection:
            connection.execute(text("CREATE TABLE log (what TEXT)"))
            connection.execute(
                text(
                    "CREATE TRIGGER noted AFTER DELETE ON people "
                    "BEGIN INSERT INTO log VALUES (OLD.name); END"
                )
            )
        with isolation_of(manager).one_test(), manager.session.begin() as session:
            session.add(Person(name="Ada"))
        with outside(manager) as connection:
            assert connection.execute(text("SELECT * FROM log")).all() == []


@either
def test_foreign_keys_are_enforced_again_afterwards(kind: str, tmp_path: Path) -> None:
    with town(kind, tmp_path) as manager:
        with isolation_of(manager).one_test(), manager.session.begin() as session:
            session.add(Person(name="Ada"))
        if kind == "sqlite":
            with outside(manager) as connection:
                assert connection.execute(text("PRAGMA foreign_keys")).scalar_one() == 1


@either
def test_the_tests_own_session_sees_what_was_committed_since(kind: str, tmp_path: Path) -> None:
    with town(kind, tmp_path) as manager:
        isolation = isolation_of(manager)
        with isolation.one_test():
            with isolation.new_session(manager.session) as session:
                assert session.scalars(select(Person)).all() == []
                isolation.require_committed()
                with manager.session.begin() as app:
                    app.add(Person(name="Ada"))
                ada = session.scalars(select(Person)).one()
                ada.name = "Eve"
                isolation.require_committed()  # nothing is flushed, so nobody would wait
                session.commit()
                assert session.get_one(Person, ada.id).name == "Eve"


def test_a_session_that_has_written_to_sqlite_is_noticed_before_somebody_waits_for_it(
    tmp_path: Path,
) -> None:
    with town("sqlite", tmp_path) as manager:
        isolation = isolation_of(manager)
        with isolation.one_test(), isolation.new_session(manager.session) as session:
            session.add(Person(name="Ada"))
            session.flush()
            with pytest.raises(IsolationError, match="commit it before the request"):
                isolation.require_committed()
            session.rollback()
            isolation.require_committed()


def test_more_tables_than_sqlite_takes_in_one_query_are_looked_at_in_pieces(tmp_path: Path) -> None:
    with town("sqlite", tmp_path) as manager:
        with outside(manager) as connection:
            for number in range(620):
                connection.execute(text(f"CREATE TABLE t{number} (id INTEGER)"))
        isolation = isolation_of(manager)
        with isolation.one_test(), outside(manager) as connection:
            connection.execute(text("INSERT INTO t619 VALUES (1)"))
        with outside(manager) as connection:
            assert connection.execute(text("SELECT * FROM t619")).all() == []
