"""Times and durations as people read and write them."""

from __future__ import annotations

import re
from datetime import datetime

__all__ = ["ago", "parse_duration", "span"]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_STEPS = ((86_400.0 * 365, "y"), (86_400.0, "d"), (3_600.0, "h"), (60.0, "m"))


def parse_duration(text: str) -> float:
    """Seconds from ``90s``, ``15m``, ``2h``, ``7d``, ``1w`` or several, as in ``1h30m``.

    Raises:
        ValueError: it reads differently; the message says how to write it.
    """
    compact = text.replace(" ", "").lower()
    if not re.fullmatch(r"(?:\d{1,12}(?:\.\d{1,6})?[smhdw])+", compact):
        raise ValueError(f"{text!r} is no duration; write 90s, 15m, 2h, 7d, 1w or 1h30m")
    parts = re.findall(r"([\d.]+)([smhdw])", compact)
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def span(seconds: float) -> str:
    """A duration in one unit: ``0.2 s``, ``45 s``, ``3 m``, ``2 h``, ``7 d``, ``2 y``."""
    if seconds < 0:
        seconds = 0.0
    if seconds < 1:
        return f"{seconds:.1f} s" if seconds >= 0.05 else "0 s"
    for size, unit in _STEPS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def ago(then: datetime | None, now: datetime) -> str:
    """``3 m ago``, ``in 5 m``, ``now``; a dash for never."""
    if then is None:
        return "-"
    seconds = (now - then).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"{span(seconds)} ago" if seconds > 0 else f"in {span(-seconds)}"
