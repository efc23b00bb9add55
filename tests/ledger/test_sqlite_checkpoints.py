"""The log is moved into the database beside the writer."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from backstay.ledger.sqlite_checkpoints import WRITER_PAGES, Checkpoints
from backstay.ledger.sqlite_connections import Connection
from tests.support import PATIENCE_S


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Connection]:
    connection = Connection(str(tmp_path / "x.db"), "backstay_", 1.0, checkpoint_pages=WRITER_PAGES)
    connection.ready().execute("CREATE TABLE notes (text)")
    yield connection
    connection.drop()


def test_what_is_in_the_log_is_moved(writer: Connection) -> None:
    writer.ready().execute("INSERT INTO notes VALUES ('a')")
    checkpoints = Checkpoints(writer.path)
    pages, moved = checkpoints.checkpoint()
    assert pages == moved > 0


def test_a_transaction_that_is_open_holds_it_up_no_more_than_it_holds_up_the_other(
    writer: Connection,
) -> None:
    raw = writer.ready()
    raw.execute("BEGIN IMMEDIATE")
    raw.execute("INSERT INTO notes VALUES ('a')")
    pages, moved = Checkpoints(writer.path).checkpoint()
    assert pages == moved
    raw.execute("COMMIT")


def test_it_is_done_every_so_many_commits(writer: Connection) -> None:
    done = threading.Event()

    class Noted(Checkpoints):
        def checkpoint(self) -> tuple[int, int]:
            done.set()
            return super().checkpoint()

    checkpoints = Noted(writer.path, every=3)
    for commits in (1, 2):
        checkpoints.committed(commits)
    assert not done.is_set()
    checkpoints.committed(3)
    assert done.wait(PATIENCE_S)
    checkpoints.close()


def test_a_database_that_is_gone_is_neither_made_nor_missed(tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path / "gone.db"), every=1)
    with pytest.raises(sqlite3.OperationalError):
        checkpoints.checkpoint()
    checkpoints.committed(1)
    checkpoints.close()
    assert list(tmp_path.iterdir()) == []


def test_the_writer_waits_longer_than_sqlite_would(writer: Connection) -> None:
    assert writer.ready().execute("PRAGMA wal_autocheckpoint").fetchone() == (WRITER_PAGES,)
