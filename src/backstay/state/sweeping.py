"""Forgets what has expired, now and then, a little at a time.

Reading never sees what has expired, so this is for room alone. Every process does it, and none
has to be told apart from the others: two at once find different rows.
"""

from __future__ import annotations

import asyncio
import logging

from backstay.clock import Clock, Timer
from backstay.errors import StateError
from backstay.state.port import StateStore

__all__ = ["Sweeper"]

logger = logging.getLogger("backstay.state")

_AT_A_TIME = 500
_BREATH_S = 0.005


class Sweeper:
    """Calls ``store.sweep`` from ``start`` to ``stop``.

    Args:
        store: an open one.
        clock: says when; its chance keeps processes that started together apart.
        every_s: seconds between two rounds, on average: each waits half as long to half as long
            again.
    """

    def __init__(self, store: StateStore, clock: Clock, every_s: float) -> None:
        self._store = store
        self._clock = clock
        self._every_s = every_s
        self._timer: Timer | None = None
        self._round: asyncio.Task[None] | None = None
        self._failing = False

    def start(self) -> None:
        """Begin. In the event loop."""
        self._timer = self._clock.poll_later(
            self._every_s * (0.5 + self._clock.random()), self._begin
        )

    async def stop(self) -> None:
        """End, after what is under way."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        running, self._round = self._round, None
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def sweep(self) -> int:
        """One round, now: all that has expired, in batches. How much there was."""
        swept = 0
        while found := await self._store.sweep(_AT_A_TIME):
            swept += found
            if found < _AT_A_TIME:
                break
            await asyncio.sleep(_BREATH_S)  # others write meanwhile
        return swept

    def _begin(self) -> None:
        self._timer = None
        self._round = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            await self.sweep()
            self._failing = False
        except StateError as error:
            # Once, and not every minute of an outage.
            if not self._failing:
                logger.warning("expired state could not be swept, and will be later: %s", error)
            self._failing = True
        except Exception:
            logger.exception("sweeping the state failed")
        self.start()
