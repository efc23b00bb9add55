"""One task: what is to run, and how it is going."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from contextvars import Context as Variables
from contextvars import copy_context
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias

from typing_extensions import ParamSpec, TypeVar

from backstay.app import Backstay
from backstay.calls import name_of
from backstay.context import Context, Moment, Origin, Progress
from backstay.errors import ContextClosed
from backstay.tasks.config import TaskConfig
from backstay.tasks.outcome import Outcome, Succeeded

if TYPE_CHECKING:
    from backstay.threads import Job

__all__ = ["Mark", "Runner", "Task", "TaskErrorHandler"]

P = ParamSpec("P", default=...)
R = TypeVar("R", default=Any)

_NO_KWARGS: Mapping[str, Any] = {}


class Runner(Protocol):
    """What a task needs of whoever runs it."""

    async def call(self, task: Task[..., Any]) -> Any:
        """Run the function once more, within its time; raise what it raises."""

    def cancel(self, task: Task[..., Any], reason: str) -> bool:
        """Cancel the task. Any thread may ask."""


class Mark:
    """A point in a task's life: has it come, when, and wait for it."""

    __slots__ = ("_at", "_waiters")

    def __init__(self) -> None:
        self._at: datetime | None = None
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def at(self) -> datetime | None:
        """When it came (aware UTC), ``None`` if it has not."""
        return self._at

    def is_set(self) -> bool:
        """Whether it has come."""
        return self._at is not None

    __bool__ = is_set

    async def wait(self) -> None:
        """Wait until it has come. Returns at once if it has. Await it in the task's event loop."""
        if self._at is None:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def set(self, at: datetime) -> None:
        """It has come. For whoever runs the task."""
        if self._at is None:
            self._at = at
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiters.clear()


class Task(Generic[P, R]):
    """A function with its arguments, scheduled to run in the background.

    ``schedule`` returns it; an error handler receives it. Never construct one yourself.

    Attributes:
        func, args, kwargs: what was scheduled.
        config: its options, the app's defaults filled in.
        attempts: how often the function has been started, retries and re-runs included.
        outcome: how it ended, ``None`` before that.
        supervisor: who runs it.
    """

    __slots__ = (
        "__weakref__",
        "_asyncio_task",
        "_begun",
        "_cancel_reason",
        "_context",
        "_expired",
        "_finished",
        "_held",
        "_job",
        "_kwargs",
        "_lane_key",
        "_parent",
        "_rerun",
        "_running",
        "_started",
        "_telling",
        "_variables",
        "_writing",
        "args",
        "attempts",
        "config",
        "func",
        "outcome",
        "supervisor",
    )

    def __init__(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        config: TaskConfig,
        supervisor: Runner,
        parent: Context,
    ) -> None:
        self.func = func
        self.args = args
        self._kwargs = kwargs or None
        self.config = config
        self.attempts = 0
        self.outcome: Outcome[R] | None = None
        self.supervisor = supervisor
        self._parent = parent
        self._running = False
        self._begun = False
        self._held: list[Callable[[], Awaitable[None]]] | None = None
        self._writing: list[Callable[[], Awaitable[None]]] | None = None
        self._context: Context | None = None
        self._variables: Variables | None = None
        self._asyncio_task: asyncio.Task[None] | None = None
        self._job: Job | None = None
        self._lane_key: Hashable = None
        self._cancel_reason: str | None = None
        self._expired = False
        self._telling = False
        self._rerun: Succeeded[Any] | None = None
        self._started: Mark | None = None
        self._finished: Mark | None = None

    @property
    def kwargs(self) -> Mapping[str, Any]:
        """The keyword arguments it was scheduled with."""
        return _NO_KWARGS if self._kwargs is None else self._kwargs

    @property
    def name(self) -> str:
        """``config.name``, or the function's own name."""
        return self.config.name or name_of(self.func)

    @property
    def started(self) -> Mark:
        """Set when the function first runs."""
        if self._started is None:
            self._started = Mark()
            if self.attempts:
                self._started.set(self._parent.app.clock.now())
        return self._started

    @property
    def finished(self) -> Mark:
        """Set when everything is over, retries and the error handler included."""
        if self._finished is None:
            self._finished = Mark()
            if self.outcome is not None:
                self._finished.set(self._parent.app.clock.now())
        return self._finished

    @property
    def app(self) -> Backstay:
        """The app it belongs to."""
        return self._parent.app

    @property
    def correlation_id(self) -> str:
        """That of the work that scheduled it."""
        return self._parent.correlation_id

    @property
    def context(self) -> Context:
        """The context of this task: what ``current_context()`` is inside the function."""
        if self._context is None:
            parent = self._parent
            self._context = parent.app.open(Origin.TASK, self, parent=parent)
        return self._context

    def hold_answer(self, until: Callable[[], Awaitable[None]], *, first: bool = False) -> None:
        """Have ``until`` run once the function has returned; its failure is the task's."""
        if (
            self._telling
            or self.outcome is not None
            or (self._context is not None and self._context.moment is not Moment.OPENED)
        ):
            raise ContextClosed(f"the task {self.name!r} is over, so nothing waits for more")
        if first:
            if self._writing is None:
                self._writing = []
            self._writing.append(until)
        else:
            if self._held is None:
                self._held = []
            self._held.append(until)

    def remember_variables(self) -> None:
        """Keep the caller's context variables (PEP 567) for a start that comes later."""
        if self._variables is None:
            self._variables = copy_context()

    @property
    def progress(self) -> Progress | None:
        """What the function last told ``ctx.progress``, ``None`` if nothing."""
        return None if self._context is None else self._context.latest_progress

    async def wait(self) -> Outcome[R]:
        """Wait until the task has finished; never raises for the task's own failure."""
        if self.outcome is None:
            await self.finished.wait()
        assert self.outcome is not None
        return self.outcome

    def cancel(self) -> bool:
        """Ask the task to stop, from any thread.

        A waiting task never starts; a running async one has ``CancelledError`` raised at its
        next await; the thread of a running sync one is left behind.

        Returns:
            ``False`` if nothing was cancelled: the task is over (but for its error handler), or
            it runs shielded.
        """
        return self.supervisor.cancel(self, "cancel() was called")

    async def __call__(self) -> R:
        """Run the function again and raise what it raises. For error handlers.

        If the last such run succeeds and the handler returns, the task counts as succeeded.
        """
        self._rerun = None
        value: R = await self.supervisor.call(self)
        self._rerun = Succeeded(value)
        return value

    def __repr__(self) -> str:
        if self.outcome is not None:
            state = type(self.outcome).__name__.lower()
        else:
            state = "running" if self._running else "waiting"
        return f"<Task {self.name!r} {state}>"


TaskErrorHandler: TypeAlias = (
    Callable[[Task[..., Any], Exception], Any]
    | Callable[[Task[..., Any], Exception], Awaitable[Any]]
)
"""``handler(task, error)``, sync or async, called once when a task has failed for good.

``error`` is what the function raised; ``TaskTimeout``, ``TaskCancelled`` or ``TaskCrashed`` where
it did not end by an ``Exception`` of its own.
"""
