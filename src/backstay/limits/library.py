"""Counts in what the library ``limits`` speaks to: Redis, above all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from backstay.clock import Clock
from backstay.errors import LimitsUnavailable, MissingExtra
from backstay.limits.limit import Limit
from backstay.limits.port import Count, Strategy, Verdict

try:
    from limits.aio.storage import Storage
    from limits.aio.strategies import (
        FixedWindowRateLimiter,
        MovingWindowRateLimiter,
        RateLimiter,
        SlidingWindowCounterRateLimiter,
    )

    from limits import RateLimitItem, RateLimitItemPerSecond
except ImportError as missing:
    raise MissingExtra("limits", missing.name or "limits") from missing

__all__ = ["LibraryCounts"]

_STRATEGIES: dict[Strategy, Callable[[Storage], RateLimiter]] = {
    Strategy.FIXED: FixedWindowRateLimiter,
    Strategy.MOVING: MovingWindowRateLimiter,
    Strategy.SLIDING: SlidingWindowCounterRateLimiter,
}


class LibraryCounts:
    """Implements ``CountStore`` over a storage of the library's.

    The library counts one limit at a time. Of several, all are looked at before the first is
    counted; if somebody else is faster in between, the shorter ones have counted a hit that the
    longer one then refuses.

    Args:
        storage: from ``limits.aio.storage``.
        url: where that is, without a password.
        clock: what time it is. The library itself goes by the machine's.
        pool: connections of ``redis.asyncio``. A client's own are used in one event loop after
            another, as tests do. ``None``: the storage has others.
        owned: whether the pool is closed along with this.
    """

    is_local = False

    def __init__(
        self, storage: Storage, *, url: str, clock: Clock, pool: Any = None, owned: bool = False
    ) -> None:
        self.url = url
        self._storage = storage
        self._clock = clock
        self._pool = pool
        self._owned = owned
        self._loop: asyncio.AbstractEventLoop | None = None
        self._limiters: dict[Strategy, RateLimiter] = {}
        self._items: dict[Limit, RateLimitItem] = {}

    async def open(self) -> None:
        with self._seam():
            answers = await self._storage.check()
        if not answers:
            raise LimitsUnavailable(f"the limits' counts at {self.url} do not answer")

    async def close(self) -> None:
        if self._owned and self._pool is not None:
            await self._pool.disconnect()

    async def hit(
        self, key: str, limits: Sequence[Limit], cost: int, strategy: Strategy
    ) -> Verdict:
        with self._seam():
            limiter, name = self._limiter(strategy), _digest(key, strategy)
            if len(limits) > 1 or strategy is Strategy.FIXED:
                # A fixed window of the library's counts what it refuses, too.
                before = await self._look(limiter, name, limits, cost)
                if not before.allowed:
                    return before
            allowed = True
            for each in limits:
                if not await limiter.hit(self._item(each), name, cost=cost):
                    allowed = False
                    break
            after = await self._look(limiter, name, limits, cost)
            return replace(
                after, allowed=allowed, retry_after_s=0.0 if allowed else after.retry_after_s
            )

    async def check(
        self, key: str, limits: Sequence[Limit], cost: int, strategy: Strategy
    ) -> Verdict:
        with self._seam():
            return await self._look(self._limiter(strategy), _digest(key, strategy), limits, cost)

    async def clear(self, key: str, limits: Sequence[Limit], strategy: Strategy) -> None:
        with self._seam():
            for each in limits:
                await self._limiter(strategy).clear(self._item(each), _digest(key, strategy))

    async def prune(self, at_most: int) -> int:
        return 0  # the servers let counts expire by themselves

    async def _look(
        self, limiter: RateLimiter, name: str, limits: Sequence[Limit], cost: int
    ) -> Verdict:
        counts = []
        for each in limits:
            stats = await limiter.get_window_stats(self._item(each), name)
            remaining = min(each.amount, max(0, stats.remaining))
            reset_s = stats.reset_time - self._clock.now().timestamp()
            if remaining == each.amount:
                reset_s = 0.0
            counts.append(Count(each, remaining, min(float(each.window_s), max(0.0, reset_s))))
        late = [each for each in counts if each.remaining < cost]
        # When the first of what is missing comes back; for a cost of one that is all there is.
        wait_s = max((each.reset_s for each in late), default=0.0)
        if any(each.limit.amount < cost for each in late):
            wait_s = float(limits[-1].window_s)
        return Verdict(not late, tuple(counts), wait_s)

    def _limiter(self, strategy: Strategy) -> RateLimiter:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None and self._loop.is_closed() and self._pool is not None:
                self._pool.reset()  # its connections were that loop's
            self._loop = loop
        limiter = self._limiters.get(strategy)
        if limiter is None:
            limiter = self._limiters[strategy] = _STRATEGIES[strategy](self._storage)
        return limiter

    def _item(self, limit: Limit) -> RateLimitItem:
        item = self._items.get(limit)
        if item is None:
            item = self._items[limit] = RateLimitItemPerSecond(limit.amount, limit.window_s)
        return item

    @contextmanager
    def _seam(self) -> Iterator[None]:
        try:
            yield
        except (OSError, TimeoutError) as error:
            raise self._unavailable(error) from error
        except self._storage.base_exceptions as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> LimitsUnavailable:
        what = " ".join(str(error).split()) or type(error).__name__
        return LimitsUnavailable(f"the limits' counts at {self.url} are out of reach: {what}")


def _digest(key: str, strategy: Strategy) -> str:
    """Who does what, without saying so: addresses and names of people are nobody's to read there."""
    name = f"{strategy} {key}"
    return blake2b(name.encode(errors="surrogatepass"), digest_size=16).hexdigest()
