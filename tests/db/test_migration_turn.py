"""Migrations take turns, and SQLite's foreign keys are off for the time of one."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from backstay.db import Database
from backstay.db.migration_turn import MigrationTurn
from tests.db.places import at
from tests.jobs.desks import needs_postgres
from tests.support import PATIENCE_S


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[sa.Engine]:
    with at("postgresql", tmp_path) as url:
        database = Database(url)
        yield database.engine
        database.engine.dispose()


def locks(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        held = sa.text(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 7237"
        )
        return int(connection.scalar(held) or 0)


@needs_postgres
def test_the_second_waits_until_the_first_is_through(
    postgres: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "backstay")
    entered, order = threading.Event(), []

    def second() -> None:
        with postgres.connect() as connection:
            entered.set()
            with MigrationTurn(connection, "a", wait_s=PATIENCE_S).taken():
                order.append("second")

    with postgres.connect() as connection:
        with MigrationTurn(connection, "a", wait_s=0).taken():
            thread = threading.Thread(target=second)
            thread.start()
            assert entered.wait(PATIENCE_S)
            while "waiting for another process" not in caplog.text:
                thread.join(0.01)
            assert thread.is_alive()
            assert not connection.in_transaction()
            order.append("first")
        thread.join(PATIENCE_S)
    assert order == ["first", "second"]
    assert locks(postgres) == 0


@needs_postgres
def test_who_has_waited_long_enough_is_told_and_others_names_are_not_waited_for(
    postgres: sa.Engine,
) -> None:
    with (
        postgres.connect() as first,
        postgres.connect() as second,
        MigrationTurn(first, "a", wait_s=0).taken(),
    ):
        with MigrationTurn(second, "b", wait_s=0).taken():
            pass
        with pytest.raises(TimeoutError, match="for 0.2 s and longer; wait for it"):
            with MigrationTurn(second, "a", wait_s=0.2).taken():
                pass


@needs_postgres
def test_in_a_transaction_of_somebody_elses_the_turn_lasts_to_its_end(postgres: sa.Engine) -> None:
    with postgres.begin() as connection:
        with MigrationTurn(connection, "a", wait_s=0).taken():
            pass
        assert locks(postgres) == 1
    assert locks(postgres) == 0


@needs_postgres
def test_a_turn_that_ends_with_an_error_is_given_back(postgres: sa.Engine) -> None:
    with postgres.connect() as connection:
        with pytest.raises(sa.exc.ProgrammingError):
            with MigrationTurn(connection, "a", wait_s=0).taken():
                connection.execute(sa.text("SELECT * FROM nowhere"))
        assert connection.scalar(sa.text("SELECT 1")) == 1
        assert locks(postgres) == 0


@needs_postgres
def test_a_connection_that_is_lost_meanwhile_is_not_used_again(postgres: sa.Engine) -> None:
    with postgres.connect() as connection:
        pid = connection.scalar(sa.text("SELECT pg_backend_pid()"))
        connection.commit()
        with MigrationTurn(connection, "a", wait_s=0).taken():
            with postgres.connect() as other:
                other.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            with pytest.raises(sa.exc.OperationalError):
                connection.execute(sa.text("SELECT 1"))
    assert locks(postgres) == 0


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[sa.Engine]:
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    with database.engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE people (id INTEGER PRIMARY KEY)"))
        connection.execute(sa.text("CREATE TABLE pets (owner INTEGER REFERENCES people (id))"))
    yield database.engine
    database.engine.dispose()


def test_foreign_keys_are_off_in_sqlite_for_the_time_of_the_turn(sqlite: sa.Engine) -> None:
    with sqlite.connect() as connection:
        turn = MigrationTurn(connection, "a", wait_s=60)
        with turn.taken():
            assert connection.scalar(sa.text("PRAGMA foreign_keys")) == 0
            assert connection.scalar(sa.text("PRAGMA busy_timeout")) == 60_000
            connection.execute(sa.text("INSERT INTO pets VALUES (3)"))
            assert turn.violations() == [("pets", 1, "people")]
            connection.rollback()
        assert connection.scalar(sa.text("PRAGMA foreign_keys")) == 1
        assert connection.scalar(sa.text("PRAGMA busy_timeout")) == 10_000


def test_who_does_not_enforce_foreign_keys_is_not_asked_about_them(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'y.db'}")
    with engine.connect() as connection:
        turn = MigrationTurn(connection, "a", wait_s=None)
        with turn.taken():
            assert turn.violations() == []
        assert connection.scalar(sa.text("PRAGMA foreign_keys")) == 0
    engine.dispose()


def test_in_a_transaction_of_somebody_elses_foreign_keys_stay_and_that_is_said(
    sqlite: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with sqlite.begin() as connection, MigrationTurn(connection, "a", wait_s=None).taken():
        assert connection.scalar(sa.text("PRAGMA foreign_keys")) == 1
    assert "give a connection that is in no transaction" in caplog.text
