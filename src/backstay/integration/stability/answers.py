"""What answers and errors of HTTP clients have in common, whichever client it is."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

__all__ = ["retry_after_s", "status_of"]


def status_of(outcome: object) -> int | None:
    """The HTTP status of an answer, or of the answer that an error carries as ``response``.

    httpx and requests call it ``status_code``, aiohttp ``status``. ``None`` if there is none.
    """
    for each in (outcome, getattr(outcome, "response", None)):
        for name in ("status_code", "status"):
            status = getattr(each, name, None)
            if isinstance(status, int) and not isinstance(status, bool):
                return int(status)
    return None


def retry_after_s(error: BaseException, now: datetime) -> float | None:
    """Seconds that whoever answered asks to wait (``Retry-After``, RFC 9110 §10.2.3).

    Args:
        error: has ``retry_after_s`` as errors of backstay have, or ``headers``, or a ``response``
            with ``headers``.
        now: aware; the header may name a date.

    Returns:
        0 or more; ``None`` if nothing that can be read is asked.
    """
    own: Any = getattr(error, "retry_after_s", None)
    if isinstance(own, int | float) and math.isfinite(own):
        return max(0.0, float(own))
    for each in (getattr(error, "response", None), error):
        get = getattr(getattr(each, "headers", None), "get", None)
        if callable(get):
            value = get("retry-after") or get("Retry-After")
            if isinstance(value, str):
                return _read_retry_after(value.strip(), now)
    return None


def _read_retry_after(value: str, now: datetime) -> float | None:
    if value.isascii() and value.isdigit():
        return float(value[:12])  # longer ones are for ever anyway
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())
