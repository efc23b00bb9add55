"""Tasks as a part of an app: opened with it, drained before it."""

from __future__ import annotations

import asyncio
import math

from backstay.app import Backstay
from backstay.context import Context
from backstay.errors import TasksClosed
from backstay.signals import SignalChain
from backstay.tasks.config import TaskConfig
from backstay.tasks.handle import Task
from backstay.tasks.scheduler import TaskScheduler
from backstay.tasks.shutdown import Drain
from backstay.tasks.supervisor import Supervisor
from backstay.web.exchange import Exchange

__all__ = ["TasksPart"]


class TasksPart:
    """What ``add_tasks(app)`` switches on. ``add_tasks`` documents the options.

    Attributes:
        config: the defaults of every task.
        guard_background_tasks: whether FastAPI's own BackgroundTasks are supervised too.
        stopped: whether the app has run and come to its end.
    """

    attribute = "tasks"

    def __init__(
        self,
        app: Backstay,
        *,
        config: TaskConfig,
        max_running: int | None,
        max_pending: int | None,
        threads: int,
        shutdown_grace_s: float,
        shield_grace_s: float,
        guard_background_tasks: bool,
    ) -> None:
        for option, count in (
            ("max_running", max_running),
            ("max_pending", max_pending),
            ("threads", threads),
        ):
            if count is not None and (
                not isinstance(count, int) or isinstance(count, bool) or count < 1
            ):
                raise ValueError(f"{option}= is a number of tasks, 1 or more; got {count!r}")
        for option, seconds in (
            ("shutdown_grace_s", shutdown_grace_s),
            ("shield_grace_s", shield_grace_s),
        ):
            if not isinstance(seconds, int | float) or not math.isfinite(seconds) or seconds < 0:
                raise ValueError(
                    f"{option}= is seconds, 0 or more, and shutdown has to end; got {seconds!r}"
                )
        if config.wait or config.when is not None:
            raise ValueError(
                "wait= and when= belong to one moment, so they cannot be defaults of every task; "
                f"got {config!r}"
            )
        self._app = app
        self.config = config
        self.guard_background_tasks = guard_background_tasks
        self._max_running = max_running
        self._max_pending = max_pending
        self._threads = threads
        self._grace_s = shutdown_grace_s
        self._shield_grace_s = shield_grace_s
        self._supervisor: Supervisor | None = None
        self._drain: Drain | None = None
        self._signals: SignalChain | None = None
        self.stopped = False

    def bind(self, ctx: Context) -> TaskScheduler:
        """``ctx.tasks``."""
        return TaskScheduler(self, ctx, self.config)

    def scheduler(self, exchange: Exchange) -> TaskScheduler:
        """The same for a request, without asking for its context before it is needed."""
        scheduler = TaskScheduler(self, exchange, self.config)
        if self._supervisor is None:
            scheduler.prepare()  # here in the event loop; a sync endpoint is in a thread
        return scheduler

    async def open(self) -> None:
        """Start supervising in the running event loop."""
        supervisor, drain = self._new_supervisor()
        self._supervisor, self._drain = supervisor, drain
        self.stopped = False
        self._signals = SignalChain(drain.hurry)
        self._signals.install(supervisor.loop)

    async def close(self) -> None:
        """Drain, within both grace periods."""
        assert self._supervisor is not None
        assert self._drain is not None
        try:
            await self._drain.finish()
        finally:
            self._supervisor.close_for("the app has stopped")
            self._supervisor.abandon()
            if self._signals is not None:
                self._signals.remove()
            self._supervisor = self._drain = self._signals = None
            self.stopped = True

    @property
    def pending(self) -> int:
        """How many tasks were accepted and have not started."""
        return 0 if self._supervisor is None else self._supervisor.pending.count

    def _new_supervisor(self) -> tuple[Supervisor, Drain]:
        supervisor = Supervisor(
            asyncio.get_running_loop(),
            self._app.clock,
            max_running=self._max_running,
            max_pending=self._max_pending,
            threads=self._threads,
        )
        drain = Drain(
            supervisor,
            self._app.clock,
            grace_s=self._grace_s,
            shield_grace_s=self._shield_grace_s,
        )
        return supervisor, drain

    def supervisor_for(self, ctx: Context) -> Supervisor:
        """Who runs the tasks that ``ctx`` schedules."""
        work = ctx.work
        if isinstance(work, Task) and isinstance(work.supervisor, Supervisor):
            return work.supervisor
        if self._supervisor is not None:
            return self._supervisor
        if self.stopped:
            raise TasksClosed("the app has stopped, so no task can run; schedule before that")
        return self._supervise_one_request(ctx)

    def _supervise_one_request(self, ctx: Context) -> Supervisor:
        """For an app whose lifespan nobody runs (mounted, or a TestClient without ``with``).

        Nobody will say when it stops either, and the event loop may end with the request. So
        the request's own ASGI call stays open until its tasks are done, as it does for
        FastAPI's BackgroundTasks; the response has left by then.
        """
        work = ctx.work
        if not isinstance(work, Exchange):
            raise TasksClosed(
                f"the app has not started, so a {ctx.origin} has nowhere to run tasks; "
                "start it first (backstay.testing.running(app) in tests)"
            )
        supervisor, _ = self._new_supervisor()

        async def settle() -> None:
            await supervisor.settled()
            supervisor.close_for(
                "the request it belongs to is over and the app's lifespan never ran"
            )
            supervisor.abandon()

        if work.before_close is None:
            work.before_close = []
        work.before_close.append(settle)
        return supervisor
