"""The table of counts in a database: what it is, and how it comes to be."""

from __future__ import annotations

import re
import zlib
from typing import Final

from backstay.db.own_tables import fault_of
from backstay.errors import BadLimit, MissingExtra

try:
    from sqlalchemy import Connection, inspect, text
    from sqlalchemy.exc import SQLAlchemyError
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = ["Tables"]

_MADE_BY: Final = "backstay limits"
_VERSION: Final = 1

# UNLOGGED: counts are worth nothing after a crash, and without the log they cost a fraction.
# Rows are written again and again: room in each page lets a new version stay beside the old one.
_COUNTS: Final = {
    "postgresql": (
        "CREATE UNLOGGED TABLE {table} (key bytea PRIMARY KEY, bucket bigint NOT NULL, "
        "hits bigint NOT NULL, hits_before bigint NOT NULL, expires_at double precision NOT NULL) "
        "WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02)"
    ),
    "sqlite": (
        "CREATE TABLE {table} (key BLOB PRIMARY KEY, bucket INTEGER NOT NULL, "
        "hits INTEGER NOT NULL, hits_before INTEGER NOT NULL, expires_at REAL NOT NULL)"
    ),
}
_REST: Final = (
    "CREATE INDEX {table}_expiring ON {table} (expires_at)",
    "CREATE TABLE {meta} (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
)


class Tables:
    """Their names, and what makes them.

    Args:
        prefix: in front of every name: lower-case letters, digits and underscores, 31 at most.

    Raises:
        BadLimit: it is not such a name.
    """

    def __init__(self, prefix: str) -> None:
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,30}", prefix):
            raise BadLimit(
                f"{prefix!r} cannot stand in front of names of tables: lower-case letters, digits "
                "and underscores, 31 at most"
            )
        self.counts = f"{prefix}limits"
        self.meta = f"{prefix}limits_meta"
        self._remedy = "choose another key_prefix="

    def prepare(self, connection: Connection) -> None:
        """Find the tables, or make them, whoever else does so at the same time.

        Args:
            connection: in a transaction; in SQLite one that may write.

        Raises:
            BadLimit: what stands there is not ours, or of another version.
        """
        if connection.dialect.name == "postgresql":
            # Before anything is looked at: those that another process makes are seen one by one.
            schema = connection.scalar(text("SELECT current_schema()"))
            key = zlib.crc32(f"{_MADE_BY} {schema} {self.counts}".encode()) - 2**31
            connection.execute(text("SELECT pg_advisory_xact_lock(7237, :key)"), {"key": key})
        if self._are_there(connection):
            return
        for statement in (_COUNTS[connection.dialect.name], *_REST):
            connection.execute(text(statement.format(table=self.counts, meta=self.meta)))
        connection.execute(
            text(f"INSERT INTO {self.meta} (key, value) VALUES (:key, :value)"),  # noqa: S608  # a table's name, which was checked
            [
                {"key": "made_by", "value": _MADE_BY},
                {"key": "schema_version", "value": str(_VERSION)},
            ],
        )

    def _are_there(self, connection: Connection) -> bool:
        inspector = inspect(connection)  # a new one each time: it remembers what it has seen
        there = {each for each in (self.counts, self.meta) if inspector.has_table(each)}
        if not there:
            return False
        if len(there) == 1:
            raise BadLimit(f"{there.pop()} stands alone there, so it is not ours; {self._remedy}")
        try:
            with connection.begin_nested():
                rows = connection.execute(
                    text(f"SELECT key, value FROM {self.meta}")  # noqa: S608  # a table's name, which was checked
                ).all()
        except SQLAlchemyError as error:
            raise BadLimit(f"{self.meta} is not ours ({error}); {self._remedy}") from error
        facts = {row[0]: row[1] for row in rows}
        fault = fault_of(
            facts,
            made_by=_MADE_BY,
            version=_VERSION,
            meta=self.meta,
            table=self.counts,
            remedy=self._remedy,
        )
        if fault is not None:
            raise BadLimit(fault)
        return True
