"""The state's table in PostgreSQL: what it is, and how it comes to be."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from backstay.errors import StateMismatch, StateUnavailable

if TYPE_CHECKING:
    import asyncpg

__all__ = ["SCHEMA_VERSION", "ddl", "prepare"]

SCHEMA_VERSION = 1
_MADE_BY = "backstay state"

# Values are rewritten all the time: some room in each page lets a new version of a row stay beside
# the old one, where no index has to hear of it, unless its expiry changes.
_DDL = """
CREATE TABLE {table} (
    scope bytea NOT NULL,
    key bytea NOT NULL,
    expires_at timestamptz,
    value text NOT NULL,
    PRIMARY KEY (scope, key)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX {prefix}state_expiring ON {table} (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE {meta} (key text PRIMARY KEY, value text NOT NULL);
INSERT INTO {meta} (key, value) VALUES ('made_by', '{made_by}'), ('schema_version', '{version}');
"""


def ddl(prefix: str = "backstay_", schema: str = "public") -> str:
    """The statements that make the tables, for whoever may run them."""
    return _DDL.format(
        table=f'"{schema}"."{prefix}state"',
        meta=f'"{schema}"."{prefix}state_meta"',
        prefix=prefix,
        made_by=_MADE_BY,
        version=SCHEMA_VERSION,
    )


async def prepare(
    connection: asyncpg.Connection[Any], place: str, prefix: str, schema: str | None
) -> str:
    """Find the table, or make it under a lock; its name as statements write it.

    Args:
        connection: in no transaction.
        place: the server and database, as errors name them.
        prefix: in front of the names.
        schema: where; ``None``: the first of ``search_path``.

    Raises:
        StateMismatch: what stands there is not ours, or of another version.
        StateUnavailable: there is no such schema, or this role may not make the tables.
    """
    import asyncpg

    found = schema or await connection.fetchval("SELECT current_schema()")
    if found is None:
        path = await connection.fetchval("SHOW search_path")
        raise StateUnavailable(
            f"no schema of search_path={path!r} exists at {place}; name one (database_schema=...)"
        )
    if not await _are_there(connection, place, prefix, found):
        try:
            await _make(connection, place, prefix, found)
        except asyncpg.InsufficientPrivilegeError as error:
            role = await connection.fetchval("SELECT current_user")
            raise StateUnavailable(
                f"the table {prefix}state is missing in schema {found!r} at {place}, and role "
                f"{role!r} may not make it ({error}); let a role with CREATE rights start once, or "
                "run what this prints: python -c 'from backstay.state.postgres_tables import ddl; "
                f'print(ddl("{prefix}", "{found}"))\'; then GRANT SELECT, INSERT, UPDATE, DELETE '
                f"on {prefix}state, SELECT on {prefix}state_meta, and USAGE on the schema, to "
                f"{role!r}"
            ) from error
    return f'"{found}"."{prefix}state"'


async def _are_there(
    connection: asyncpg.Connection[Any], place: str, prefix: str, schema: str
) -> bool:
    import asyncpg

    table, meta = f"{prefix}state", f"{prefix}state_meta"
    present = {
        row[0]
        for row in await connection.fetch(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = $1 AND c.relname = ANY($2)",
            schema,
            [table, meta],
        )
    }
    where = f"schema {schema!r} at {place}"
    remedy = "name another prefix (table_prefix=), or another schema"
    if not present:
        return False
    if present != {table, meta}:
        raise StateMismatch(f"{present.pop()} stands alone in {where}, so it is not ours; {remedy}")
    try:
        rows = await connection.fetch(
            f'SELECT key::text, value::text FROM "{schema}"."{meta}"'  # noqa: S608  # names of tables, never values
        )
    except asyncpg.InsufficientPrivilegeError as error:
        raise StateUnavailable(
            f"the state's tables in {where} may not be read ({error}); GRANT SELECT, INSERT, "
            f"UPDATE, DELETE on {table}, SELECT on {meta}, and USAGE on the schema"
        ) from error
    except asyncpg.UndefinedColumnError as error:
        raise StateMismatch(f"{meta} in {where} is not ours ({error}); {remedy}") from error
    facts = {row[0]: row[1] for row in rows}
    if facts.get("made_by") != _MADE_BY:
        raise StateMismatch(
            f"{meta} in {where} says made_by={facts.get('made_by')!r}, not {_MADE_BY!r}; {remedy}"
        )
    if facts.get("schema_version") != str(SCHEMA_VERSION):
        raise StateMismatch(
            f"{table} in {where} has schema_version={facts.get('schema_version')!r}, and this "
            f"backstay knows {SCHEMA_VERSION}; upgrade backstay here, or {remedy}"
        )
    return True


async def _make(connection: asyncpg.Connection[Any], place: str, prefix: str, schema: str) -> None:
    key = zlib.crc32(f"backstay state {schema} {prefix}".encode())
    async with connection.transaction(isolation="read_committed"):
        await connection.execute("SELECT pg_advisory_xact_lock(7236, $1)", key - 2**31)
        if await _are_there(connection, place, prefix, schema):
            return
        exists = await connection.fetchval(
            "SELECT true FROM pg_namespace WHERE nspname = $1", schema
        )
        if not exists:
            await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        await connection.execute(ddl(prefix, schema))
