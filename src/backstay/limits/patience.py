"""Asks a store that may not answer, and not for too long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context as Variables
from typing import Any, Final, TypeVar

from backstay.clock import Clock
from backstay.errors import BackstayError, LimitsUnavailable

__all__ = ["Patience"]

T = TypeVar("T")

_FAILURES: Final = 3


class Patience:
    """How long a store is waited for, and when it is left alone.

    After three failures in a row it is left alone for a while. Then one request finds out how it
    is, and the others do not wait for that.

    Args:
        url: the store's, for messages.
        clock: what time it is.
        timeout_s: seconds that it gets for an answer.
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

    async def ask(self, question: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the store answers.

        It is asked in a task of its own, which is given up when its time is over: drivers have
        their own ideas of how long it takes to cancel something.

        Args:
            question: asks.

        Raises:
            LimitsUnavailable: it does not answer, or not in time, or is broken.
            BadLimit: it says that something is wrong here.
        """
        if self._failures >= _FAILURES:
            now = self._clock.monotonic()
            if now < self._down_until:
                raise LimitsUnavailable(
                    f"the limits' counts at {self._url} have been out of reach just now"
                )
            self._down_until = now + self._retry_after_s
        task = self.start(question())
        try:
            await asyncio.wait({task}, timeout=self._timeout_s)
        finally:
            if not task.done():
                task.cancel()
        error = self._what_failed(task)
        if error is None:
            self._failures = 0
            return task.result()
        if isinstance(error, LimitsUnavailable):
            self._failures += 1
            self._down_until = self._clock.monotonic() + self._retry_after_s
        raise error

    def start(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something that ``close`` gives up."""
        # Nothing of the request's (PEP 567): it may serve others.
        task = asyncio.get_running_loop().create_task(coroutine, context=Variables())
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    async def close(self, *, within_s: float) -> None:
        """Give up what is under way, and wait for its end, but not for longer than that."""
        for each in self._tasks:
            each.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # it has been seen, or nobody waits for it any more

    def _what_failed(self, task: asyncio.Task[Any]) -> Exception | None:
        if not task.done() or task.cancelled():
            return LimitsUnavailable(
                f"the limits' counts at {self._url} have not answered within {self._timeout_s} s"
            )
        error = task.exception()
        if error is None or isinstance(error, BackstayError):
            return error
        if not isinstance(error, Exception):
            raise error
        # A store that is broken is as good as one that is not there.
        unavailable = LimitsUnavailable(
            f"the limits' counts at {self._url} failed: {type(error).__name__}: {error}"
        )
        unavailable.__cause__ = error
        return unavailable
