"""DBOS on SQLite or PostgreSQL: workflows in a queue.

``BENCH_LIMITED`` gives the queue a limit of jobs in flight, which its polling turns into a limit
of jobs a second; the default is none, which is faster.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence

import sqlalchemy
from dbos import DBOS, DBOSClient

from benchmarks.durable import marks
from benchmarks.durable.side import CONCURRENCY, Kind, url_from_environment

__all__ = ["Adapter"]

URL = url_from_environment()
QUEUE = "bench"
CONFIG = {
    "name": "bench",
    "system_database_url": URL,
    "log_level": "ERROR",
    "sys_db_pool_size": 20,
}


@DBOS.workflow(name="noop")
async def noop(argument: float) -> None:
    marks.finish(argument)


@DBOS.workflow(name="slow")
async def slow(argument: float) -> None:
    await marks.slow_async(argument)


class Adapter:
    awaits = True
    blocks = True
    bulk = True

    def create(self) -> None:
        DBOS(config=CONFIG)
        DBOS.launch()
        DBOS.register_queue(QUEUE)
        DBOS.destroy()

    async def open(self) -> None:
        self._client = DBOSClient(system_database_url=URL)

    async def close(self) -> None:
        self._client.destroy()

    async def enqueue(self, kind: Kind, argument: float) -> None:
        await self._client.enqueue_async({"queue_name": QUEUE, "workflow_name": kind}, argument)

    def enqueue_now(self, kind: Kind, argument: float) -> None:
        self._client.enqueue({"queue_name": QUEUE, "workflow_name": kind}, argument)

    async def enqueue_many(self, kind: Kind, arguments: Sequence[float]) -> None:
        """Many enqueues in one transaction: it has no statement for many."""
        options = {"queue_name": QUEUE, "workflow_name": kind}

        def write() -> None:
            for first in range(0, len(arguments), 1000):
                with self._client._sys_db.engine.begin() as connection:
                    for argument in arguments[first : first + 1000]:
                        self._client.enqueue_in_transaction(connection, options, argument)

        await asyncio.to_thread(write)

    async def clear(self) -> None:
        statement = (
            "delete from workflow_status"
            if URL.startswith("sqlite")
            else "truncate dbos.workflow_status cascade"
        )
        with self._client._sys_db.engine.begin() as connection:
            connection.execute(sqlalchemy.text(statement))


if __name__ == "__main__":
    DBOS(config=CONFIG)
    DBOS.launch()
    limited = bool(os.environ.get("BENCH_LIMITED")) or CONCURRENCY < 100
    DBOS.register_queue(
        QUEUE, worker_concurrency=CONCURRENCY if limited else None, on_conflict="always_update"
    )
    threading.Event().wait()
