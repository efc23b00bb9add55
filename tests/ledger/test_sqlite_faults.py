"""What SQLite's errors are called, and what to do about them."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from backstay.errors import BadJob, LedgerMismatch, LedgerUnavailable
from backstay.ledger.sqlite_faults import is_busy, is_lasting, translated


def error_of(statement: str, path: Path | str = ":memory:") -> sqlite3.Error:
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute(statement)
    except sqlite3.Error as error:
        return error
    raise AssertionError("no error")


def coded(name: str, message: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(message)
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    ("name", "message", "remedy"),
    [
        ("SQLITE_BUSY", "database is locked", "kept it locked for 30 s: find who"),
        ("SQLITE_BUSY_SNAPSHOT", "database is locked", "find who"),
        ("SQLITE_FULL", "database or disk is full", "free some space"),
        ("SQLITE_IOERR_FSYNC", "disk I/O error", "check its disk"),
        ("SQLITE_CANTOPEN", "unable to open database file", "directory exists"),
        ("SQLITE_READONLY_DBMOVED", "attempt to write a readonly database", "let this user write"),
        ("SQLITE_CORRUPT", "database disk image is malformed", "restore it from a backup"),
    ],
)
def test_what_makes_the_file_unusable_names_it_what_was_said_and_the_remedy(
    name: str, message: str, remedy: str
) -> None:
    error = coded(name, message)
    heard = translated(error, "the ledger x.db", 30.0)
    assert isinstance(heard, LedgerUnavailable)
    assert str(heard).startswith(f"the ledger x.db cannot be used: SQLite says {message!r}; ")
    assert remedy in str(heard)
    assert heard.__cause__ is error


def test_a_file_that_is_no_database_is_a_mismatch(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"words" * 1000)
    error = error_of("SELECT * FROM sqlite_master", tmp_path / "x")
    assert isinstance(translated(error, "x", 1.0), LedgerMismatch)
    assert is_lasting(error)


def test_tables_that_are_gone_make_the_ledger_unavailable() -> None:
    heard = translated(error_of("SELECT * FROM nowhere"), "x", 1.0)
    assert isinstance(heard, LedgerUnavailable)
    assert "lost its tables" in str(heard)


def test_values_that_cannot_be_stored_are_the_callers_fault() -> None:
    assert isinstance(translated(OverflowError("too large"), "x", 1.0), BadJob)
    assert isinstance(translated(sqlite3.DataError("too big"), "x", 1.0), BadJob)


def test_faults_of_ours_stay_what_they_are() -> None:
    for error in (error_of("SELEKT"), ValueError("x")):
        assert translated(error, "x", 1.0) is error


def test_only_locks_are_worth_waiting_for() -> None:
    assert is_busy(coded("SQLITE_BUSY", "database is locked"))
    assert is_busy(coded("SQLITE_LOCKED_SHAREDCACHE", "database table is locked"))
    assert not is_busy(coded("SQLITE_FULL", "database or disk is full"))
    assert not is_busy(ValueError())


def test_only_some_faults_need_a_fresh_connection() -> None:
    assert is_lasting(coded("SQLITE_IOERR_READ", "disk I/O error"))
    assert not is_lasting(coded("SQLITE_BUSY", "database is locked"))
    assert not is_lasting(coded("SQLITE_FULL", "database or disk is full"))
