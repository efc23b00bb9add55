"""Values made anew behind the backs of those who were given old ones (RFC 5861 §3)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context as Variables

from backstay.clock import Clock

__all__ = ["Background"]

logger = logging.getLogger("backstay.cache")

_PEACE_S = 1.0


class Background:
    """Work of the cache's own: one task for each key at most, and others.

    Its tasks begin with no context variables (PEP 567): a request's context, session or user is
    over when they run, and must not be found.

    Args:
        clock: says when what failed may be tried again.
        patience_s: seconds that ``close`` waits for what is under way.

    Attributes:
        closed: whether it takes no more work.
    """

    def __init__(self, clock: Clock, *, patience_s: float) -> None:
        self._clock = clock
        self._patience_s = patience_s
        self._refreshing: set[str] = set()
        self._tasks: set[asyncio.Task[object]] = set()
        self.closed = False

    @property
    def busy(self) -> int:
        """How many tasks are under way."""
        return len(self._tasks)

    def refresh(self, key: str, make: Callable[[], Awaitable[object]]) -> bool:
        """Have a value made anew, unless that is under way or has just failed. Whether it is."""
        if key in self._refreshing or self.closed:
            return False
        self._refreshing.add(key)
        self.start(self._refresh(key, make))
        return True

    def start(self, work: Awaitable[object]) -> None:
        """Do something, which must not fail, without anybody waiting."""
        task = asyncio.get_running_loop().create_task(_whole(work), context=Variables())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Wait until nothing is under way. For tests."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    def open(self) -> None:
        """Take work."""
        self.closed = False

    async def close(self) -> None:
        """Wait for what is under way, a while, then cancel it."""
        self.closed = True
        loop = asyncio.get_running_loop()
        # Those of a loop that is gone are gone with it.
        tasks = [task for task in self._tasks if task.get_loop() is loop]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._patience_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=1)
        self._tasks.clear()
        self._refreshing.clear()

    async def _refresh(self, key: str, make: Callable[[], Awaitable[object]]) -> None:
        try:
            await make()
        except Exception:
            logger.warning(
                "a value of the cache could not be made anew, and the old one is answered "
                "while it may be: %s",
                key,
                exc_info=True,
            )
            # Not again with the next request: whatever fails needs no more work just now.
            self._clock.call_later(_PEACE_S, lambda: self._refreshing.discard(key))
        except BaseException:
            self._refreshing.discard(key)
            raise
        else:
            self._refreshing.discard(key)


async def _whole(work: Awaitable[object]) -> object:
    return await work
