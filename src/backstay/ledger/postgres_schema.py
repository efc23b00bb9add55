"""The tables in PostgreSQL: what they are, and how they come to be."""

from __future__ import annotations

import zlib
from typing import Any

import asyncpg

from backstay.errors import LedgerMismatch, LedgerUnavailable
from backstay.ledger.postgres_address import Address

__all__ = ["SCHEMA_VERSION", "Tables", "ddl", "prepare_tables"]

SCHEMA_VERSION = 1
_NAMES = ("jobs", "edges", "queues", "gates", "workers", "ticks", "meta")

# The server walks through a row to reach a column, so what never is null comes first, then what
# indexes look at, wide texts last. States are text: an enum type would need DDL for a new one.
_DDL = """
CREATE TABLE {jobs} (
    id uuid PRIMARY KEY,
    created_at timestamptz NOT NULL,
    run_at timestamptz NOT NULL,
    rank bigint NOT NULL,
    fence bigint NOT NULL DEFAULT 0,
    priority integer NOT NULL DEFAULT 0,
    attempt integer NOT NULL DEFAULT 0,
    max_attempts integer NOT NULL,
    waiting_for integer NOT NULL DEFAULT 0,
    has_children boolean NOT NULL DEFAULT false,
    cancel_requested boolean NOT NULL DEFAULT false,
    state text NOT NULL,
    queue text NOT NULL,
    gate text,
    unique_key text,
    worker text,
    finished_at timestamptz,
    expires_at timestamptz,
    started_at timestamptz,
    ticket bigint,
    keep_s double precision,
    unique_states integer,
    unique_until timestamptz,
    unique_by text,
    gate_limit integer,
    gate_rate integer,
    gate_per_s double precision,
    on_parent_failure text,
    cancel_reason text,
    task text NOT NULL,
    args text NOT NULL,
    meta text NOT NULL,
    progress text,
    result text,
    errors text[]
) WITH (
    -- Each job is written three times (inserted, claimed, finished), so a queue table is mostly
    -- dead rows. Vacuum must come for a small share of a large history, and quickly: with the
    -- default of 20 %, a million finished jobs would let 200,000 dead ones pile up, which every
    -- claim has to step over.
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.02,
    autovacuum_vacuum_cost_limit = 2000,
    autovacuum_vacuum_cost_delay = 1
);
CREATE INDEX {prefix}jobs_available ON {jobs} (queue, rank, id)
    WHERE state = 'available' AND gate IS NULL;
CREATE INDEX {prefix}jobs_gated ON {jobs} (queue, gate, rank, id)
    WHERE state = 'available' AND gate IS NOT NULL;
-- Jobs whose place in line does not tell since when they wait; the others need no index for that.
CREATE INDEX {prefix}jobs_unlike ON {jobs} (queue, (rank + CAST(priority AS bigint) * 600000000))
    WHERE state = 'available' AND (priority <> 0 OR gate IS NOT NULL);
CREATE INDEX {prefix}jobs_due ON {jobs} (queue, run_at)
    WHERE state IN ('scheduled', 'retrying');
CREATE INDEX {prefix}jobs_running ON {jobs} (queue, worker)
    WHERE state = 'running';
CREATE INDEX {prefix}jobs_gates_running ON {jobs} (gate)
    WHERE state = 'running' AND gate IS NOT NULL;
CREATE INDEX {prefix}jobs_to_cancel ON {jobs} (worker)
    WHERE state = 'running' AND cancel_requested;
CREATE INDEX {prefix}jobs_failed ON {jobs} (state, id)
    WHERE state IN ('discarded', 'cancelled');
-- For people who look for some among the many, and for counting.
CREATE INDEX {prefix}jobs_succeeded ON {jobs} (queue, task, id)
    WHERE state = 'succeeded';
CREATE INDEX {prefix}jobs_waiting ON {jobs} (id)
    WHERE state = 'waiting';
CREATE INDEX {prefix}jobs_expiring ON {jobs} (expires_at)
    WHERE expires_at IS NOT NULL;
CREATE INDEX {prefix}jobs_finished ON {jobs} (finished_at)
    WHERE state IN ('succeeded', 'cancelled') AND expires_at IS NULL;
CREATE UNIQUE INDEX {prefix}jobs_unique ON {jobs} (unique_key)
    WHERE unique_key IS NOT NULL;
CREATE TABLE {edges} (
    parent uuid NOT NULL,
    child uuid NOT NULL,
    position integer NOT NULL,
    settled boolean NOT NULL DEFAULT false,
    PRIMARY KEY (child, parent)
);
CREATE INDEX {prefix}edges_parent ON {edges} (parent, child);
CREATE INDEX {prefix}edges_open ON {edges} (parent) WHERE NOT settled;
CREATE TABLE {queues} (
    name text PRIMARY KEY,
    paused_at timestamptz,
    max_running integer,
    rate integer,
    per_s double precision NOT NULL DEFAULT 1,
    declared boolean NOT NULL DEFAULT false
);
CREATE TABLE {gates} (
    name text PRIMARY KEY,
    starts text,
    forget_at timestamptz
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);
CREATE TABLE {workers} (
    id text PRIMARY KEY,
    host text NOT NULL,
    pid integer NOT NULL,
    started_at timestamptz NOT NULL,
    beat_at timestamptz NOT NULL,
    lease_s double precision NOT NULL,
    concurrency integer NOT NULL,
    queues text[] NOT NULL,
    version text NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE {ticks} (
    name text PRIMARY KEY,
    last_tick timestamptz NOT NULL
);
CREATE TABLE {meta} (
    key text PRIMARY KEY,
    value text NOT NULL
);
INSERT INTO {meta} (key, value) VALUES ('made_by', 'backstay'), ('schema_version', '1');
"""


