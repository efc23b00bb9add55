"""Huey on SQLite, told to sync. Its jobs are sync functions and its enqueue blocks."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from huey import SqliteHuey

from benchmarks.durable import marks
from benchmarks.durable.side import Kind, url_from_environment

__all__ = ["Adapter", "consumed"]

THREADS = 4
SLOW_THREADS = 10

consumed = SqliteHuey(
    "bench",
    filename=url_from_environment().removeprefix("sqlite:///"),
    fsync=True,
    results=False,
)


@consumed.task()
def noop(argument: float) -> None:
    marks.finish(argument)


@consumed.task()
def slow(argument: float) -> None:
    marks.slow_sync(argument)


class Adapter:
    awaits = False
    blocks = True
    bulk = False

    def create(self) -> None:
        consumed.pending_count()  # opening makes the tables

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def enqueue(self, kind: Kind, argument: float) -> None:
        raise NotImplementedError("huey has no awaited enqueue on SQLite")

    def enqueue_now(self, kind: Kind, argument: float) -> None:
        (noop if kind == "noop" else slow)(argument)

    async def enqueue_many(self, kind: Kind, arguments: Sequence[float]) -> None:
        raise NotImplementedError("huey has no bulk enqueue")

    async def clear(self) -> None:
        consumed.flush()


if __name__ == "__main__":
    threads = SLOW_THREADS if os.environ.get("BENCH_CONCURRENCY") == "10" else THREADS
    consumer = ["-m", "huey.bin.huey_consumer", "benchmarks.durable.peers.huey.consumed"]
    options = ["-w", str(threads), "-k", "thread", "-q"]
    os.execv(sys.executable, [sys.executable, *consumer, *options])
