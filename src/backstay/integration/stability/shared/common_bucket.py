"""A bucket that several processes have in common, as one of them sees it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, NamedTuple

from backstay.clock import Clock
from backstay.integration.stability.shared.port import Pace, StoreUnavailable
from backstay.integration.stability.shared.shared_states import SharedStates
from backstay.integration.stability.token_bucket import Place, TokenBucket

__all__ = ["CommonBucket", "CommonPlace"]

_REMEMBERED_S: Final = 1.0


class CommonPlace(NamedTuple):
    """A place in the order of all processes' calls.

    Attributes:
        wait_s: seconds until it may be made.
        granted: it may be made then; otherwise that is longer than it wants to wait.
        mark: the store's word for it.
    """

    wait_s: float
    granted: bool
    mark: int = 0


class CommonBucket(TokenBucket):
    """A bucket that others have, too, once it has joined them; otherwise an ordinary one.

    Each call asks the store. Calls that come while it is being asked go together in one step, and
    a refusal is remembered for as long as it holds, a second at most. While the store is out of
    reach, calls take from the bucket of this process alone, which is as large.

    What it does in common belongs to one event loop.

    Args:
        rate: calls a second, of all processes together.
        burst: calls at once, 1 or more.
    """

    __slots__ = ("_is_serving", "_next_at", "_pace", "_refused_at", "_waiting", "name", "states")

    def __init__(self, rate: float, burst: int) -> None:
        super().__init__(rate, burst)
        self._pace = Pace(rate, burst)
        self.states: SharedStates | None = None
        self.name = b""
        self._waiting: deque[asyncio.Future[CommonPlace | None]] = deque()
        self._is_serving = False
        self._next_at = 0.0
        self._refused_at: float | None = None

    def join(self, states: SharedStates, name: bytes) -> None:
        """Have it in common with whoever has that name there."""
        self.states, self.name = states, name
        self._refused_at = None

    async def take_in_common(self, clock: Clock, max_wait_s: float) -> Place | CommonPlace:
        """A place for one more call, if it may be made within ``max_wait_s`` seconds.

        In the order of all, or in that of this process alone if the store is out of reach.
        """
        states = self.states
        assert states is not None
        now = clock.monotonic()
        if self._refused_at is not None:
            wait_s = self._next_at - now
            if wait_s > max_wait_s and now < self._refused_at + _REMEMBERED_S:
                return CommonPlace(wait_s, granted=False)
            self._refused_at = None
        future: asyncio.Future[CommonPlace | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        if not self._is_serving:
            self._is_serving = True
            states.start(self._serve(states, clock, max_wait_s))
        place = await future
        return self.take(clock.monotonic(), max_wait_s) if place is None else place

    def give_back_in_common(self, place: Place | CommonPlace) -> None:
        """The call is not going to be made. See ``give_back``."""
        if not isinstance(place, CommonPlace):
            self.give_back(place)
        elif self.states is not None:
            self.states.start(self.states.give_back(self.name, self._pace, mark=place.mark))

    def is_idle(self, now: float) -> bool:
        return not self._is_serving and super().is_idle(now)

    async def _serve(self, states: SharedStates, clock: Clock, max_wait_s: float) -> None:
        taken: list[asyncio.Future[CommonPlace | None]] = []
        try:
            while self._waiting:
                taken = [each for each in self._waiting if not each.done()]
                self._waiting.clear()
                if not taken:
                    continue
                try:
                    found = await states.take(
                        self.name, self._pace, count=len(taken), max_wait_s=max_wait_s
                    )
                except StoreUnavailable:
                    _tell(taken, None)
                    continue
                each_us = self._pace.each_us
                for index, future in enumerate(taken[: found.count]):
                    behind = found.count - index
                    wait_s = max(0.0, found.next_in_s - behind * each_us / 1_000_000)
                    mark = found.mark - (behind - 1) * each_us
                    if future.done():  # cancelled meanwhile
                        self.give_back_in_common(CommonPlace(wait_s, True, mark))
                    _tell([future], CommonPlace(wait_s, True, mark))
                if found.count < len(taken):
                    self._refused_at = clock.monotonic()
                    self._next_at = self._refused_at + found.next_in_s
                    _tell(taken[found.count :], CommonPlace(found.next_in_s, granted=False))
        finally:
            self._is_serving = False
            # Only if this is given up is anybody still waiting.
            _tell([*taken, *self._waiting], None)
            self._waiting.clear()


def _tell(waiting: list[asyncio.Future[CommonPlace | None]], place: CommonPlace | None) -> None:
    for each in waiting:
        if not each.done():
            each.set_result(place)
