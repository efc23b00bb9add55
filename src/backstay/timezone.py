"""The time on the service's own clock: ``get_datetime_now(tz)`` and the zone of the running app."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from backstay.appstate import TIMEZONE
from backstay.context import current_work

__all__ = ["TIMEZONE", "get_datetime_now", "moscow_tz", "new_york_tz"]

if TYPE_CHECKING:  # made by __getattr__
    moscow_tz: ZoneInfo
    new_york_tz: ZoneInfo


def get_datetime_now(timezone: tzinfo | str | None = None) -> datetime:
    """The present, aware, in a zone.

    Inside of an app's work its clock says what the present is, so that tests with a ``FakeClock``
    see the time they have set.

    Args:
        timezone: a ``zoneinfo.ZoneInfo``, one of pytz's zones, any other ``tzinfo``, or the name
            of a zone (``"Europe/Berlin"``). ``None`` means the running app's, else UTC.

    Raises:
        TypeError: it is something else.
        zoneinfo.ZoneInfoNotFoundError: there is no zone of that name.
    """
    if timezone is None:
        timezone = TIMEZONE() or UTC
    elif isinstance(timezone, str):
        timezone = ZoneInfo(timezone)
    elif not isinstance(timezone, tzinfo):
        raise TypeError(
            f"a time zone is a ZoneInfo, a zone of pytz's or a name; got {timezone!r} of type "
            f"{type(timezone).__qualname__}"
        )
    work = current_work.get()
    now = datetime.now(UTC) if work is None else work.app.clock.now()
    # astimezone() and not replace(): pytz's zones know their offset only when asked for a moment.
    return now.astimezone(timezone)


def __getattr__(name: str) -> ZoneInfo:
    # Read when they are wanted: a machine without a zone database can still import this.
    if name == "moscow_tz":
        return ZoneInfo("Europe/Moscow")
    if name == "new_york_tz":
        return ZoneInfo("America/New_York")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
