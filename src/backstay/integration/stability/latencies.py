"""How long calls took lately."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from typing import Final

__all__ = ["Latencies"]

_KEPT: Final = 200
_LEAST: Final = 20


class Latencies:
    """The last 200 lengths of time. Not safe to use from several threads."""

    __slots__ = ("_in_order", "_sorted")

    def __init__(self) -> None:
        self._in_order: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, seconds: float) -> None:
        """One more; the oldest is forgotten."""
        if len(self._in_order) == _KEPT:
            del self._sorted[bisect_left(self._sorted, self._in_order.popleft())]
        self._in_order.append(seconds)
        insort(self._sorted, seconds)

    def percentile(self, share: float) -> float | None:
        """What that share of them does not exceed, ``None`` while there are fewer than 20.

        Args:
            share: above 0, at most 1: 0.95 for 95 %.
        """
        count = len(self._sorted)
        if count < _LEAST:
            return None
        return self._sorted[min(count - 1, max(0, math.ceil(share * count) - 1))]
