"""Numbers that patterns are declared with, checked when they are."""

from __future__ import annotations

import math
from datetime import timedelta

from backstay.errors import BadIntegration

__all__ = ["Seconds", "read_count", "read_fraction", "read_seconds"]

Seconds = float | timedelta
"""A length of time: a number of seconds or a ``timedelta``."""


def read_seconds(value: Seconds, where: str, *, zero: bool = False) -> float:
    """The seconds of ``value``.

    Args:
        value: the option as it was given.
        where: the option to name in the message, such as ``"Timeout(seconds=)"``.
        zero: 0 will do, too.

    Raises:
        BadIntegration: it is no length of time, or infinite, negative or 0.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not math.isfinite(seconds)
        or seconds < 0
        or (seconds == 0 and not zero)
    ):
        least = "0 or more" if zero else "more than 0"
        raise BadIntegration(f"{where} is seconds or a timedelta, {least}; got {value!r}")
    return float(seconds)


def read_count(value: int, where: str, *, least: int = 1) -> int:
    """``value``, if it is a whole number of at least ``least``.

    Raises:
        BadIntegration: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise BadIntegration(f"{where} is a whole number, {least} or more; got {value!r}")
    return value


def read_fraction(value: float, where: str) -> float:
    """``value``, if it is a number from 0 to 1.

    Raises:
        BadIntegration: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise BadIntegration(f"{where} is a number from 0 to 1; got {value!r}")
    return float(value)
