"""A piece of work and its life.

A request, a background task, a durable job and a widget call are four origins of one thing::

    opened  ->  RETURNED               ->  ANSWERED                ->  closed
                user code succeeded,       response body sent /
                dependencies exited        job acked / result sent

Work that fails never returns: whoever waits for RETURNED or ANSWERED is told ``False`` instead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from backstay.errors import ContextClosed, NotInstalled
from backstay.log import ContextLogger, running

if TYPE_CHECKING:
    from backstay.app import Backstay
    from backstay.auth.auth_part import AuthPart
    from backstay.cache.part import ContextCache
    from backstay.db.part import ContextDatabase
    from backstay.events.events import Events
    from backstay.integration.http.declaration import EndpointsDeclaration
    from backstay.jobs.durable import DurableScheduler
    from backstay.jobs.run import JobRun
    from backstay.limits.context_limits import ContextLimits
    from backstay.settings import Settings
    from backstay.state.state import State
    from backstay.tasks.scheduler import TaskScheduler

__all__ = [
    "Context",
    "Listener",
    "Moment",
    "Origin",
    "Progress",
    "User",
    "Work",
    "current_context",
    "current_work",
]

Listener = Callable[[bool], object]
"""Told at a moment whether the work succeeded. Runs in the event loop and must not block."""


class Origin(StrEnum):
    """What kind of work a context stands for."""

    REQUEST = "request"
    TASK = "task"
    JOB = "job"
    WIDGET = "widget"
    SCRIPT = "script"


class Moment(IntEnum):
    """How far a piece of work has come."""

    OPENED = 0
    RETURNED = 1
    ANSWERED = 2
    CLOSED = 3


_MOMENTS = tuple(Moment)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far along a task says it is.

    Attributes:
        done: steps finished, in whatever unit ``total`` has.
        total: steps in all, ``None`` if unknown.
        message: a line for people, ``None`` if there is nothing to add.
        at: when it was reported, aware UTC.
    """

    done: float
    total: float | None
    message: str | None
    at: datetime

    @property
    def fraction(self) -> float | None:
        """``done / total`` between 0 and 1, ``None`` while the total is unknown or zero."""
        return min(1.0, max(0.0, self.done / self.total)) if self.total else None


@dataclass(frozen=True, slots=True)
class User:
    """Who is asking, as a verifier found out.

    Attributes:
        subject: the stable identifier (the ``sub`` claim of a JWT, RFC 7519 §4.1.2).
        scopes: what the credentials allow (RFC 6749 §3.3).
        claims: everything else the verifier learned.
    """

    subject: str
    scopes: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict)

    def has_scope(self, scope: str) -> bool:
        """Whether the credentials allow that."""
        return scope in self.scopes


class _HandedOver:
    """Awaited, it is done at once."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


_HANDED_OVER = _HandedOver()


class Work(Protocol):
    """The running thing a Context stands for: a request's exchange, a task."""

    @property
    def app(self) -> Backstay:
        """Whose work it is."""

    @property
    def context(self) -> Context:
        """Its context, made on first use: most work never asks for one."""

    def hold_answer(self, until: Callable[[], Awaitable[None]], *, first: bool = False) -> None:
        """Await ``until`` at RETURNED, before the answer leaves; its failure fails the work.

        Args:
            until: what to await.
            first: before anybody hears of RETURNED: for what has to be written before the work
                can be said to have succeeded.

        Raises:
            ContextClosed: RETURNED has passed.
        """


current_work: ContextVar[Work | None] = running
"""Set by whoever runs a piece of work, in the context (PEP 567) its code runs in."""


def current_context() -> Context:
    """The context of the code that is running: a request's in its endpoint, a task's in a task.

    Raises:
        NotInstalled: no piece of work of backstay's is running here.
    """
    work = current_work.get()
    if work is None:
        raise NotInstalled(
            "no backstay context is open here: current_context() works inside requests and tasks "
            "of an app that was given to add_tasks(app) or install(app)"
        )
    return work.context


