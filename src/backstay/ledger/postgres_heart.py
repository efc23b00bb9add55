"""Beating for a worker on PostgreSQL, from a thread that has its own event loop for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import asyncpg

from backstay.ledger.postgres_address import Address
from backstay.ledger.postgres_lane import LOST, Connection, connect, translated
from backstay.ledger.postgres_schema import Tables
from backstay.ledger.rows import Beat, WorkerRow

__all__ = ["BEAT", "PostgresHeart", "REGISTER", "registration"]

BEAT = """WITH beat AS (
    UPDATE {workers} SET beat_at = coalesce($2::timestamptz, clock_timestamp())
    WHERE id = $1 RETURNING id
)
SELECT EXISTS (SELECT 1 FROM beat), ARRAY(
    SELECT j.id FROM {jobs} j WHERE j.state = 'running' AND j.cancel_requested AND j.worker = $1)"""
REGISTER = """INSERT INTO {workers}
    (id, host, pid, started_at, beat_at, lease_s, concurrency, queues, version)
SELECT $1, $2, $3, coalesce($4, t), t, $5, $6, $7, $8
FROM (SELECT coalesce($9::timestamptz, clock_timestamp()) AS t OFFSET 0) n
ON CONFLICT (id) DO UPDATE SET host = excluded.host, pid = excluded.pid,
    started_at = excluded.started_at, beat_at = excluded.beat_at, lease_s = excluded.lease_s,
    concurrency = excluded.concurrency, queues = excluded.queues, version = excluded.version"""


def registration(worker: WorkerRow, now: datetime | None) -> tuple[Any, ...]:
    """The parameters of ``REGISTER``."""
    return (
        worker.id,
        worker.host,
        worker.pid,
        worker.started_at,
        worker.lease_s,
        worker.concurrency,
        list(worker.queues),
        worker.version,
        now,
    )


class PostgresHeart:
    """One worker's heart. Used by one thread, in which no event loop runs.

    Args:
        address: where to beat.
        tables: the tables.
        worker: for whom.
        now: instead of the database's clock.
    """

    def __init__(
        self,
        address: Address,
        tables: Tables,
        worker: WorkerRow,
        now: Callable[[], datetime] | None,
    ) -> None:
        self._address = address
        self._tables = tables
        self._worker = worker
        self._now = now
        self._runner: asyncio.Runner | None = None
        self._connection: Connection | None = None
        # Two tries must fit into a lease, or one hung connection costs it.
        self._patience_s = min(10.0, max(0.5, worker.lease_s / 3))

    def beat(self) -> Beat:
        """Renew the lease, over a new connection if the last beat failed.

        Raises:
            LedgerUnavailable: the database did not answer within a third of the lease.
        """
        if self._runner is None:
            self._runner = asyncio.Runner()
        try:
            return self._runner.run(self._bounded())
        except (*LOST, asyncpg.PostgresError) as error:
            self._drop()
            raise translated(error, self._address) from error

    def close(self) -> None:
        """Disconnect. The worker stays registered."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            try:
                runner.run(connection.close(timeout=1.0))
            except (*LOST, asyncpg.PostgresError):
                connection.terminate()
        runner.close()

    async def _bounded(self) -> Beat:
        async with asyncio.timeout(self._patience_s):
            return await self._beat()

    async def _beat(self) -> Beat:
        connection = self._connection
        if connection is None or connection.is_closed():
            connection = self._connection = await connect(
                self._address,
                timeout_s=self._patience_s,
                command_timeout_s=self._patience_s,
                fast=True,
            )
        now = None if self._now is None else self._now()
        row = await connection.fetchrow(self._tables[BEAT], self._worker.id, now)
        assert row is not None
        if not row[0]:
            await connection.execute(self._tables[REGISTER], *registration(self._worker, now))
        return Beat(row[0], tuple(row[1]))

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            connection.terminate()
