"""A worker in a process of its own: the app's lifespan and its jobs, and nothing served."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette

from backstay.errors import NotInstalled
from backstay.jobs.worker_part import WorkerPart
from backstay.web.installation import installed
from backstay.web.lifespan import started

__all__ = ["run_worker", "worker_part_of"]

logger = logging.getLogger("backstay.jobs")


def worker_part_of(app: Starlette) -> WorkerPart:
    """The worker of an app.

    Raises:
        NotInstalled: ``add_tasks(app)`` was never called.
    """
    part = installed(app).part("job")
    if not isinstance(part, WorkerPart):
        raise NotInstalled(f"the app's part 'job' is {part!r} and no worker of backstay's")
    return part


def run_worker(
    app: Starlette,
    *,
    concurrency: int | None = None,
    queues: Sequence[str] | None = None,
    grace_s: float | None = None,
) -> int:
    """Run an app's durable jobs until SIGTERM or SIGINT; a second one hands back what runs.

    Args:
        app: an app given to ``add_tasks``. Its lifespan runs, so that jobs find what it provides.
        concurrency: jobs at a time; ``None``: as ``add_tasks`` was told.
        queues: which to serve; ``None``: as ``add_tasks`` was told.
        grace_s: seconds that running jobs have when it stops; ``None``: as ``add_tasks`` was told.

    Returns:
        The process's exit status: 0 when it stopped as asked.

    Raises:
        NotInstalled: ``add_tasks(app)`` was never called.
        RuntimeError: the app's lifespan failed; the message is the app's.
    """
    worker_part_of(app).configure(
        enabled=True, concurrency=concurrency, queues=queues, grace_s=grace_s
    )
    installed(app).serves = False
    with contextlib.suppress(ImportError):
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(app))
    return asyncio.run(_serve(app))


async def _serve(app: Starlette) -> int:
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(number: int, frame: Any) -> None:
        loop.call_soon_threadsafe(asked_to_stop.set)

    # Plain handlers, so that the parts of the app that listen to signals can chain in.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    async with started(app, {}):
        await asked_to_stop.wait()
        logger.info("stopping: no more jobs are claimed")
    return 0
