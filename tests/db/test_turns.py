"""A session that ends while a thread is using it: nothing of that is written, now or later."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError, InvalidRequestError, ResourceClosedError
from sqlalchemy.orm import Session

from backstay.db import turns
from backstay.db.database import Database
from backstay.db.turns import close_for_good
from tests.support import PATIENCE_S

INSERT = text("INSERT INTO notes (note) VALUES (:note)")


class Desk:
    """A SQLite database with a function that holds up the statement that calls it."""

    def __init__(self, file: Path) -> None:
        self.database = Database(f"sqlite:///{file}", options={"pool_size": 2, "max_overflow": 0})
        self.holds, self.go_on = threading.Event(), threading.Event()
        event.listen(self.database.engine, "connect", self.connected)
        with self.database.sync_session() as session:
            session.execute(text("CREATE TABLE notes (note TEXT UNIQUE)"))
            session.commit()

    def connected(self, connection: Any, _: object) -> None:
        connection.create_function("hold", 0, self.hold)

    def hold(self) -> int:
        self.holds.set()
        self.go_on.wait(PATIENCE_S)
        return 1

    def notes(self) -> list[str]:
        with self.database.sync_session(reading=True) as session:
            return list(session.scalars(text("SELECT note FROM notes ORDER BY note")))

    @property
    def in_use(self) -> int:
        return self.database.engine.pool.checkedout()  # type: ignore[attr-defined]  # of a QueuePool


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "x.db")
    yield desk
    desk.database.engine.dispose()


class Worker:
    """What an endpoint does in its thread, and what came of it."""

    def __init__(self, work: Any) -> None:
        self.error: BaseException | None = None
        self.work = work
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:
            self.error = error

    def join(self) -> None:
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()


def test_a_statement_that_runs_is_waited_for_and_undone_and_the_next_is_refused(
    desk: Desk,
) -> None:
    session = desk.database.sync_session()

    def endpoint() -> None:
        session.execute(INSERT, {"note": "first"})
        session.execute(text("INSERT INTO notes SELECT 'second' WHERE hold()"))
        session.execute(INSERT, {"note": "third"})

    worker = Worker(endpoint)
    assert desk.holds.wait(PATIENCE_S)
    closing = Worker(lambda: close_for_good(session))
    closing.thread.join(0.05)
    assert closing.thread.is_alive()
    assert desk.in_use == 1, "nobody else gets the connection meanwhile"
    desk.go_on.set()
    closing.join()
    worker.join()
    assert closing.error is None
    assert isinstance(worker.error, InvalidRequestError)
    assert desk.notes() == []
    assert desk.in_use == 0


@pytest.mark.parametrize(
    "statement",
    [
        lambda connection: connection.execute(INSERT, {"note": "a"}),
        lambda connection: connection.execute(INSERT, [{"note": "a"}, {"note": "b"}]),
        lambda connection: connection.exec_driver_sql(
            "INSERT INTO notes VALUES ('a')", execution_options={"no_parameters": True}
        ),
    ],
    ids=["one", "many", "bare"],
)
def test_a_statement_that_comes_while_its_connection_is_closed_is_not_executed(
    desk: Desk, statement: Any
) -> None:
    """The thread has a cursor already, which would write outside of any transaction."""
    connection = desk.database.engine.connect()
    lock = turns._Turn.of(connection).lock
    ready = threading.Event()
    event.listen(connection, "before_cursor_execute", lambda *_: ready.set())
    connection.begin()
    ready.clear()
    lock.acquire()
    worker = Worker(lambda: statement(connection))
    assert ready.wait(PATIENCE_S)
    worker.thread.join(0.05)  # to where it waits for the lock
    connection.close()
    lock.release()
    worker.join()
    assert isinstance(worker.error, ResourceClosedError)
    assert desk.notes() == []


def test_it_begins_nothing_more(desk: Desk) -> None:
    session = desk.database.sync_session()
    session.execute(INSERT, {"note": "lost"})
    close_for_good(session)
    with pytest.raises(InvalidRequestError, match="Autobegin is disabled"):
        session.execute(INSERT, {"note": "late"})
    close_for_good(session)
    assert desk.notes() == []
    assert desk.in_use == 0


def test_a_session_whose_flush_has_failed_closes_at_once(desk: Desk) -> None:
    session = desk.database.sync_session()
    session.execute(INSERT, {"note": "same"})
    with pytest.raises(IntegrityError):
        session.execute(INSERT, {"note": "same"})
    close_for_good(session)
    assert desk.in_use == 0


def test_a_thread_that_is_just_connecting_is_waited_for(desk: Desk) -> None:
    """SQLAlchemy refuses to close a session that is getting a connection in another thread."""
    session = desk.database.sync_session()
    begins, go_on = threading.Event(), threading.Event()

    def begin(_: object) -> None:
        begins.set()
        go_on.wait(PATIENCE_S)

    event.listen(desk.database.engine, "begin", begin)
    worker = Worker(lambda: session.execute(INSERT, {"note": "lost"}))
    assert begins.wait(PATIENCE_S)
    closing = Worker(lambda: close_for_good(session))
    closing.thread.join(0.05)
    assert closing.thread.is_alive()
    go_on.set()
    closing.join()
    worker.join()
    assert desk.in_use == 0
    event.remove(desk.database.engine, "begin", begin)
    assert desk.notes() == []


def test_a_statement_that_never_ends_is_given_up_with_a_warning(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(turns, "_PATIENCE_S", 0.02)
    session = desk.database.sync_session()
    worker = Worker(lambda: session.execute(text("SELECT hold()")))
    assert desk.holds.wait(PATIENCE_S)
    close_for_good(session)
    assert "still running" in caplog.text
    desk.go_on.set()
    worker.join()
    close_for_good(session)
    assert desk.in_use == 0


def test_a_session_of_an_engine_of_the_users_is_closed_as_well(tmp_path: Path) -> None:
    engine: Engine = create_engine(f"sqlite:///{tmp_path / 'x.db'}")
    session = Session(engine)
    session.execute(text("SELECT 1"))
    close_for_good(session)
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of a QueuePool
    engine.dispose()
