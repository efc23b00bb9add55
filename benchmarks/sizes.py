"""How much of everything a run does."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FULL", "QUICK", "SMOKE", "Size"]


@dataclass(frozen=True, slots=True)
class Size:
    """How much to measure.

    Attributes:
        processes: fresh processes of every side (``schedule``, ``requests``).
        rounds: turns of every side in each process of ``schedule``, ten bursts of tasks each.
        wrk_rounds: turns of every server in ``requests``, one second each.
        pending: tasks that wait (``memory``).
        repeats: fresh interpreters for each import and each amount of memory.
    """

    processes: int
    rounds: int
    wrk_rounds: int
    pending: int
    repeats: int


FULL = Size(processes=10, rounds=20, wrk_rounds=2, pending=100_000, repeats=25)
QUICK = Size(processes=2, rounds=10, wrk_rounds=1, pending=100_000, repeats=7)
SMOKE = Size(processes=1, rounds=1, wrk_rounds=1, pending=1_000, repeats=1)
"""Shows that everything runs; its numbers mean nothing."""
