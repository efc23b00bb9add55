"""So many calls a second, and so many at once after a pause."""

from __future__ import annotations

from threading import Lock
from typing import Final, NamedTuple

__all__ = ["Place", "TokenBucket"]

_NOTHING_S: Final = 1e-9
"""Sums of fractions are off in their last digits; a nanosecond is nobody's burst."""


class Place(NamedTuple):
    """A call's place in the order of calls.

    Attributes:
        wait_s: seconds until it may be made.
        granted: it may be made then; otherwise that is longer than it wants to wait.
        mark: tells whether it is the last in the order.
    """

    wait_s: float
    granted: bool
    mark: float = 0.0


class TokenBucket:
    """A token bucket kept as one time (the generic cell rate algorithm, ITU-T I.371, annex A).

    In any ``t`` seconds at most ``burst + rate * t`` calls are let through. Safe to use from
    several threads.

    Args:
        rate: calls a second.
        burst: calls at once, 1 or more.
    """

    __slots__ = ("_each_s", "_full_at", "_lock", "_slack_s")

    def __init__(self, rate: float, burst: int) -> None:
        self._each_s = 1 / rate
        self._slack_s = (burst - 1) * self._each_s
        self._full_at: float | None = None
        """When it will be full if nobody comes; ``None`` until somebody has."""
        self._lock = Lock()

    def take(self, now: float, max_wait_s: float = 0.0) -> Place:
        """A place for one more call, if it may be made within ``max_wait_s`` seconds."""
        with self._lock:
            full_at = now if self._full_at is None else max(self._full_at, now)
            wait_s = full_at - self._slack_s - now
            if wait_s < _NOTHING_S:
                wait_s = 0.0
            if wait_s - max_wait_s > _NOTHING_S:
                return Place(wait_s, granted=False)
            self._full_at = full_at + self._each_s
            return Place(wait_s, granted=True, mark=self._full_at)

    def give_back(self, place: Place) -> None:
        """The call is not going to be made.

        Its token is lost if others have come after it: their places are given, and whoever took
        this one now would go at the same time as the last of them.
        """
        with self._lock:
            if self._full_at == place.mark:
                self._full_at -= self._each_s

    def next_in_s(self, now: float) -> float:
        """Seconds until one more call may be made without waiting, 0 if one may."""
        with self._lock:
            if self._full_at is None:
                return 0.0
            return max(0.0, self._full_at - self._slack_s - now)

    def is_idle(self, now: float) -> bool:
        with self._lock:
            return self._full_at is None or self._full_at <= now
