"""Writing jobs to PostgreSQL: callers that come together share a statement and a commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from backstay.errors import LedgerUnavailable
from backstay.ledger.bounds import check_jobs
from backstay.ledger.postgres_lane import Connection, Lane
from backstay.ledger.postgres_plans import insert_plan
from backstay.ledger.postgres_schema import Tables
from backstay.ledger.rows import Inserted, NewJob

__all__ = ["Inserter"]

_ROWS_PER_STATEMENT = 2000
_ROWS_PER_BATCH = 4000
_RETRY_AFTER_S = (0.0, 0.05, 0.25)

_ONE = """INSERT INTO {jobs} (id, created_at, run_at, rank, keep_s, priority, max_attempts,
    state, task, queue, args, meta)
SELECT $2, t, t, CAST(extract(epoch FROM t) * 1000000 AS bigint)
    - CAST($6::integer AS bigint) * 600000000,
    $9, $6, $7, 'available', $3, $5, $4, $8
FROM (SELECT coalesce($1::timestamptz, clock_timestamp()) AS t OFFSET 0) n
ON CONFLICT (id) DO NOTHING"""
_MANY = """INSERT INTO {jobs} (id, created_at, run_at, rank, keep_s, priority, max_attempts,
    state, task, queue, args, meta)
SELECT r.id, n.t, n.t, n.us - CAST(r.priority AS bigint) * 600000000,
    r.keep_s, r.priority, r.max_attempts, 'available', r.task, r.queue, r.args, r.meta
FROM (SELECT t, CAST(extract(epoch FROM t) * 1000000 AS bigint) AS us
    FROM (SELECT coalesce($1::timestamptz, clock_timestamp()) AS t OFFSET 0) s OFFSET 0) n
CROSS JOIN unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::integer[],
    $8::text[], $9::double precision[])
    AS r(id, task, args, queue, priority, max_attempts, meta, keep_s)
