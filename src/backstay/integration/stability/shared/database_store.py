"""Circuits and buckets in a database: one statement a step, for any number of processes."""

# ruff: noqa: S608  # names of tables are put into statements, never values

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, TypeVar

from backstay.clock import Clock, SystemClock
from backstay.db.database import Database
from backstay.errors import BadIntegration, MissingExtra
from backstay.integration.stability.shared.memory_store import DAY_US, microseconds
from backstay.integration.stability.shared.port import (
    CLOSED,
    Ending,
    Lease,
    Pace,
    SharedCircuit,
    StoreUnavailable,
    Taken,
)
from backstay.integration.stability.shared.store_tables import StoreTables

try:
    from sqlalchemy import TextClause, bindparam, text
    from sqlalchemy.engine import Row
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = ["DatabaseStore"]

T = TypeVar("T")

_CONNECTIONS: Final = 4


class DatabaseStore:
    """Implements ``SharedStore``.

    PostgreSQL goes by the server's clock. SQLite serves the processes of one machine, and goes by
    that machine's.

    A database that is shared with the app is reached by a few connections of its own
    (``Database.apart``): whoever keeps all of the app's busy is most likely waiting for another
    service, and that is when circuits matter.

    Args:
        database: where.
        clock: what time it is in SQLite; in PostgreSQL too, if it is no ``SystemClock``.
        prefix: in front of the names of the tables.
        owned: whether it is closed along with this.

    Raises:
        BadIntegration: it is neither SQLite nor PostgreSQL, or the prefix will not do.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock | None = None,
        prefix: str = "backstay_",
        owned: bool = False,
    ) -> None:
        if database.dialect not in {"sqlite", "postgresql"}:
            raise BadIntegration(
                "processes share what they know of other services in SQLite, PostgreSQL or Redis; "
                f"{database.url!r} is none of these"
            )
        self._given = self._database = database
        self._clock: Clock = SystemClock() if clock is None else clock
        self._servers_clock = database.dialect == "postgresql" and isinstance(
            self._clock, SystemClock
        )
        self._tables = StoreTables(prefix)
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
            try:
                async with self._database.async_engine.begin() as connection:
                    await connection.run_sync(self._tables.prepare)
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                raise self._unavailable(error) from error
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

    # ------------------------------------------------------------------ circuits

    async def look(self, names: Sequence[bytes]) -> list[SharedCircuit]:
        if not names:
            return []
        await self.open()
        parameters = {"names": list(names), **self._now()}
        rows = await self._repeat(
            lambda: self._database.fetch(self._statements["look"], parameters)
        )
        found = {bytes(row[0]): _told(row[1:]) for row in rows}
        return [found.get(each, CLOSED) for each in names]

    async def trip(self, name: bytes, *, epoch: int, reset_s: float) -> SharedCircuit:
        rows = await self._write("trip", name=name, epoch=epoch, reset=microseconds(reset_s))
        return _told(rows[0]) if rows else await self._look_at(name)

    async def lease(self, name: bytes, *, lease_s: float) -> Lease:
        rows = await self._write("lease", name=name, lease=microseconds(lease_s))
        if rows:
            return Lease(True, _told(rows[0]))
        return Lease(False, await self._look_at(name))

    async def renew(self, name: bytes, *, epoch: int, lease_s: float) -> bool:
        return bool(await self._write("renew", name=name, epoch=epoch, lease=microseconds(lease_s)))

    async def settle(
        self, name: bytes, *, epoch: int, ending: Ending, reset_s: float
    ) -> SharedCircuit:
        rows = await self._write(
            f"settle {ending.value}",
            name=name,
            epoch=epoch,
            **({"reset": microseconds(reset_s)} if ending is Ending.FAILURE else {}),
        )
        return _told(rows[0]) if rows else await self._look_at(name)

    async def _look_at(self, name: bytes) -> SharedCircuit:
        return (await self.look([name]))[0]

    # ------------------------------------------------------------------ buckets

    async def take(self, name: bytes, pace: Pace, *, count: int, max_wait_s: float) -> Taken:
        room_us = microseconds(max_wait_s) + pace.slack_us
        rows = await self._write(
            "take",
            name=name,
            count=count,
            each=pace.each_us,
            room=room_us,
            fresh=min(count, room_us // pace.each_us + 1),
        )
        full_at, granted, now = tuple(rows[0])
        return Taken(granted, max(0, full_at - pace.slack_us - now) / 1_000_000, full_at)

    async def give_back(self, name: bytes, pace: Pace, *, mark: int) -> None:
        await self._write("give back", name=name, each=pace.each_us, mark=mark)

    async def prune(self, at_most: int) -> int:
        gone = len(await self._write("prune buckets", at_most=at_most))
        old = await self._write("prune circuits", at_most=at_most - gone, day=DAY_US)
        return gone + len(old)

    # ------------------------------------------------------------------ reaching it

    async def _write(self, statement: str, **parameters: Any) -> Sequence[Row[Any]]:
        await self.open()
        given = {**parameters, **self._now()}
        return await self._repeat(lambda: self._database.write(self._statements[statement], given))

    async def _repeat(self, call: Callable[[], Awaitable[T]]) -> T:
        """Ask, and once more if the connection turns out to be lost: all of it may be repeated."""
        try:
            return await call()
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise self._unavailable(error) from error
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            raise self._unavailable(error) from error
        try:
            return await call()
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(
            f"the circuits and buckets at {self.url} are out of reach: "
            f"{type(error).__name__}: {error}"
        )

    def _now(self) -> Mapping[str, int]:
        return {} if self._servers_clock else {"now": microseconds(self._clock.now().timestamp())}

    @cached_property
    def _statements(self) -> Mapping[str, TextClause]:
        postgres = self._database.dialect == "postgresql"
        now = "CAST(:now AS bigint)" if postgres else ":now"
        if self._servers_clock:
            now = "CAST(floor(extract(epoch FROM statement_timestamp()) * 1000000) AS bigint)"
        names = {
            "circuits": self._tables.circuits,
            "buckets": self._tables.buckets,
            "now": now,
            "greatest": "greatest" if postgres else "max",
            "least": "least" if postgres else "min",
            "row": "ctid" if postgres else "rowid",
            "among": "ctid = ANY(ARRAY" if postgres else "rowid IN",
            # What another process is removing is left to it.
            "skip": " FOR UPDATE SKIP LOCKED)" if postgres else "",
        }
        made = {name: text(statement.format(**names)) for name, statement in _STATEMENTS.items()}
        made["look"] = made["look"].bindparams(bindparam("names", expanding=True))
        return made


def _have_seen(task: asyncio.Task[None]) -> None:
    """Those who waited for it may all have been given up."""
    if not task.cancelled():
        task.exception()


def _told(row: Sequence[Any]) -> SharedCircuit:
    epoch, opened_until, leased_until, now = row
    return SharedCircuit(
        epoch,
        opened_until is not None,
        0.0 if opened_until is None else max(0, opened_until - now) / 1_000_000,
        max(0, leased_until - now) / 1_000_000,
    )


# Whoever waits for a row that somebody else is changing goes by the time when he came. That is a
# little early: rights are given a little later, and calls wait a little longer.
_CIRCUIT = "epoch, opened_until, leased_until, {now} AS now"
_NEXT = "{greatest}(epoch + 1, {now})"
_HELD = "name = :name AND epoch = CAST(:epoch AS bigint) AND leased_until > {now}"
_SETTLE = (
    "UPDATE {circuits} SET epoch = " + _NEXT + ", opened_until = %s, leased_until = 0, "
    "changed_at = {now} WHERE " + _HELD + " RETURNING " + _CIRCUIT
)
_FULL_AT = "{greatest}(b.full_at, {now})"
_ROOM = f"(CAST(:room AS bigint) + {{now}} - {_FULL_AT})"
_GRANTED = (
    f"CASE WHEN {_ROOM} < 0 THEN 0 "
    f"ELSE {{least}}(CAST(:count AS bigint), {_ROOM} / CAST(:each AS bigint) + 1) END"
)
_STATEMENTS: Final = {
    "look": "SELECT name, " + _CIRCUIT + " FROM {circuits} WHERE name IN :names",
    "trip": (
        "INSERT INTO {circuits} AS c (name, epoch, opened_until, leased_until, changed_at) "
        "VALUES (:name, {now}, {now} + CAST(:reset AS bigint), 0, {now}) "
        "ON CONFLICT (name) DO UPDATE SET epoch = {greatest}(c.epoch + 1, excluded.epoch), "
        "opened_until = excluded.opened_until, leased_until = 0, changed_at = excluded.changed_at "
        "WHERE c.opened_until IS NULL AND c.epoch <= CAST(:epoch AS bigint) "
        "RETURNING " + _CIRCUIT
    ),
    "lease": (
        "INSERT INTO {circuits} AS c (name, epoch, opened_until, leased_until, changed_at) "
        "VALUES (:name, {now}, {now}, {now} + CAST(:lease AS bigint), {now}) "
        "ON CONFLICT (name) DO UPDATE SET epoch = {greatest}(c.epoch + 1, excluded.epoch), "
        "leased_until = excluded.leased_until, changed_at = excluded.changed_at "
        "WHERE c.opened_until <= {now} AND c.leased_until <= {now} "
        "RETURNING " + _CIRCUIT
    ),
    "renew": (
        "UPDATE {circuits} SET leased_until = {now} + CAST(:lease AS bigint) WHERE "
        + _HELD
        + " RETURNING 1"
    ),
    "settle success": _SETTLE % "NULL",
    "settle failure": _SETTLE % "{now} + CAST(:reset AS bigint)",
    "settle nothing": _SETTLE % "opened_until",
    "take": (
        "INSERT INTO {buckets} AS b (name, full_at, granted) VALUES (:name, "
        "{now} + CAST(:fresh AS bigint) * CAST(:each AS bigint), CAST(:fresh AS bigint)) "
        f"ON CONFLICT (name) DO UPDATE SET granted = {_GRANTED}, "
        f"full_at = {_FULL_AT} + CAST(:each AS bigint) * {_GRANTED} "
        "RETURNING full_at, granted, {now} AS now"
    ),
    "give back": (
        "UPDATE {buckets} SET full_at = full_at - CAST(:each AS bigint) "
        "WHERE name = :name AND full_at = CAST(:mark AS bigint) RETURNING 1"
    ),
    "prune buckets": (
        "DELETE FROM {buckets} WHERE {among} (SELECT {row} FROM {buckets} "
        "WHERE full_at <= {now} LIMIT CAST(:at_most AS bigint){skip}) RETURNING 1"
    ),
    "prune circuits": (
        "DELETE FROM {circuits} WHERE {among} (SELECT {row} FROM {circuits} "
        "WHERE changed_at <= {now} - CAST(:day AS bigint) "
        "AND coalesce(opened_until, 0) <= {now} - CAST(:day AS bigint) "
        "LIMIT CAST(:at_most AS bigint){skip}) RETURNING 1"
    ),
}
