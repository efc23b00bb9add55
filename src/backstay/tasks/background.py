"""FastAPI's own BackgroundTasks, unchanged in user code and supervised like any task.

This module is the one place where backstay touches classes it does not own. It replaces

- ``starlette.background.BackgroundTask.__call__``, so that each task is run by the supervisor:
  its failure is logged and handled, and those behind it still run; and
- ``BackgroundTasks`` as ``fastapi.dependencies.utils`` constructs it, so that an injected
  instance is known to its request and what was added to it cannot get lost.

Both do what the originals do, through the originals, unless the running request belongs to an
app that called ``add_tasks``, and did not switch this off.
"""

from __future__ import annotations

from fastapi import BackgroundTasks
from fastapi.dependencies import utils as fastapi_injection
from starlette.background import BackgroundTask

from backstay.context import Context, current_work
from backstay.errors import NotInstalled
from backstay.tasks.part import TasksPart
from backstay.web.exchange import Exchange

__all__ = ["guard_background_tasks"]

_run_bare = BackgroundTask.__call__


def guard_background_tasks() -> None:
    """Put both replacements in place, once per process."""
    BackgroundTask.__call__ = _run_supervised  # type: ignore[method-assign]  # the declared patch
    setattr(fastapi_injection, "BackgroundTasks", _construct_injected)  # noqa: B010  # not a name it exports


def _guarded_context() -> Context | None:
    work = current_work.get()
    if work is None:
        return None
    ctx = work.context
    try:
        part = ctx.app.part(TasksPart.attribute)
    except NotInstalled:
        return None
    return ctx if isinstance(part, TasksPart) and part.guard_background_tasks else None


async def _run_supervised(self: BackgroundTask) -> None:
    ctx = _guarded_context()
    if ctx is None:
        await _run_bare(self)
        return
    work = ctx.work
    if isinstance(work, Exchange):
        work.answer_early()
        if work.ran_background is None:
            work.ran_background = set()
        work.ran_background.add(self)
    await ctx.tasks.run_regardless(self.func, self.args, self.kwargs).wait()


def _construct_injected() -> BackgroundTasks:
    tasks = BackgroundTasks()
    work = current_work.get()
    if isinstance(work, Exchange) and _guarded_context() is not None:

        async def run_what_was_left() -> None:
            # Lost otherwise: FastAPI drops injected tasks when the endpoint returns a response
            # with a background of its own, and those added by a dependency after its yield.
            for task in tasks.tasks:
                if work.ran_background is None or task not in work.ran_background:
                    await task()

        work.at_request_exit(run_what_was_left)
    return tasks
