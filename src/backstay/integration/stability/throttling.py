"""So many calls a second."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from backstay.clock import Clock
from backstay.errors import BadIntegration, ThrottlingError
from backstay.integration.options import Seconds, read_count, read_seconds
from backstay.integration.pattern import Call, Key, Pattern
from backstay.integration.token_bucket import Place, TokenBucket

__all__ = ["Throttling"]


class Throttling(Pattern[TokenBucket]):
    """Lets so many calls a second through; more of them wait, or are refused.

    Counts this process alone: what several processes call gets as many times the number.

    Args:
        calls_per_second: how many, on the average; 0.5 is one in two seconds.
        burst: how many at once after a pause, ``None`` for a second's worth.
        max_wait: seconds that a call may wait for its turn, in the order of calls. 0 refuses.
        key: see ``Pattern``; what is counted by itself, such as the host.
        clock: see ``Pattern``.
        sleep: how the thread of a function that is not async waits.

    Raises:
        ThrottlingError: by calls that would wait longer; answered with 503 and ``Retry-After``.
        BadIntegration: an option makes no sense.
    """

    def __init__(
        self,
        calls_per_second: float = 1_000,
        *,
        burst: int | None = None,
        max_wait: Seconds = 0,
        key: Key | None = None,
        clock: Clock | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        super().__init__(key=key, clock=clock)
        if (
            isinstance(calls_per_second, bool)
            or not isinstance(calls_per_second, int | float)
            or not math.isfinite(calls_per_second)
            or calls_per_second <= 0
        ):
            raise BadIntegration(
                f"Throttling(calls_per_second=) is a number above 0; got {calls_per_second!r}"
            )
        self._rate = calls_per_second
        self._burst = (
            max(1, int(calls_per_second))
            if burst is None
            else read_count(burst, "Throttling(burst=)")
        )
        self._max_wait_s = read_seconds(max_wait, "Throttling(max_wait=)", zero=True)
        self._sleep = sleep

    def _new_state(self) -> TokenBucket:
        return TokenBucket(self._rate, self._burst)

    async def _run_async(self, call: Call[TokenBucket]) -> Any:
        place = self._take(call)
        if place.wait_s > 0:
            try:
                await call.clock.sleep(place.wait_s)
            except BaseException:
                call.state.give_back(place)
                raise
        return await call.make()

    def _run(self, call: Call[TokenBucket]) -> Any:
        place = self._take(call)
        if place.wait_s > 0:
            self._sleep(place.wait_s)
        return call.make()

    def _take(self, call: Call[TokenBucket]) -> Place:
        place = call.state.take(call.clock.monotonic(), self._max_wait_s)
        if not place.granted:
            raise ThrottlingError(
                f"{call.name} was not called: there are more than {self._rate:g} calls a second; "
                f"there may be one more in {place.wait_s:.3g} s",
                retry_after_s=max(1, math.ceil(place.wait_s)),
            )
        return place
