"""Stopping within a bounded time, from the first signal on."""

from __future__ import annotations

import logging
from collections.abc import Callable

from backstay.clock import Clock, Timer
from backstay.tasks.supervisor import Supervisor

__all__ = ["Drain"]

logger = logging.getLogger("backstay.tasks")

_LAST_WORDS_S = 1.0


class Drain:
    """Brings a supervisor to rest, in steps that each have an end::

        grace          everything may finish
        shield grace   unshielded tasks are cancelled, shielded ones and handlers may finish
        last words     everything is cancelled; what ignores that is abandoned

    ``begin`` starts the first step, ``hurry`` ends the current one.

    Args:
        supervisor: whose tasks.
        clock: time for the steps.
        grace_s: seconds of the first step.
        shield_grace_s: seconds of the second.
    """

    def __init__(
        self, supervisor: Supervisor, clock: Clock, *, grace_s: float, shield_grace_s: float
    ) -> None:
        self._supervisor = supervisor
        self._clock = clock
        self._steps: list[tuple[Callable[[], None], float]] = [
            (self._start_grace, grace_s),
            (self._end_grace, shield_grace_s),
            (self._end_shield_grace, _LAST_WORDS_S),
            (self._abandon, 0.0),
        ]
        self._timer: Timer | None = None
        self._grace_s = grace_s

    def begin(self) -> None:
        """Start draining; does nothing if that has happened."""
        if len(self._steps) == 4:
            self._next_step()

    def hurry(self) -> None:
        """Start draining, or end the step it is at: what a repeated signal means."""
        if self._steps:
            self._next_step()

    async def finish(self) -> None:
        """Drain to the end: returns when nothing runs and nothing waits any more."""
        self.begin()
        await self._supervisor.settled()
        if self._timer is not None:
            self._timer.cancel()
        self._steps.clear()

    def _next_step(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        step, lasts_s = self._steps.pop(0)
        step()
        if self._steps:
            self._timer = self._clock.call_later(lasts_s, self._next_step)

    def _start_grace(self) -> None:
        if not self._supervisor.idle:
            logger.info(
                "stopping: %d tasks running, %d waiting; they have %.3g s",
                len(self._supervisor.running),
                self._supervisor.pending.count,
                self._grace_s,
            )

    def _end_grace(self) -> None:
        self._supervisor.cancel_unshielded(
            f"the app is shutting down and its grace period of {self._grace_s:.3g} s is over"
        )

    def _end_shield_grace(self) -> None:
        self._supervisor.cancel_all(
            "the app is shutting down and the grace for shielded tasks is over"
        )

    def _abandon(self) -> None:
        self._supervisor.abandon()
