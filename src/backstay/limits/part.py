"""The limits as a part of an app: their store, open for as long as the app is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextvars import Context as Variables
from functools import cached_property

from backstay.app import Backstay
from backstay.clock import Timer
from backstay.context import Context
from backstay.errors import LimitsUnavailable
from backstay.limits.app_limits import AppLimits
from backstay.limits.context_limits import ContextLimits
from backstay.limits.limiter import Limiter
from backstay.limits.rate_limit import RateLimit

__all__ = ["LimitsPart"]

_AT_A_TIME = 500


class LimitsPart:
    """What ``add_limits(app)`` switches on.

    Args:
        app: whose.
        make: makes what its limits have in common. Called when that is first needed: a database
            may be switched on after the limits.
        named: limits for ``ctx.limits``, by their names.
        prune_every_s: seconds between two rounds of removing counts that no longer matter, on
            average.
    """

    attribute = "limits"

    def __init__(
        self,
        app: Backstay,
        make: Callable[[], AppLimits],
        *,
        named: Mapping[str, RateLimit],
        prune_every_s: float = 60.0,
    ) -> None:
        self._app = app
        self._make = make
        self._named = named
        self._prune_every_s = prune_every_s
        self._timer: Timer | None = None
        self._round: asyncio.Task[None] | None = None

    @cached_property
    def app_limits(self) -> AppLimits:
        """What the app's limits have in common."""
        return self._make()

    @property
    def limiter(self) -> Limiter:
        """Counts."""
        return self.app_limits.limiter

    def bind(self, ctx: Context) -> ContextLimits:
        """``ctx.limits``."""
        return ContextLimits(self.app_limits, self._named, ctx)

    async def open(self) -> None:
        """Open the store, if it can be reached: an app starts without.

        Raises:
            BadLimit: what stands there is not ours, or there is no such store.
        """
        try:
            await self.limiter.open()
        except BaseException:
            await self.limiter.close()
            raise
        self._wait()

    async def close(self) -> None:
        """Close it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._round is not None:
            self._round.cancel()
            await asyncio.gather(self._round, return_exceptions=True)
        await self.limiter.close()

    async def prune(self) -> int:
        """Remove all counts that no longer matter, in batches. How many there were.

        Every process does it, and none has to be told apart: two at once find different ones.

        Raises:
            LimitsUnavailable: the store is out of reach.
        """
        pruned = 0
        while found := await self.limiter.prune(_AT_A_TIME):
            pruned += found
            if found < _AT_A_TIME:
                break
            await asyncio.sleep(0)
        return pruned

    def _wait(self) -> None:
        clock = self._app.clock
        self._timer = clock.poll_later(self._prune_every_s * (0.5 + clock.random()), self._begin)

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        self._round = loop.create_task(self._prune_and_wait(), context=Variables())

    async def _prune_and_wait(self) -> None:
        try:
            await self.prune()
        except LimitsUnavailable:
            pass  # who counts says so, and this can wait
        except Exception:
            self._app.logger.exception("removing old counts of limits failed")
        self._wait()
