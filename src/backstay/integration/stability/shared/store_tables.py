"""The tables of circuits and buckets in a database: what they are, and how they come to be."""

from __future__ import annotations

import re
import zlib
from typing import Final

from backstay.db.own_tables import fault_of
from backstay.errors import BadIntegration, MissingExtra

try:
    from sqlalchemy import Connection, inspect, text
    from sqlalchemy.exc import SQLAlchemyError
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = ["StoreTables"]

_MADE_BY: Final = "backstay stability"
_VERSION: Final = 1

# UNLOGGED: what is in them is worth nothing after a crash, and without the log it costs a fraction.
# Rows of buckets are written at every call, and no index names their times: a new version of a row
# then stays in the page of the old one.
_TABLES: Final = {
    "postgresql": """
        CREATE UNLOGGED TABLE {circuits} (name bytea PRIMARY KEY, epoch bigint NOT NULL,
            opened_until bigint, leased_until bigint NOT NULL, changed_at bigint NOT NULL);
        CREATE UNLOGGED TABLE {buckets} (name bytea PRIMARY KEY, full_at bigint NOT NULL,
            granted bigint NOT NULL)
            WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02)
        """,
    "sqlite": """
        CREATE TABLE {circuits} (name BLOB PRIMARY KEY, epoch INTEGER NOT NULL,
            opened_until INTEGER, leased_until INTEGER NOT NULL, changed_at INTEGER NOT NULL);
        CREATE TABLE {buckets} (name BLOB PRIMARY KEY, full_at INTEGER NOT NULL,
            granted INTEGER NOT NULL)
        """,
}
_META: Final = "CREATE TABLE {meta} (key TEXT PRIMARY KEY, value TEXT NOT NULL)"


class StoreTables:
    """Their names, and what makes them.

    Args:
        prefix: in front of every name: lower-case letters, digits and underscores, 31 at most.

    Raises:
        BadIntegration: it is not such a name.
    """

    def __init__(self, prefix: str) -> None:
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,30}", prefix):
            raise BadIntegration(
                f"{prefix!r} cannot stand in front of names of tables: lower-case letters, digits "
                "and underscores, 31 at most"
            )
        self.circuits = f"{prefix}circuits"
        self.buckets = f"{prefix}buckets"
        self.meta = f"{prefix}stability_meta"
        self._names = (self.circuits, self.buckets, self.meta)
        self._remedy = "choose another key_prefix="

    def prepare(self, connection: Connection) -> None:
        """Find the tables, or make them, whoever else does so at the same time.

        Args:
            connection: in a transaction; in SQLite one that may write.

        Raises:
            BadIntegration: what stands there is not ours, or of another version.
        """
        if connection.dialect.name == "postgresql":
            if len(self._there(connection)) == len(self._names):
                self._require_ours(connection)
                return
            # Some of them may be somebody's who is just making them: each look sees another moment.
            schema = connection.scalar(text("SELECT current_schema()"))
            key = zlib.crc32(f"{_MADE_BY} {schema} {self.circuits}".encode()) - 2**31
            connection.execute(text("SELECT pg_advisory_xact_lock(7238, :key)"), {"key": key})
        there = self._there(connection)
        if there:
            if len(there) < len(self._names):
                raise BadIntegration(
                    f"{' and '.join(there)} stand{'s' if len(there) == 1 else ''} there without "
                    f"the rest, so that is not ours; {self._remedy}"
                )
            self._require_ours(connection)
            return
        for statement in (*_TABLES[connection.dialect.name].split(";"), _META):
            connection.execute(
                text(statement.format(circuits=self.circuits, buckets=self.buckets, meta=self.meta))
            )
        connection.execute(
            text(f"INSERT INTO {self.meta} (key, value) VALUES (:key, :value)"),  # noqa: S608  # a table's name, which was checked
            [
                {"key": "made_by", "value": _MADE_BY},
                {"key": "schema_version", "value": str(_VERSION)},
            ],
        )

    def _there(self, connection: Connection) -> list[str]:
        inspector = inspect(connection)  # a new one each time: it remembers what it has seen
        return [each for each in self._names if inspector.has_table(each)]

    def _require_ours(self, connection: Connection) -> None:
        try:
            with connection.begin_nested():
                rows = connection.execute(
                    text(f"SELECT key, value FROM {self.meta}")  # noqa: S608  # a table's name, which was checked
                ).all()
        except SQLAlchemyError as error:
            raise BadIntegration(f"{self.meta} is not ours ({error}); {self._remedy}") from error
        fault = fault_of(
            {row[0]: row[1] for row in rows},
            made_by=_MADE_BY,
            version=_VERSION,
            meta=self.meta,
            table=self.circuits,
            remedy=self._remedy,
        )
        if fault is not None:
            raise BadIntegration(fault)
