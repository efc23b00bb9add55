"""What is remembered of calls that may have copies: how long they take, and how many copies."""

from __future__ import annotations

from threading import Lock
from typing import Final

from backstay.integration.stability.latencies import Latencies
from backstay.integration.stability.retry_budget import RetryBudget

__all__ = ["Hedging"]

_USUAL: Final = 0.95
_FORGOTTEN_S: Final = 600.0


class Hedging:
    """Says when a copy of a call is worth it, and whether there may be one.

    Nothing is known any more of what was not called for ten minutes. Safe to use from several
    threads.

    Args:
        share: copies for each call, such as 0.1 for one in ten, and ten more; ``None`` for no
            bound.
        delay_s: seconds until a copy is worth it, ``None`` for what is learned of the calls.

    Attributes:
        calls: how many there were.
        copies: how many copies were made.
        won: how many of those answered first.
    """

    __slots__ = (
        "_budget",
        "_delay_s",
        "_latencies",
        "_lock",
        "_seen_at",
        "_share",
        "calls",
        "copies",
        "won",
    )

    def __init__(self, share: float | None, delay_s: float | None = None) -> None:
        self._share = share
        self._delay_s = delay_s
        self._lock = Lock()
        self._seen_at: float | None = None
        self._begin()

    def _begin(self) -> None:
        self._budget = RetryBudget(self._share, a_second=0)
        self._latencies = Latencies()
        self.calls = 0
        self.copies = 0
        self.won = 0

    def count_call(self, now: float) -> float | None:
        """There is one more call.

        Returns:
            Seconds until a copy is worth it. If that is learned: what only 5 % of the last calls
            took longer than, and ``None`` until there were twenty.
        """
        with self._lock:
            if self._seen_at is not None and now - self._seen_at >= _FORGOTTEN_S:
                self._begin()
            self._see(now)
            self.calls += 1
            self._budget.count_call(now)
            return self._worth_it_after_s()

    def take(self, now: float) -> bool:
        """Whether there may be one more copy, which is counted."""
        with self._lock:
            self._see(now)
            if not self._budget.take(now):
                return False
            self.copies += 1
            return True

    def took(self, seconds: float, now: float, *, copy_won: bool = False) -> None:
        """A call has succeeded.

        Args:
            seconds: that its first copy took, or took until another one won.
            now: the time.
            copy_won: it was another one that answered.
        """
        if self._delay_s is not None and not copy_won:
            return  # nothing to learn
        with self._lock:
            self._see(now)
            self.won += copy_won
            if self._delay_s is None:
                self._latencies.add(seconds)

    def delay_s(self) -> float | None:
        """What ``count_call`` would say, for people."""
        with self._lock:
            return self._worth_it_after_s()

    def left(self, now: float) -> float | None:
        """How many copies there may be at once, ``None`` for no bound."""
        return self._budget.left(now)

    def is_idle(self, now: float) -> bool:
        return self._seen_at is None or now - self._seen_at >= _FORGOTTEN_S

    def _worth_it_after_s(self) -> float | None:
        return self._latencies.percentile(_USUAL) if self._delay_s is None else self._delay_s

    def _see(self, now: float) -> None:
        if self._seen_at is None or now > self._seen_at:
            self._seen_at = now
