"""The state's table in a SQLite file: what it is, how it comes to be, who opens it.

It stands beside the ledger's tables if they are in the same file, and neither needs the other.
"""

# ruff: noqa: S608  # names of tables are put into statements, never values

from __future__ import annotations

import contextlib
import sqlite3

from backstay.errors import LedgerMismatch
from backstay.ledger.sqlite_connections import Connection

__all__ = ["SCHEMA_VERSION", "StateFile", "make_tables"]

SCHEMA_VERSION = 1
_MADE_BY = "backstay state"

# The rows keep their rowid: values may be large, and a tree that carried them in its inner pages
# would be slow to search. Scopes and keys are the bytes of their UTF-8.
_STATEMENTS = (
    """
    CREATE TABLE {p}state (
        scope BLOB NOT NULL,
        key BLOB NOT NULL,
        expires_at INTEGER,
        value TEXT NOT NULL,
        PRIMARY KEY (scope, key)
    )
    """,
    "CREATE INDEX {p}state_expiring ON {p}state (expires_at) WHERE expires_at IS NOT NULL",
    "CREATE TABLE {p}state_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "INSERT INTO {p}state_meta (key, value) VALUES ('made_by', '{by}'), ('schema_version', '{v}')",
)


class StateFile(Connection):
    """A connection to the file, as the ledger's, for another table.

    Args:
        path: absolute.
        prefix: of the tables' names.
        patience_s: how long to wait for others' locks.
        full: whether commits wait for the disk.
        checkpoint_pages: as for ``Connection``.
    """

    def __init__(
        self,
        path: str,
        prefix: str,
        patience_s: float,
        *,
        full: bool = False,
        checkpoint_pages: int | None = None,
    ) -> None:
        super().__init__(path, prefix, patience_s, checkpoint_pages=checkpoint_pages)
        self._full = full
        self._state_pages = checkpoint_pages

    def _prepare(self, raw: sqlite3.Connection) -> None:
        # NORMAL waits for the disk at checkpoints only, which keeps the file whole.
        raw.execute(f"PRAGMA synchronous = {'FULL' if self._full else 'NORMAL'}")
        make_tables(raw, self._prefix, f"the state in {self.path}")
        self._use_wal(raw)
        if self._state_pages is not None:
            raw.execute(f"PRAGMA wal_autocheckpoint = {self._state_pages}")


def make_tables(connection: sqlite3.Connection, prefix: str, where: str) -> None:
    """Make the tables, if they are missing: whole or not at all.

    Args:
        connection: in autocommit mode.
        prefix: of the tables' names.
        where: the database, as errors name it.

    Raises:
        LedgerMismatch: there are tables of these names that are not ours, or newer ones.
        sqlite3.OperationalError: another process is writing; nothing has happened.
    """
    if _are_there(connection, prefix, where):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Again, under the lock: another process may have been faster.
        if not _are_there(connection, prefix, where):
            for statement in _STATEMENTS:
                filled = statement.replace("{p}", prefix).replace("{by}", _MADE_BY)
                connection.execute(filled.replace("{v}", str(SCHEMA_VERSION)))
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise


def _are_there(connection: sqlite3.Connection, prefix: str, where: str) -> bool:
    table, meta = f"{prefix}state", f"{prefix}state_meta"
    names = [
        name
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE name IN (?, ?) ORDER BY name", (table, meta)
        )
    ]
    if not names:
        return False
    remedy = "name another prefix (table_prefix=), or another file"
    if names != [table, meta]:
        raise LedgerMismatch(f"{where} has {names[0]} alone, so it is not ours; {remedy}")
    try:
        facts = dict(connection.execute(f"SELECT key, value FROM {meta}").fetchall())
    except sqlite3.OperationalError as error:
        raise LedgerMismatch(f"{meta} in {where} is not ours ({error}); {remedy}") from error
    if facts.get("made_by") != _MADE_BY:
        raise LedgerMismatch(
            f"{meta} in {where} says made_by={facts.get('made_by')!r}, not {_MADE_BY!r}; {remedy}"
        )
    if facts.get("schema_version") != str(SCHEMA_VERSION):
        raise LedgerMismatch(
            f"{table} in {where} has schema_version={facts.get('schema_version')!r}, and this "
            f"backstay knows {SCHEMA_VERSION}; upgrade backstay here, or {remedy}"
        )
    return True
