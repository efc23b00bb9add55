"""One migrating process at a time, and SQLite's foreign keys out of the way meanwhile."""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from backstay.errors import MissingExtra

try:
    from sqlalchemy import Connection, func, select
    from sqlalchemy.exc import SQLAlchemyError
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = ["MigrationTurn", "Violation"]

_log = logging.getLogger("backstay.db.migrations")

_LOCK_CLASS = 7237
"""PostgreSQL's advisory locks are two numbers; the ledger's first one is 7236."""

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0

Violation = tuple[str, Any, str]
"""A table, the row in it (``None`` in tables without row ids), and the table it refers to in vain."""


class MigrationTurn:
    """The time in which nobody else migrates the same database.

    PostgreSQL: an advisory lock of the session's. It is asked for again and again, as somebody who
    waits for it inside a statement would be waited for in turn by ``CREATE INDEX CONCURRENTLY``.
    In a transaction that somebody else has begun it is the transaction's, and held to its end.

    SQLite: the write lock does it, as all migrations are one transaction there. Foreign keys are
    not enforced meanwhile: Alembic's batch mode changes a table by dropping it and putting a
    changed copy in its place, and dropping would delete what refers to it.

    Args:
        connection: of the one that migrates.
        name: of what is migrated; others of the same name wait.
        wait_s: seconds to wait for others. ``None``: as long as it takes.
    """

    def __init__(self, connection: Connection, name: str, *, wait_s: float | None) -> None:
        self._connection = connection
        self._wait_s = wait_s
        self._key = zlib.crc32(name.encode()) - 2**31
        self._is_outer = connection.in_transaction()
        self._enforced = False

    @contextmanager
    def taken(self) -> Iterator[None]:
        """The turn, as a block.

        Raises:
            TimeoutError: others took longer than ``wait_s``.
        """
        dialect = self._connection.dialect.name
        if dialect == "postgresql":
            with self._locked():
                yield
        elif dialect == "sqlite":
            with self._unenforced():
                yield
        else:
            yield

    def violations(self) -> list[Violation]:
        """Rows that refer to rows that are not there; none where SQLite enforces nothing anyway."""
        if not self._enforced:
            return []
        found = self._connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        return [(row[0], row[1], row[2]) for row in found]

    # ------------------------------------------------------------------ PostgreSQL

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._is_outer:
            self._wait_for(func.pg_try_advisory_xact_lock)
            yield
            return
        self._wait_for(func.pg_try_advisory_lock)
        try:
            yield
        finally:
            self._unlock()

    def _wait_for(self, lock: Callable[..., Any]) -> None:
        pause_s = _FIRST_PAUSE_S
        deadline = None if self._wait_s is None else time.monotonic() + self._wait_s
        while not self._ask(lock):
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(
                    f"another process has been migrating this database for {self._wait_s:g} s and "
                    "longer; wait for it, see what it waits for in pg_stat_activity, or give "
                    "AlembicEnv a longer wait_s="
                )
            if pause_s == _FIRST_PAUSE_S:
                _log.info("waiting for another process that migrates this database")
            threading.Event().wait(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _ask(self, lock: Callable[..., Any]) -> bool:
        got = bool(self._connection.scalar(select(lock(_LOCK_CLASS, self._key))))
        if not self._is_outer:
            self._connection.commit()  # no snapshot is held while waiting
        return got

    def _unlock(self) -> None:
        # The connection goes back to a pool, which resets transactions and not locks.
        try:
            self._connection.rollback()
            self._connection.scalar(select(func.pg_advisory_unlock(_LOCK_CLASS, self._key)))
            self._connection.commit()
        except SQLAlchemyError:
            self._connection.invalidate()  # closing it unlocks as well

    # ------------------------------------------------------------------ SQLite

    @contextmanager
    def _unenforced(self) -> Iterator[None]:
        enforced, patience_ms = self._pragma("foreign_keys"), self._pragma("busy_timeout")
        if self._is_outer:
            # SQLite ignores this pragma inside of a transaction.
            if enforced:
                _log.warning(
                    "foreign keys are enforced in the transaction that these migrations were given: "
                    "changing a table in batch mode would delete the rows that refer to it; give a "
                    "connection that is in no transaction"
                )
            yield
            return
        self._enforced = bool(enforced)
        waiting_ms = 2**31 - 1 if self._wait_s is None else round(self._wait_s * 1000)
        self._pragma("foreign_keys", 0)
        self._pragma("busy_timeout", waiting_ms)
        try:
            yield
        finally:
            if self._connection.in_transaction():
                self._connection.rollback()
            self._pragma("foreign_keys", enforced)
            self._pragma("busy_timeout", patience_ms)

    def _pragma(self, name: str, value: int | None = None) -> int:
        """Ask for one, or set it, without beginning a transaction."""
        cursor: Any = self._connection.connection.cursor()
        try:
            cursor.execute(f"PRAGMA {name}" if value is None else f"PRAGMA {name}={value}")
            row = cursor.fetchone()
        finally:
            cursor.close()
        return int(row[0]) if row else 0
