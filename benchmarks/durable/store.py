"""The ledger itself, without tasks: ``python -m benchmarks.durable.store SECONDS``.

What the durable tasks above it can reach at most.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Iterator

import asyncpg
import uvloop

from backstay.ledger import (
    Claimed,
    Finish,
    Ledger,
    NewJob,
    State,
    WorkerRow,
    new_job_id,
    new_ledger,
)
from benchmarks.durable.side import url_from_environment

__all__ = ["main"]

CONCURRENT = 64
BULK = 1_000
BATCH = 100
WARM_S = 0.1
QUEUE = "default"
ARGS = '{"argument":1.0}'
META = '{"correlation_id":"0123456789abcdef"}'

Figures = dict[str, float]


def _job() -> NewJob:
    return NewJob(id=new_job_id(), task="benchmarks.noop", args=ARGS, queue=QUEUE, meta=META)


def _until(end: float) -> Iterator[None]:
    while time.perf_counter() < end:
        yield


async def _one_by_one(ledger: Ledger, end: float) -> int:
    count = 0
    for _ in _until(end):
        await ledger.insert([_job()])
        count += 1
    return count


async def _blocking(ledger: Ledger, end: float) -> int:
    def insert() -> int:
        count = 0
        for _ in _until(end):
            ledger.insert_now([_job()])
            count += 1
        return count

    return await asyncio.to_thread(insert)


async def _concurrent(ledger: Ledger, end: float) -> int:
    return sum(await asyncio.gather(*(_one_by_one(ledger, end) for _ in range(CONCURRENT))))


async def _bulk(ledger: Ledger, end: float) -> int:
    count = 0
    for _ in _until(end):
        await ledger.insert([_job() for _ in range(BULK)])
        count += BULK
    return count


async def inserts(ledger: Ledger, url: str, seconds: float) -> Figures:
    """Every way to write jobs, each for so many seconds on an empty table."""
    ways: dict[str, Callable[[Ledger, float], Awaitable[int]]] = {
        "insert": _one_by_one,
        "insert_now": _blocking,
        "concurrent": _concurrent,
        "bulk": _bulk,
    }
    figures: Figures = {}
    for name, way in ways.items():
        await empty(url)
        await way(ledger, time.perf_counter() + min(WARM_S, seconds))
        start, cpu = time.perf_counter(), time.process_time()
        jobs = await way(ledger, start + seconds)
        figures[name] = jobs / (time.perf_counter() - start)
        figures[f"{name} us"] = (time.process_time() - cpu) / jobs * 1e6
    return figures


async def takes(ledger: Ledger, url: str, jobs: int) -> Figures:
    """Claim and finish batches of a hundred, first each for itself, then one after the other."""
    await empty(url)
    for first in range(0, jobs, BULK):
        await ledger.insert([_job() for _ in range(min(BULK, jobs - first))])
    claims: list[list[Claimed]] = []

    async def claim() -> int:
        found = (await ledger.claim("bench", {QUEUE: BATCH})).jobs
        claims.append(found)
        return len(found)

    async def finish() -> int:
        finishes = [Finish(each.id, each.fence, State.SUCCEEDED) for each in claims.pop()]
        stale = await ledger.finish(finishes)
        assert not stale
        return len(finishes)

    async def both() -> int:
        await claim()
        return await finish()

    half = jobs // BATCH // 2
    figures: Figures = {}
    for name, step in (("claim", claim), ("finish", finish), ("take", both)):
        start, cpu, done = time.perf_counter(), time.process_time(), 0
        for _ in range(half):
            done += await step()
        figures[name] = done / (time.perf_counter() - start)
        figures[f"{name} us"] = (time.process_time() - cpu) / max(1, done) * 1e6
    return figures


async def empty(url: str) -> None:
    """Forget all jobs."""
    statement = "DELETE FROM backstay_jobs"
    if url.startswith("sqlite:///"):
        with sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30) as file:
            file.execute(statement)
        # Or whoever comes next would pay for writing these pages back.
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        file.close()
    else:
        server = await asyncpg.connect(url)
        await server.execute(statement)
        await server.execute("VACUUM ANALYZE backstay_jobs")
        await server.close()


async def main(url: str, seconds: float) -> Figures:
    """All of it."""
    ledger = new_ledger(url)
    await ledger.open()
    worker = WorkerRow(
        id="bench", host="bench", pid=0, lease_s=600.0, concurrency=BATCH, queues=(QUEUE,)
    )
    await ledger.register(worker)
    try:
        figures = await inserts(ledger, url, seconds)
        figures |= await takes(ledger, url, max(2 * BATCH, int(20_000 * seconds)))
        await ledger.unregister(worker.id)
        await empty(url)
    finally:
        await ledger.close()
    return figures


if __name__ == "__main__":
    print(json.dumps(uvloop.run(main(url_from_environment(), float(sys.argv[1])))))