class Tables:
    """Our tables' names in statements: ``{jobs}`` becomes ``"schema"."backstay_jobs"``.

    Every name is qualified, so that neither a session's search_path nor a table of the same
    name in front of ours can lead a statement astray.

    Args:
        prefix: in front of every table's name.
        schema: where they are.
    """

    def __init__(self, prefix: str, schema: str) -> None:
        self.prefix = prefix
        self.schema = schema
        self._names = {f"{{{name}}}": f'"{schema}"."{prefix}{name}"' for name in _NAMES}
        self._names["{prefix}"] = prefix
        self._filled: dict[str, str] = {}
        self._numbered: dict[str, str] = {}

    @property
    def channel(self) -> str:
        """What to LISTEN on."""
        return f"{self.prefix}{self.schema}"[:63]

    def __getitem__(self, template: str) -> str:
        """The statement, as it is sent."""
        filled = self._filled.get(template)
        if filled is None:
            filled = template
            for name, table in self._names.items():
                filled = filled.replace(name, table)
            self._filled[template] = filled
        return filled

    def numbered(self, template: str) -> str:
        """The statement with ``$1`` in the place of ``:doc``, for asyncpg."""
        filled = self._numbered.get(template)
        if filled is None:
            filled = self._numbered[template] = self[template].replace(":doc", "$1")
        return filled


def ddl(prefix: str = "backstay_", schema: str = "public") -> str:
    """The statements that make the tables, for whoever may run them."""
    return Tables(prefix, schema)[_DDL]


