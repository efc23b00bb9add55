"""``ctx.events``: reading what has happened, and recording more."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from backstay.clock import Clock
from backstay.errors import BadEvents
from backstay.events.collector import Collector, Seen, said_by
from backstay.events.event import Event, EventPage, as_utc, moment_of
from backstay.events.masking import Masking
from backstay.events.minute import Minute
from backstay.events.questions import MAX_LIMIT, EventFilter, minutes_between
from backstay.events.store import EventStore, Keeping
from backstay.events.writer import Writer

__all__ = ["Events"]

_KIND = re.compile(r"[a-z][a-z0-9_.-]{0,31}")
_MAX_POINTS = 20_000
_HOUR = timedelta(hours=1)


class Events:
    """What has happened. Every method that reads may raise ``DatabaseUnavailable``.

    What is read is what has been written: an event appears up to ``every_s`` after its end.

    Args:
        store: has it.
        collector: takes what is recorded.
        masking: for questions about what was masked.
        clock: what time it is.
        keeping: how much is kept.
        writer: asks it to write; ``None``: nothing is being written.
        correlation_id: of the work it is for.
    """

    def __init__(
        self,
        store: EventStore,
        collector: Collector,
        masking: Masking,
        clock: Clock,
        keeping: Keeping,
        *,
        writer: Writer | None = None,
        correlation_id: str | None = None,
    ) -> None:
        self._store = store
        self._collector = collector
        self._masking = masking
        self._clock = clock
        self._keeping = keeping
        self._writer = writer
        self._correlation_id = correlation_id

    @property
    def on(self) -> bool:
        """Whether anything is kept at the moment."""
        return self._collector.is_open

    @property
    def dropped(self) -> int:
        """How many events this process has let go of, as too many were waiting to be written."""
        return self._collector.dropped

    @property
    def waiting(self) -> int:
        """How many events wait to be written."""
        return self._collector.waiting

    # ------------------------------------------------------------------ events

    async def find(
        self,
        *,
        kind: str | None = None,
        name: str | None = None,
        correlation_id: str | None = None,
        outcome: str | None = None,
        failed: bool | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        search: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> EventPage:
        """Events, the newest first.

        Args:
            kind: of this kind. ``None``, here and below: of any.
            name: of exactly this name.
            correlation_id: of this piece of work.
            outcome: with exactly this outcome.
            failed: ``True``: those that failed or were answered with 500 or more; ``False``: the
                others.
            since: those that began then or later; an aware datetime.
            until: those that began before then.
            search: those with this text in their name, error, facts or correlation id, in any
                case. It reads through all that the rest leaves.
            limit: so many at most, 1000 at most.
            before: ``next`` of the page before.

        Raises:
            BadEvents: a value could never work.
            BadCursor: ``before`` is no cursor.
        """
        which = EventFilter(
            kind=kind,
            name=name,
            correlation_id=self._asked_for(correlation_id),
            outcome=outcome,
            failed=failed,
            since=since,
            until=until,
            search=search,
        )
        asked = limit + 1 if isinstance(limit, int) and 1 <= limit < MAX_LIMIT else limit
        found = await self._store.find(which, limit=asked, before=before)
        shown = tuple(found[:limit])
        more = len(found) > limit or (asked == limit and len(found) == limit)
        return EventPage(shown, shown[-1].id if more else None)

    async def trace(self, correlation_id: str, *, limit: int = MAX_LIMIT) -> list[Event]:
        """Everything that was kept of one piece of work, and what it caused, in order.

        Args:
            correlation_id: as logs and answers have it.
            limit: so many at most, the newest ones.
        """
        which = EventFilter(correlation_id=self._asked_for(correlation_id))
        return (await self._store.find(which, limit=limit))[::-1]

    async def record(
        self,
        kind: str,
        name: str,
        *,
        outcome: str = "ok",
        status: int | None = None,
        error: BaseException | None = None,
        duration_s: float = 0.0,
        facts: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
    ) -> None:
        """Keep something of your own: ``record("audit", "order cancelled", facts={...})``.

        It is never left out by sampling, and masked as everything is. It is written with the next
        batch; ``await flush()`` after it waits for that. Where events are off, nothing happens.

        Args:
            kind: ``"audit"``, or another word of your own: lower-case letters, digits, ``_.-``.
            name: what happened, in words that do not change: 200 characters at most.
            outcome: ``"ok"``, ``"failed"``, or another word.
            status: an HTTP status.
            error: what was raised.
            duration_s: how long it took, up to now.
            facts: more about it, values as JSON has them.
            correlation_id: ``None``: of the work this is the context of.

        Raises:
            BadEvents: kind or name is none.
        """
        self.note(
            kind,
            name,
            outcome=outcome,
            status=status,
            error=error,
            duration_s=duration_s,
            facts=facts,
            correlation_id=correlation_id,
        )

    def note(
        self,
        kind: str,
        name: str,
        *,
        outcome: str = "ok",
        status: int | None = None,
        error: BaseException | None = None,
        duration_s: float = 0.0,
        facts: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
    ) -> None:
        """``record``, for who cannot await: it only puts the event where the next batch takes it.

        Raises:
            BadEvents: kind or name is none.
        """
        if not isinstance(kind, str) or not _KIND.fullmatch(kind):
            raise BadEvents(
                f'kind= is a word such as "audit": lower-case letters, digits, "_", "." and "-", '
                f"32 at most; got {kind!r}"
            )
        if not isinstance(name, str) or not name:
            raise BadEvents(f"name= says what happened; got {name!r}")
        self._collector.record(
            Seen(
                kind,
                name[:200],
                self._correlation_id if correlation_id is None else correlation_id,
                self._clock.now() - timedelta(seconds=max(0.0, duration_s)),
                max(0.0, duration_s),
                outcome,
                status,
                None if error is None else said_by(error),
                dict(facts or {}),
            )
        )

    async def flush(self) -> None:
        """Write what is waiting now, and return when it is written.

        Raises:
            DatabaseUnavailable: it cannot be; it goes on waiting.
        """
        if self._writer is not None:
            await self._writer.flush()

    # ------------------------------------------------------------------ numbers

    async def minutes(
        self,
        *,
        kind: str | None = None,
        name: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Minute]:
        """What happened in each minute under each name, in order; minutes without are left out.

        Args:
            kind: of this only. ``None``: of all.
            name: the same.
            since: ``None``: an hour before ``until``. The whole minute counts.
            until: ``None``: now.

        Raises:
            BadEvents: a time is none.
        """
        since, until = self._span(since, until)
        return await self._store.sums(since, until, kind=kind, name=name)

    async def series(
        self,
        kind: str,
        name: str | None = None,
        *,
        since: datetime,
        until: datetime | None = None,
        step_s: int = 60,
    ) -> list[Minute]:
        """The same as the points of a chart: one for each step, those without anything too.

        Args:
            kind: of what.
            name: of this one only. ``None``: of all together.
            since: where the chart begins; the whole step counts. Steps begin at multiples of their
                length, so that a chart that is drawn again has the same ones.
            until: where it ends. ``None``: now.
            step_s: seconds between two points, a multiple of 60.

        Raises:
            BadEvents: a time or a step is none, or there would be more than 20 000 points.
        """
        if isinstance(step_s, bool) or not isinstance(step_s, int) or step_s < 60 or step_s % 60:
            raise BadEvents(f"step_s= is a multiple of 60 seconds; got {step_s!r}")
        since, until = self._span(since, until)
        step = step_s // 60
        first, end = minutes_between(since, until)
        first -= first % step
        if (end - first) / step > _MAX_POINTS:
            raise BadEvents(
                f"{(end - first) // step} points are more than {_MAX_POINTS}; "
                f"choose a longer step_s= than {step_s}, or a later since="
            )
        found = await self._store.sums(
            moment_of(first * 60_000_000), until, kind=kind, name=name, step=step, by_name=False
        )
        there = {each.at: each for each in found}
        points = (moment_of(minute * 60_000_000) for minute in range(first, end, step))
        return [there.get(at) or Minute(at, str(kind), name, step_s=step_s) for at in points]

    async def totals(
        self,
        kind: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
    ) -> list[Minute]:
        """The sums of a time for each name, the most frequent first.

        Args:
            kind: of this only. ``None``: of all.
            since: ``None``: an hour before ``until``.
            until: ``None``: now.
            limit: so many at most.
        """
        since, until = self._span(since, until)
        return await self._store.sums(since, until, kind=kind, name=None, step=None, limit=limit)

    async def names(self, kind: str, since: datetime | None = None) -> list[str]:
        """Under which names anything of that kind has happened, the most frequent first.

        Args:
            kind: of what.
            since: ``None``: as long as minutes are kept.
        """
        if since is None:
            since = self._clock.now() - timedelta(seconds=self._keeping.minutes_s)
        found = await self.totals(kind, since=since, limit=MAX_LIMIT)
        return [each.name for each in found if each.name is not None]

    async def prune(self) -> tuple[int, int]:
        """Delete what is too old or too much, now. It happens by itself once a minute.

        Returns:
            How many events, and how many rows of minutes, are gone.
        """
        return await self._store.prune(self._keeping, self._clock.now())

    def _asked_for(self, correlation_id: str | None) -> str | None:
        return None if correlation_id is None else self._masking.text(correlation_id, most=128)

    def _span(self, since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
        # The minute that is going on counts.
        end = self._clock.now() + timedelta(microseconds=1) if until is None else until
        end = as_utc(end, "until")
        return (end - _HOUR if since is None else as_utc(since, "since")), end
