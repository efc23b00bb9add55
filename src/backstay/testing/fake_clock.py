"""A clock that stands still until the test moves it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

__all__ = ["FakeClock"]


class FakeClock:
    """Time as the test says: give it to ``install(app, clock=...)``.

    Args:
        start: the first ``now()``.
        chance: what every ``random()`` returns, in [0, 1).
    """

    def __init__(
        self, start: datetime = datetime(2027, 1, 1, tzinfo=UTC), *, chance: float = 0.5
    ) -> None:
        self._now = start
        self._elapsed_s = 0.0
        self._chance = chance
        self._ids = itertools.count(1)
        self._order = itertools.count()
        self._timers: list[tuple[float, int, _FakeTimer]] = []
        self._polls: list[tuple[float, int, _FakeTimer]] = []
        self._sleepers_changed = asyncio.Event()

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._elapsed_s

    def random(self) -> float:
        return self._chance

    def new_id(self) -> str:
        """``00…01``, ``00…02``, and so on."""
        return f"{next(self._ids):032x}"

    def call_later(self, delay_s: float, call: Callable[[], object]) -> _FakeTimer:
        timer = _FakeTimer(call)
        heapq.heappush(self._timers, (self._elapsed_s + delay_s, next(self._order), timer))
        self._sleepers_changed.set()
        return timer

    def poll_later(self, delay_s: float, call: Callable[[], object]) -> _FakeTimer:
        """Like ``call_later``, but at the end of the ``advance`` that comes past it, and once."""
        timer = _FakeTimer(call)
        heapq.heappush(self._polls, (self._elapsed_s + delay_s, next(self._order), timer))
        self._sleepers_changed.set()
        return timer

    async def sleep(self, delay_s: float) -> None:
        woken = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        timer = self.call_later(delay_s, wake)
        try:
            await woken
        finally:
            timer.cancel()

    @property
    def waiting(self) -> list[float]:
        """Seconds from now to each call still to come, soonest first."""
        return sorted(at - self._elapsed_s for at, _, timer in self._timers if not timer.cancelled)

    async def until_waiting(self, count: int = 1) -> None:
        """Wait until ``count`` calls or sleeps are waiting for this clock."""
        while len(self.waiting) < count:
            self._sleepers_changed.clear()
            await self._sleepers_changed.wait()

    async def until_polling(self, count: int = 1) -> None:
        """Wait until ``count`` calls that look around now and then are waiting for this clock."""
        while sum(not timer.cancelled for _, _, timer in self._polls) < count:
            self._sleepers_changed.clear()
            await self._sleepers_changed.wait()

    async def advance(self, seconds: float) -> None:
        """Let time pass, making each call at its time and giving tasks a chance to react to it.

        Whoever looks around now and then (a worker for due jobs, say) looks once, at the end.
        """
        end_s = self._elapsed_s + seconds
        while self._timers and self._timers[0][0] <= end_s:
            at_s, _, timer = heapq.heappop(self._timers)
            self._move_to(max(at_s, self._elapsed_s))
            await self._make(timer)
        self._move_to(end_s)
        due = [each for each in self._polls if each[0] <= end_s]
        self._polls = [each for each in self._polls if each[0] > end_s]
        heapq.heapify(self._polls)
        for _, _, timer in sorted(due):
            await self._make(timer)

    async def _make(self, timer: _FakeTimer) -> None:
        if not timer.cancelled:
            timer.call()
            # One turn wakes who waited for this; a few let the consequences follow.
            for _ in range(5):
                await asyncio.sleep(0)

    def _move_to(self, elapsed_s: float) -> None:
        self._now += timedelta(seconds=elapsed_s - self._elapsed_s)
        self._elapsed_s = elapsed_s


class _FakeTimer:
    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True