async def prepare_tables(
    connection: asyncpg.Connection[Any],
    address: Address,
    prefix: str,
    schema: str | None,
    *,
    create: bool = True,
) -> Tables:
    """Find our tables, or make them under a lock, unless nothing is to be made.

    Raises:
        LedgerUnavailable: they are missing, and this role may not make them or shall not.
        LedgerMismatch: what stands there is not ours, or of a newer version.
    """
    found = schema or await connection.fetchval("SELECT current_schema()")
    if found is None:
        path = await connection.fetchval("SHOW search_path")
        raise LedgerUnavailable(
            f"no schema of search_path={path!r} exists at {address.place}; name one (schema=...)"
        )
    tables = Tables(prefix, str(found))
    if not await _are_there(connection, address, tables):
        if not create:
            raise LedgerUnavailable(
                f"no table of schema {tables.schema!r} at {address.place} has a name that begins "
                f"with {prefix!r}, so there are no jobs in it; name the database that the app uses, "
                "or its schema and prefix; an app makes the tables when it first starts"
            )
        try:
            await _make(connection, address, tables)
        except asyncpg.InsufficientPrivilegeError as error:
            role = await connection.fetchval("SELECT current_user")
            raise LedgerUnavailable(
                f"the ledger's tables are missing in schema {tables.schema!r} at {address.place}, "
                f"and role {role!r} may not make them ({error}); let a role with CREATE rights "
                "start once, or let it run what this prints: python -c 'from "
                "backstay.ledger.postgres_schema import ddl; "
                f'print(ddl("{prefix}", "{tables.schema}"))\'; then GRANT SELECT, INSERT, UPDATE, '
                f"DELETE on these tables, and USAGE on the schema, to {role!r}"
            ) from error
    return tables


async def _are_there(connection: asyncpg.Connection[Any], address: Address, tables: Tables) -> bool:
    """Whether our tables of this version are there; ``False`` if nothing is."""
    present = {
        row[0]: row[1]
        for row in await connection.fetch(
            "SELECT c.relname, c.relkind::text FROM pg_class c JOIN pg_namespace n "
            "ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = ANY($2)",
            tables.schema,
            [tables.prefix + name for name in _NAMES],
        )
    }
    where = f"schema {tables.schema!r} at {address.place}"
    remedy = "use another prefix= or schema= for the ledger"
    if not present:
        return False
    if f"{tables.prefix}meta" not in present:
        raise LedgerMismatch(
            f"found {', '.join(sorted(present))} in {where} without {tables.prefix}meta, so they "
            f"are not the ledger's; {remedy}"
        )
    try:
        rows = await connection.fetch(tables["SELECT key::text, value::text FROM {meta}"])
    except asyncpg.InsufficientPrivilegeError as error:
        raise LedgerUnavailable(
            f"the ledger's tables in {where} may not be read ({error}); "
            "GRANT SELECT, INSERT, UPDATE, DELETE on them, and USAGE on the schema"
        ) from error
    except asyncpg.PostgresError as error:
        raise LedgerMismatch(
            f"{tables.prefix}meta in {where} is not the ledger's ({error}); {remedy}"
        ) from error
    meta = {row[0]: row[1] for row in rows}
    if meta.get("made_by") != "backstay":
        raise LedgerMismatch(
            f"{tables.prefix}meta in {where} says made_by={meta.get('made_by')!r}, not 'backstay'; "
            f"{remedy}"
        )
    version = meta.get("schema_version", "")
    if version != str(SCHEMA_VERSION):
        raise LedgerMismatch(
            f"the ledger's tables in {where} have schema_version={version!r}, this backstay knows "
            f"{SCHEMA_VERSION}; upgrade backstay here, or {remedy}"
        )
    return True


async def _make(connection: asyncpg.Connection[Any], address: Address, tables: Tables) -> None:
    key = zlib.crc32(f"backstay {tables.schema} {tables.prefix}".encode())
    async with connection.transaction(isolation="read_committed"):
        await connection.execute("SELECT pg_advisory_xact_lock(7236, $1)", key - 2**31)
        if await _are_there(connection, address, tables):
            return
        exists = await connection.fetchval(
            "SELECT true FROM pg_namespace WHERE nspname = $1", tables.schema
        )
        if not exists:
            await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{tables.schema}"')
        await connection.execute(tables[_DDL])
