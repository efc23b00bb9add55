"""Taskiq on NATS JetStream, which syncs to disk on a timer: speed bought with durability."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from taskiq_nats import PullBasedJetStreamBroker

from benchmarks.durable import marks
from benchmarks.durable.side import CONCURRENCY, Kind, url_from_environment

__all__ = ["Adapter", "broker"]

broker = PullBasedJetStreamBroker(
    [url_from_environment()],
    stream_name="bench",
    subject="bench_tasks",
    durable="bench_durable",
    pull_consume_batch=CONCURRENCY,
    pull_consume_timeout=1,
)


@broker.task(task_name="noop")
async def noop(argument: float) -> None:
    marks.finish(argument)


@broker.task(task_name="slow")
async def slow(argument: float) -> None:
    await marks.slow_async(argument)


class Adapter:
    awaits = True
    blocks = False
    bulk = False

    def create(self) -> None:
        pass  # starting up does

    async def open(self) -> None:
        await broker.startup()

    async def close(self) -> None:
        await broker.shutdown()

    async def enqueue(self, kind: Kind, argument: float) -> None:
        await (noop if kind == "noop" else slow).kiq(argument)

    def enqueue_now(self, kind: Kind, argument: float) -> None:
        raise NotImplementedError("taskiq's enqueue is awaited")

    async def enqueue_many(self, kind: Kind, arguments: Sequence[float]) -> None:
        raise NotImplementedError("taskiq has no bulk enqueue")

    async def clear(self) -> None:
        await broker.js.purge_stream("bench")


if __name__ == "__main__":
    cli = ["-m", "taskiq", "worker", "benchmarks.durable.peers.taskiq:broker", "--workers", "1"]
    options = ["--max-async-tasks", str(CONCURRENCY), "--log-level", "ERROR"]
    os.execv(sys.executable, [sys.executable, *cli, *options, "--ack-type", "when_executed"])
