"""The ledger in PostgreSQL: any number of processes, on any number of machines."""

# ruff: noqa: S608  # names of tables and columns are put into statements, never values

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from backstay.errors import LedgerUnavailable, MissingExtra

try:
    import asyncpg
except ImportError as error:  # pragma: no cover
    raise MissingExtra("postgres", "asyncpg") from error

from backstay.ledger.bounds import check_queues, check_seconds
from backstay.ledger.port import Claims, Execute, Heart, Wake
from backstay.ledger.postgres_address import Address
from backstay.ledger.postgres_claims import Claimer
from backstay.ledger.postgres_finishes import Finisher
from backstay.ledger.postgres_heart import REGISTER, PostgresHeart, registration
from backstay.ledger.postgres_inserts import Inserter
from backstay.ledger.postgres_lane import LOST, Connection, Lane, Plan, connect, translated
from backstay.ledger.postgres_plans import cancel_plan, finish_plan, insert_plan, tick_plan
from backstay.ledger.postgres_schema import Tables, prepare_tables
from backstay.ledger.postgres_statements import (
    DECLARE,
    DELETABLE,
    DELETE,
    FORGET_GATES,
    FREE_KEYS,
    ORPHANS,
    PAUSE,
    PROGRESS,
    PRUNE,
    REQUEUE,
    RESUME,
    TO_CANCEL,
    UNSEEN,
    WAITS,
    WORKERS,
)
from backstay.ledger.postgres_views import (
    COLUMNS,
    by_state,
    conditions,
    counting,
    job_row,
    newest,
    pages,
)
from backstay.ledger.postgres_wakes import Wakes
from backstay.ledger.rows import (
    Counts,
    Finish,
    Inserted,
    JobFilter,
    JobRow,
    NewJob,
    Orphan,
    ProgressReport,
    QueueRow,
    State,
    Tick,
    Wait,
    WorkerRow,
)

__all__ = ["PostgresLedger"]

T = TypeVar("T")

_TIMEOUT_S = 10.0
_PATIENT_TIMEOUT_S = 60.0
_DELETED_AT_A_TIME = 1000
_FOUND_AT_A_TIME = 50_000


