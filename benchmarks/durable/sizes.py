"""How much of everything a run does."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["FULL", "QUICK", "SMOKE", "Size"]


@dataclass(frozen=True, slots=True)
class Size:
    """How much to measure.

    Attributes:
        rounds: turns of every side in each scenario.
        long_rounds: the same for latency and rescue, where a turn takes long.
        seconds: of every way to enqueue, in every turn.
        scale: of the number of jobs a side drains in a turn (see ``sides.py``).
        latency_s: seconds of a hundred jobs each.
        idle_s: seconds an idle worker is watched.
        slow_jobs: half-second jobs given to the worker that is killed.
        patience_s: how long to wait for jobs that may never finish.
        lease_s: of our worker that is killed, ``None`` for its default.
        finished, scheduled: rows that stand in the table as history.
    """

    rounds: int
    long_rounds: int
    seconds: float
    scale: float
    latency_s: float
    idle_s: float
    slow_jobs: int
    patience_s: float
    lease_s: float | None
    finished: int
    scheduled: int

    def of(self, rounds: int) -> Size:
        """The same with so many rounds of everything."""
        return replace(self, rounds=rounds, long_rounds=rounds)


FULL = Size(
    rounds=5,
    long_rounds=3,
    seconds=1.5,
    scale=1.0,
    latency_s=5.0,
    idle_s=10.0,
    slow_jobs=100,
    patience_s=120.0,
    lease_s=None,
    finished=1_000_000,
    scheduled=100_000,
)
QUICK = Size(
    rounds=2,
    long_rounds=1,
    seconds=0.7,
    scale=0.3,
    latency_s=3.0,
    idle_s=5.0,
    slow_jobs=60,
    patience_s=45.0,
    lease_s=None,
    finished=200_000,
    scheduled=20_000,
)
SMOKE = Size(
    rounds=1,
    long_rounds=1,
    seconds=0.05,
    scale=0.01,
    latency_s=0.2,
    idle_s=0.2,
    slow_jobs=40,
    patience_s=20.0,
    lease_s=1.0,
    finished=500,
    scheduled=50,
)
"""Shows that everything runs; its numbers mean nothing."""
