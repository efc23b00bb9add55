"""The port to whatever keeps the counts, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from backstay.limits.limit import Limit

__all__ = ["Count", "CountStore", "Strategy", "Verdict"]


class Strategy(StrEnum):
    """How a window moves on."""

    MOVING = "moving"
    """At any time, no more than the amount in the window that ends now. Where a store cannot
    remember single hits (a database), as ``SLIDING``."""

    SLIDING = "sliding"
    """The same from two counts: this window's, and the part of the last one's that is still in
    sight, as if its hits had been spread evenly."""

    FIXED = "fixed"
    """One count for each window, which starts at zero: twice the amount may come around the
    border between two."""


@dataclass(frozen=True, slots=True)
class Count:
    """How it stands with one limit.

    Attributes:
        limit: which.
        remaining: how much is left.
        reset_s: seconds until more will be; 0 if nothing has been used.
    """

    limit: Limit
    remaining: int
    reset_s: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether it may happen.

    Attributes:
        allowed: whether.
        counts: how it stands with each limit, after that.
        retry_after_s: seconds until it may, if it may not now; 0 if it may.
        alone: whether this process has counted by itself, because the store is out of reach.
    """

    allowed: bool
    counts: tuple[Count, ...]
    retry_after_s: float = 0.0
    alone: bool = False

    @property
    def remaining(self) -> int:
        """How much is left of the limit that has least."""
        return min((each.remaining for each in self.counts), default=0)


class CountStore(Protocol):
    """Keeps counts. Each call is one step for whoever else counts: all limits, or none of them.

    ``key`` is who does what; ``limits`` has at least one, of different windows, the shortest first.
    Each of them with the key and the strategy is one count.
    """

    @property
    def url(self) -> str:
        """Where it is, without a password."""

    @property
    def is_local(self) -> bool:
        """Whether it is in this process: it never fails, nor makes anybody wait."""

    async def open(self) -> None:
        """Get ready. The first ``hit`` does it too.

        Raises:
            BadLimit: what stands there is not ours.
            LimitsUnavailable: it is out of reach, like all that follows.
        """

    async def close(self) -> None:
        """Let go of connections."""

    async def hit(
        self, key: str, limits: Sequence[Limit], cost: int, strategy: Strategy
    ) -> Verdict:
        """Count, if it still fits into every limit.

        Args:
            key: as above.
            limits: as above.
            cost: how much, at least 1.
            strategy: as above.
        """

    async def check(
        self, key: str, limits: Sequence[Limit], cost: int, strategy: Strategy
    ) -> Verdict:
        """The same without counting; ``cost`` may be 0."""

    async def clear(self, key: str, limits: Sequence[Limit], strategy: Strategy) -> None:
        """Begin again from zero."""

    async def prune(self, at_most: int) -> int:
        """Remove counts that no longer matter, some at a time. How many there were."""
