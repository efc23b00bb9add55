"""Counts in a database: exact for any number of processes, a statement for each limit."""

# ruff: noqa: S608  # names of tables are put into statements, never values

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from backstay.clock import Clock, SystemClock
from backstay.db.database import Database
from backstay.errors import BadLimit, LimitsUnavailable, MissingExtra
from backstay.limits.buckets import Buckets
from backstay.limits.limit import Limit
from backstay.limits.port import Strategy, Verdict
from backstay.limits.tables import Tables

try:
    from sqlalchemy import TextClause, text
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.ext.asyncio import AsyncConnection
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DatabaseCounts"]

_CONNECTIONS = 8


class DatabaseCounts:
    """Implements ``CountStore``.

    Single hits are not remembered: ``MOVING`` is ``SLIDING`` here. PostgreSQL goes by the
    server's clock, the one that all machines share. Keys are kept as digests.

    A database that is shared with the app is reached by a few connections of its own
    (``Database.apart``). Or else whoever keeps all of the app's busy would have his requests
    counted no more, just when it matters.

    Args:
        database: where.
        clock: what time it is in SQLite; in PostgreSQL too, if it is no ``SystemClock``.
        prefix: in front of the names of the tables.
        owned: whether it is closed along with this.

    Raises:
        BadLimit: it is neither SQLite nor PostgreSQL, or the prefix will not do.
    """

    is_local = False

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock | None = None,
        prefix: str = "backstay_",
        owned: bool = False,
    ) -> None:
        if database.dialect not in {"sqlite", "postgresql"}:
            raise BadLimit(
                f"limits are counted in SQLite, PostgreSQL, Redis or memory; {database.url!r} is "
                "none of these"
            )
        self._given = self._database = database
        self._clock: Clock = SystemClock() if clock is None else clock
        self._servers_clock = database.dialect == "postgresql" and isinstance(
            self._clock, SystemClock
        )
        self._tables = Tables(prefix)
        self._owned = owned
        self._is_ready = False
        self._preparing: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return self._database.url

    # ------------------------------------------------------------------ life

    async def open(self) -> None:
        if self._is_ready:
            return
        if self._preparing is None or self._preparing.get_loop().is_closed():
            # In a task of its own: whoever comes first may be given up.
            self._preparing = asyncio.create_task(self._prepare())
            self._preparing.add_done_callback(_have_seen)
        await asyncio.shield(self._preparing)

    async def _prepare(self) -> None:
        try:
            if not self._owned and self._database is self._given:
                self._database = self._given.apart(connections=_CONNECTIONS)
            with self._seam():
                async with self._database.async_engine.begin() as connection:
                    await connection.run_sync(self._tables.prepare)
            self._is_ready = True
        finally:
            self._preparing = None

    async def close(self) -> None:
        preparing = self._preparing
        if preparing is not None:
            preparing.cancel()
            await asyncio.gather(preparing, return_exceptions=True)
        self._is_ready = False
        database, self._database = self._database, self._given
        if self._owned or database is not self._given:
            await database.close()

    # ------------------------------------------------------------------ the port

    async def hit(
        self, key: str, limits: Sequence[Limit], cost: int, strategy: Strategy
    ) -> Verdict:
        await self.open()
        if cost <= min(each.amount for each in limits):
            with self._seam():
                if len(limits) == 1:
                    verdict = await self._hit_one(key, limits[0], cost, strategy)
                else:
                    verdict = await self._hit_all(key, limits, cost, strategy)
            if verdict is not None:
                return verdict
        found = await self.check(key, limits, cost, strategy)
        # Between the two it may have become possible. It was refused all the same.
        return Verdict(False, found.counts, found.retry_after_s)

    async def check(
        self, key: str, limits: Sequence[Limit], cost: int, strategy: Strategy
    ) -> Verdict:
        await self.open()
        counts, wait_s, allowed = [], 0.0, True
        for limit in limits:
            with self._seam():
                rows = await self._database.fetch(
                    self._statements["find"], {"key": _digest(key, limit, strategy), **self._now()}
                )
            found = Buckets(limit, strategy)
            # Where nothing was counted there is nothing to wait for, whatever time it is.
            now = 0.0
            if rows:
                number, hits, before, now = tuple(rows[0])
                found = Buckets(limit, strategy, number, hits, before).at(now)
            counts.append(found.count(now))
            if not found.fits(cost, now):
                allowed = False
                wait_s = max(wait_s, found.wait_s(cost, now))
        return Verdict(allowed, tuple(counts), wait_s)

    async def clear(self, key: str, limits: Sequence[Limit], strategy: Strategy) -> None:
        await self.open()
        with self._seam():
            for limit in limits:
                await self._database.write(
                    self._statements["clear"], {"key": _digest(key, limit, strategy)}
                )

    async def prune(self, at_most: int) -> int:
        await self.open()
        with self._seam():
            gone = await self._database.write(
                self._statements["prune"], {"at_most": at_most, **self._now()}
            )
        return len(gone)

    # ------------------------------------------------------------------ hits

    async def _hit_one(
        self, key: str, limit: Limit, cost: int, strategy: Strategy
    ) -> Verdict | None:
        rows = await self._database.write(
            self._statements["hit"], self._parameters(key, limit, cost, strategy)
        )
        if not rows:
            return None
        number, hits, before, now = tuple(rows[0])
        return Verdict(True, (Buckets(limit, strategy, number, hits, before).count(now),))

    async def _hit_all(
        self, key: str, limits: Sequence[Limit], cost: int, strategy: Strategy
    ) -> Verdict | None:
        """Several rows in one transaction, in the same order everywhere, so that nobody gets stuck."""
        counts = {}
        async with self._database.async_engine.connect() as connection:
            if self._database.dialect == "postgresql":
                # Each statement has to see what others have counted, whatever the app's sessions do.
                await connection.execution_options(isolation_level="READ COMMITTED")
            async with connection.begin() as transaction:
                for limit in sorted(limits, key=lambda each: _digest(key, each, strategy)):
                    row = await self._hit_within(connection, key, limit, cost, strategy)
                    if row is None:
                        await transaction.rollback()
                        return None
                    number, hits, before, now = row
                    counts[limit] = Buckets(limit, strategy, number, hits, before).count(now)
        return Verdict(True, tuple(counts[each] for each in limits))

    async def _hit_within(
        self,
        connection: AsyncConnection,
        key: str,
        limit: Limit,
        cost: int,
        strategy: Strategy,
    ) -> Sequence[Any] | None:
        result = await connection.execute(
            self._statements["hit"], self._parameters(key, limit, cost, strategy)
        )
        return result.one_or_none()

    def _parameters(
        self, key: str, limit: Limit, cost: int, strategy: Strategy
    ) -> Mapping[str, Any]:
        return {
            "key": _digest(key, limit, strategy),
            "amount": limit.amount,
            "cost": cost,
            "window": float(limit.window_s),
            "sliding": 0.0 if strategy is Strategy.FIXED else 1.0,
            **self._now(),
        }

    def _now(self) -> Mapping[str, float]:
        return {} if self._servers_clock else {"now": self._clock.now().timestamp()}

    @cached_property
    def _statements(self) -> Mapping[str, TextClause]:
        postgres = self._database.dialect == "postgresql"
        now = ":now"
        if postgres:
            now = "CAST(:now AS double precision)"
        if self._servers_clock:
            now = "CAST(extract(epoch FROM statement_timestamp()) AS double precision)"
        names = {
            "table": self._tables.counts,
            "now": now,
            # What is positive is cut off by SQLite, and rounded by PostgreSQL.
            "bucket": (
                f"CAST(floor({now} / CAST(:window AS double precision)) AS bigint)"
                if postgres
                else f"CAST({now} / :window AS integer)"
            ),
            "row": "ctid" if postgres else "rowid",
            "among": "ctid = ANY(ARRAY" if postgres else "rowid IN",
            # What another process is removing is left to it.
            "skip": " FOR UPDATE SKIP LOCKED)" if postgres else "",
        }
        return {name: text(statement.format(**names)) for name, statement in _STATEMENTS.items()}

    @contextmanager
    def _seam(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            raise LimitsUnavailable(
                f"the limits' counts at {self.url} are out of reach: "
                f"{type(error).__name__}: {error}"
            ) from error


def _have_seen(task: asyncio.Task[None]) -> None:
    """Those who waited for it may all have been given up."""
    if not task.cancelled():
        task.exception()


def _digest(key: str, limit: Limit, strategy: Strategy) -> bytes:
    """Who does what, without saying so: addresses and names of people are nobody's to read there."""
    name = f"{strategy} {limit.amount} {limit.window_s} {key}"
    return blake2b(name.encode(errors="surrogatepass"), digest_size=16).digest()


# A row may be of a later window than this statement's clock says: it has waited for somebody who
# came later. Then all of the window before is still in sight.
_WINDOW = "CAST(:window AS double precision)"
_SLIDING = "CAST(:sliding AS double precision)"
_IN_SIGHT = f"{_SLIDING} * (1 - ({{now}} / {_WINDOW} - excluded.bucket))"
_STATEMENTS = {
    "hit": (
        "INSERT INTO {table} AS c (key, bucket, hits, hits_before, expires_at) "
        f"VALUES (:key, {{bucket}}, CAST(:cost AS bigint), 0, ({{bucket}} + 2) * {_WINDOW}) "
        "ON CONFLICT (key) DO UPDATE SET "
        "hits_before = CASE WHEN c.bucket >= excluded.bucket THEN c.hits_before "
        "WHEN c.bucket = excluded.bucket - 1 THEN c.hits ELSE 0 END, "
        "hits = CASE WHEN c.bucket >= excluded.bucket THEN c.hits ELSE 0 END + excluded.hits, "
        "bucket = CASE WHEN c.bucket >= excluded.bucket THEN c.bucket ELSE excluded.bucket END, "
        "expires_at = CASE WHEN c.bucket >= excluded.bucket THEN c.expires_at "
        "ELSE excluded.expires_at END "
        "WHERE excluded.hits + CASE "
        f"WHEN c.bucket > excluded.bucket THEN c.hits + {_SLIDING} * c.hits_before "
        f"WHEN c.bucket = excluded.bucket THEN c.hits + {_IN_SIGHT} * c.hits_before "
        f"WHEN c.bucket = excluded.bucket - 1 THEN {_IN_SIGHT} * c.hits "
        "ELSE 0 END <= CAST(:amount AS double precision) + 0.000000001 "
        "RETURNING bucket, hits, hits_before, {now} AS now"
    ),
    "find": "SELECT bucket, hits, hits_before, {now} AS now FROM {table} WHERE key = :key",
    "clear": "DELETE FROM {table} WHERE key = :key",
    "prune": (
        "DELETE FROM {table} WHERE {among} (SELECT {row} FROM {table} WHERE expires_at <= {now} "
        "ORDER BY expires_at LIMIT CAST(:at_most AS bigint){skip}) RETURNING 1"
    ),
}
