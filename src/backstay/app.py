"""One app's backstay: its parts, and the only place contexts are opened."""

from __future__ import annotations

import logging
from collections.abc import (
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from typing import Any, TypeVar

from backstay.clock import Clock, SystemClock
from backstay.context import Context, Origin, Work
from backstay.errors import AlreadyInstalled, NotInstalled
from backstay.observation import Kind, Observation, Observer
from backstay.part import Part
from backstay.settings import Settings

__all__ = ["Backstay"]

EarlyAnswer = Callable[
    [MutableMapping[str, Any], Callable[[Any], Awaitable[None]]], Awaitable[bool]
]
"""Takes an ASGI scope and ``send``; says whether it has answered."""

Layer = Callable[[Any], Any]
"""Takes an ASGI app and returns one that stands around it."""

ContextT = TypeVar("ContextT", bound=Context)

_SWITCHES = {
    "auth": "mount_auth(app) of a class below backstay.auth.BaseAuthJWT",
    "cache": "backstay.cache.add_cache(app)",
    "db": "backstay.db.add_database(app, url)",
    "durable": "backstay.tasks.add_tasks(app)",
    "events": "backstay.events.add_events(app)",
    "integrations": "backstay.integration.add_integrations(app, [...])",
    "job": "backstay.tasks.add_tasks(app)",
    "limits": "backstay.limits.add_limits(app)",
    "pattern": "backstay.pattern.base_pattern(app)",
    "state": "backstay.state.add_state(app)",
    "tasks": "backstay.tasks.add_tasks(app)",
    "telemetry": "backstay.telemetry.add_telemetry(app)",
}


class Backstay:
    """What one app has switched on. ``backstay.web.install(app)`` makes it and keeps it.

    Args:
        settings: where ``ctx.settings`` looks. ``None`` means the environment alone.
        clock: time and randomness for every part. ``None`` means the machine's.
        logger: the logger under ``ctx.logger``. ``None`` means the one named ``"app"``.

    Attributes:
        state: what the app's lifespan yielded, ``None`` before it has.
        early: asked before anything else about a request over HTTP; whether it has answered.
        door: the ASGI app that requests go in by, ``None`` before there was one.
        app_state: the ``state`` of the app (Starlette's), ``None`` before it was installed.
        correlation_header: the request and response header of the correlation id.
        verifier: who finds out who sends a request (a ``UserVerifier``), ``None`` for nobody.
        trusted_proxies: the networks (``ipaddress``) whose word about a client's address counts.
        answer_headers: headers that go with every answer which does not have them; names in lower
            case. ``vary`` goes with those that have one, too.
        page_headers: more for answers that are pages, by the request's ASGI scope; they win over
            ``answer_headers``. ``None``: none.
        tells_time: whether answers say how long they took (``Server-Timing``).
        layers: what ``add_layer`` was given.
        sees_requests: whether an observer wants to know about requests.
        serves: whether this process answers requests; ``False`` in one that only runs jobs.
    """

    def __init__(
        self,
        *,
        settings: Settings | None = None,
        clock: Clock | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self.settings = settings if settings is not None else Settings()
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.logger = logger if logger is not None else logging.getLogger("app")
        self._parts: dict[str, Part] = {}
        self._open: list[Part] = []
        self.started = False
        self.early: EarlyAnswer | None = None
        self.door: Any = None
        self.app_state: Any = None
        self.correlation_header = "X-Request-ID"
        self.verifier: Any = None
        self.trusted_proxies: Sequence[Any] = ()
        self.answer_headers: Sequence[tuple[bytes, bytes]] = ()
        self.page_headers: Callable[[Any], Sequence[tuple[bytes, bytes]]] | None = None
        self.tells_time = False
        self.layers: list[tuple[frozenset[bytes], bool, Layer]] = []
        self.sees_requests = False
        self._observers: dict[Kind, tuple[Observer, ...]] = {}
        self.serves = True
        self.state: Mapping[str, Any] | None = None

    @property
    def knows_users(self) -> bool:
        """Whether a verifier finds out who sends requests."""
        return self.verifier is not None

    def add(self, part: Part, *, first: bool = False) -> None:
        """Switch a part on.

        Args:
            part: the part.
            first: it opens before those that are on already, and closes after them: for what
                others stand on.

        Raises:
            AlreadyInstalled: a part with that attribute is on already.
            RuntimeError: the app has started; parts are chosen before that.
        """
        if part.attribute in self._parts:
            raise AlreadyInstalled(
                f"{part.attribute!r} is switched on for this app already; call its add_… once, "
                "with all its options"
            )
        if self.started:
            raise RuntimeError(
                f"{part.attribute!r} was switched on after the app had started; do it where the "
                "app is made"
            )
        self._parts = (
            {part.attribute: part, **self._parts}
            if first
            else {**self._parts, part.attribute: part}
        )

    def has(self, attribute: str) -> bool:
        """Whether that part is switched on."""
        return attribute in self._parts

    def part(self, attribute: str) -> Part:
        """The part behind ``ctx.<attribute>``.

        Raises:
            NotInstalled: it is a part backstay has, but this app did not switch it on.
            AttributeError: there is no such thing.
        """
        try:
            return self._parts[attribute]
        except KeyError:
            pass
        if attribute in _SWITCHES:
            raise NotInstalled(
                f"ctx.{attribute} is not switched on for this app: "
                f"call {_SWITCHES[attribute]} where the app is made"
            )
        raise AttributeError(
            f"a Context has no attribute {attribute!r}; this app's parts are: "
            f"{', '.join(self._parts) or 'none'}"
        )

    def add_layer(
        self, layer: Layer, *, headers: Iterable[str], beyond_http1: bool = False
    ) -> None:
        """Put an ASGI middleware around the whole app, for requests that have certain headers.

        All others do not pass it, so it costs them nothing. It stands outside of the app's own
        middlewares and error answers; what is added later stands further out.

        Args:
            layer: makes the middleware of the app within. It may be called several times.
            headers: requests that have one of these pass through it.
            beyond_http1: so do all that do not come by HTTP/1: later versions announce less.

        Raises:
            RuntimeError: the app has begun to answer.
        """
        if self.door is not None:
            raise RuntimeError(
                "add_layer() came after the app had begun to answer; call it where the app is made"
            )
        names = frozenset(name.lower().encode("ascii") for name in headers)
        self.layers.append((names, beyond_http1, layer))

    def add_observer(self, observer: Observer) -> None:
        """Let ``observer`` know what the app does from now on."""
        self._observers = {
            **self._observers,
            **{kind: (*self._observers.get(kind, ()), observer) for kind in observer.kinds},
        }
        self.sees_requests = Kind.REQUEST in self._observers

    def observe(
        self,
        kind: Kind,
        name: str,
        correlation_id: str | None,
        *,
        link: str | None = None,
        facts: dict[str, Any] | None = None,
    ) -> Observation | None:
        """Something begins. For whoever runs it; ``end`` of what this returns says that it is over.

        Args:
            kind: what it is.
            name: what it is called.
            correlation_id: of the work it belongs to.
            link: the ``traceparent`` of what scheduled it elsewhere.
            facts: more about it.

        Returns:
            ``None`` if nobody wants to know.
        """
        observers = self._observers.get(kind)
        if observers is None:
            return None
        return Observation(
            observers, self.clock, kind, name, correlation_id, link=link, facts=facts
        )

    def is_observed(self, kind: Kind) -> bool:
        """Whether anybody wants to know about that kind: ``observe`` would return something."""
        return kind in self._observers

    def link(self) -> str | None:
        """The ``traceparent`` of what runs now, for work that is sent elsewhere; ``None`` without."""
        for observers in self._observers.values():
            for each in observers:
                if (found := each.link()) is not None:
                    return found
        return None

    def covers(self, other: Backstay) -> bool:
        """Whether this app has every part that ``other`` has."""
        return other is self or other._parts.keys() <= self._parts.keys()

    def __iter__(self) -> Iterator[Part]:
        return iter(self._parts.values())

    def open(
        self,
        origin: Origin,
        work: Work | None = None,
        *,
        correlation_id: str | None = None,
        parent: Context | None = None,
    ) -> Context:
        """Open the context of one piece of work.

        Args:
            origin: what kind of work it is.
            work: the running thing. ``None`` for work that backstay does not run itself.
            correlation_id: ``None`` takes the parent's, or a new one.
            parent: the context of the work that started this one.
        """
        return self.open_as(Context, origin, work, correlation_id=correlation_id, parent=parent)

    def open_as(
        self,
        kind: type[ContextT],
        origin: Origin,
        work: Work | None = None,
        *,
        correlation_id: str | None = None,
        parent: Context | None = None,
    ) -> ContextT:
        """The same for work whose context offers more: ``kind`` is the class to open."""
        if correlation_id is None:
            correlation_id = parent.correlation_id if parent is not None else self.clock.new_id()
        return kind(self, work, origin=origin, correlation_id=correlation_id, parent=parent)

    async def start(self) -> None:
        """Open every part. If one fails, those already open are closed and the error is raised."""
        self.started = True
        try:
            for part in self._parts.values():
                await part.open()
                self._open.append(part)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close what is open, last opened first. A part that fails to close is logged."""
        self.started = False
        while self._open:
            part = self._open.pop()
            try:
                await part.close()
            except Exception:
                self.logger.exception("closing the part %r failed", part.attribute)
