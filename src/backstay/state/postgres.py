"""State in PostgreSQL: any number of processes, on any number of machines."""

# ruff: noqa: S608  # names of tables are put into statements, never values

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from typing import Any

from backstay.clock import Clock, SystemClock
from backstay.errors import LedgerUnavailable, MissingExtra, StateUnavailable

try:
    import asyncpg
except ImportError as error:  # pragma: no cover
    raise MissingExtra("postgres", "asyncpg") from error

from backstay.ledger.postgres_address import Address
from backstay.ledger.postgres_lane import Connection, Lane
from backstay.state.faults import as_state_errors
from backstay.state.port import Ttl
from backstay.state.postgres_tables import prepare

__all__ = ["PostgresStore"]


class PostgresStore:
    """Implements ``StateStore``, through asyncpg.

    Expiry goes by the server's clock, the one that all machines share.

    Args:
        url: ``postgresql://user:password@host:port/database?option=value``, with or without the
            name of a driver. What ``Address.of`` understands.
        clock: ``None`` or a ``SystemClock``: the server's clock; another one counts instead.
        prefix: in front of every table's name.
        schema: of the tables, made if it is missing; ``None``: the first of ``search_path``.
        patience_s: seconds to connect, and for each statement.
        connections: at most; each is made when it is first needed.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock | None = None,
        prefix: str = "backstay_",
        schema: str | None = None,
        patience_s: float = 10.0,
        connections: int = 4,
    ) -> None:
        self._address = Address.of(url)
        self._clock = None if isinstance(clock, SystemClock) else clock
        self._prefix = prefix
        self._schema = schema
        self._patience_s = patience_s
        self._connections = connections
        self._lanes: list[Lane] = []
        # The last that was given back comes first: few tasks at a time use few connections.
        self._free: asyncio.LifoQueue[Lane] | None = None
        self._statements: dict[str, str] = {}

    @property
    def url(self) -> str:
        return self._address.shown

    # ------------------------------------------------------------------ life

    async def open(self) -> None:
        if self._free is not None:
            return
        lanes = [
            Lane(self._address, timeout_s=self._patience_s, fast=False)
            for _ in range(self._connections)
        ]

        async def make(connection: Connection) -> str:
            return await prepare(connection, self._address.place, self._prefix, self._schema)

        try:
            with self._seam():
                table = await lanes[-1].run(make, transaction=False)
        except BaseException:
            await lanes[-1].close()
            raise
        self._statements = {name: text.format(table=table) for name, text in _STATEMENTS.items()}
        self._lanes = lanes
        free: asyncio.LifoQueue[Lane] = asyncio.LifoQueue()
        for lane in lanes:
            free.put_nowait(lane)
        self._free = free

    async def close(self) -> None:
        self._free = None
        lanes, self._lanes = self._lanes, []
        for lane in lanes:
            await lane.close()

    # ------------------------------------------------------------------ the port

    async def read(self, scope: bytes, key: bytes) -> str | None:
        rows = await self._run("read", scope, key, repeatable=True)
        return rows[0][0] if rows else None

    async def write(self, scope: bytes, key: bytes, value: str, ttl_s: float | None) -> None:
        await self._run("write", scope, key, value, _interval(ttl_s), repeatable=True)

    async def remove(self, scope: bytes, key: bytes) -> bool:
        rows = await self._run("remove", scope, key)
        return any(live for (live,) in rows)

    async def clear(self, scope: bytes) -> int:
        [[count]] = await self._run("clear", scope)
        return int(count)

    async def add(self, scope: bytes, key: bytes, by: int, ttl_s: float | None) -> int | None:
        rows = await self._run("add", scope, key, str(by), _interval(ttl_s))
        return int(rows[0][0]) if rows else None

    async def swap(
        self, scope: bytes, key: bytes, expected: str | None, value: str, ttl: Ttl
    ) -> bool:
        keep = ttl is ...
        for_s = None if ttl is ... else _interval(ttl)
        if expected is None:
            return bool(await self._run("take", scope, key, value, for_s))
        return bool(await self._run("swap", scope, key, value, for_s, expected, keep))

    async def keys(self, scope: bytes, prefix: bytes) -> list[bytes]:
        rows = await self._run("keys", scope, prefix, _after(prefix), repeatable=True)
        return [bytes(key) for (key,) in rows]

    async def sweep(self, limit: int) -> int:
        return len(await self._run("sweep", limit, repeatable=True))

    # ------------------------------------------------------------------ reaching the server

    async def _run(
        self, statement: str, *arguments: Any, repeatable: bool = False
    ) -> list[asyncpg.Record]:
        """Run one statement, which is a transaction of its own.

        Args:
            statement: which; its first parameter is the time.
            arguments: the rest of them.
            repeatable: doing it twice is as good as once, so a connection that turns out to be
                lost is no reason to fail.
        """
        now: datetime | None = None if self._clock is None else self._clock.now()
        text = self._statements.get(statement, "")
        uncertain = False

        def work(connection: Connection) -> Any:
            return connection.fetch(text, now, *arguments)

        def lost() -> None:
            nonlocal uncertain
            uncertain = True

        async with self._lane() as lane:
            with self._seam():
                try:
                    rows = await lane.run(work, transaction=False, uncertain=lost)
                except LedgerUnavailable as error:
                    if not uncertain:
                        raise
                    if not repeatable:
                        raise StateUnavailable(
                            f"{error}; the connection was lost meanwhile, and whether the change "
                            "was made is not known"
                        ) from error
                    rows = await lane.run(work, transaction=False)
        found: list[asyncpg.Record] = rows
        return found

    @asynccontextmanager
    async def _lane(self) -> AsyncIterator[Lane]:
        free = self._free
        if free is None:
            raise StateUnavailable(
                f"the state at {self._address.place} is not open: it is from the app's start to "
                "its end"
            )
        lane = await free.get()
        try:
            yield lane
        finally:
            free.put_nowait(lane)

    @contextmanager
    def _seam(self) -> Iterator[None]:
        place = f"PostgreSQL at {self._address.place}"
        words = {"the ledger's tables": "the state's tables"}
        with as_state_errors(words, raw=asyncpg.PostgresError, where=place):
            yield


def _interval(ttl_s: float | None) -> timedelta | None:
    return None if ttl_s is None else max(timedelta(seconds=ttl_s), timedelta(microseconds=1))


def _after(prefix: bytes) -> bytes | None:
    """The first bytes after all that begin with these; ``None`` if there are none."""
    whole = prefix.rstrip(b"\xff")
    return whole[:-1] + bytes([whole[-1] + 1]) if whole else None


# $1 is the time to go by, null for the server's. now() is when the statement began, and the planner
# may look it up in an index.
_NOW = "coalesce($1::timestamptz, now())"
_LIVE = f"(t.expires_at IS NULL OR t.expires_at > {_NOW})"
_INSERT = "INSERT INTO {table} AS t (scope, key, value, expires_at) VALUES "

_STATEMENTS = {
    "read": (f"SELECT t.value FROM {{table}} t WHERE t.scope = $2 AND t.key = $3 AND {_LIVE}"),
    "write": (
        f"{_INSERT} ($2, $3, $4, {_NOW} + $5::interval) ON CONFLICT (scope, key) DO UPDATE "
        "SET value = excluded.value, expires_at = excluded.expires_at"
    ),
    "remove": f"DELETE FROM {{table}} t WHERE t.scope = $2 AND t.key = $3 RETURNING {_LIVE}",
    "clear": (
        f"WITH gone AS (DELETE FROM {{table}} t WHERE t.scope = $2 RETURNING {_LIVE} AS live) "
        "SELECT count(*) FILTER (WHERE live) FROM gone"
    ),
    # numeric adds whole numbers of any length exactly. CASE keeps what is no number from it.
    "add": (
        f"{_INSERT} ($2, $3, $4::text, {_NOW} + $5::interval) ON CONFLICT (scope, key) DO UPDATE "
        f"SET value = CASE WHEN {_LIVE} THEN (t.value::numeric + $4::text::numeric)::text "
        "ELSE excluded.value END, "
        f"expires_at = CASE WHEN $5::interval IS NULL AND {_LIVE} THEN t.expires_at "
        "ELSE excluded.expires_at END "
        f"WHERE NOT {_LIVE} OR (octet_length(t.value) <= 1000 AND t.value ~ '^-?[0-9]+$') "
        "RETURNING t.value"
    ),
    "take": (
        f"{_INSERT} ($2, $3, $4, {_NOW} + $5::interval) ON CONFLICT (scope, key) DO UPDATE "
        "SET value = excluded.value, expires_at = excluded.expires_at "
        f"WHERE NOT {_LIVE} RETURNING 1"
    ),
    "swap": (
        "UPDATE {table} t SET value = $4, expires_at = CASE WHEN $7::boolean THEN t.expires_at "
        f"ELSE {_NOW} + $5::interval END "
        f"WHERE t.scope = $2 AND t.key = $3 AND t.value = $6 AND {_LIVE} RETURNING 1"
    ),
    "keys": (
        "SELECT t.key FROM {table} t WHERE t.scope = $2 AND t.key >= $3 "
        f"AND ($4::bytea IS NULL OR t.key < $4) AND {_LIVE} ORDER BY t.key"
    ),
    # Rows that another process is sweeping are left to it.
    "sweep": (
        "DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT t.ctid FROM {table} t "
        f"WHERE t.expires_at <= {_NOW} ORDER BY t.expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)) "
        "RETURNING 1"
    ),
}
