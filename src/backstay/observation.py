"""Seeing what an app does: requests, tasks, jobs, widget calls, and what they ask of others.

Whoever runs a piece of work says when it begins and how it ends; whoever wants to know is an
``Observer``. Nothing is made, and hardly any time passes, while nobody does.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from backstay.clock import Clock

__all__ = ["Kind", "METHODS", "Observation", "Observer"]

METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)
"""The methods that have a name of their own (RFC 9110 §9, RFC 5789, and QUERY).

A client may send any other word as one: who remembers methods remembers no others.
"""

_logger = logging.getLogger("backstay")


class Kind(StrEnum):
    """What kind of thing is seen."""

    REQUEST = "request"
    TASK = "task"
    JOB = "job"
    WIDGET = "widget"
    CALL = "call"
    """A call to another service."""
    FILL = "fill"
    """Making a value that the cache did not have."""


class Observation:
    """One thing that is seen, from its beginning to its end.

    Attributes:
        kind: what it is.
        name: of the task, job, widget or call. A request's is its method and the template of its
            route (``"GET /items/{item_id}"``), known at the end; ``"GET"`` alone if none took it.
        correlation_id: of the piece of work it belongs to. ``None`` if it belongs to none.
        link: the W3C ``traceparent`` of what scheduled it elsewhere, ``None`` if that is unknown.
        started_at: aware UTC.
        duration_s: seconds from its beginning to its end; 0 before that.
        outcome: ``"ok"``, ``"failed"`` or ``"cancelled"``; of a job also ``"retried"``,
            ``"snoozed"`` and ``"discarded"``. Empty before its end.
        status: the HTTP status of a request or call, ``None`` if there is none.
        error: what was raised, ``None`` if nothing was.
        facts: more about it, values as JSON has them. A request's has ``method``, ``path`` and
            ``route``; a job's ``queue``, ``job`` (its id) and ``attempt``.
    """

    __slots__ = (
        "_begun",
        "_clock",
        "_marks",
        "_observers",
        "correlation_id",
        "duration_s",
        "error",
        "facts",
        "kind",
        "link",
        "name",
        "outcome",
        "started_at",
        "status",
    )

    def __init__(
        self,
        observers: Sequence[Observer],
        clock: Clock,
        kind: Kind,
        name: str,
        correlation_id: str | None,
        *,
        link: str | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        self._observers = observers
        self._clock = clock
        self.kind = kind
        self.name = name
        self.correlation_id = correlation_id
        self.link = link
        self.facts: dict[str, Any] = {} if facts is None else facts
        self.outcome = ""
        self.status: int | None = None
        self.error: BaseException | None = None
        self.duration_s = 0.0
        self.started_at: datetime = clock.now()
        self._begun = clock.monotonic()
        self._marks: list[object] = []
        for each in observers:
            try:
                mark = each.begin(self)
            except Exception:
                _logger.exception("%r failed when %s %r began", each, kind, name)
                mark = None
            self._marks.append(mark)

    def end(
        self, outcome: str, *, status: int | None = None, error: BaseException | None = None
    ) -> None:
        """It is over. A second end does nothing.

        Args:
            outcome: how, as ``Observation.outcome`` says.
            status: the HTTP status it ended with.
            error: what was raised.
        """
        if self.outcome:
            return
        self.outcome = outcome
        self.status = status
        self.error = error
        self.duration_s = self._clock.monotonic() - self._begun
        for each, mark in zip(reversed(self._observers), reversed(self._marks), strict=True):
            try:
                each.end(self, mark)
            except Exception:
                _logger.exception("%r failed when %s %r ended", each, self.kind, self.name)
        self.error = None  # a traceback would keep the work's frames alive
        self._marks.clear()


class Observer(Protocol):
    """Wants to know what an app does. Give one to ``Backstay.add_observer``.

    What it does takes the work's time, in the event loop: a few microseconds, and nothing that
    waits. What it raises is logged, and harms nobody else.
    """

    @property
    def kinds(self) -> frozenset[Kind]:
        """What it wants to know about. Asked once."""

    def begin(self, seen: Observation) -> object:
        """Something begins, in the context (PEP 567) that its code is going to run in.

        Returns:
            Whatever ``end`` is to get.
        """

    def end(self, seen: Observation, mark: object) -> None:
        """It is over: ``outcome``, ``duration_s`` and the rest are known.

        Args:
            seen: what; not to be kept, for its ``error`` goes when this returns.
            mark: what ``begin`` returned, ``None`` if that failed.
        """

    def link(self) -> str | None:
        """The ``traceparent`` (W3C Trace Context) of what runs now, to be sent along with work
        that will run elsewhere. ``None`` if there is none.
        """
