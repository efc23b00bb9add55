"""PgQueuer on PostgreSQL with asyncpg; a hundred jobs a dequeue, uvloop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.queries import Queries

from benchmarks.durable import marks
from benchmarks.durable.side import CONCURRENCY, Kind, url_from_environment

__all__ = ["Adapter"]


class Adapter:
    awaits = True
    blocks = False
    bulk = True

    def create(self) -> None:
        async def install() -> None:
            connection = await asyncpg.connect(url_from_environment())
            await Queries(AsyncpgDriver(connection)).install()
            await connection.close()

        asyncio.run(install())

    async def open(self) -> None:
        self._pool = await asyncpg.create_pool(url_from_environment(), min_size=4, max_size=16)
        self._queries = Queries(AsyncpgPoolDriver(self._pool))

    async def close(self) -> None:
        await self._pool.close()

    async def enqueue(self, kind: Kind, argument: float) -> None:
        await self._queries.enqueue(kind, repr(argument).encode())

    def enqueue_now(self, kind: Kind, argument: float) -> None:
        raise NotImplementedError("PgQueuer's enqueue is awaited")

    async def enqueue_many(self, kind: Kind, arguments: Sequence[float]) -> None:
        for first in range(0, len(arguments), 1000):
            some = [repr(argument).encode() for argument in arguments[first : first + 1000]]
            await self._queries.enqueue([kind] * len(some), some, [0] * len(some))

    async def clear(self) -> None:
        await self._pool.execute("truncate pgqueuer, pgqueuer_log, pgqueuer_statistics")


async def work() -> None:
    worker = PgQueuer(AsyncpgDriver(await asyncpg.connect(url_from_environment())))

    @worker.entrypoint("noop")
    async def noop(job: object) -> None:
        marks.finish(float(job.payload))  # type: ignore[attr-defined]

    @worker.entrypoint("slow")
    async def slow(job: object) -> None:
        await marks.slow_async(float(job.payload))  # type: ignore[attr-defined]

    # Its `pgq run` of this version fails at start with the newest typer; this is what it calls.
    limit = {"max_concurrent_tasks": 2 * CONCURRENCY} if CONCURRENCY < 100 else {}
    await worker.run(batch_size=CONCURRENCY, **limit)


if __name__ == "__main__":
    os.environ["PYTHONWARNINGS"] = "ignore"
    uvloop.run(work())
