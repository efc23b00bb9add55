"""A call may take so long."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from threading import Event, Thread
from typing import Any

from backstay.clock import Clock
from backstay.errors import StabilityTimeoutError
from backstay.integration.stability.deadline import Deadline, current_deadline
from backstay.integration.stability.options import Seconds, read_seconds
from backstay.integration.stability.pattern import JSON, Call, Pattern, Stateless

__all__ = ["Timeout"]


class Timeout(Pattern[Stateless]):
    """Gives up calls that take too long.

    An async function is cancelled. Another one runs in a thread of its own, which goes on after the
    time is up, for nothing can stop it: what it returns then is dropped. A ``Bulkhead`` further
    inside bounds how many of those there are.

    Args:
        seconds: how long a call may take.
        clock: see ``Pattern``. Time-outs of functions that are not async go by the machine's.

    Raises:
        StabilityTimeoutError: by calls that take longer; a ``TimeoutError``, answered with 504.
        BadIntegration: ``seconds`` is not more than 0.
    """

    def __init__(self, seconds: Seconds = 10, *, clock: Clock | None = None) -> None:
        super().__init__(clock=clock)
        self._seconds = read_seconds(seconds, "Timeout(seconds=)")

    def _options(self) -> dict[str, JSON]:
        return {"seconds": self._seconds}

    _only_state = Stateless()

    def _new_state(self) -> Stateless:
        return Stateless()

    async def _run_async(self, call: Call[Stateless]) -> Any:
        task = asyncio.current_task()
        assert task is not None
        deadline = Deadline(current_deadline.get())
        cancelled_before = task.cancelling()

        def expire() -> None:
            deadline.expire()
            task.cancel()

        token = current_deadline.set(deadline)
        timer = call.clock.call_later(self._seconds, expire)
        try:
            return await call.make()
        except asyncio.CancelledError as error:
            # As asyncio.timeout does it: somebody else's cancellation goes first.
            if deadline.expired and task.cancelling() - 1 <= cancelled_before:
                raise self._error(call) from error
            raise
        finally:
            timer.cancel()
            current_deadline.reset(token)
            if deadline.expired:
                task.uncancel()

    def _run(self, call: Call[Stateless]) -> Any:
        deadline = Deadline(current_deadline.get())
        variables = copy_context()
        variables.run(current_deadline.set, deadline)
        ended = Event()
        result: Any = None
        error: BaseException | None = None

        def work() -> None:
            nonlocal result, error
            try:
                result = variables.run(call.make)
            except BaseException as raised:
                error = raised
            ended.set()

        Thread(target=work, name=f"backstay-{call.name}", daemon=True).start()
        if not ended.wait(self._seconds):
            deadline.expire()
            raise self._error(call)
        if error is not None:
            try:
                raise error
            finally:
                error = None  # its traceback holds this frame, which would hold it
        return result

    def _error(self, call: Call[Stateless]) -> StabilityTimeoutError:
        return StabilityTimeoutError(f"{call.name} took longer than {self._seconds:g} s")
