"""Two counts that stand for a window: this one's, and the one's before."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import Final

from backstay.limits.limit import Limit
from backstay.limits.port import Count, Strategy

__all__ = ["Buckets"]

_A_LITTLE: Final = 1e-9
"""So that what fits is not refused for how computers write fractions."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """What has been counted for one limit, and when.

    Windows lie side by side from the beginning of time on, which is where a clock says 0; times are
    seconds since then.

    Attributes:
        limit: the limit.
        strategy: ``FIXED``, or any other for ``SLIDING``.
        number: of this window.
        hits: what was counted in it.
        before: what was counted in the one before.
    """

    limit: Limit
    strategy: Strategy
    number: int = 0
    hits: int = 0
    before: int = 0

    def at(self, now: float) -> Buckets:
        """The same, seen at another time."""
        number = int(now // self.limit.window_s)
        if number <= self.number:  # or the clock that made it is ahead of this one
            return self
        before = self.hits if number == self.number + 1 else 0
        return Buckets(self.limit, self.strategy, number, 0, before)

    def plus(self, cost: int) -> Buckets:
        """The same with something counted."""
        return Buckets(self.limit, self.strategy, self.number, self.hits + cost, self.before)

    def fits(self, cost: int, now: float) -> bool:
        """Whether that much more is within the limit. ``now`` is what ``at`` was asked for."""
        return self._used(now) + cost <= self.limit.amount + _A_LITTLE

    def count(self, now: float) -> Count:
        """How it stands."""
        amount = self.limit.amount
        remaining = max(0, floor(amount - self._used(now) + _A_LITTLE))
        if remaining == amount:
            return Count(self.limit, remaining, 0.0)
        return Count(self.limit, remaining, self.wait_s(remaining + 1, now))

    def wait_s(self, cost: int, now: float) -> float:
        """Seconds until that much fits, if nothing else comes; a window if it never will."""
        if cost > self.limit.amount:
            return float(self.limit.window_s)
        free = self.limit.amount - cost
        if self.strategy is Strategy.FIXED:
            passed = 0.0 if self.hits <= free else 1.0
        elif self.hits <= free:
            passed = _until_seen(self.before, free - self.hits)
        else:
            passed = 1.0 + _until_seen(self.hits, free)
        return max(0.0, (passed - self._elapsed(now)) * self.limit.window_s)

    def _used(self, now: float) -> float:
        if self.strategy is Strategy.FIXED:
            return self.hits
        return self.hits + self.before * (1.0 - self._elapsed(now))

    def _elapsed(self, now: float) -> float:
        """The part of this window that has passed, from 0 to 1."""
        return min(1.0, max(0.0, now / self.limit.window_s - self.number))


def _until_seen(hits: int, free: int) -> float:
    """The part of the next window that passes until only ``free`` of so many are in sight."""
    return 0.0 if hits <= free else 1.0 - free / hits
