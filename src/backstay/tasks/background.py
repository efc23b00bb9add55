"""FastAPI's own BackgroundTasks, unchanged in user code and supervised like any task.

This module is the one place where backstay touches classes it does not own. It replaces

- ``__call__`` of Starlette's ``BackgroundTask`` and ``BackgroundTasks``, so that each task is run
  by the supervisor: its failure is logged and handled, and those behind it still run; and
- ``BackgroundTasks`` as ``fastapi.dependencies.utils`` constructs it, so that an injected
  instance is known to its request and what was added to it cannot get lost.

All do what the originals do, through the originals, unless the running request belongs to an
app that called ``add_tasks``, and did not switch this off.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import fastapi
from fastapi.dependencies import utils as fastapi_injection
from starlette import background

from backstay.app import Backstay
from backstay.context import Context, current_work
from backstay.errors import NotInstalled
from backstay.tasks.part import TasksPart
from backstay.web.exchange import Exchange

__all__ = ["guard_background_tasks"]

_RAN = "_backstay_ran"
_run_bare = background.BackgroundTask.__call__


def guard_background_tasks() -> None:
    """Put the replacements in place, once per process."""
    if background.BackgroundTask.__call__ is _run_supervised:
        return
    background.BackgroundTask.__call__ = _run_supervised  # type: ignore[method-assign]  # the declared patch
    for lists in (background.BackgroundTasks, fastapi.BackgroundTasks):
        if "__call__" in vars(lists):  # FastAPI's has one of its own since it has telemetry
            setattr(lists, "__call__", _supervising(lists.__call__))  # noqa: B010  # the declared patch
    setattr(fastapi_injection, "BackgroundTasks", _construct_injected)  # noqa: B010  # not a name it exports


def _guarded_context() -> Context | None:
    work = current_work.get()
    return work.context if work is not None and _guards(work.app) else None


def _guards(app: Backstay) -> bool:
    try:
        part = app.part(TasksPart.attribute)
    except NotInstalled:
        return False
    # After the app's end there is no supervisor; what FastAPI accepted runs as it always did.
    return isinstance(part, TasksPart) and part.guard_background_tasks and not part.stopped


async def _run_supervised(self: background.BackgroundTask) -> None:
    ctx = _guarded_context()
    if ctx is None:
        await _run_bare(self)
        return
    if isinstance(ctx.work, Exchange):
        ctx.work.answer_early()
    await ctx.tasks.run_regardless(self.func, self.args, self.kwargs).wait()


def _supervising(
    run_all_bare: Callable[[Any], Awaitable[None]],
) -> Callable[[background.BackgroundTasks], Awaitable[None]]:
    async def run_all(self: background.BackgroundTasks) -> None:
        ctx = _guarded_context()
        # The original goes over .tasks and nothing else, and may do more than await them.
        await run_all_bare(self if ctx is None else _Supervised(self, ctx))

    return run_all


class _Supervised:
    """BackgroundTasks as its original ``__call__`` sees it: its tasks from a number on, made safe.

    How far it got is noted on the instance, since that may be run from anywhere.
    """

    def __init__(self, original: background.BackgroundTasks, ctx: Context, start: int = 0) -> None:
        self._original = original
        self._ctx = ctx
        self._start = start

    @property
    def tasks(self) -> Iterator[Callable[[], Awaitable[None]]]:
        number = self._start
        while number < len(self._original.tasks):  # tasks may add tasks
            task = self._original.tasks[number]
            number += 1
            vars(self._original)[_RAN] = number
            is_plain = type(task).__call__ is _run_supervised
            yield task if is_plain else _OwnWay(task, self._ctx)


class _OwnWay:
    """One of a subclass that runs in a way of its own, which may fail as well."""

    def __init__(self, task: background.BackgroundTask, ctx: Context) -> None:
        self.func = getattr(task, "func", task)
        self._task = task
        self._ctx = ctx

    async def __call__(self) -> None:
        await self._ctx.tasks.run_regardless(self._task.__call__, (), {}).wait()


def _construct_injected() -> fastapi.BackgroundTasks:
    tasks = fastapi.BackgroundTasks()
    work = current_work.get()
    if isinstance(work, Exchange) and _guards(work.app):
        if work.scope is not None:
            work.watch(work.scope)  # now, while dependencies are solved: later costs more

        async def run_what_was_left() -> None:
            # Lost otherwise: FastAPI drops injected tasks when the endpoint returns a response
            # with a background of its own, and those added by a dependency after its yield.
            for task in _Supervised(tasks, work.context, vars(tasks).get(_RAN, 0)).tasks:
                await task()

        work.at_request_exit(run_what_was_left)
    return tasks
