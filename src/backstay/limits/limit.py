"""What a limit is: so many in so long. ``"10/minute;100/hour"`` is two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from backstay.errors import BadLimit, MissingExtra

__all__ = ["Limit", "as_text", "read_limits"]

_MOST: Final = 10**12
"""As large as an amount may be: it goes into headers (RFC 9651 §3.3.1) and doubles exactly."""

_LONGEST_S: Final = 366 * 86400
_UNITS: Final = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_HOW: Final = 'write it like "10/minute", "100 per 2 hours", or several as "10/minute;100/hour"'


@dataclass(frozen=True, slots=True)
class Limit:
    """So many in so long.

    Attributes:
        amount: how many; of what, is said by the cost of each.
        window_s: in how many seconds.
    """

    amount: int
    window_s: int

    @property
    def window(self) -> str:
        """Its length in words: ``"minute"``, ``"2-hours"``."""
        for seconds, unit in _UNITS:
            if self.window_s % seconds == 0:
                times = self.window_s // seconds
                return unit if times == 1 else f"{times}-{unit}s"
        raise AssertionError(self.window_s)

    def __str__(self) -> str:
        return f"{self.amount}/{self.window}"


def read_limits(text: str) -> tuple[Limit, ...]:
    """The limits that a text names, the shortest window first.

    The grammar is that of the library ``limits``, which Flask-Limiter and slowapi use too: units
    are second, minute, hour, day, month (30 days) and year (360 days).

    Args:
        text: ``"10/minute"``, ``"100 per 2 hours"``, or several with ``;`` or ``,`` between them.

    Raises:
        BadLimit: it is not understood, or one of the limits could never be reached.
        MissingExtra: the library is not installed.
    """
    try:
        from limits import parse_many
    except ImportError as missing:
        raise MissingExtra("limits", missing.name or "limits") from missing
    if not isinstance(text, str):
        raise BadLimit(f"a limit is a text, got {text!r} of {type(text).__qualname__}; {_HOW}")
    try:
        items = parse_many(text)
    except ValueError:
        raise BadLimit(f"{text!r} is no limit; {_HOW}") from None
    limits = sorted((Limit(each.amount, each.get_expiry()) for each in items), key=_window_of)
    for each in limits:
        if not 1 <= each.amount <= _MOST:
            raise BadLimit(f"{text!r} allows {each.amount}; it is at least 1 and at most {_MOST}")
        if not 1 <= each.window_s <= _LONGEST_S:
            raise BadLimit(f"{text!r} looks back {each.window_s} seconds; a year is the most")
    for shorter, longer in pairwise(limits):
        if shorter.window_s == longer.window_s:
            raise BadLimit(f"{text!r} says twice how many in {shorter.window_s} seconds; say once")
        if longer.amount <= shorter.amount:
            raise BadLimit(
                f"{text!r}: with {longer} nobody ever reaches {shorter}; a longer window allows "
                "more, so leave one of them out or correct a number"
            )
    return tuple(limits)


def as_text(limits: Sequence[Limit]) -> str:
    """The limits in the one way that ``read_limits`` would have them: ``"10/minute;100/hour"``."""
    return ";".join(map(str, limits))


def _window_of(limit: Limit) -> int:
    return limit.window_s
