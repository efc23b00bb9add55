"""Between the cache and its store: a store that fails costs little, and is heard of rarely."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context as Variables
from typing import TypeVar

from backstay.cache.port import CacheStore, LocalStore
from backstay.clock import Clock
from backstay.errors import CacheUnavailable

__all__ = ["Guard", "StoreSilent"]

T = TypeVar("T")

logger = logging.getLogger("backstay.cache")

_LOG_EVERY_S = 10.0


class StoreSilent(Exception):
    """The store did not do it, which has been logged; whoever asked goes on without."""


class Guard:
    """Asks a store, opened when it is first needed, and gives it up for a moment when it fails.

    After a failure nobody asks for ``retry_after_s``; then one does, and if the store answers it
    everybody asks again. So an outage costs one ``timeout_s`` each time and not each request.

    Args:
        store: whom to ask.
        clock: says when to ask again.
        timeout_s: seconds that one call may take.
        retry_after_s: seconds of peace after a failure.
    """

    def __init__(
        self, store: CacheStore, clock: Clock, *, timeout_s: float, retry_after_s: float
    ) -> None:
        self.store = store
        self._clock = clock
        self._timeout_s = timeout_s
        self._retry_after_s = retry_after_s
        self._silent_until: float | None = None
        self._logged_at: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Task[None] | None = None

    @property
    def is_silent(self) -> bool:
        """Whether the store failed last time and is not to be asked yet."""
        return self._silent_until is not None and self._clock.monotonic() < self._silent_until

    async def ask(
        self, call: Callable[[], Awaitable[T]], what: str, *, timeout_s: float | None = None
    ) -> T:
        """What ``call`` gives, within its time.

        Args:
            call: what to ask of the store.
            what: for the log: ``"reading"``.
            timeout_s: seconds it may take; ``None``: what is usual.

        Raises:
            StoreSilent: it did not do it, or was not asked.
        """
        if self._silent_until is not None:
            now = self._clock.monotonic()
            if now < self._silent_until:
                raise StoreSilent
            # One asks; for the others the time begins anew.
            self._silent_until = now + self._retry_after_s
        try:
            async with asyncio.timeout(self._timeout_s if timeout_s is None else timeout_s):
                if self._loop is not asyncio.get_running_loop():
                    await self._open()
                result = await call()
        except (CacheUnavailable, OSError) as error:  # TimeoutError is an OSError
            self._silent_until = self._clock.monotonic() + self._retry_after_s
            self._complain(what, error)
            raise StoreSilent from error
        except Exception as error:
            # About this call alone, as far as anybody knows.
            self._complain(what, error)
            raise StoreSilent from error
        self._silent_until = None
        return result

    def ask_at_once(self, call: Callable[[], T], what: str) -> T:
        """The same for a store in this process's memory."""
        try:
            return call()
        except Exception as error:
            self._complain(what, error)
            raise StoreSilent from error

    async def close(self) -> None:
        """Close the store. It is opened again if anybody asks."""
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
        was_open, self._loop = self._loop is not None, None
        if was_open:
            try:
                await self.store.close()
            except Exception as error:
                self._complain("closing", error)

    async def _open(self) -> None:
        """Open the store for this event loop; a caller that gives up leaves that to the others."""
        loop = asyncio.get_running_loop()
        opening = self._opening
        if opening is None or opening.get_loop() is not loop:
            # In a task of its own, of no request: whoever asked first may be cancelled.
            opening = loop.create_task(self._open_for(loop), context=Variables())
            opening.add_done_callback(_look_at)
            self._opening = opening
        await asyncio.shield(opening)

    async def _open_for(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            if self._loop is not None and not isinstance(self.store, LocalStore):
                # What was made in a loop that is gone is of no use in this one, and complains.
                with contextlib.suppress(Exception):
                    await self.store.close()
                self._loop = None
            await self.store.open()
            self._loop = loop
        finally:
            self._opening = None

    def _complain(self, what: str, error: Exception) -> None:
        now = self._clock.monotonic()
        if self._logged_at is None or now - self._logged_at >= _LOG_EVERY_S:
            self._logged_at = now
            why = " ".join(str(error).split()) or "no answer in time"
            logger.warning(
                "%s the cache at %s failed, and the work goes on without it: %s: %s",
                what,
                self.store.url,
                type(error).__name__,
                why,
            )


def _look_at(opening: asyncio.Task[None]) -> None:
    """Or asyncio would complain that nobody did, if all who waited have given up."""
    if not opening.cancelled():
        opening.exception()
