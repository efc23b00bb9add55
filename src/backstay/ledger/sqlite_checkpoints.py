"""Moves what is in the write-ahead log into the database, beside the writer rather than in it.

SQLite does so by itself within some commit, once the log has a thousand pages: one commit in a
hundred then takes ten milliseconds longer. Done often and from a connection of its own, it holds
nobody up. The writer's own limit is raised meanwhile, not lifted: while it writes without a pause
the log never comes to an end, and only the writer can begin it anew.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path

__all__ = ["Checkpoints", "WRITER_PAGES"]

WRITER_PAGES = 4000
"""Pages of the log at which the writer does it itself, after all."""


class Checkpoints:
    """A thread that checkpoints when asked.

    Args:
        path: the database.
        every: commits between two checkpoints.
    """

    def __init__(self, path: str, *, every: int = 64) -> None:
        # mode=rw: a file that was deleted is not made anew.
        self._uri = Path(path).as_uri() + "?mode=rw"
        self._every = every
        self._due = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    def committed(self, commits: int) -> None:
        """Another commit, the ``commits``-th. By the writer, under its lock."""
        if commits % self._every:
            return
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="backstay-checkpoint", daemon=True
            )
            self._thread.start()
        self._due.set()

    def close(self) -> None:
        """End the thread. Blocking."""
        self._closed = True
        self._due.set()
        if self._thread is not None:
            self._thread.join()

    def checkpoint(self) -> tuple[int, int]:
        """Move what can be moved without waiting for anybody.

        Returns:
            Pages in the log, and how many of them are in the database now.
        """
        with contextlib.closing(
            sqlite3.connect(self._uri, uri=True, timeout=0.0, isolation_level=None)
        ) as connection:
            _, pages, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return pages, moved

    def _run(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            if self._closed:
                return
            # Whatever is wrong, the writer will find out and say so.
            with contextlib.suppress(sqlite3.Error):
                self.checkpoint()
