"""The hits of one moving window, as memory keeps them."""

from __future__ import annotations

from collections import deque
from typing import Final

from backstay.limits.limit import Limit
from backstay.limits.port import Count

__all__ = ["Log"]

_GRAINS: Final = 1000


class Log:
    """When something was counted, to a thousandth of the window.

    A hit counts until the whole grain that it is in has left the window: there are never too many
    in any window, and a thousand entries are enough, whatever the amount.

    Args:
        limit: the limit.
    """

    __slots__ = ("_entries", "_limit", "_used")

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._entries: deque[tuple[int, int]] = deque()
        self._used = 0

    def __len__(self) -> int:
        return len(self._entries)

    def fits(self, cost: int, now: float) -> bool:
        """Whether that much more is within the limit. Forgets what has left the window.

        Args:
            cost: how much.
            now: seconds since whenever, the same for all calls, and never less than before.
        """
        entries = self._entries
        if entries:
            gone = now * _GRAINS / self._limit.window_s - _GRAINS
            while entries and entries[0][0] <= gone:
                self._used -= entries.popleft()[1]
        return self._used + cost <= self._limit.amount

    def add(self, cost: int, now: float) -> None:
        """Count."""
        entries = self._entries
        grain = -int(-now * _GRAINS // self._limit.window_s)  # rounded up
        if entries and entries[-1][0] >= grain:
            grain, cost_before = entries.pop()
            entries.append((grain, cost_before + cost))
        else:
            entries.append((grain, cost))
        self._used += cost

    def count(self, now: float) -> Count:
        """How it stands, after ``fits``."""
        entries = self._entries
        # Of a hit just now the end of its grain is still to come; nobody is told about grains.
        reset_s = (
            min(self._leaves_in_s(entries[0][0], now), self._limit.window_s) if entries else 0.0
        )
        return Count(self._limit, self._limit.amount - self._used, reset_s)

    def wait_s(self, cost: int, now: float) -> float:
        """Seconds until that much fits, if nothing else comes; a window if it never will."""
        if cost > self._limit.amount:
            return float(self._limit.window_s)
        excess = self._used + cost - self._limit.amount
        wait_s = 0.0
        for grain, hits in self._entries:
            if excess <= 0:
                break
            excess -= hits
            wait_s = self._leaves_in_s(grain, now)
        return wait_s

    def _leaves_in_s(self, grain: int, now: float) -> float:
        return max(0.0, (grain + _GRAINS) * self._limit.window_s / _GRAINS - now)
