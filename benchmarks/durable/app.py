"""Our side's app: two tasks and one line. ``backstay worker benchmarks.durable.app:app`` runs it."""

from __future__ import annotations

import os

from fastapi import FastAPI

from backstay.tasks import add_tasks, task
from benchmarks.durable import marks
from benchmarks.durable.side import CONCURRENCY, url_from_environment

__all__ = ["app", "noop", "slow"]


@task
async def noop(argument: float) -> None:
    marks.finish(argument)


@task
async def slow(argument: float) -> None:
    await marks.slow_async(argument)


app = FastAPI()
if "BENCH_LEASE_S" in os.environ:  # only where nothing is measured: the default is what counts
    add_tasks(
        app,
        database=url_from_environment(),
        concurrency=CONCURRENCY,
        lease_s=float(os.environ["BENCH_LEASE_S"]),
    )
else:
    add_tasks(app, database=url_from_environment(), concurrency=CONCURRENCY)
