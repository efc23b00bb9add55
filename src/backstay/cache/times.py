"""For how long, as people say it."""

from __future__ import annotations

import math
from datetime import timedelta

from backstay.errors import BadCache

__all__ = ["MAX_TTL_S", "seconds_of"]

MAX_TTL_S = 10 * 365 * 86_400.0


def seconds_of(value: object, name: str, *, zero: bool = False) -> float:
    """A time to live in seconds.

    Args:
        value: a number of seconds, or a ``timedelta``.
        name: as messages name it.
        zero: whether none at all will do.

    Raises:
        BadCache: it is neither, or over already, or more than ten years.
    """
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        # Compared before it is converted: an int may be larger than any float.
        seconds = float(value) if value <= MAX_TTL_S else math.inf
    else:
        raise BadCache(
            f"{name}= is a number of seconds or a timedelta; got {value!r} of type "
            f"{type(value).__qualname__}"
        )
    if not (0 < seconds <= MAX_TTL_S or (zero and seconds == 0)):
        least = "0 seconds or more" if zero else "more than 0 seconds"
        raise BadCache(f"{name}= is {least}, and at most ten years; got {value!r}")
    return seconds
