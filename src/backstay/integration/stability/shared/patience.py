"""Asks a store that may not answer, and not for too long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import Context as Variables
from typing import Any, Final, TypeVar

from backstay.clock import Clock
from backstay.errors import BadIntegration
from backstay.integration.stability.shared.port import StoreUnavailable

__all__ = ["Patience"]

logger = logging.getLogger("backstay.integration")

T = TypeVar("T")

_FAILURES: Final = 3


class Patience:
    """How long a store is waited for, and when it is left alone.

    After three failures in a row it is left alone for a while. Then one call finds out how it is,
    and the others do not wait for that.

    Args:
        url: the store's, for messages.
        clock: what time it is.
        timeout_s: seconds that it gets for an answer, by the machine's clock.
        retry_after_s: seconds for which it is left alone.
    """

    def __init__(self, url: str, *, clock: Clock, timeout_s: float, retry_after_s: float) -> None:
        self._url = url
        self._clock = clock
        self._timeout_s = timeout_s
        self._retry_after_s = retry_after_s
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failures = 0
        self._down_until = 0.0

    @property
    def is_out(self) -> bool:
        """Whether it is being left alone."""
        return self._failures >= _FAILURES

    async def ask(
        self, question: Callable[[], Coroutine[Any, Any, T]], *, least_s: float = 0.0
    ) -> T:
        """What the store answers.

        It is asked in a task of its own, which is given up when its time is over: drivers have
        their own ideas of how long it takes to cancel something.

        Args:
            question: asks.
            least_s: seconds that it gets at least.

        Raises:
            StoreUnavailable: it does not answer, or not in time, or is broken.
            BadIntegration: it says that something is wrong here.
        """
        if self.is_out:
            now = self._clock.monotonic()
            if now < self._down_until:
                raise StoreUnavailable(
                    f"the circuits and buckets at {self._url} have been out of reach just now"
                )
            self._down_until = now + self._retry_after_s
        task = self._start(question())
        try:
            await asyncio.wait({task}, timeout=max(self._timeout_s, least_s))
        finally:
            if not task.done():
                task.cancel()
        error = self._what_failed(task)
        if error is None:
            self._failures = 0
            return task.result()
        self._failures += 1
        self._down_until = self._clock.monotonic() + self._retry_after_s
        raise error

    def start(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something that nobody waits for, and that ``close`` gives up."""
        task = self._start(coroutine)
        task.add_done_callback(_complain)
        return task

    def _start(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        # Nothing of the call's (PEP 567): it may serve others.
        task = asyncio.get_running_loop().create_task(coroutine, context=Variables())
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    async def close(self, *, within_s: float) -> None:
        """Give up what is under way, and wait for its end, but not for longer than that."""
        tasks = set(self._tasks)
        for each in tasks:
            each.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=within_s)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # it has been seen, or nobody waits for it any more

    def _what_failed(self, task: asyncio.Task[Any]) -> Exception | None:
        if not task.done() or task.cancelled():
            return StoreUnavailable(
                f"the circuits and buckets at {self._url} have not answered within "
                f"{self._timeout_s:g} s"
            )
        error = task.exception()
        if error is None or isinstance(error, StoreUnavailable | BadIntegration):
            return error
        if not isinstance(error, Exception):
            raise error
        # A store that is broken is as good as one that is not there.
        unavailable = StoreUnavailable(
            f"the circuits and buckets at {self._url} failed: {type(error).__name__}: {error}"
        )
        unavailable.__cause__ = error
        return unavailable


def _complain(task: asyncio.Task[Any]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        logger.error("what processes share came to grief here", exc_info=error)
