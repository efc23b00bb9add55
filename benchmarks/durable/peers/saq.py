"""SAQ on PostgreSQL."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from saq import Queue

from benchmarks.durable import marks
from benchmarks.durable.side import CONCURRENCY, Kind, url_from_environment

__all__ = ["Adapter", "settings"]

queue = Queue.from_url(url_from_environment(), min_size=4, max_size=20)


async def noop(_: object, *, argument: float) -> None:
    marks.finish(argument)


async def slow(_: object, *, argument: float) -> None:
    await marks.slow_async(argument)


settings = {"queue": queue, "functions": [noop, slow], "concurrency": CONCURRENCY}
# The default of one attempt gives the jobs of a killed worker up.
RETRIES = {"retries": 3} if CONCURRENCY < 100 else {}


class Adapter:
    awaits = True
    blocks = False
    bulk = False

    def create(self) -> None:
        pass  # connecting does

    async def open(self) -> None:
        await queue.connect()

    async def close(self) -> None:
        await queue.disconnect()

    async def enqueue(self, kind: Kind, argument: float) -> None:
        await queue.enqueue(kind, argument=argument, **RETRIES)

    def enqueue_now(self, kind: Kind, argument: float) -> None:
        raise NotImplementedError("SAQ's enqueue is awaited")

    async def enqueue_many(self, kind: Kind, arguments: Sequence[float]) -> None:
        raise NotImplementedError("SAQ has no bulk enqueue")

    async def clear(self) -> None:
        async with queue.pool.connection() as connection:
            await connection.execute("truncate saq_jobs, saq_stats")


if __name__ == "__main__":
    cli = ["-m", "saq", "benchmarks.durable.peers.saq.settings", "--quiet"]
    os.execv(sys.executable, [sys.executable, *cli])
