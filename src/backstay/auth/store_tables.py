"""The tables of sessions, revocations and API keys: what they are, and how they come to be.

Sessions have a table of their own beside their refresh tokens: whoever exchanges a token, and
whoever ends its session, has to pass through the session's one row, so that no token is made that
an ending session does not see.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from backstay.db.own_tables import fault_of
from backstay.errors import BadAuth, MissingExtra

try:
    import sqlalchemy as sa
    from sqlalchemy.dialects import postgresql, sqlite
    from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = ["AuthTables", "Instant", "SCHEMA_VERSION", "Texts", "ddl"]

SCHEMA_VERSION = 1
_MADE_BY = "backstay auth"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Instant(sa.types.TypeDecorator[datetime]):
    """An aware time as whole microseconds since 1970: the same in every database and zone."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: object) -> int | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"times are aware here; got {value!r}: use datetime.now(UTC)")
        return (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: object) -> datetime | None:
        return None if value is None else _EPOCH + timedelta(microseconds=value)


class Texts(sa.types.TypeDecorator[tuple[str, ...]]):
    """Several texts as one JSON list, whatever is in them."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: object) -> str | None:
        return None if value is None else json.dumps(list(value), separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: object) -> tuple[str, ...] | None:
        return None if value is None else tuple(json.loads(value))


class AuthTables:
    """The tables, their names beginning with a prefix.

    Attributes:
        sessions: one row for each login; ``latest`` is its refresh token that may be exchanged,
            ``parent`` the one that this was given for.
        refresh: one for each refresh token.
        revocations: one for each token, session and subject that does not count any more;
            ``noted_at`` is when the row was last written, by the writer's clock.
        api_keys: one for each API key.
        meta: facts: who made these, and in which version.

    Raises:
        BadAuth: the prefix is no plain name.
    """

    def __init__(self, prefix: str = "backstay_") -> None:
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,30}", prefix):
            raise BadAuth(
                f"prefix={prefix!r} is no plain name: lower-case letters, digits and underscores, "
                "31 at most"
            )
        metadata = sa.MetaData()
        self.sessions = sa.Table(
            f"{prefix}auth_sessions",
            metadata,
            sa.Column("session", sa.Text, primary_key=True),
            sa.Column("subject", sa.Text, nullable=False),
            sa.Column("scopes", Texts, nullable=False),
            sa.Column("begun_at", Instant, nullable=False),
            sa.Column("latest", sa.LargeBinary, nullable=False),
            sa.Column("parent", sa.LargeBinary),
            sa.Column("expires_at", Instant, nullable=False),
            sa.Column("ended_at", Instant),
            sa.Index(f"{prefix}auth_sessions_subject", "subject"),
            sa.Index(f"{prefix}auth_sessions_expires_at", "expires_at"),
        )
        self.refresh = sa.Table(
            f"{prefix}auth_refresh",
            metadata,
            sa.Column("digest", sa.LargeBinary, primary_key=True),
            sa.Column("session", sa.Text, nullable=False),
            sa.Column("issued_at", Instant, nullable=False),
            sa.Column("expires_at", Instant, nullable=False),
            sa.Column("used_at", Instant),
            sa.Index(f"{prefix}auth_refresh_session", "session"),
            sa.Index(f"{prefix}auth_refresh_expires_at", "expires_at"),
        )
        self.revocations = sa.Table(
            f"{prefix}auth_revocations",
            metadata,
            sa.Column("kind", sa.Text, primary_key=True),
            sa.Column("value", sa.Text, primary_key=True),
            sa.Column("at", Instant, nullable=False),
            sa.Column("expires_at", Instant, nullable=False),
            sa.Column("noted_at", Instant, nullable=False),
            sa.Index(f"{prefix}auth_revocations_expires_at", "expires_at"),
            sa.Index(f"{prefix}auth_revocations_noted_at", "noted_at"),
        )
        self.api_keys = sa.Table(
            f"{prefix}auth_api_keys",
            metadata,
            sa.Column("id", sa.Text, primary_key=True),
            sa.Column("digest", sa.LargeBinary, nullable=False),
            sa.Column("name", sa.Text, nullable=False),
            sa.Column("owner", sa.Text, nullable=False),
            sa.Column("scopes", Texts, nullable=False),
            sa.Column("created_at", Instant, nullable=False),
            sa.Column("expires_at", Instant),
            sa.Column("revoked_at", Instant),
            sa.Column("last_used_at", Instant),
            sa.Index(f"{prefix}auth_api_keys_owner", "owner"),
        )
        self.meta = sa.Table(
            f"{prefix}auth_meta",
            metadata,
            sa.Column("key", sa.Text, primary_key=True),
            sa.Column("value", sa.Text, nullable=False),
        )
        self.metadata = metadata
        self._prefix = prefix

    def are_there(self, connection: sa.Connection, where: str) -> bool:
        """Whether they are; ``False`` if none is.

        Args:
            connection: may be in a transaction or not.
            where: the database, as errors name it.

        Raises:
            BadAuth: there is something of these names that is not ours, or of another version.
        """
        names = set(self.metadata.tables)
        present = names.intersection(sa.inspect(connection).get_table_names())
        if not present:
            return False
        remedy = "name another prefix (prefix=), or use another database or schema"
        if present != names:
            raise BadAuth(
                f"{', '.join(sorted(present))} in {where} without {min(names - present)}: "
                f"these are not ours, or not all of them; {remedy}"
            )
        columns = {column["name"] for column in sa.inspect(connection).get_columns(self.meta.name)}
        if not {"key", "value"} <= columns:
            raise BadAuth(f"{self.meta.name} in {where} is not ours; {remedy}")
        facts = {
            row[0]: row[1]
            for row in connection.execute(sa.select(self.meta.c.key, self.meta.c.value))
        }
        fault = fault_of(
            facts,
            made_by=_MADE_BY,
            version=SCHEMA_VERSION,
            meta=f"{self.meta.name} in {where}",
            table=f"{self.refresh.name} in {where}",
            remedy=remedy,
        )
        if fault is not None:
            raise BadAuth(fault)
        return True

    def make(self, connection: sa.Connection, where: str) -> None:
        """Make them, if they are missing: whole or not at all.

        Args:
            connection: in a transaction; SQLite's has the write lock.
            where: the database, as errors name it.

        Raises:
            BadAuth: as ``are_there``.
        """
        if connection.dialect.name == "postgresql":
            schema = connection.scalar(sa.text("SELECT current_schema()"))
            key = zlib.crc32(f"{_MADE_BY} {schema} {self._prefix}".encode()) - 2**31
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(7237, :key)"), {"key": key})
        # Again, under the lock: another process may have been faster.
        if not self.are_there(connection, where):
            for statement in self._statements():
                connection.execute(statement)
            connection.execute(self.meta.insert(), self._facts())

    def ddl(self, dialect: str = "postgresql") -> str:
        """The statements that make them, for whoever may run them."""
        kinds: dict[str, Any] = {"postgresql": postgresql, "sqlite": sqlite}
        spoken = kinds[dialect].dialect()
        made = [str(each.compile(dialect=spoken)).strip() for each in self._statements()]
        values = ", ".join(f"('{each['key']}', '{each['value']}')" for each in self._facts())
        made.append(f"INSERT INTO {self.meta.name} (key, value) VALUES {values}")  # noqa: S608  # words of ours, no values of anybody's
        return "".join(f"{each};\n" for each in made)

    def _statements(self) -> Iterator[ExecutableDDLElement]:
        for table in self.metadata.sorted_tables:
            yield CreateTable(table)
            for index in sorted(table.indexes, key=lambda each: str(each.name)):
                yield CreateIndex(index)

    def _facts(self) -> list[dict[str, str]]:
        return [
            {"key": "made_by", "value": _MADE_BY},
            {"key": "schema_version", "value": str(SCHEMA_VERSION)},
        ]


def ddl(prefix: str = "backstay_", dialect: str = "postgresql") -> str:
    """The statements that make the tables, for whoever may run them.

    Args:
        prefix: in front of the tables' names.
        dialect: ``"postgresql"`` or ``"sqlite"``.
    """
    return AuthTables(prefix).ddl(dialect)
