"""So many calls at a time."""

from __future__ import annotations

import asyncio
from threading import Event
from typing import Any

from backstay.clock import Clock
from backstay.errors import BulkheadFull
from backstay.integration.stability.compartment import Compartment, Waiter
from backstay.integration.stability.options import Seconds, read_count, read_seconds
from backstay.integration.stability.pattern import JSON, Call, Key, Pattern

__all__ = ["Bulkhead"]


class Bulkhead(Pattern[Compartment]):
    """Bounds how many calls run at a time, so that one slow service does not take all there is.

    Args:
        max_calls: how many may run.
        max_queue: how many more may wait for a place, first come, first served.
        max_wait: seconds that one waits at most, ``None`` for as long as it takes.
        key: see ``Pattern``; what has places of its own, such as the host.
        clock: see ``Pattern``. Functions that are not async wait by the machine's.

    Raises:
        BulkheadFull: by calls that find no place; answered with 503 and ``Retry-After``.
        BadIntegration: an option makes no sense.
    """

    def __init__(
        self,
        max_calls: int = 10,
        *,
        max_queue: int = 0,
        max_wait: Seconds | None = None,
        key: Key | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(key=key, clock=clock)
        self._places = read_count(max_calls, "Bulkhead(max_calls=)")
        self._queue = read_count(max_queue, "Bulkhead(max_queue=)", least=0)
        self._max_wait_s = (
            None if max_wait is None else read_seconds(max_wait, "Bulkhead(max_wait=)")
        )

    def _options(self) -> dict[str, JSON]:
        return {
            "max_calls": self._places,
            "max_queue": self._queue,
            "max_wait_s": self._max_wait_s,
        }

    def _describe(self, state: Compartment, now: float) -> dict[str, JSON]:
        return {
            "running": state.running,
            "waiting": state.waiting,
            "max_calls": self._places,
            "max_queue": self._queue,
        }

    def _new_state(self) -> Compartment:
        return Compartment(self._places, self._queue)

    async def _run_async(self, call: Call[Compartment]) -> Any:
        place = call.state.enter(_AsyncWaiter)
        if isinstance(place, _AsyncWaiter):
            await self._wait_async(call, place)
        elif not place:
            raise self._full(call)
        try:
            return await call.make()
        finally:
            call.state.leave()

    def _run(self, call: Call[Compartment]) -> Any:
        place = call.state.enter(_ThreadWaiter)
        if isinstance(place, _ThreadWaiter):
            self._wait(call, place)
        elif not place:
            raise self._full(call)
        try:
            return call.make()
        finally:
            call.state.leave()

    async def _wait_async(self, call: Call[Compartment], waiter: _AsyncWaiter) -> None:
        timer = (
            None
            if self._max_wait_s is None
            else call.clock.call_later(self._max_wait_s, waiter.tell)
        )
        try:
            await waiter.told
            if waiter.granted:
                return
        except BaseException:
            call.state.give_up(waiter)
            raise
        finally:
            if timer is not None:
                timer.cancel()
        call.state.give_up(waiter)
        raise self._full(call)

    def _wait(self, call: Call[Compartment], waiter: _ThreadWaiter) -> None:
        try:
            waiter.told.wait(self._max_wait_s)
            if waiter.granted:
                return
        except BaseException:  # Ctrl-C
            call.state.give_up(waiter)
            raise
        call.state.give_up(waiter)
        raise self._full(call)

    def _full(self, call: Call[Compartment]) -> BulkheadFull:
        return BulkheadFull(
            f"{call.name} was not called: {self._places} calls run already, and of those that wait "
            f"there may be {self._queue}"
        )


class _AsyncWaiter(Waiter):
    """Waits in an event loop."""

    __slots__ = ("_loop", "told")

    def __init__(self) -> None:
        super().__init__(self._wake)
        self._loop = asyncio.get_running_loop()
        self.told: asyncio.Future[None] = self._loop.create_future()

    def tell(self) -> None:
        if not self.told.done():
            self.told.set_result(None)

    def _wake(self) -> bool:
        try:
            self._loop.call_soon_threadsafe(self.tell)
        except RuntimeError:  # the loop was closed, and nobody waits in it any more
            return False
        return True


class _ThreadWaiter(Waiter):
    """Waits in a thread."""

    __slots__ = ("told",)

    def __init__(self) -> None:
        super().__init__(self._wake)
        self.told = Event()

    def _wake(self) -> bool:
        self.told.set()
        return True
