"""One connection to a SQLite file: opened, watched over, and opened again."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from backstay.errors import LedgerUnavailable
from backstay.ledger.sqlite_faults import is_busy
from backstay.ledger.sqlite_schema import migrate

__all__ = ["Connection", "MEMORY", "executor_of", "file_of", "named"]

_LAST_PATIENCE_S = 1.0

MEMORY = ":memory:"


def file_of(url: str) -> str:
    """The absolute path of the file that a URL means, ``MEMORY`` for none."""
    if url.startswith("memory:"):
        return MEMORY
    path = re.sub(r"^[^:]*:///?", "", url).split("?", 1)[0]
    return os.path.abspath(path) if path and path != MEMORY else MEMORY


def named(path: str) -> str:
    """The database, as errors name it."""
    return "the ledger in memory" if path == MEMORY else f"the ledger {path}"


class Connection:
    """A connection in autocommit mode, and the file it belongs to.

    Not safe for threads by itself: its owner has a lock or one thread.

    Args:
        path: an absolute path, or ``MEMORY``.
        prefix: of the tables' names.
        patience_s: how long to wait for others' locks.
        create: whether to make the file and the tables where they are missing.
        checkpoint_pages: pages of the write-ahead log at which a commit moves them into the
            database; ``None``: SQLite's own, 1000.
    """

    def __init__(
        self,
        path: str,
        prefix: str,
        patience_s: float,
        *,
        create: bool = True,
        checkpoint_pages: int | None = None,
    ) -> None:
        self.path = path
        self._prefix = prefix
        self._patience_s = patience_s
        self._closing_at: float | None = None
        self._create = create
        self._checkpoint_pages = checkpoint_pages
        self._raw: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None

    def ready(self) -> sqlite3.Connection:
        """The connection, opened if it was not, to the file that is there now.

        Raises:
            LedgerUnavailable: the file was deleted or replaced since it was opened.
            LedgerMismatch: its tables are not ours.
            sqlite3.Error: it cannot be opened.
        """
        if self._inode is not None:
            try:
                status = os.stat(self.path)
            except FileNotFoundError:
                raise LedgerUnavailable(
                    f"{named(self.path)} has been deleted since it was opened; what was in it is "
                    "lost when this process ends. Put the file back, or restart to begin anew"
                ) from None
            if (status.st_dev, status.st_ino) != self._inode:
                self.drop()
                self._inode = None
                raise LedgerUnavailable(
                    f"{named(self.path)} has been replaced by another file since it was opened; "
                    "the new one is used from now on, and jobs of the old one are not in it"
                )
        return self._open() if self._raw is None else self._raw

    def wait_for_lock(
        self, error: BaseException, deadline: float | None, pause_s: float
    ) -> tuple[float, float]:
        """Sleep a little, if ``error`` says that somebody else has a lock; else raise it.

        SQLite's own way of waiting sleeps up to 100 ms between two looks; beside a process that
        writes all the time that is an eternity.

        Returns:
            When patience ends, and how long to sleep next time.
        """
        now = time.monotonic()
        if deadline is None:
            deadline = now + self._patience_s
        if self._closing_at is not None:
            deadline = min(deadline, self._closing_at + _LAST_PATIENCE_S)
        if not is_busy(error) or now >= deadline:
            raise error
        time.sleep(min(pause_s, max(0.0, deadline - now)))
        return deadline, min(pause_s * 1.5, 0.004)

    def hurry(self) -> None:
        """From now on have patience for a second in all: somebody waits for the end. Any thread."""
        self._closing_at = time.monotonic()

    def rollback(self) -> None:
        """Undo what is open, whatever state the connection is in."""
        if self._raw is not None and self._raw.in_transaction:
            try:
                self._raw.execute("ROLLBACK")
            except sqlite3.Error:
                self.drop()

    def drop(self) -> None:
        """Close; the next use opens it afresh."""
        raw, self._raw = self._raw, None
        if raw is not None:
            with contextlib.suppress(sqlite3.Error):
                raw.close()

    def _open(self) -> sqlite3.Connection:
        if sqlite3.sqlite_version_info < (3, 35):
            raise LedgerUnavailable(
                f"this Python has SQLite {sqlite3.sqlite_version}, and the ledger needs 3.35 "
                "(2021) or newer; use a newer build of Python"
            )
        memory = self.path == MEMORY
        if not self._create and not os.path.exists(self.path):
            raise LedgerUnavailable(
                f"there is no file {self.path}; an app makes it when it first starts. Is this the "
                "right directory?"
                if not memory
                else "a ledger in memory lives in the process that opened it, and nobody else can "
                "look at it; name the file or the server that the app keeps its jobs in"
            )
        if not memory and not os.path.isdir(os.path.dirname(self.path)):
            raise LedgerUnavailable(
                f"{named(self.path)} cannot be opened: there is no directory "
                f"{os.path.dirname(self.path)!r}; create it"
            )
        raw = sqlite3.connect(
            # mode=rw: the file may have gone in this very moment.
            self.path if self._create else Path(self.path).as_uri() + "?mode=rw",
            uri=not self._create,
            # We wait in our own way: wait_for_lock().
            timeout=0.0,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        self._raw = raw
        try:
            self._patiently(lambda: self._prepare(raw))
            if not memory:
                status = os.stat(self.path)
                self._inode = status.st_dev, status.st_ino
        except BaseException:
            self.drop()
            raise
        return raw

    def _prepare(self, raw: sqlite3.Connection) -> None:
        raw.execute("PRAGMA synchronous = FULL")
        # Looked at first: nothing is changed in a file that is not ours.
        migrate(raw, self._prefix, named(self.path), create=self._create)
        if self.path != MEMORY:
            if self._create:
                self._use_wal(raw)
            # Taken as needed only; the default of 2 MB is small for a table with a history.
            raw.execute("PRAGMA cache_size = -16000")
            if self._checkpoint_pages is not None:
                raw.execute(f"PRAGMA wal_autocheckpoint = {self._checkpoint_pages}")

    @staticmethod
    def _use_wal(raw: sqlite3.Connection) -> None:
        (mode,) = raw.execute("PRAGMA journal_mode").fetchone()
        if mode != "wal":
            try:
                raw.execute("PRAGMA journal_mode = WAL").fetchone()
            except sqlite3.OperationalError as error:
                # One that may only be read is good for reading.
                if is_busy(error) or "readonly" not in str(error):
                    raise

    def _patiently(self, call: Callable[[], object]) -> None:
        deadline: float | None = None
        pause_s = 0.001
        while True:
            try:
                call()
            except sqlite3.OperationalError as error:
                self.rollback()
                if self._raw is None:
                    raise
                deadline, pause_s = self.wait_for_lock(error, deadline, pause_s)
            else:
                return


def executor_of(
    raw: sqlite3.Connection,
) -> Callable[[str, Mapping[str, Any]], list[tuple[Any, ...]]]:
    """An ``Execute`` over a connection. Rows are fetched at once: an open cursor would outlive
    the transaction.
    """
    run = raw.execute
    return lambda statement, parameters: run(statement, parameters).fetchall()
