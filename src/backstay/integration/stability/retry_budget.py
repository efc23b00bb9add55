"""How many calls there may be beside those that were asked for."""

from __future__ import annotations

from threading import Lock

__all__ = ["RetryBudget"]


class RetryBudget:
    """Bounds what retries add to the load of a service that is down already.

    Each call puts in a share of a retry, each second some more; each retry takes one out. It begins
    full.

    Args:
        share: retries for each call, such as 0.2 for one in five; ``None`` for no bound.
        a_second: retries that each second brings.
        reserve: how many are saved at most.
    """

    __slots__ = ("_a_second", "_left", "_lock", "_reserve", "_seen_at", "_share")

    def __init__(
        self, share: float | None, *, a_second: float = 1.0, reserve: float = 10.0
    ) -> None:
        self._share = share
        self._a_second = a_second
        self._reserve = reserve
        self._left = reserve
        self._seen_at: float | None = None
        self._lock = Lock()

    def count_call(self, now: float) -> None:
        """There is one more call."""
        # A full one has nothing to count, and ``take`` looks at the time before it takes.
        if self._share is not None and self._left < self._reserve:
            with self._lock:
                self._pass_time(now)
                self._left = min(self._reserve, self._left + self._share)

    def take(self, now: float) -> bool:
        """Whether there may be one more retry, which is counted."""
        if self._share is None:
            return True
        with self._lock:
            self._pass_time(now)
            if self._left < 1:
                return False
            self._left -= 1
            return True

    def left(self, now: float) -> float | None:
        """How many retries there may be at once, ``None`` for no bound."""
        if self._share is None:
            return None
        with self._lock:
            self._pass_time(now)
            return self._left

    def is_idle(self, now: float) -> bool:
        with self._lock:
            self._pass_time(now)
            return self._left >= self._reserve

    def _pass_time(self, now: float) -> None:
        """Put in what time brings. Holds the lock; threads may come with older times."""
        if self._seen_at is not None and now > self._seen_at:
            self._left = min(self._reserve, self._left + (now - self._seen_at) * self._a_second)
        self._seen_at = now if self._seen_at is None else max(now, self._seen_at)
