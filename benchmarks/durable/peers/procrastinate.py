"""Procrastinate on PostgreSQL with psycopg's pool of connections."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

import procrastinate

from benchmarks.durable import marks
from benchmarks.durable.side import CONCURRENCY, Kind, url_from_environment

__all__ = ["Adapter", "app"]

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(
        conninfo=url_from_environment(), min_size=4, max_size=20
    )
)


@app.task(name="noop")
async def noop(argument: float) -> None:
    marks.finish(argument)


@app.task(name="slow")
async def slow(argument: float) -> None:
    await marks.slow_async(argument)


if os.environ.get("BENCH_RECIPE"):
    # Its documented recipe for the jobs of dead workers, which nothing else retries.
    @app.periodic(cron="* * * * * */10")
    @app.task(queueing_lock="retry_stalled", pass_context=True, name="retry_stalled")
    async def retry_stalled(context: object, timestamp: int) -> None:
        for job in await app.job_manager.get_stalled_jobs():
            await app.job_manager.retry_job(job)


class Adapter:
    awaits = True
    blocks = False
    bulk = True

    def create(self) -> None:
        async def apply() -> None:
            async with app.open_async():
                await app.schema_manager.apply_schema_async()

        asyncio.run(apply())

    async def open(self) -> None:
        await app.open_async()

    async def close(self) -> None:
        await app.close_async()

    async def enqueue(self, kind: Kind, argument: float) -> None:
        await (noop if kind == "noop" else slow).defer_async(argument=argument)

    def enqueue_now(self, kind: Kind, argument: float) -> None:
        raise NotImplementedError("with this connector its enqueue is awaited")

    async def enqueue_many(self, kind: Kind, arguments: Sequence[float]) -> None:
        task = noop if kind == "noop" else slow
        for first in range(0, len(arguments), 1000):
            some = arguments[first : first + 1000]
            await task.batch_defer_async(*({"argument": argument} for argument in some))

    async def clear(self) -> None:
        await app.connector.execute_query_async(
            "truncate procrastinate_jobs, procrastinate_events, procrastinate_periodic_defers "
            "restart identity cascade"
        )


if __name__ == "__main__":
    cli = ["-m", "procrastinate", "--app=benchmarks.durable.peers.procrastinate.app", "worker"]
    os.execv(sys.executable, [sys.executable, *cli, f"--concurrency={CONCURRENCY}"])
