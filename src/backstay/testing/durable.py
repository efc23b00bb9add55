"""Durable tasks in tests: run what is due, and see what was scheduled."""

from __future__ import annotations

import json
from typing import Any, Protocol

from backstay.context import Context
from backstay.jobs.definition import AnyTask, require_task
from backstay.jobs.part import DurablePart
from backstay.jobs.worker import Worker
from backstay.jobs.worker_part import WorkerPart
from backstay.ledger.rows import JobFilter, JobRow

__all__ = ["Running", "assert_enqueued", "assert_not_enqueued", "drain", "enqueued"]


class Running(Protocol):
    """An app that runs, by a context of its: the client that ``running(app)`` gives."""

    @property
    def ctx(self) -> Context:
        """A context outside of any request."""


async def drain(client: Running) -> None:
    """Run every durable job that is due, and what those schedule, until nothing is left.

    Jobs that wait for a time stay; move a ``FakeClock`` and drain again. Works for apps with
    ``worker=False`` too.
    """
    durable, workers = _parts(client)
    await durable.awake()
    if workers.worker is not None:
        await workers.worker.settled()
        return
    worker = Worker(durable)
    await worker.start()
    try:
        await worker.settled()
    finally:
        await worker.stop(grace_s=0.0)


async def enqueued(client: Running, task: AnyTask | None = None) -> list[JobRow]:
    """The app's jobs, finished ones included, the oldest first; those of ``task``, if given."""
    ledger = await _parts(client)[0].awake()
    name = None if task is None else require_task(task, "enqueued").name
    return (await ledger.find(JobFilter(task=name), limit=10_000))[::-1]


async def assert_enqueued(client: Running, task: AnyTask, *args: Any, **kwargs: Any) -> JobRow:
    """There is a job of ``task`` with these arguments, whatever its state.

    Raises:
        AssertionError: there is none; the message shows what there is.
    """
    wanted = json.loads(require_task(task, "assert_enqueued").arguments.dump(args, kwargs))
    jobs = await enqueued(client, task)
    for job in jobs:
        if json.loads(job.args) == wanted:
            return job
    others = "\n".join(f"  {job.args} ({job.state})" for job in jobs) or "  none"
    raise AssertionError(
        f"no job of {task.name} has the arguments {json.dumps(wanted)}; its jobs are:\n{others}"
    )


async def assert_not_enqueued(client: Running, task: AnyTask) -> None:
    """There is no job of ``task`` at all.

    Raises:
        AssertionError: there is one.
    """
    jobs = await enqueued(client, task)
    if jobs:
        raise AssertionError(
            f"{len(jobs)} job(s) of {task.name} were scheduled, the first with {jobs[0].args}"
        )


def _parts(client: Running) -> tuple[DurablePart, WorkerPart]:
    durable, workers = client.ctx.app.part("durable"), client.ctx.app.part("job")
    assert isinstance(durable, DurablePart)
    assert isinstance(workers, WorkerPart)
    return durable, workers
