"""A connection belongs to one file, and notices when that is no longer the one in its place."""

import sqlite3
from pathlib import Path

import pytest

from backstay.errors import LedgerUnavailable
from backstay.ledger.sqlite_connections import MEMORY, Connection, executor_of, file_of, named


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("memory://", MEMORY),
        ("memory://jobs", MEMORY),
        ("sqlite://", MEMORY),
        ("sqlite:///:memory:", MEMORY),
        ("sqlite+aiosqlite://", MEMORY),
        ("sqlite:////var/jobs.db", "/var/jobs.db"),
        ("sqlite+aiosqlite:////var/jobs.db", "/var/jobs.db"),
        ("sqlite:////var/jobs.db?timeout=5", "/var/jobs.db"),
    ],
)
def test_a_url_means_a_file(url: str, file: str) -> None:
    assert file_of(url) == file


def test_a_relative_url_is_relative_to_the_working_directory() -> None:
    assert file_of("sqlite:///data/jobs.db") == str(Path.cwd() / "data" / "jobs.db")


def test_databases_are_named_for_people() -> None:
    assert named(MEMORY) == "the ledger in memory"
    assert named("/var/jobs.db") == "the ledger /var/jobs.db"


def test_every_commit_is_synced_and_logged_ahead(tmp_path: Path) -> None:
    connection = Connection(str(tmp_path / "x.db"), "backstay_", 1.0)
    execute = executor_of(connection.ready())
    assert execute("PRAGMA synchronous", {}) == [(2,)]
    assert execute("PRAGMA journal_mode", {}) == [("wal",)]
    connection.drop()


def test_what_was_dropped_is_opened_again(tmp_path: Path) -> None:
    connection = Connection(str(tmp_path / "x.db"), "backstay_", 1.0)
    first = connection.ready()
    assert connection.ready() is first
    connection.drop()
    connection.drop()
    assert connection.ready() is not first
    connection.drop()


def test_a_file_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    connection = Connection(str(tmp_path / "x.db"), "backstay_", 1.0)
    connection.ready()
    connection.drop()
    (tmp_path / "x.db").unlink()
    with pytest.raises(LedgerUnavailable, match="has been deleted"):
        connection.ready()
    assert not (tmp_path / "x.db").exists()


def test_patience_for_locks_ends() -> None:
    connection = Connection(MEMORY, "backstay_", 0.0)
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorname = "SQLITE_BUSY"
    with pytest.raises(sqlite3.OperationalError):
        connection.wait_for_lock(error, None, 0.0)


def test_pauses_between_looks_grow_but_stay_short() -> None:
    connection = Connection(MEMORY, "backstay_", 60.0)
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorname = "SQLITE_BUSY"
    deadline, pause_s = connection.wait_for_lock(error, None, 0.0002)
    assert 0.0002 < pause_s < 0.001
    assert connection.wait_for_lock(error, deadline, 0.0) == (deadline, 0.0)


def test_what_is_open_is_rolled_back() -> None:
    connection = Connection(MEMORY, "backstay_", 1.0)
    raw = connection.ready()
    raw.execute("BEGIN")
    connection.rollback()
    assert not raw.in_transaction
    connection.drop()


def test_who_only_looks_makes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "Bücher & 100% ?#.db"
    looking = Connection(str(path), "backstay_", 1.0, create=False)
    with pytest.raises(LedgerUnavailable, match="there is no file"):
        looking.ready()
    assert list(tmp_path.iterdir()) == []
    made = Connection(str(path), "backstay_", 1.0)
    made.ready()
    looking.ready().execute("SELECT * FROM backstay_jobs")
    looking.drop()
    made.drop()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_nobody_looks_at_somebody_elses_memory() -> None:
    with pytest.raises(LedgerUnavailable, match="lives in the process that opened it"):
        Connection(MEMORY, "backstay_", 1.0, create=False).ready()
