"""How tasks are scheduled: four moments, one way of writing."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Protocol, TypeVar, overload

from typing_extensions import ParamSpec

from backstay.calls import name_of, require_function
from backstay.context import Context, Moment
from backstay.errors import ContextClosed, HeldTaskFailed
from backstay.jobs.durable import DurableScheduler
from backstay.retry import Retry
from backstay.tasks.batch import Batch, start_or_skip
from backstay.tasks.config import TaskConfig, When
from backstay.tasks.handle import Task, TaskErrorHandler
from backstay.tasks.outcome import Failed, Skipped
from backstay.tasks.supervisor import AnyTask, Supervisor
from backstay.web.exchange import Exchange

__all__ = ["Runners", "Schedule", "TaskScheduler"]

P = ParamSpec("P")
R = TypeVar("R")


class Runners(Protocol):
    """Knows who runs the tasks of a context."""

    def supervisor_for(self, ctx: Context) -> Supervisor:
        """Who runs the tasks that ``ctx`` schedules."""


class _Schedulable(ABC):
    """One moment, with options: where ``schedule`` and ``task`` live."""

    __slots__ = ("_config", "_moment")

    _config: TaskConfig
    _moment: Moment

    @abstractmethod
    def _get_scheduler(self) -> TaskScheduler:
        """Whose tasks these will be."""

    @overload
    def schedule(
        self, func: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Task[P, R]: ...

    @overload
    def schedule(
        self, func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Task[P, R]: ...

    def schedule(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Task[..., Any]:
        """Run ``func(*args, **kwargs)`` in the background, at this moment.

        Async functions run in the event loop, sync ones in threads of their own. May be called
        from any thread. The context variables of the caller are visible in the function.

        Returns:
            The task. Keeping it is optional.

        Raises:
            TypeError: ``func`` is not a function, or is a coroutine that was called already.
            TooManyTasks: ``max_pending`` tasks are waiting; unhandled, the client hears 503.
            TasksClosed: the app has stopped.
        """
        return self._get_scheduler()._accept(func, args, kwargs, self._config, self._moment)

    def task(
        self,
        *,
        name: str | None = None,
        shield: bool | None = None,
        on_error: TaskErrorHandler | None = None,
        timeout: float | None = None,
        retry: Retry | None = None,
        when: When | None = None,
        limit: int | None = None,
        limit_key: Hashable | None = None,
        wait: bool | None = None,
    ) -> Schedule:
        """The same moment with options; ``schedule`` comes next. ``TaskConfig`` explains each.

        Raises:
            TypeError, ValueError: an option makes no sense, alone or at this moment.
        """
        config = TaskConfig(
            name=name,
            shield=shield,
            on_error=on_error,
            timeout=timeout,
            retry=retry,
            when=when,
            limit=limit,
            limit_key=limit_key,
            wait=wait,
        )
        if wait and self._moment is not Moment.RETURNED:
            raise ValueError("wait=True holds the response, so it goes with tasks.after_route only")
        if when is not None and self._moment is Moment.OPENED:
            raise ValueError(
                f"when={when!r} says which end to wait for, and tasks.task(...) waits for none; "
                "use tasks.after_route or tasks.after_response"
            )
        if wait and when not in (None, "success"):
            raise ValueError(
                f"wait=True holds a response, and there is none to hold for when={when!r}"
            )
        return Schedule(self._get_scheduler(), self._moment, config.over(self._config))


class Schedule(_Schedulable):
    """``tasks.after_route``, ``tasks.after_response``, or what ``.task(...)`` gave."""

    __slots__ = ("_scheduler",)

    def __init__(self, scheduler: TaskScheduler, moment: Moment, config: TaskConfig) -> None:
        self._scheduler = scheduler
        self._moment = moment
        self._config = config

    def _get_scheduler(self) -> TaskScheduler:
        return self._scheduler


class TaskScheduler(_Schedulable):
    """What ``tasks: Tasks`` and ``ctx.tasks`` are: one context's way to schedule.

    ``schedule`` and ``task`` start now, beside the caller. ``after_route`` and
    ``after_response`` wait for the work this belongs to.
    """

    __slots__ = ("_batches", "_ctx", "_owner", "_runners", "_supervisor")

    def __init__(self, runners: Runners, owner: Context | Exchange, defaults: TaskConfig) -> None:
        self._moment = Moment.OPENED
        self._config = defaults
        self._runners = runners
        self._owner = owner
        self._ctx: Context | None = None
        self._supervisor: Supervisor | None = None
        self._batches: dict[Moment, Batch] | None = None

    def prepare(self) -> tuple[Context, Supervisor]:
        """Find out whose tasks these are and who runs them; most requests schedule none."""
        owner = self._owner
        ctx = self._ctx = owner if isinstance(owner, Context) else owner.context
        supervisor = self._supervisor = self._runners.supervisor_for(ctx)
        return ctx, supervisor

    def _get_scheduler(self) -> TaskScheduler:
        return self

    @property
    def after_route(self) -> Schedule:
        """At RETURNED: the endpoint returned and its function-scoped dependencies exited cleanly."""
        return Schedule(self, Moment.RETURNED, self._config)

    @property
    def after_response(self) -> Schedule:
        """At ANSWERED: the body is out and request-scoped dependencies have exited."""
        return Schedule(self, Moment.ANSWERED, self._config)

    @property
    def durable(self) -> DurableScheduler:
        """Written down, so that it survives whatever happens: ``@task`` functions only."""
        owner = self._owner
        ctx = owner if isinstance(owner, Context) else owner.context
        return ctx.durable

    async def settle(self) -> None:
        """Wait until no task of the whole app runs or waits. For tests and scripts.

        Raises:
            RuntimeError: called from inside a task, which would wait for itself.
        """
        _, supervisor = self.prepare()
        await supervisor.settled()

    def _accept(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        config: TaskConfig,
        moment: Moment,
    ) -> AnyTask:
        if not callable(func):
            require_function(func, "schedule")
        ctx, supervisor = self._ctx, self._supervisor
        if ctx is None or supervisor is None:
            ctx, supervisor = self.prepare()
        elsewhere = threading.get_ident() != supervisor.thread
        waiting = supervisor.pending.count + (len(supervisor.inbox) if elsewhere else 0)
        if waiting >= supervisor.room:
            supervisor.refuse(config.name or name_of(func))
        task: AnyTask = Task(func, args, kwargs, config, supervisor, ctx)
        if elsewhere:
            task.remember_variables()
            if config.wait:
                _hold(ctx, task)
            if moment is Moment.OPENED:
                supervisor.in_loop(lambda: supervisor.submit(task))
            else:
                supervisor.in_loop(lambda: self._wait_for(moment, task, ctx, supervisor))
        elif moment is Moment.OPENED:
            supervisor.submit(task)
            work = ctx.work
            if isinstance(work, Exchange):
                work.let_tasks_start = True
        else:
            task.remember_variables()
            if config.wait:
                _hold(ctx, task)
            self._wait_for(moment, task, ctx, supervisor)
        return task

    def run_regardless(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AnyTask:
        """Run something now that FastAPI has accepted long ago: there is nobody left to refuse."""
        ctx, supervisor = self.prepare()
        task: AnyTask = Task(func, args, kwargs, self._config, supervisor, ctx)
        supervisor.submit_outside_limits(task)
        return task

    def _wait_for(
        self, moment: Moment, task: AnyTask, ctx: Context, supervisor: Supervisor
    ) -> None:
        if ctx.moment >= moment:
            start_or_skip(supervisor, task, bool(ctx.succeeded), ctx.origin)
            return
        if self._batches is None:
            self._batches = {}
        batch = self._batches.get(moment)
        if batch is None:
            batch = self._batches[moment] = Batch(supervisor, ctx.origin)
            ctx.at(moment, batch.fire)
        batch.add(task)


def _hold(ctx: Context, task: AnyTask) -> None:
    """Let the answer wait for the task."""

    async def until_done() -> None:
        outcome = await task.wait()
        if not outcome.ok and not isinstance(outcome, Skipped):
            raise HeldTaskFailed(
                f"the response was held for the task {task.name!r}, which ended as {outcome!r}"
            ) from (outcome.error if isinstance(outcome, Failed) else None)

    if ctx.work is None:
        raise ContextClosed(
            f"wait=True needs an answer to hold, and this {ctx.origin} has none any more"
        )
    ctx.work.hold_answer(until_done)
