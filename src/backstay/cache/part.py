"""The cache as a part of an app, and ``ctx.cache``: the same one, seen from a piece of work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from backstay.cache.cache import Cache
from backstay.context import Context

__all__ = ["CachePart", "ContextCache"]


class ContextCache(Cache):
    """``ctx.cache``: the app's cache. ``invalidate`` waits for this piece of work's success.

    After the work is over it may still be used; then nothing has to be waited for.
    """

    def __init__(self, cache: Cache, ctx: Context) -> None:
        # All of a cache but this is shared by whoever uses it.
        self.__dict__.update(cache.__dict__)
        self._ctx = ctx


class CachePart:
    """What ``add_cache(app)`` switches on.

    Args:
        cache: the app's.
        look_over: called when the app starts, and its routes are known.
        close_others: closes what routes keep answers in besides.
    """

    attribute = "cache"

    def __init__(
        self,
        cache: Cache,
        look_over: Callable[[], object] = lambda: None,
        close_others: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.cache = cache
        self._look_over = look_over
        self._close_others = close_others

    def bind(self, ctx: Context) -> ContextCache:
        """``ctx.cache``."""
        return ContextCache(self.cache, ctx)

    async def open(self) -> None:
        """Open it, if its store can be reached: an app starts without its cache.

        Raises:
            BadCache: a route keeps answers on terms that cannot be.
        """
        self._look_over()
        await self.cache.open()

    async def close(self) -> None:
        """Finish what is being made in the background, five seconds at most, and close it."""
        if self._close_others is not None:
            await self._close_others()
        await self.cache.close()
