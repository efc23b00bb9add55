"""Ids that sort by when they were made."""

from __future__ import annotations

import os
import threading
import time
from uuid import UUID

__all__ = ["new_job_id"]

_lock = threading.Lock()
_last = 0
_chances: list[int] = []


def new_job_id() -> UUID:
    """A UUIDv7 (RFC 9562 §5.7), later than every one this process made before.

    48 bits of milliseconds, 12 bits of their fraction (§6.2, method 3), 62 random bits: enough
    for an id that others may see and must not guess.
    """
    global _last  # noqa: PLW0603  # monotonic over the whole process is the point
    ticks = (time.time_ns() << 12) // 1_000_000
    with _lock:
        _last = ticks = ticks if ticks > _last else _last + 1
        if not _chances:
            _draw()
        chance = _chances.pop()
    return UUID(int=((ticks >> 12) << 80) | ((ticks & 0xFFF) << 64) | chance)


def _draw() -> None:
    """Many at a time: asking the system costs more than all the rest of an id."""
    drawn = os.urandom(8 * 64)
    marks = (7 << 76) | (2 << 62)  # version and variant
    _chances.extend(
        marks | (int.from_bytes(drawn[place : place + 8]) & 0x3FFF_FFFF_FFFF_FFFF)
        for place in range(0, len(drawn), 8)
    )


# A forked child must not hand out what its parent will.
os.register_at_fork(after_in_child=_chances.clear)
