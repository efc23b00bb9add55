"""Ids that sort by when they were made."""

from __future__ import annotations

import os
import threading
import time
from uuid import UUID

__all__ = ["new_job_id"]

_lock = threading.Lock()
_last = 0


def new_job_id() -> UUID:
    """A UUIDv7 (RFC 9562 §5.7), later than every one this process made before.

    48 bits of milliseconds, 12 bits of their fraction (§6.2, method 3), 62 random bits: enough
    for an id that others may see and must not guess.
    """
    global _last  # noqa: PLW0603  # monotonic over the whole process is the point
    ticks = (time.time_ns() << 12) // 1_000_000
    with _lock:
        _last = ticks = ticks if ticks > _last else _last + 1
    milliseconds, fraction = ticks >> 12, ticks & 0xFFF
    chance = int.from_bytes(os.urandom(8)) & 0x3FFF_FFFF_FFFF_FFFF
    return UUID(int=(milliseconds << 80) | (7 << 76) | (fraction << 64) | (2 << 62) | chance)
