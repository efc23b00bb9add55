"""How large things may be, and how long they may live."""

from __future__ import annotations

import math
from datetime import timedelta

from backstay.errors import BadState

__all__ = [
    "MAX_KEY_BYTES",
    "MAX_SCOPE_BYTES",
    "MAX_TTL_S",
    "MAX_VALUE_BYTES",
    "key_bytes",
    "scope_bytes",
    "seconds_of",
]

MAX_SCOPE_BYTES = 1024
MAX_KEY_BYTES = 512
"""Both together fit into an entry of a PostgreSQL index, which has 2704 bytes at most."""

MAX_VALUE_BYTES = 1024 * 1024
"""Unless the app says something else."""

MAX_TTL_S = 100 * 365 * 86_400.0


def key_bytes(key: object, what: str = "key") -> bytes:
    """A key as stores take it.

    Raises:
        BadState: it is no text, or too long.
    """
    return _bytes_of(key, what, MAX_KEY_BYTES)


def scope_bytes(scope: object) -> bytes:
    """The same for a scope."""
    return _bytes_of(scope, "scope", MAX_SCOPE_BYTES)


def _bytes_of(text: object, what: str, most: int) -> bytes:
    if not isinstance(text, str):
        raise BadState(
            f"a state's {what} is a str; got {_shortened(text)} of type {type(text).__qualname__}"
        )
    # Any str is a name, those with lone surrogates too: each has bytes of its own this way.
    found = text.encode("utf-8", "surrogatepass")
    if len(found) > most:
        raise BadState(
            f"a state's {what} has {most} bytes at most; {_shortened(text)} has {len(found)}. "
            "Use a digest of it (hashlib.sha256), or put the long part into the value"
        )
    return found


def seconds_of(ttl: object) -> float | None:
    """How long something lives, in seconds; ``None``: for ever.

    Raises:
        BadState: it is no time, or one that is over, or longer than a hundred years.
    """
    if ttl is None:
        return None
    if isinstance(ttl, timedelta):
        seconds = ttl.total_seconds()
    elif isinstance(ttl, (int, float)) and not isinstance(ttl, bool):
        # Compared before it is converted: an int may be larger than any float.
        seconds = float(ttl) if ttl <= MAX_TTL_S else math.inf
    else:
        raise BadState(
            f"ttl= is a number of seconds, a timedelta, or None for no end; got {_shortened(ttl)} "
            f"of type {type(ttl).__qualname__}"
        )
    if not 0 < seconds <= MAX_TTL_S:
        raise BadState(
            f"ttl= is more than 0 seconds and at most a hundred years; got {_shortened(ttl)}. "
            "Use delete(key) for what is over, and ttl=None for what never ends"
        )
    return seconds


def _shortened(value: object) -> str:
    try:
        shown = repr(value)
    except ValueError:  # an int of more digits than Python cares to write
        shown = f"an int of {value.bit_length()} bits" if isinstance(value, int) else "something"
    return shown if len(shown) <= 80 else f"{shown[:60]}…{shown[-10:]}"
