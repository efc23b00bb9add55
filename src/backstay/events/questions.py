"""What is asked of the tables, as statements."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from backstay.errors import BadCursor, BadEvents, MissingExtra
from backstay.events import tables
from backstay.events.event import Event, as_utc, earliest_id, moment_of
from backstay.events.minute import Minute
from backstay.events.tally import BUCKETS

try:
    from sqlalchemy import ColumnElement, Row, Select, func, literal_column, or_, select
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = [
    "EventFilter",
    "MAX_LIMIT",
    "event_of",
    "minute_of",
    "minutes_between",
    "select_events",
    "select_sums",
]

MAX_LIMIT = 1_000
_MAX_SEARCH = 200
_SUMMED = ("count", "failed", "status_2xx", "status_3xx", "status_4xx", "status_5xx", "total_us")


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are asked for; what is ``None`` does not matter.

    Attributes:
        kind, name, correlation_id, outcome: exactly these.
        failed: ``True``: those that failed or were answered with 500 or more.
        since: those that began then or later. Aware.
        until: those that began before.
        search: those with this text in their name, error, facts or correlation id, in any case.
    """

    kind: str | None = None
    name: str | None = None
    correlation_id: str | None = None
    outcome: str | None = None
    failed: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    search: str | None = None


def select_events(which: EventFilter, *, limit: int, before: str | None) -> Select[Any]:
    """Events, the newest first.

    Raises:
        BadCursor: ``before`` is no id of an event.
        BadEvents: something in it could match nothing, or too much.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
        raise BadEvents(f"limit= is between 1 and {MAX_LIMIT}; got {limit!r}")
    columns = tables.events.c
    conditions: list[ColumnElement[bool]] = [
        columns[name] == str(value)
        for name in ("kind", "name", "correlation_id", "outcome")
        if (value := getattr(which, name)) is not None
    ]
    if which.failed is not None:
        failed = or_(columns.outcome == "failed", func.coalesce(columns.status, 0) >= 500)
        conditions.append(failed if which.failed else ~failed)
    if which.since is not None:
        conditions.append(columns.id >= earliest_id(as_utc(which.since, "since")))
    if which.until is not None:
        conditions.append(columns.id < earliest_id(as_utc(which.until, "until")))
    if which.search is not None:
        text = which.search.replace("\0", "")[:_MAX_SEARCH]
        conditions.append(
            or_(
                *(
                    columns[name].icontains(text, autoescape=True)
                    for name in ("name", "error", "facts", "correlation_id")
                )
            )
        )
    if before is not None:
        conditions.append(columns.id < _cursor(before))
    return select(tables.events).where(*conditions).order_by(columns.id.desc()).limit(limit)


def _cursor(before: object) -> UUID:
    try:
        return UUID(before)  # type: ignore[arg-type]  # what is no text is refused by it
    except (ValueError, TypeError, AttributeError):
        raise BadCursor(f"before= is the id of an event; got {before!r}") from None


def minutes_between(since: datetime, until: datetime) -> tuple[int, int]:
    """The first minute that is asked for, and the first that is not.

    Raises:
        BadEvents: they are no times, or the wrong way round.
    """
    first = int(as_utc(since, "since").timestamp() // 60)
    end = -int(-as_utc(until, "until").timestamp() // 60)
    if end < first:
        raise BadEvents(f"since= comes before until=; got {since!r} and {until!r}")
    return first, end


def select_sums(
    first: int,
    end: int,
    *,
    kind: str | None,
    name: str | None,
    step: int | None = 1,
    by_name: bool = True,
) -> Select[Any]:
    """Sums of minutes.

    Args:
        first: the first minute.
        end: the first one that does not count.
        kind: of these things only.
        name: the same.
        step: minutes that are added up, from multiples of it since 1970 on; ``None``: all of them.
        by_name: whether names are told apart.
    """
    columns = tables.minutes.c
    at: Any = columns.minute
    if step is None:
        at = literal_column(str(int(first)))
    elif step > 1:
        # A literal, for PostgreSQL does not see that two parameters are the same number.
        at = columns.minute - columns.minute % literal_column(str(int(step)))
    label: Any = columns.name if by_name else func.min(columns.name)
    sums = [func.sum(columns[each]).label(each) for each in (*_SUMMED, *BUCKETS)]
    statement = select(
        at.label("at_minute"),
        columns.kind,
        label.label("name"),
        *sums,
        func.max(columns.max_us).label("max_us"),
    ).where(columns.minute >= first, columns.minute < end)
    if kind is not None:
        statement = statement.where(columns.kind == str(kind))
    if name is not None:
        statement = statement.where(columns.name == name)
    groups = [columns.kind, *([columns.name] if by_name else []), *([at] if step else [])]
    return statement.group_by(*groups)


def event_of(row: Row[Any]) -> Event:
    """An event, as it was read."""
    return Event(
        id=str(row.id),
        kind=row.kind,
        name=row.name,
        correlation_id=row.correlation_id,
        started_at=moment_of(row.started_us),
        duration_ms=row.duration_us / 1000,
        outcome=row.outcome,
        status=row.status,
        error=row.error,
        facts=_facts_in(row.facts),
    )


def _facts_in(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:  # somebody else has been writing here
        return {}
    return found if isinstance(found, dict) else {}


def minute_of(row: Row[Any], *, step_s: int = 60, named: bool = True) -> Minute:
    """A minute, or the sum of several, as it was read. PostgreSQL's sums are ``Decimal``."""
    return Minute(
        at=moment_of(int(row.at_minute) * 60_000_000),
        kind=row.kind,
        name=row.name if named else None,
        total_ms=int(row.total_us) / 1000,
        max_ms=int(row.max_us) / 1000,
        histogram=tuple(_ints(row, BUCKETS)),
        step_s=step_s,
        **dict(zip(_SUMMED[:-1], _ints(row, _SUMMED[:-1]), strict=True)),
    )


def _ints(row: Row[Any], names: Iterable[str]) -> Iterable[int]:
    return (int(row._mapping[name]) for name in names)
