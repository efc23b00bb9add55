"""What answers and errors of HTTP clients have in common, whichever client it is."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from socket import gaierror
from typing import Any, Final

from backstay.errors import BadAnswer, CallRefused, UpstreamError

__all__ = ["read_retry_after", "retry_after_s", "status_behind", "status_of", "was_not_sent"]

_CLIENTS: Final = frozenset(
    {"aiohttp", "httpcore", "httpcore2", "httpx", "httpx2", "niquests", "requests", "urllib3"}
)
_NOT_SENT: Final = frozenset(
    {
        "ClientConnectorError",  # aiohttp
        "ConnectError",  # httpx, httpcore
        "ConnectTimeout",  # these and requests
        "ConnectTimeoutError",  # urllib3
        "ConnectionTimeoutError",  # aiohttp
        "NameResolutionError",  # urllib3
        "NewConnectionError",  # urllib3
        "PoolTimeout",  # httpx, httpcore
    }
)
"""Names of errors that clients raise before a request has left. Names, and where they come from:
nothing is imported to know them."""


def status_of(outcome: object) -> int | None:
    """The HTTP status of an answer, or of the answer that an error carries as ``response``.

    httpx and requests call it ``status_code``, aiohttp ``status``. ``None`` if there is none.
    """
    for each in (outcome, getattr(outcome, "response", None)):
        for name in ("status_code", "status"):
            status = getattr(each, name, None)
            if isinstance(status, int) and not isinstance(status, bool) and 100 <= status <= 599:
                return int(status)
    return None


def status_behind(error: Exception) -> int | None:
    """The HTTP status that another service answered with, as far as ``error`` knows it.

    Not the error's own: backstay's own errors have one, for whoever asks here.
    """
    if isinstance(error, UpstreamError | BadAnswer):
        return error.answered
    return status_of(getattr(error, "response", None))


def retry_after_s(outcome: object, now: datetime) -> float | None:
    """Seconds that whoever answered asks to wait (``Retry-After``, RFC 9110 §10.2.3).

    Args:
        outcome: an answer or an error: has ``retry_after_s`` as errors of backstay have, or
            ``headers``, or a ``response`` with ``headers``.
        now: aware; the header may name a date.

    Returns:
        0 or more; ``None`` if nothing that can be read is asked.
    """
    own: Any = getattr(outcome, "retry_after_s", None)
    if isinstance(own, int | float) and math.isfinite(own):
        return max(0.0, float(own))
    for each in (getattr(outcome, "response", None), outcome):
        get = getattr(getattr(each, "headers", None), "get", None)
        if callable(get):
            value = get("retry-after") or get("Retry-After")
            if isinstance(value, str):
                return read_retry_after(value, now)
    return None


def read_retry_after(value: str, now: datetime) -> float | None:
    """Seconds that the header asks to wait, 0 or more; ``None`` if it cannot be read."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:12])  # longer ones are for ever anyway
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())


def was_not_sent(error: BaseException) -> bool:
    """Whether ``error``, or what it was raised from, says that the request never left.

    So it is with connections that were not made, and with calls that a pattern refused.
    """
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        if isinstance(each, ConnectionRefusedError | gaierror | CallRefused) or any(
            kind.__name__ in _NOT_SENT and kind.__module__.partition(".")[0] in _CLIENTS
            for kind in type(each).__mro__
        ):
            return True
        each = each.__cause__
    return False
