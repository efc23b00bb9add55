"""Sees what an app does, in its event loop, and keeps it until somebody writes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime
from itertools import count
from typing import Any, NamedTuple

from backstay.clock import Clock
from backstay.events.sampling import OBSERVED, Sampling
from backstay.events.tally import Tally
from backstay.observation import METHODS, Kind, Observation

__all__ = ["Collector", "Seen", "said_by"]

_MAX_SAID = 8_000
_NAME = 200
_OTHER_METHOD = "(other)"


class Seen(NamedTuple):
    """What has happened, as it was: nothing is masked yet.

    ``number`` tells those apart that begin at the same moment; it is the collector's to give.
    """

    kind: str
    name: str
    correlation_id: str | None
    started_at: datetime
    duration_s: float
    outcome: str
    status: int | None
    error: tuple[str, str] | None
    facts: Mapping[str, Any]
    number: int = 0


class Collector:
    """An ``Observer`` that keeps what it sees, bounded.

    It costs the work a few microseconds: what is dear (masking, JSON, writing) comes later.

    Args:
        clock: what time it is.
        sampling: which of those that did not fail are kept one by one.
        queue: how many wait to be written at most.
        record_requests: whether to see requests at all.

    Attributes:
        tally: the sums of what was seen, sampled or not.
        dropped: how many were let go of because too many were waiting.
        is_open: whether anything is kept.
        on_batch: called in the event loop when ``batch`` of them are waiting.
    """

    def __init__(
        self,
        clock: Clock,
        sampling: Sampling,
        *,
        queue: int,
        batch: int,
        record_requests: bool = True,
    ) -> None:
        self.tally = Tally()
        self.dropped = 0
        self.is_open = sampling.on
        self.on_batch: Any = None
        self._clock = clock
        self._sampling = sampling
        self._most = queue
        self._batch = batch
        self._kinds = frozenset(OBSERVED) - (frozenset() if record_requests else {Kind.REQUEST})
        self._numbers = count()
        self._ordinary: deque[Seen] = deque()
        self._precious: deque[Seen] = deque()

    @property
    def kinds(self) -> frozenset[Kind]:
        """What it wants to see."""
        return self._kinds

    @property
    def waiting(self) -> int:
        """How many wait to be written."""
        return len(self._ordinary) + len(self._precious)

    def begin(self, seen: Observation) -> object:
        """Nothing: everything is known at the end."""
        return None

    def link(self) -> str | None:
        """None: this is not tracing."""
        return None

    def end(self, seen: Observation, mark: object) -> None:
        """Count it, and keep it if it failed or is one of the sample."""
        if not self.is_open:
            return
        status = seen.status
        failed = seen.outcome == "failed" or (status is not None and status >= 500)
        name = _name_of(seen)
        started_at, duration_s = seen.started_at, seen.duration_s
        minute = int((started_at.timestamp() + duration_s) // 60)
        self.tally.add(seen.kind, name, minute, duration_s, failed=failed, status=status)
        if failed or self._sampling.takes(seen.kind, seen.correlation_id, self._clock):
            self._keep(
                Seen(
                    seen.kind,
                    name,
                    seen.correlation_id,
                    started_at,
                    duration_s,
                    seen.outcome,
                    status,
                    None if seen.error is None else said_by(seen.error),
                    dict(seen.facts),
                    next(self._numbers),
                ),
                precious=failed,
            )

    def record(self, seen: Seen) -> None:
        """Count and keep what somebody wants to be kept, whatever the sample."""
        if not self.is_open:
            return
        failed = seen.outcome == "failed" or (seen.status is not None and seen.status >= 500)
        minute = int((seen.started_at.timestamp() + seen.duration_s) // 60)
        self.tally.add(
            seen.kind, seen.name, minute, seen.duration_s, failed=failed, status=seen.status
        )
        self._keep(seen._replace(number=next(self._numbers)), precious=True)

    def take(self, most: int) -> list[Seen]:
        """Up to so many of those that wait; what must not be lost comes first."""
        taken: list[Seen] = []
        for queue in (self._precious, self._ordinary):
            while queue and len(taken) < most:
                taken.append(queue.popleft())
        return taken

    def _keep(self, seen: Seen, *, precious: bool) -> None:
        waiting = len(self._ordinary) + len(self._precious)
        if waiting >= self._most:
            self.dropped += 1
            (self._ordinary or self._precious).popleft()
        elif waiting + 1 == self._batch and self.on_batch is not None:
            self.on_batch()
        (self._precious if precious else self._ordinary).append(seen)


def _name_of(seen: Observation) -> str:
    """Its name, of which there are few: a request's begins with a method, which may be any word.

    Whoever makes methods up could else use up the names that are told apart in a minute.
    """
    name = seen.name
    if seen.kind is Kind.REQUEST:
        method = seen.facts.get("method")
        if isinstance(method, str) and method not in METHODS:
            name = f"{_OTHER_METHOD}{name.removeprefix(method)}"
    return name[:_NAME]


def said_by(error: BaseException) -> tuple[str, str]:
    """The name of an error's type, and its message; errors that cannot say it included."""
    kind = type(error).__qualname__
    try:
        return kind, str(error)[:_MAX_SAID]
    except Exception:
        return kind, "<its message cannot be had>"