class Context:
    """What a piece of work may reach. Take it as ``ctx: Ctx`` or from ``current_context()``.

    Parts that are switched on for the app appear as attributes (``ctx.tasks``), bound on first
    use. After the work is over, whatever it started may go on using ``settings``, ``logger``
    and ``tasks``.

    Attributes:
        app: the app's ``Backstay``.
        origin: what kind of work this is.
        correlation_id: the id on its log lines, on the answer's ``X-Request-ID``, and on
            whatever it starts.
        on_progress: told of each report, in the thread it comes from; set by whoever runs the
            work and has readers elsewhere.
        succeeded: ``None`` until RETURNED, then whether user code succeeded. It can still turn
            ``False`` at ANSWERED, if the body or a request-scoped dependency fails after that.
    """

    __slots__ = (
        "_bound",
        "_listeners",
        "_logger",
        "_progress",
        "_reached",
        "_user",
        "app",
        "correlation_id",
        "on_progress",
        "origin",
        "parent",
        "succeeded",
        "work",
    )

    if TYPE_CHECKING:  # parts, bound by __getattr__
        auth: AuthPart
        events: Events
        limits: ContextLimits
        tasks: TaskScheduler
        durable: DurableScheduler
        integrations: tuple[EndpointsDeclaration, ...]
        job: JobRun
        cache: ContextCache
        db: ContextDatabase
        state: State

    def __init__(
        self,
        app: Backstay,
        work: Work | None,
        *,
        origin: Origin,
        correlation_id: str,
        parent: Context | None = None,
    ) -> None:
        self.app = app
        self.work = work
        self.origin = origin
        self.correlation_id = correlation_id
        self.parent = parent
        self._reached = 0
        self._bound: dict[str, Any] | None = None
        self._logger: ContextLogger | None = None
        self.succeeded: bool | None = None
        self._listeners: dict[int, list[Listener]] | None = None
        self._progress: Progress | None = None
        self.on_progress: Callable[[Progress], object] | None = None
        self._user: User | Exception | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if self._bound is None:
            self._bound = {}
        elif name in self._bound:
            return self._bound[name]
        value = self._bound[name] = self.app.part(name).bind(self)
        return value

    def has(self, attribute: str) -> bool:
        """Whether that part has been used by this context. Asking does not bind it."""
        return self._bound is not None and attribute in self._bound

    def unbind(self, attribute: str) -> None:
        """Let go of that part, so that its next use gets it afresh."""
        if self._bound is not None:
            self._bound.pop(attribute, None)

    @property
    def moment(self) -> Moment:
        """How far the work has come."""
        return _MOMENTS[self._reached]

    @property
    def settings(self) -> Settings:
        """The app's settings."""
        return self.app.settings

    @property
    def logger(self) -> ContextLogger:
        """A standard logger whose records carry this context's correlation id."""
        if self._logger is None:
            self._logger = ContextLogger(self.app.logger, self.correlation_id)
        return self._logger

    @property
    def user(self) -> User | None:
        """Who is asking; ``None`` for anonymous requests and where no verifier is installed.

        Raises:
            ContextClosed: nobody asked the verifier for this request; take ``ctx: Ctx`` as a
                parameter of the endpoint or of a dependency.
        """
        user = self._user
        if isinstance(user, Exception):
            raise user
        return user if user is not None or self.parent is None else self.parent.user

    def set_user(self, user: User | Exception | None) -> None:
        """Record who is asking, or the error to raise to whoever wants to know."""
        self._user = user

    def progress(
        self, done: float, total: float | None = None, message: str | None = None
    ) -> Awaitable[None]:
        """Say how far the work is. Readers see the latest report.

        Args:
            done: steps finished.
            total: steps in all, ``None`` if unknown.
            message: a line for people.

        Returns:
            What may be awaited and need not be: where reports go over a wire, that waits until
            this one has been handed to it.

        Raises:
            ContextClosed: the work is over.
        """
        if self._reached == Moment.CLOSED:
            raise ContextClosed(
                f"progress({done}, {total}) came after this {self.origin} was over; "
                "report it from the context of the work that is still running"
            )
        self._progress = Progress(done, total, message, self.app.clock.now())
        if self.on_progress is not None:
            self.on_progress(self._progress)
        return _HANDED_OVER

    @property
    def latest_progress(self) -> Progress | None:
        """The last report, ``None`` if there was none."""
        return self._progress

    def at(self, moment: Moment, listener: Listener) -> None:
        """Call ``listener(succeeded)`` when the work reaches ``moment``; at once if it has."""
        if self._reached >= moment:
            listener(bool(self.succeeded))
            return
        if self._listeners is None:
            self._listeners = {}
        listeners = self._listeners.get(moment)
        if listeners is None:
            self._listeners[moment] = [listener]
        else:
            listeners.append(listener)

    def reach(self, moment: Moment, succeeded: bool) -> None:
        """Move on to ``moment`` and tell its listeners. For whoever runs the work.

        Moments passed over are told too, in order. Reaching one twice does nothing.
        """
        while self._reached < moment:
            self._reached += 1
            self.succeeded = succeeded if self.succeeded is None else self.succeeded and succeeded
            if self._listeners:
                for listener in self._listeners.pop(self._reached, ()):
                    listener(self.succeeded)

    def close(self) -> None:
        """The work is over. For whoever ran it.

        Parts are let go: whoever goes on using this context gets them bound afresh, and no
        cycle of references keeps the request alive until a garbage collection.
        """
        self.reach(Moment.CLOSED, True)
        self._bound = None
        self.work = None

    def __repr__(self) -> str:
        return f"<Context {self.origin} {self.correlation_id} {self.moment.name}>"
