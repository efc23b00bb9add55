"""Stopping within a bounded time, from the first signal on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from backstay.clock import Clock, Timer
from backstay.tasks.supervisor import Supervisor

__all__ = ["Drain", "SignalChain"]

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


class SignalChain:
    """Hears SIGTERM and SIGINT before whoever handles them now, and passes them on.

    Servers wait for open requests before they end the lifespan, so an app that listened to the
    lifespan alone would start draining long after it was asked to stop.

    Args:
        on_signal: called in the event loop for each signal.
    """

    def __init__(self, on_signal: Callable[[], None]) -> None:
        self._on_signal = on_signal
        self._previous: dict[signal.Signals, Any] = {}
        self._installed: dict[signal.Signals, Any] = {}

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """Chain in. Does nothing outside the main thread, where signals cannot be had."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            previous = signal.getsignal(number)
            if not callable(previous):
                # Default or ignored: nobody means to stop gracefully, and catching the
                # signal would only keep the process from ending.
                continue

            def handle(
                received: int,
                frame: FrameType | None,
                pass_on: Callable[[int, FrameType | None], Any] = previous,
            ) -> None:
                with contextlib.suppress(RuntimeError):  # the loop is closed already
                    loop.call_soon_threadsafe(self._on_signal)
                pass_on(received, frame)

            self._previous[number] = previous
            self._installed[number] = handle
            signal.signal(number, handle)

    def remove(self) -> None:
        """Leave the chain, unless somebody else chained in after us."""
        for number, previous in self._previous.items():
            if signal.getsignal(number) is self._installed[number]:
                signal.signal(number, previous)
        self._previous.clear()
        self._installed.clear()