ON CONFLICT (id) DO NOTHING
RETURNING id"""

Call = tuple[Sequence[NewJob], bool, "asyncio.Future[list[Inserted]]"]


class Inserter:
    """Takes calls while a commit is under way, and writes them all with the next one.

    Args:
        lane: the connection.
        tables: the tables.
        now: instead of the database's clock.
    """

    def __init__(self, lane: Lane, tables: Tables, now: Callable[[], datetime] | None) -> None:
        self._lane = lane
        self._tables = tables
        self._now = now
        self._calls: list[Call] = []
        self._stirred = asyncio.Event()
        self._busy = False
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._work(), name="backstay inserter")

    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        """Write jobs; they are on disk when this returns.

        Raises:
            BadJob: one cannot be written.
            LedgerUnavailable: the database cannot be reached, or refuses.
        """
        if self._closing:
            raise LedgerUnavailable("the ledger is closed; nothing was written")
        plain = check_jobs(jobs)
        if not self._busy and not self._calls:
            # Nobody to share with: without a detour through another task.
            self._busy = True
            try:
                return await self._written(jobs, plain)
            finally:
                self._busy = False
                if self._calls or self._closing:
                    self._stirred.set()
        done: asyncio.Future[list[Inserted]] = self._loop.create_future()
        self._calls.append((jobs, plain, done))
        if not self._busy:
            self._stirred.set()
        return await done

    async def close(self) -> None:
        """Write what was handed in, then stop."""
        self._closing = True
        self._stirred.set()
        await self._task

    async def _work(self) -> None:
        while True:
            if self._busy or not self._calls:
                if self._closing and not self._busy:
                    return
                self._stirred.clear()
                await self._stirred.wait()
                continue
            self._busy = True
            batch = self._next_batch()
            await self._write(batch)
            self._busy = False
            if len(batch) > 1:
                # Those who have just heard may have more; let them in before the next commit.
                self._busy = True
                await asyncio.sleep(0)
                self._busy = False

    def _next_batch(self) -> list[Call]:
        """Calls of one kind, in the order they came, as many as one transaction should hold."""
        kind = self._calls[0][1]
        rows = count = 0
        for jobs, plain, _ in self._calls:
            rows += len(jobs)
            if count and (plain is not kind or rows > _ROWS_PER_BATCH):
                break
            count += 1
        batch, self._calls = self._calls[:count], self._calls[count:]
        return batch

    async def _write(self, batch: list[Call]) -> None:
        calls = [call for call in batch if not call[2].cancelled()]
        if not calls:
            return
        try:
            outcome = await self._written([job for call in calls for job in call[0]], calls[0][1])
        except Exception as error:
            if len(calls) == 1:
                _settle(calls[0][2], error)
            elif isinstance(error, LedgerUnavailable) and _is_down(error):
                for _, _, done in calls:
                    _settle(done, LedgerUnavailable(*error.args), error.__cause__)
            else:  # one of them is at fault, and the others must not suffer
                for call in calls:
                    await self._write([call])
            return
        start = 0
        for jobs, _, done in calls:
            if not done.done():
                done.set_result(outcome[start : start + len(jobs)])
            start += len(jobs)

    async def _written(self, jobs: Sequence[NewJob], plain: bool) -> list[Inserted]:
        """Write, again after a lost connection: the ids make that harmless."""
        try:
            return await self._once(jobs, plain)
        except LedgerUnavailable as error:
            if not _is_down(error):
                raise
        for pause_s in _RETRY_AFTER_S:
            await asyncio.sleep(pause_s)
            try:
                outcome = await self._once(jobs, plain)
            except LedgerUnavailable as error:
                if not _is_down(error):
                    raise
                last = error
            else:
                # What is there under its own id was written by the try whose answer got lost.
                return [
                    Inserted(job.id, created or written == job.id)
                    for job, (written, created) in zip(jobs, outcome, strict=True)
                ]
        raise last

    async def _once(self, jobs: Sequence[NewJob], plain: bool) -> list[Inserted]:
        now = None if self._now is None else self._now()
        if not plain:
            return await self._lane.plan(self._tables, lambda: insert_plan(jobs, now))
        if len(jobs) == 1:
            job = jobs[0]
            sql = self._tables[_ONE]
            tag = await self._lane.run(
                lambda connection: connection.execute(
                    sql,
                    now,
                    job.id,
                    job.task,
                    job.args,
                    job.queue,
                    job.priority,
                    job.max_attempts,
                    job.meta,
                    job.keep_s,
                ),
                transaction=False,
            )
            return [Inserted(job.id, tag == "INSERT 0 1")]
        if len(jobs) <= _ROWS_PER_STATEMENT:
            written = await self._lane.run(
                lambda connection: self._many(connection, jobs, now), transaction=False
            )
        else:
            written = await self._lane.run(lambda connection: self._chunks(connection, jobs, now))
        if len(written) == len(jobs):
            return [Inserted(job.id, True) for job in jobs]
        fresh = set(written)
        outcome = []
        for job in jobs:
            outcome.append(Inserted(job.id, job.id in fresh))
            fresh.discard(job.id)
        return outcome

    async def _chunks(
        self, connection: Connection, jobs: Sequence[NewJob], now: datetime | None
    ) -> list[UUID]:
        written: list[UUID] = []
        for start in range(0, len(jobs), _ROWS_PER_STATEMENT):
            chunk = jobs[start : start + _ROWS_PER_STATEMENT]
            written += await self._many(connection, chunk, now)
        return written

    async def _many(
        self, connection: Connection, jobs: Sequence[NewJob], now: datetime | None
    ) -> list[UUID]:
        rows = await connection.fetch(
            self._tables[_MANY],
            now,
            [job.id for job in jobs],
            [job.task for job in jobs],
            [job.args for job in jobs],
            [job.queue for job in jobs],
            [job.priority for job in jobs],
            [job.max_attempts for job in jobs],
            [job.meta for job in jobs],
            [job.keep_s for job in jobs],
        )
        return [row[0] for row in rows]


def _settle(
    done: asyncio.Future[list[Inserted]], error: BaseException, cause: BaseException | None = None
) -> None:
    if not done.done():
        if cause is not None:
            error.__cause__ = cause
        done.set_exception(error)


def _is_down(error: LedgerUnavailable) -> bool:
    """Whether the database was not there, as opposed to having refused."""
    cause = error.__cause__
    return not isinstance(cause, asyncpg.PostgresError) or isinstance(
        cause,
        (
            asyncpg.PostgresConnectionError,
            asyncpg.OperatorInterventionError,
            asyncpg.InsufficientResourcesError,
        ),
    )
