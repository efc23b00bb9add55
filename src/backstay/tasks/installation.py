"""``add_tasks(app)`` and the parameter ``tasks: Tasks``."""

from __future__ import annotations

import os
from typing import Annotated

from fastapi import Depends, FastAPI
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp

from backstay.tasks.background import guard_background_tasks as guard
from backstay.tasks.config import NOTHING_SAID, TaskConfig
from backstay.tasks.part import TasksPart
from backstay.tasks.scheduler import TaskScheduler
from backstay.tasks.shortcut import hand_over_directly
from backstay.web.dependencies import exchange_of
from backstay.web.installation import install, mounted_apps

__all__ = ["Tasks", "add_tasks"]


def add_tasks(
    app: FastAPI,
    *,
    config: TaskConfig | None = None,
    max_running: int | None = 1_000,
    max_pending: int | None = 100_000,
    threads: int | None = None,
    shutdown_grace_s: float = 10.0,
    shield_grace_s: float = 10.0,
    guard_background_tasks: bool = True,
) -> None:
    """Switch background tasks on for an app. One line, once, where the app is made.

    Args:
        app: the FastAPI app you serve. Included routers and mounted apps are covered by it.
        config: defaults of every task, such as ``TaskConfig(on_error=report)``.
        max_running: tasks that run at a time; the rest wait their turn. ``None``: no limit.
        max_pending: tasks that may wait, for their moment or their turn. One more is refused
            with ``TooManyTasks``, which answers 503. ``None``: no limit.
        threads: threads for sync functions, apart from those that serve sync endpoints.
            ``None``: four more than there are processors, 32 at most.
        shutdown_grace_s: seconds that tasks have to finish, from the first SIGTERM, or from
            the end of the lifespan if that comes first. Then unshielded ones are cancelled.
        shield_grace_s: seconds that shielded tasks and error handlers have after that. A
            repeated signal ends the current one of the two periods.
        guard_background_tasks: supervise FastAPI's own ``BackgroundTasks`` as well.

    Raises:
        AlreadyInstalled: tasks are on for this app.
        ValueError: an option makes no sense.
    """
    backstay = install(app)
    backstay.add(
        TasksPart(
            backstay,
            config=NOTHING_SAID if config is None else config,
            max_running=max_running,
            max_pending=max_pending,
            threads=min(32, (os.cpu_count() or 1) + 4) if threads is None else threads,
            shutdown_grace_s=shutdown_grace_s,
            shield_grace_s=shield_grace_s,
            guard_background_tasks=guard_background_tasks,
        )
    )
    if guard_background_tasks:
        guard()
    build = app.build_middleware_stack

    def build_with_direct_parameters() -> ASGIApp:
        for each in (app, *mounted_apps(app.routes)):
            hand_over_directly(each.routes, _get_tasks, _tasks_of)
        return build()

    # Built once, when every route is there and before the first request.
    app.build_middleware_stack = build_with_direct_parameters  # type: ignore[method-assign]  # on this one app only


def _tasks_of(connection: HTTPConnection) -> TaskScheduler:
    exchange = exchange_of(connection, "backstay.tasks.add_tasks(app)")
    part = exchange.app.part(TasksPart.attribute)
    assert isinstance(part, TasksPart)
    return part.scheduler(exchange)


async def _get_tasks(connection: HTTPConnection) -> TaskScheduler:
    # Async, and no generator: FastAPI would send a sync function through a thread, and every
    # generator costs a request more than everything else here together.
    return _tasks_of(connection)


Tasks = Annotated[TaskScheduler, Depends(_get_tasks)]
"""The parameter: ``async def endpoint(tasks: Tasks)``, in any endpoint or dependency."""
