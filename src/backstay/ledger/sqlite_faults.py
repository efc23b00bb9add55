"""What SQLite's errors mean for the ledger, in words."""

from __future__ import annotations

import sqlite3

from backstay.errors import BackstayError, BadJob, LedgerMismatch, LedgerUnavailable

__all__ = ["is_busy", "is_lasting", "translated"]

_REMEDIES = {
    "SQLITE_BUSY": "another connection kept it locked for {patience_s:g} s: find who holds a "
    "write transaction open (a session that was not committed, a backup, a shell)",
    "SQLITE_LOCKED": "another connection kept it locked for {patience_s:g} s: find who holds a "
    "write transaction open",
    "SQLITE_FULL": "free some space on its disk; it goes on by itself then",
    "SQLITE_IOERR": "check its disk; it goes on by itself once the disk answers",
    "SQLITE_CANTOPEN": "check that its directory exists and that this user may write there",
    "SQLITE_READONLY": "let this user write to the file and to its directory",
    "SQLITE_PERM": "let this user read and write the file",
    "SQLITE_AUTH": "let this user read and write the file",
    "SQLITE_CORRUPT": "the file is damaged: restore it from a backup, or try sqlite3's .recover",
    "SQLITE_PROTOCOL": "its locks do not work here, as on network file systems: use a local disk",
    "SQLITE_NOLFS": "it is too large for its file system",
    "SQLITE_NOMEM": "the process is out of memory",
}
_UNSTORABLE = (OverflowError, UnicodeEncodeError, sqlite3.DataError, sqlite3.InterfaceError)
_LASTING = frozenset({"SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_CORRUPT", "SQLITE_NOTADB"})


def _kind(error: sqlite3.Error) -> str:
    """The primary result code: SQLITE_IOERR_WRITE is a SQLITE_IOERR."""
    name = getattr(error, "sqlite_errorname", None) or ""
    return "_".join(name.split("_")[:2])


def is_busy(error: BaseException) -> bool:
    """Whether somebody else had a lock, so that trying again may help."""
    return isinstance(error, sqlite3.OperationalError) and _kind(error) in (
        "SQLITE_BUSY",
        "SQLITE_LOCKED",
    )


def is_lasting(error: BaseException) -> bool:
    """Whether the connection is better opened afresh before it is used again."""
    return isinstance(error, sqlite3.Error) and _kind(error) in _LASTING


def translated(error: BaseException, where: str, patience_s: float) -> BaseException:
    """The error as callers of the ledger hear it; what is no fault of the database stays.

    Args:
        error: what ``sqlite3`` raised.
        where: the database, as errors name it.
        patience_s: how long a lock was waited for.
    """
    cause: BackstayError | None = None
    if isinstance(error, _UNSTORABLE):
        cause = BadJob(
            f"a value cannot be stored in SQLite ({error}), so nothing was written; it takes "
            "integers of 64 bits, texts of a GB at most and no lone surrogates"
        )
        cause.__cause__ = error
        return cause
    if not isinstance(error, sqlite3.Error):
        return error
    kind = _kind(error)
    if kind == "SQLITE_NOTADB":
        cause = LedgerMismatch(
            f"{where} is no SQLite database ({error}); name another file (database=...), "
            "or move this one away"
        )
    elif kind in _REMEDIES:
        remedy = _REMEDIES[kind].format(patience_s=patience_s)
        cause = LedgerUnavailable(f"{where} cannot be used: SQLite says {str(error)!r}; {remedy}")
    elif isinstance(error, sqlite3.OperationalError) and "no such table" in str(error):
        cause = LedgerUnavailable(
            f"{where} has lost its tables: SQLite says {str(error)!r}; "
            "restore it, or restart the process to have empty ones made"
        )
    if cause is None:
        return error
    cause.__cause__ = error
    return cause
