"""Failures that several processes count together, where the app's limits are counted."""

from __future__ import annotations

from typing import Final

from backstay.limits.limit import Limit
from backstay.limits.limiter import Limiter

__all__ = ["FailureCounts"]

_AT_LEAST_S: Final = 0.001
"""What is refused has to wait, however little is left of it: 0 would say that it may come."""


class FailureCounts:
    """Counts failures, and says when there is room for more (a ``FailureCounter``).

    While the store is out of reach both methods raise, whatever the app's limits do then: whoever
    counts failures has another way of counting them.

    Args:
        limiter: counts.
        of: what it is that fails. All that say the same there are counted together.
    """

    def __init__(self, limiter: Limiter, of: str) -> None:
        self._limiter = limiter
        self._of = of

    async def hit(self, key: str, limit: int, window_s: int) -> None:
        """Count one more failure.

        Args:
            key: whose it is.
            limit: failures that are allowed. When there are that many, no more are counted.
            window_s: seconds for which each counts.

        Raises:
            LimitsUnavailable: nobody can count.
        """
        limits = (Limit(limit, window_s),)
        await self._limiter.hit(self._name(key), limits, fail="closed")

    async def peek(self, key: str, limit: int, window_s: int) -> float:
        """Seconds until another failure would be within the limit; 0 if it is now.

        Raises:
            LimitsUnavailable: nobody can say.
        """
        limits = (Limit(limit, window_s),)
        verdict = await self._limiter.check(self._name(key), limits, fail="closed")
        return 0.0 if verdict.allowed else max(verdict.retry_after_s, _AT_LEAST_S)

    def _name(self, key: str) -> str:
        return f"failed {self._of}: {key}"  # no bar in front, as names of requests' counts have