class PostgresLedger:
    """Jobs in PostgreSQL, through asyncpg.

    Connections, each made when first needed: one for inserts, one for claims, one for finishes,
    one for steering (cancel, pause, orphans, progress, NOTIFY), one for looking and deleting; one
    for LISTEN while somebody wants to be woken, and one for each worker's heart. A process that
    only enqueues holds two, a worker seven at most.

    Behind pgbouncer in transaction mode say ``?pgbouncer=true``: nothing is prepared, nothing
    is set for the session, and there is no LISTEN, so workers find jobs by polling.

    Args:
        url: ``postgresql://user:password@host:port/database?option=value``, with or without the
            name of a driver.
        now: instead of the database's clock (tests).
        prefix: in front of every table's name.
        schema: of the tables, made if it is missing; ``None``: the first one of ``search_path``.
        patience_s: seconds to wait for a connection, if the URL does not say; ``None``: 10.

    Raises:
        MissingExtra: asyncpg is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        now: Callable[[], datetime] | None = None,
        prefix: str = "backstay_",
        schema: str | None = None,
        patience_s: float | None = None,
    ) -> None:
        self._address = Address.of(url)
        if self._address.connect_timeout_s is None:
            self._address = replace(self._address, connect_timeout_s=patience_s)
        self._clock = now
        self._prefix = prefix
        self._schema = schema
        self._listener: Callable[[Wake], object] | None = None
        self._opened: _Opened | None = None

    @property
    def url(self) -> str:
        return self._address.shown

    @property
    def dialect(self) -> str:
        return "postgresql"

    async def open(self, *, create: bool = True) -> None:
        if self._opened is not None:
            return
        address = self._address
        try:
            connection = await connect(
                address,
                timeout_s=address.connect_timeout_s or _TIMEOUT_S,
                command_timeout_s=_PATIENT_TIMEOUT_S,
            )
            try:
                tables = await prepare_tables(
                    connection, address, self._prefix, self._schema, create=create
                )
            finally:
                with suppress(*LOST, asyncpg.PostgresError):
                    await connection.close(timeout=2.0)
        except (*LOST, asyncpg.PostgresError, ValueError) as error:
            raise translated(error, address) from error
        self._opened = _Opened(address, tables, self._clock)
        if self._listener is not None:
            self.on_wake(self._listener)
            with suppress(TimeoutError):  # then it goes on trying, and workers poll
                async with asyncio.timeout(_TIMEOUT_S):
                    await self._opened.wakes.ready.wait()

    async def close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.close()

    def on_wake(self, listener: Callable[[Wake], object] | None) -> None:
        self._listener = listener
        if self._opened is not None:
            self._opened.wakes.on_wake(listener)

    def tell(self, wake: Wake) -> None:
        if self._opened is not None:
            self._opened.wakes.tell(wake)

    # ------------------------------------------------------------------ writing jobs

    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        if not jobs:
            return []
        opened = self._open
        inserted = await opened.inserter.insert(jobs)
        opened.wakes.tell(_ENQUEUED)
        return inserted

    def insert_now(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        if not jobs:
            return []
        opened = self._open
        if threading.get_ident() == opened.thread:
            raise RuntimeError(
                "insert_now() was called in the thread of the ledger's event loop, which it would "
                "block for ever; await insert() there"
            )
        if not opened.loop.is_running():
            raise LedgerUnavailable(
                f"the event loop in which the ledger at {self._address.place} was opened does not "
                "run, so nothing was written; open it in a loop that runs"
            )
        return asyncio.run_coroutine_threadsafe(self.insert(jobs), opened.loop).result()

    def insert_through(self, execute: Execute, jobs: Sequence[NewJob]) -> list[Inserted]:
        if not jobs:
            return []
        return _joined(execute, self._open.tables, insert_plan(jobs, self._now()))

    # ------------------------------------------------------------------ running them

    async def register(self, worker: WorkerRow) -> None:
        await self._steer(
            lambda c, sql: c.execute(sql[REGISTER], *registration(worker, self._now()))
        )

    def heart(self, worker: WorkerRow) -> Heart:
        return PostgresHeart(self._address, self._open.tables, worker, self._clock)

    async def unregister(self, worker: str) -> None:
        await self._steer(
            lambda c, sql: c.execute(sql["DELETE FROM {workers} WHERE id = $1"], worker)
        )
        self.tell(_ENQUEUED)

    async def claim(self, worker: str, wants: Mapping[str, int]) -> Claims:
        asked = {queue: count for queue, count in wants.items() if count > 0}
        if not asked:
            return Claims([], None, False)
        return await self._open.claimer.claim(worker, asked, self._now())

    async def finish(self, finishes: Sequence[Finish]) -> set[UUID]:
        if not finishes:
            return set()
        opened = self._open
        stale, brought = await opened.finisher.finish(finishes, self._now())
        if brought:
            opened.wakes.tell(_ENQUEUED)
        return stale

    def finish_through(self, execute: Execute, finish: Finish) -> bool:
        current = _joined(execute, self._open.tables, finish_plan([finish], self._now()))
        return finish.id in current

    async def progress(self, reports: Sequence[ProgressReport]) -> None:
        if not reports:
            return
        latest = sorted({report.id: report for report in reports}.values())
        ids, fences, texts = (list(column) for column in zip(*latest, strict=True))
        await self._steer(lambda c, sql: c.execute(sql[PROGRESS], ids, fences, texts))

    async def orphans(self, limit: int = 100) -> list[Orphan]:
        async def look(connection: Connection, sql: Tables) -> list[Orphan]:
            # Two statements: a beat under way makes the first one wait, and the second one then
            # sees that its worker is alive.
            await connection.execute(sql[UNSEEN], self._now())
            rows = await connection.fetch(sql[ORPHANS], limit)
            return [Orphan._make(row) for row in rows]

        return await self._steer(look, transaction=True)

    async def cancel_requests(self, worker: str) -> list[UUID]:
        rows = await self._steer(lambda c, sql: c.fetch(sql[TO_CANCEL], worker))
        return [row[0] for row in rows]

    # ------------------------------------------------------------------ steering

    async def cancel(self, job_id: UUID, reason: str) -> State | None:
        opened = self._open
        state, released = await opened.steering.plan(
            opened.tables, lambda: cancel_plan(job_id, reason, self._now())
        )
        if state is State.RUNNING or released:
            opened.wakes.tell(Wake(enqueued=released, cancelled=state is State.RUNNING))
        return state

    async def requeue(self, which: JobFilter) -> list[UUID]:
        if which.older_than_s is not None:
            check_seconds(which.older_than_s, "JobFilter.older_than_s")
        now = self._now()

        async def again(connection: Connection, sql: Tables) -> list[UUID]:
            values: list[Any] = []
            where = conditions(which, now, values)
            found = await connection.fetch(
                sql["SELECT j.id, j.unique_by FROM {jobs} j WHERE "]
                + where
                + " AND j.state IN ('discarded', 'cancelled') ORDER BY j.id FOR UPDATE",
                *values,
            )
            plain = [row[0] for row in found if row[1] is None]
            keyed = [row for row in found if row[1] is not None]
            done: list[UUID] = []
            if plain:
                done = [row[0] for row in await connection.fetch(sql[REQUEUE], now, plain)]
            if keyed:
                await connection.execute(sql[FREE_KEYS], now, sorted({row[1] for row in keyed}))
            for row in keyed:
                with suppress(asyncpg.UniqueViolationError):  # taken in this very moment
                    async with connection.transaction():
                        taken = await connection.fetch(sql[REQUEUE], now, [row[0]])
                        done += [entry[0] for entry in taken]
            return sorted(done)

        requeued = await self._look(again, transaction=True)
        if requeued:
            self.tell(_ENQUEUED)
        return requeued

    async def delete(self, which: JobFilter, *, told: Callable[[int], object] | None = None) -> int:
        if which.older_than_s is not None:
            check_seconds(which.older_than_s, "JobFilter.older_than_s")
        # What finishes meanwhile is spared, or on a busy day there would be no end.
        values: list[Any] = [await self.now(), _FOUND_AT_A_TIME]
        where = conditions(which, self._now(), values)
        search = self._open.tables[DELETABLE].replace("$where", where)
        deleted = 0
        while True:
            rows = await self._look(lambda c, _: c.fetch(search, *values))
            ids = sorted(row[0] for row in rows)
            for start in range(0, len(ids), _DELETED_AT_A_TIME):
                portion = ids[start : start + _DELETED_AT_A_TIME]
                count: int = await self._look(
                    lambda c, sql, portion=portion: c.fetchval(sql[DELETE], portion),  # type: ignore[misc]
                    transaction=True,
                )
                deleted += count
                if told is not None and count:
                    told(count)
            if len(ids) < _FOUND_AT_A_TIME:
                return deleted

    async def prune(self, keep_s: float, limit: int = 1000) -> int:
        check_seconds(keep_s, "prune(keep_s)")

        async def remove(connection: Connection, sql: Tables) -> int:
            now = self._now()
            count: int = await connection.fetchval(sql[PRUNE], now, float(keep_s), limit)
            await connection.execute(sql[FORGET_GATES], now)
            return count

        return await self._look(remove, transaction=True)

    async def pause(self, queue: str, paused: bool) -> None:
        if paused:
            await self._steer(lambda c, sql: c.execute(sql[PAUSE], self._now(), queue))
            return
        await self._steer(lambda c, sql: c.execute(sql[RESUME], queue))
        self.tell(_ENQUEUED)

    async def declare(self, queues: Iterable[QueueRow]) -> None:
        given = tuple(queues)
        check_queues(given)
        rows = sorted({row.name: row for row in given}.items())
        if not rows:
            return
        values = [(name, row.limit, row.rate, row.per_s) for name, row in rows]
        columns = [list(column) for column in zip(*values, strict=True)]
        await self._steer(lambda c, sql: c.execute(sql[DECLARE], *columns))

    async def tick(self, tick: Tick) -> bool:
        opened = self._open
        written = await opened.steering.plan(opened.tables, lambda: tick_plan(tick, self._now()))
        if written and tick.jobs:
            opened.wakes.tell(_ENQUEUED)
        return written

    async def last_tick(self, name: str) -> datetime | None:
        sql = "SELECT last_tick FROM {ticks} WHERE name = $1"
        last: datetime | None = await self._look(lambda c, t: c.fetchval(t[sql], name))
        return last

    # ------------------------------------------------------------------ looking

    async def now(self) -> datetime:
        if self._clock is not None:
            return self._clock()
        at: datetime = await self._look(lambda c, _: c.fetchval("SELECT clock_timestamp()"))
        return at

    async def get(self, ids: Sequence[UUID]) -> dict[UUID, JobRow]:
        if not ids:
            return {}
        sql = f"SELECT {COLUMNS} FROM {{jobs}} j WHERE j.id = ANY($2)"
        rows = await self._look(lambda c, t: c.fetch(t[sql], self._now(), list(ids)))
        return {row["id"]: job_row(row) for row in rows}

    async def find(
        self, which: JobFilter, *, limit: int = 50, before: UUID | None = None
    ) -> list[JobRow]:
        if which.older_than_s is not None:
            check_seconds(which.older_than_s, "JobFilter.older_than_s")
        now, most, states = self._now(), max(0, limit), pages(which)

        async def look(connection: Connection, sql: Tables) -> list[Any]:
            statement, values = newest(which, now, most, before)
            rows = await connection.fetch(sql[statement], *values)
            if states is None or len(rows) == most:
                return rows
            statement, values = by_state(which, states, now, most, before)
            return await connection.fetch(sql[statement], *values)

        return [job_row(row) for row in await self._look(look)]

    async def parents(self, job_id: UUID) -> list[UUID]:
        sql = "SELECT parent FROM {edges} WHERE child = $1 ORDER BY position"
        return [row[0] for row in await self._look(lambda c, t: c.fetch(t[sql], job_id))]

    async def children(self, job_id: UUID) -> list[UUID]:
        sql = "SELECT child FROM {edges} WHERE parent = $1 ORDER BY child"
        return [row[0] for row in await self._look(lambda c, t: c.fetch(t[sql], job_id))]

    async def counts(self, states: frozenset[State] | None = None) -> list[Counts]:
        rows = await self._look(lambda c, sql: c.fetch(sql[counting(states)]))
        return [Counts(row[0], row[1], State(row[2]), row[3]) for row in rows]

    async def waits(self) -> list[Wait]:
        # Not where listings are: its statistics may be old, and there is one right plan.
        rows = await self._steer(lambda c, sql: c.fetch(sql[WAITS], self._now()))
        return [Wait(row[0], row[1]) for row in rows]

    async def queues(self) -> list[QueueRow]:
        sql = "SELECT name, paused_at, max_running, rate, per_s FROM {queues} ORDER BY name"
        rows = await self._look(lambda c, t: c.fetch(t[sql]))
        return [
            QueueRow(name=row[0], paused_at=row[1], limit=row[2], rate=row[3], per_s=row[4])
            for row in rows
        ]

    async def workers(self) -> list[WorkerRow]:
        rows = await self._look(lambda c, sql: c.fetch(sql[WORKERS], self._now()))
        return [
            WorkerRow(
                id=row["id"],
                host=row["host"],
                pid=row["pid"],
                lease_s=row["lease_s"],
                concurrency=row["concurrency"],
                queues=tuple(row["queues"]),
                version=row["version"],
                started_at=row["started_at"],
                running=row["running"],
                seen_s_ago=row["seen_s_ago"],
            )
            for row in rows
        ]

    # ------------------------------------------------------------------ inside

    @property
    def _open(self) -> _Opened:
        if self._opened is None:
            raise LedgerUnavailable(
                f"the ledger at {self._address.place} is not open; await open() first"
            )
        return self._opened

    def _now(self) -> datetime | None:
        return None if self._clock is None else self._clock()

    async def _steer(
        self,
        work: Callable[[Connection, Tables], Awaitable[T]],
        *,
        transaction: bool = False,
    ) -> T:
        opened = self._open
        return await opened.steering.run(
            lambda connection: work(connection, opened.tables), transaction=transaction
        )

    async def _look(
        self,
        work: Callable[[Connection, Tables], Awaitable[T]],
        *,
        transaction: bool = False,
    ) -> T:
        opened = self._open
        return await opened.looking.run(
            lambda connection: work(connection, opened.tables), transaction=transaction
        )


_ENQUEUED = Wake(enqueued=True, cancelled=False)


class _Opened:
    """What exists between ``open`` and ``close``, in one event loop."""

    def __init__(
        self, address: Address, tables: Tables, now: Callable[[], datetime] | None
    ) -> None:
        def lane(*, fast: bool = True, timeout_s: float = _TIMEOUT_S) -> Lane:
            return Lane(address, timeout_s=timeout_s, fast=fast)

        self.tables = tables
        self.loop = asyncio.get_running_loop()
        self.thread = threading.get_ident()
        self.steering = lane()
        self.looking = lane(fast=False, timeout_s=_PATIENT_TIMEOUT_S)
        self._inserts, self._claims, self._finishes = lane(), lane(), lane()
        self.inserter = Inserter(self._inserts, tables, now)
        self.claimer = Claimer(self._claims, tables, ticket=int.from_bytes(os.urandom(7)))
        self.finisher = Finisher(self._finishes, tables)
        self.wakes = Wakes(
            address, tables, self.steering, sender=os.urandom(8).hex(), timeout_s=_TIMEOUT_S
        )

    async def close(self) -> None:
        await self.inserter.close()
        await self.wakes.close()
        for lane in (self._inserts, self._claims, self._finishes, self.steering, self.looking):
            await lane.close()


def _joined(execute: Execute, tables: Tables, plan: Plan[T]) -> T:
    """Run a plan in somebody else's transaction."""
    try:
        template, doc = next(plan)
        while True:
            rows = execute(tables[template], {"doc": doc})
            template, doc = plan.send(rows)
    except StopIteration as done:
        result: T = done.value
        return result
