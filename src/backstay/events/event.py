"""One thing that has happened, as it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from secrets import randbits
from typing import Any
from uuid import UUID

from backstay.errors import BadEvents

__all__ = [
    "Event",
    "EventPage",
    "as_utc",
    "earliest_id",
    "microseconds_of",
    "moment_of",
    "new_event_id",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MARKS = (7 << 76) | (2 << 62)
"""Version and variant of a UUIDv7 (RFC 9562 §5.7)."""
_NUMBERS = 2**22 - 1


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that has happened. Nothing in it is a secret: see ``Masking``.

    Attributes:
        id: a UUIDv7 of ``started_at``; ids sort by it.
        kind: ``"request"``, ``"task"``, ``"job"``, ``"widget"``, ``"call"``, or what somebody has
            recorded: ``"audit"``.
        name: of the task, job, widget or call; of a request its method and its route's template.
        correlation_id: of the piece of work it belongs to, ``None`` if it belongs to none.
        started_at: aware UTC.
        duration_ms: milliseconds from its beginning to its end.
        outcome: ``"ok"``, ``"failed"``, ``"cancelled"``; of a job also ``"retried"``,
            ``"snoozed"`` and ``"discarded"``; of what was recorded, whatever was said.
        status: the HTTP status of a request or call, ``None`` if there is none.
        error: ``"TypeName: message"``, ``None`` if nothing was raised.
        facts: more about it, 4 kB of JSON at most.
    """

    id: str
    kind: str
    name: str
    correlation_id: str | None
    started_at: datetime
    duration_ms: float
    outcome: str
    status: int | None = None
    error: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether it failed, or was answered with 500 or more."""
        return self.outcome == "failed" or (self.status is not None and self.status >= 500)


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events, the newest first.

    Attributes:
        events: them.
        next: ``before=`` of the next page; ``None``: there is none.
    """

    events: tuple[Event, ...]
    next: str | None


def new_event_id(started_at: datetime, number: int = 0) -> UUID:
    """A UUIDv7 (RFC 9562 §5.7) of a moment, to the microsecond (§6.2, method 3).

    Args:
        started_at: the moment, aware UTC.
        number: in this process. Of two that begin at the same moment the one with the higher
            number is later (§6.2, method 1); the rest of the id is chance.
    """
    return UUID(int=_time_bits(started_at) | _MARKS | (number & _NUMBERS) << 40 | randbits(40))


def earliest_id(at: datetime) -> UUID:
    """The smallest id that something which began at ``at`` can have."""
    return UUID(int=_time_bits(at) | _MARKS)


def microseconds_of(at: datetime) -> int:
    """Microseconds since 1970; 0 for what was before."""
    return max(0, (at - _EPOCH) // _MICROSECOND)


def moment_of(microseconds: int) -> datetime:
    """The same the other way."""
    return _EPOCH + timedelta(microseconds=microseconds)


def _time_bits(at: datetime) -> int:
    milliseconds, rest = divmod(microseconds_of(at), 1000)
    # 4096 ticks for 1000 microseconds: each has ticks of its own.
    return (milliseconds << 80) | ((rest * 4096 // 1000) << 64)


def as_utc(at: datetime, what: str) -> datetime:
    """A moment that somebody asks about, as UTC.

    Raises:
        BadEvents: it is none, or says of no zone.
    """
    if not isinstance(at, datetime) or at.utcoffset() is None:
        raise BadEvents(
            f"{what}= is a datetime with a zone (backstay.timezone.get_datetime_now()); got {at!r}"
        )
    return at.astimezone(UTC)
