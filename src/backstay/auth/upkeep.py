"""Old sessions and revocations are forgotten now and then."""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context as Variables

from backstay.auth.port import AuthStore
from backstay.clock import Clock, Timer

__all__ = ["Upkeep"]

_logger = logging.getLogger("backstay.auth")

_CLOSING_S = 2.0


class Upkeep:
    """Prunes a store while an app runs.

    Every process does it, and none has to be told apart: two at once find different records.

    Args:
        store: whose records.
        clock: when.
        every_s: seconds between two rounds, on average.
        patience_s: seconds that a round may take. The next one goes on where it stopped.
    """

    def __init__(
        self, store: AuthStore, clock: Clock, *, every_s: float = 600.0, patience_s: float = 60.0
    ) -> None:
        self._store = store
        self._clock = clock
        self._every_s = every_s
        self._patience_s = patience_s
        self._failing = False
        self._timer: Timer | None = None
        self._round: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the running event loop."""
        if self._timer is None:
            self._wait()

    async def close(self) -> None:
        """Stop. A round that is under way is cancelled."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._round is not None:
            self._round.cancel()
            # Not for ever: a database that hangs may hold up the cancelling.
            await asyncio.wait({self._round}, timeout=_CLOSING_S)
            self._round = None

    def _wait(self) -> None:
        # Not all processes at once.
        delay_s = self._every_s * (0.5 + self._clock.random())
        self._timer = self._clock.poll_later(delay_s, self._begin)

    def _begin(self) -> None:
        # In a context of its own (PEP 567): it is nobody's request.
        self._round = asyncio.get_running_loop().create_task(
            self._prune_and_wait(), context=Variables()
        )

    async def _prune_and_wait(self) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                await self._store.prune(now=self._clock.now())
            self._failing = False
        except Exception:
            # Once: a store that is out of reach for a day has one line to say.
            if not self._failing:
                _logger.warning("old sessions and revocations are not forgotten", exc_info=True)
            self._failing = True
        if self._timer is not None:  # nobody has closed it meanwhile
            self._wait()
