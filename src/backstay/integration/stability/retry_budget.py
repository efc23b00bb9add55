"""How many retries there may be, compared with calls."""

from __future__ import annotations

from threading import Lock
from typing import Final

__all__ = ["RetryBudget"]

_RESERVE: Final = 10.0
_A_SECOND: Final = 1.0


class RetryBudget:
    """Bounds what retries add to the load of a service that is down already.

    Each call puts in a share of a retry, each second one more, ten at most are saved; each retry
    takes one out. It begins with ten.

    Args:
        share: retries for each call, such as 0.2 for one in five; ``None`` for no bound.
    """

    __slots__ = ("_left", "_lock", "_seen_at", "_share")

    def __init__(self, share: float | None) -> None:
        self._share = share
        self._left = _RESERVE
        self._seen_at: float | None = None
        self._lock = Lock()

    def count_call(self, now: float) -> None:
        """There is one more call."""
        if self._share is not None:
            with self._lock:
                self._pass_time(now)
                self._left = min(_RESERVE, self._left + self._share)

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

    def is_idle(self, now: float) -> bool:
        with self._lock:
            self._pass_time(now)
            return self._left >= _RESERVE

    def _pass_time(self, now: float) -> None:
        """Put in what time brings. Holds the lock; threads may come with older times."""
        if self._seen_at is not None and now > self._seen_at:
            self._left = min(_RESERVE, self._left + (now - self._seen_at) * _A_SECOND)
        self._seen_at = now if self._seen_at is None else max(now, self._seen_at)
