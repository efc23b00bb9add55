"""``add_tasks(app)`` and the parameter ``tasks: Tasks``."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastapi.dependencies.models import Dependant
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp

from backstay.app import Backstay
from backstay.context import Context
from backstay.errors import BadJob, MissingExtra
from backstay.jobs.part import DurablePart, Queue
from backstay.jobs.session_scope import late_commits, remember_sessions
from backstay.jobs.worker_part import WorkerPart
from backstay.tasks.background import guard_background_tasks as guard
from backstay.tasks.config import NOTHING_SAID, TaskConfig
from backstay.tasks.part import TasksPart
from backstay.tasks.scheduler import TaskScheduler
from backstay.tasks.shortcut import hand_over_directly
from backstay.web.dependencies import exchange_of, get_context
from backstay.web.exchange import Exchange
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
    database: Any = None,
    session: Callable[..., Any] | None = None,
    worker: bool = True,
    concurrency: int = 50,
    queues: Mapping[str, Queue | None] | Iterable[str] = (),
    worker_queues: Sequence[str] | None = None,
    keep_s: float = 7 * 86_400.0,
    max_args_bytes: int = 65_536,
    lease_s: float = 10.0,
    poll_s: float = 1.0,
    table_prefix: str = "backstay_",
    database_schema: str | None = None,
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
        database: where durable tasks are written: a URL such as ``sqlite:///shop.db`` or
            ``postgresql://user@host/shop``, or a SQLAlchemy engine. ``None``: the setting
            ``BACKSTAY_DATABASE``, else ``sqlite:///backstay.db``, made when first needed.
        session: the dependency that gives endpoints their SQLAlchemy session, so that
            ``tasks.durable.schedule`` joins its transaction.
        worker: run durable tasks beside the app. ``False`` leaves them to ``backstay worker``.
        concurrency: durable jobs that the worker runs at a time.
        queues: queues that no ``@task`` names, and limits of queues: ``{"mail": Queue(limit=5)}``.
        worker_queues: which queues the worker serves, ``None`` for all.
        keep_s: seconds that jobs which succeeded or were cancelled are kept for people to look at.
        max_args_bytes: how large a job's arguments may be, as JSON.
        lease_s: seconds without a sign of life after which a worker's jobs are run elsewhere.
        poll_s: seconds between looks at the database when nothing says that there is work.
        table_prefix: in front of the names of the tables.
        database_schema: PostgreSQL's schema of the tables, ``None`` for the first of the
            ``search_path``. It is made if it is not there.

    Raises:
        AlreadyInstalled: tasks are on for this app.
        ValueError: an option makes no sense.
    """
    backstay = install(app)
    in_process = TasksPart(
        backstay,
        config=NOTHING_SAID if config is None else config,
        max_running=max_running,
        max_pending=max_pending,
        threads=min(32, (os.cpu_count() or 1) + 4) if threads is None else threads,
        shutdown_grace_s=shutdown_grace_s,
        shield_grace_s=shield_grace_s,
        guard_background_tasks=guard_background_tasks,
    )
    durable = DurablePart(
        backstay,
        fastapi=app,
        database=database,
        prefix=table_prefix,
        schema=database_schema,
        queues=queues,
        keep_s=keep_s,
        max_args_bytes=max_args_bytes,
        find_session=_session_of,
    )
    workers = WorkerPart(
        durable,
        enabled=worker,
        concurrency=concurrency,
        queues=worker_queues,
        grace_s=shutdown_grace_s,
        lease_s=lease_s,
        poll_s=poll_s,
    )
    # In this order: the ledger opens first and closes last, the worker starts last and stops first.
    backstay.add(durable)
    backstay.add(in_process)
    backstay.add(workers)
    if guard_background_tasks:
        guard()
    build = app.build_middleware_stack

    def build_with_direct_parameters() -> ASGIApp:
        _switch_database_on(backstay, durable)
        if session is not None:
            _join_sessions(app, session)
        for each in (app, *mounted_apps(app.routes)):
            hand_over_directly(each.routes, _get_tasks, _tasks_of)
        return build()

    # Built once, when every route is there and before the first request.
    app.build_middleware_stack = build_with_direct_parameters  # type: ignore[method-assign]  # on this one app only


def _switch_database_on(backstay: Backstay, durable: DurablePart) -> None:
    """``ctx.db``, on the database of the durable tasks, unless the app has named one for it."""
    if backstay.has("db") or importlib.util.find_spec("sqlalchemy") is None:
        return
    from backstay.db.database import Database
    from backstay.db.part import DatabasePart

    try:
        database = Database(durable.database)
    except (MissingExtra, TypeError, ValueError):
        return  # SQLAlchemy without what it needs; or a ledger in memory, which no session reaches
    backstay.add(DatabasePart(database), first=True)


def _join_sessions(app: FastAPI, session: Callable[..., Any]) -> None:
    """Have requests tell which session they work with, where they may schedule durable tasks."""

    def uses(dependant: Dependant) -> bool:
        return dependant.call in (_get_tasks, get_context) or any(
            uses(each) for each in dependant.dependencies
        )

    if late := late_commits(app.routes, session, uses):
        raise BadJob("\n".join(late))

    def remember(connection: HTTPConnection, value: object) -> None:
        exchange_of(connection, "backstay.tasks.add_tasks(app)").session = value

    remember_sessions(app.routes, session, remember, uses)


def _session_of(ctx: Context) -> object | None:
    """The session that a context works with: ``ctx.db`` if it is in use, else the request's."""
    if ctx.has("db") and ctx.db.opened:
        return ctx.db.opened_session or ctx.db.opened_sync_session
    work = ctx.work
    return work.session if isinstance(work, Exchange) else None


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
