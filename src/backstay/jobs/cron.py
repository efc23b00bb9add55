"""When a task with a schedule is due.

Five fields (minute, hour, day of month, month, day of week) as Debian's cron reads them: ``*``,
lists, ranges, steps, and names of months and days; if both kinds of day are restricted, either
may match. Besides these, ``L`` and ``LW`` for the last day and the last weekday of a month,
``MON#2`` for its second Monday, ``5L`` for its last Friday, and ``@hourly``, ``@daily``
(``@midnight``), ``@weekly``, ``@monthly``, ``@yearly`` (``@annually``).

Where clocks are changed, as Debian's cron does it:

- A schedule whose minutes and hours are both fixed (neither field begins with ``*``) means so many
  times a day. Times that are left out when clocks go forward come at the end of the gap, once;
  of times that come twice when they go back, the first counts.
- Any other schedule follows the clock on the wall: what is left out is left out, what comes
  twice comes twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice, takewhile
from typing import Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from backstay.errors import BadJob

__all__ = ["Cron", "MISSED_AFTER", "MOST_AT_ONCE", "Missed"]

Missed = Literal["skip", "latest", "all"]
"""What becomes of ticks that no worker was there for."""

MISSED_AFTER = timedelta(seconds=60)
"""A tick that is this old has been missed."""

MOST_AT_ONCE = 1_000
"""How many ticks ``due`` gives at most."""

_NAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_SECOND = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)


class Cron:
    """A schedule.

    Args:
        expression: such as ``"0 3 * * *"``, every day at three, or ``"@hourly"``.
        timezone: whose clock it means, such as ``"Europe/Berlin"``.
        missed: ``"skip"`` runs none of the ticks that were missed while no worker was there,
            ``"latest"`` the last one of them, ``"all"`` each.

    Raises:
        BadJob: one of these makes no sense, or the schedule never comes.
    """

    def __init__(self, expression: str, timezone: str = "UTC", missed: Missed = "skip") -> None:
        if missed not in ("skip", "latest", "all"):
            raise BadJob(f'missed= is "skip", "latest" or "all"; got {missed!r}')
        self.expression = expression
        self.timezone = timezone
        self.missed: Missed = missed
        self._zone = _zone(timezone)
        self._fields = _fields(expression)
        minute, hour, *_ = self._fields.split()
        self._times_a_day = not minute.startswith("*") and not hour.startswith("*")
        try:
            next(_wall_times(self._fields, datetime(2000, 1, 1)))
        except CronSimError as error:
            raise BadJob(f"cron={expression!r} cannot be read: {error}; {_EXAMPLE}") from error
        except StopIteration:
            raise BadJob(f"cron={expression!r} never comes: there is no such day") from None

    def next_after(self, moment: datetime) -> datetime:
        """The first tick after a moment, aware UTC.

        Args:
            moment: aware.

        Raises:
            ValueError: ``moment`` is not aware.
        """
        if moment.tzinfo is None:
            raise ValueError(f"next_after() takes an aware datetime; got {moment!r}")
        tick = next(self._after(moment), None)
        if tick is None:
            raise BadJob(f"cron={self.expression!r} does not come in the 50 years after {moment}")
        return tick

    def due(self, last: datetime | None, now: datetime) -> list[datetime]:
        """The ticks to run now, oldest first, aware UTC; usually none or one.

        Args:
            last: the last tick that was run or passed over, aware; ``None`` if there never was
                one: then nothing has been missed, and ``now`` is to be the ``last`` from here on.
            now: the moment, aware.

        Returns:
            With ``missed="skip"`` the latest tick, if it is less than a minute old; with
            ``"latest"`` that one however old it is; with ``"all"`` each since ``last``, the
            oldest 1,000 of them: with the last of these as ``last`` the rest can be had.
        """
        if last is None or last >= now:
            return []
        if self.missed == "all":
            over = takewhile(lambda tick: tick <= now, self._after(last))
            return list(islice(over, MOST_AT_ONCE))
        if self.missed == "skip":
            last = max(last, now - MISSED_AFTER)
        latest = self._latest(last, now)
        return [] if latest is None else [latest]

    def _latest(self, after: datetime, until: datetime) -> datetime | None:
        """The last tick that is later than ``after``, and not later than ``until``."""
        span = timedelta(hours=1)
        while True:
            start = max(after, until - span)
            found = None
            for tick in self._after(start):
                if tick > until:
                    break
                found = tick
            if found is not None or start == after:
                return found
            span *= 2  # so that years without a worker are not gone through tick by tick

    def _after(self, moment: datetime) -> Iterator[datetime]:
        """Every tick after a moment."""
        second = moment.astimezone(UTC).replace(microsecond=0)  # ticks are whole minutes
        return self._each_day(second) if self._times_a_day else self._on_the_wall(second)

    def _each_day(self, moment: datetime) -> Iterator[datetime]:
        local = moment.astimezone(self._zone)
        latest = moment
        for wall in _wall_times(self._fields, local.replace(tzinfo=None)):
            tick = wall.replace(tzinfo=self._zone).astimezone(UTC)
            while not self._shows(tick, wall):  # in a gap
                wall += _MINUTE  # noqa: PLW2901  # to its end
                tick = wall.replace(tzinfo=self._zone).astimezone(UTC)
            # Not in the second hour of two, and not the end of the same gap again.
            if tick > latest:
                latest = tick
                yield tick

    def _on_the_wall(self, moment: datetime) -> Iterator[datetime]:
        offset = self._offset(moment)
        seen = moment  # how far the clock is known not to be changed
        times = _wall_times(self._fields, moment.replace(tzinfo=None) + offset)
        while (wall := next(times, None)) is not None:
            tick = (wall - offset).replace(tzinfo=UTC)
            change = self._change(seen, tick, offset)
            if change is None:
                seen = tick
                yield tick
            else:  # by then the clock on the wall shows something else
                seen, offset = change, self._offset(change)
                just_before = change.replace(tzinfo=None) + offset - _SECOND
                times = _wall_times(self._fields, just_before)

    def _change(self, start: datetime, end: datetime, offset: timedelta) -> datetime | None:
        """When after ``start``, and not after ``end``, the clock begins to differ."""
        if self._zone is UTC:
            return None
        while start < end:
            step = min(start + _DAY, end)
            if self._offset(step) != offset:
                while step - start > _SECOND:
                    middle = start + (step - start) // _SECOND // 2 * _SECOND
                    if self._offset(middle) == offset:
                        start = middle
                    else:
                        step = middle
                return step
            start = step
        return None

    def _shows(self, tick: datetime, wall: datetime) -> bool:
        return tick.astimezone(self._zone).replace(tzinfo=None) == wall

    def _offset(self, moment: datetime) -> timedelta:
        offset = moment.astimezone(self._zone).utcoffset()
        assert offset is not None
        return offset

    def __repr__(self) -> str:
        return f"Cron({self.expression!r}, {self.timezone!r}, {self.missed!r})"


_EXAMPLE = 'write five fields such as "0 3 * * *" (every day at three) or "@daily"'


def _fields(expression: object) -> str:
    if not isinstance(expression, str):
        raise BadJob(f"cron= is a string; got {expression!r}; {_EXAMPLE}")
    text = expression.strip()
    if text.startswith("@"):
        if text.lower() in _NAMES:
            return _NAMES[text.lower()]
        raise BadJob(f"cron={expression!r} is not known; there are {', '.join(_NAMES)}")
    if len(text.split()) != 5:
        raise BadJob(f"cron={expression!r} has {len(text.split())} fields; {_EXAMPLE}")
    return text


def _zone(name: object) -> tzinfo:
    if isinstance(name, str) and name.upper() in ("UTC", "ETC/UTC"):
        return UTC  # there on systems without a time zone database, too
    try:
        if not isinstance(name, str):
            raise TypeError
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError) as error:
        raise BadJob(
            f'timezone={name!r} is not known; names look like "Europe/Berlin". If this one is '
            "right, the system has no time zone database: pip install tzdata"
        ) from error


def _wall_times(fields: str, after: datetime) -> Iterator[datetime]:
    """What a clock without a time zone shows at each tick."""
    return CronSim(fields, after)
