"""What happened in one minute, in numbers, and the histogram that its quantiles are read from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from backstay.errors import BadEvents

__all__ = ["BOUNDS_MS", "Minute", "OTHERS"]

BOUNDS_MS = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000)
"""The buckets of durations end here, in milliseconds, bounds included; one more has the rest."""

OTHERS = "(others)"
"""What is beyond the number of names that are told apart in one minute."""


@dataclass(frozen=True, slots=True)
class Minute:
    """What happened under one name in one minute, or in a longer step of a series.

    Sampling does not matter here: everything is counted.

    Attributes:
        at: when it began, aware UTC. Things are counted where they end.
        kind: of what.
        name: of what; ``None`` if it is about all names.
        count: how many ended.
        failed: how many of them failed, or were answered with 500 or more.
        status_2xx, status_3xx, status_4xx, status_5xx: how many had such a status.
        total_ms: of all their durations.
        max_ms: the longest.
        histogram: how many took at most so long as the first bound of ``BOUNDS_MS``, how many
            longer than that and at most as the second, and so on; the last one counts the rest.
        step_s: how long it is, in seconds.
    """

    at: datetime
    kind: str
    name: str | None
    count: int = 0
    failed: int = 0
    status_2xx: int = 0
    status_3xx: int = 0
    status_4xx: int = 0
    status_5xx: int = 0
    total_ms: float = 0.0
    max_ms: float = 0.0
    histogram: tuple[int, ...] = (0,) * (len(BOUNDS_MS) + 1)
    step_s: int = 60

    @property
    def mean_ms(self) -> float | None:
        """The mean duration; ``None`` if nothing happened."""
        return self.total_ms / self.count if self.count else None

    def quantile(self, fraction: float) -> float | None:
        """The duration, in milliseconds, that so large a part of them did not exceed.

        It is exact to the bucket it falls in; in there it is taken for evenly spread.

        Args:
            fraction: 0.5 for the median, 0.95 or 0.99 for the slow ones.

        Returns:
            ``None`` if nothing happened.

        Raises:
            BadEvents: ``fraction`` is not between 0 and 1.
        """
        if not 0 <= fraction <= 1:
            raise BadEvents(f"a quantile is between 0 and 1, such as 0.95; got {fraction!r}")
        total = sum(self.histogram)
        if not total:
            return None
        rank = fraction * total
        below = 0
        lower = 0.0
        for count, bound in zip(self.histogram, (*BOUNDS_MS, self.max_ms), strict=True):
            # No bucket reaches beyond the longest that there was.
            upper = max(lower, min(float(bound), self.max_ms))
            if count and below + count >= rank:
                return lower + (upper - lower) * (rank - below) / count
            below += count
            lower = upper
        return self.max_ms
