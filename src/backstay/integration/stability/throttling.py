"""So many calls a second."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from backstay.clock import Clock
from backstay.errors import BadIntegration, ThrottlingError
from backstay.integration.stability.options import Seconds, read_count, read_seconds
from backstay.integration.stability.pattern import JSON, Call, Key, Pattern
from backstay.integration.stability.shared.common_bucket import CommonBucket, CommonPlace
from backstay.integration.stability.shared.shared_states import SharedStates
from backstay.integration.stability.shared.sharing import read_sharing
from backstay.integration.stability.token_bucket import Place, TokenBucket

__all__ = ["Throttling"]


class Throttling(Pattern[TokenBucket]):
    """Lets so many calls a second through; more of them wait, or are refused.

    Counts this process alone, unless it is ``shared``: what several processes call gets as many
    times the number.

    Args:
        calls_per_second: how many, on the average; 0.5 is one in two seconds.
        burst: how many at once after a pause, ``None`` for a second's worth.
        max_wait: seconds that a call may wait for its turn, in the order of calls. 0 refuses.
        key: see ``Pattern``; what is counted by itself, such as the host.
        shared: whether processes are counted together: ``True`` by what the app shares,
            ``SharedStates`` by those. Each call then waits for the store's answer. Async functions
            alone. While the store is out of reach, and for ``None``, each process counts by itself.
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
        shared: bool | SharedStates | None = None,
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
        self._sharing = read_sharing(shared, "Throttling")
        self._new_state()  # refuses what several processes cannot share

    def _new_state(self) -> TokenBucket:
        if self._sharing is None:
            return TokenBucket(self._rate, self._burst)
        return CommonBucket(self._rate, self._burst)

    def _check(self, func: Callable[..., Any]) -> None:
        if self._sharing is not None:
            self._sharing.check(func)

    def _options(self) -> dict[str, JSON]:
        return {
            "calls_per_second": self._rate,
            "burst": self._burst,
            "max_wait_s": self._max_wait_s,
            "shared": self._sharing is not None,
        }

    def _describe(self, state: TokenBucket, now: float) -> dict[str, JSON]:
        described: dict[str, JSON] = {"next_in_s": round(state.next_in_s(now), 3)}
        if isinstance(state, CommonBucket):
            described["shared"] = state.states is not None
            described["alone"] = state.states is None or state.states.is_alone
        return described

    async def _run_async(self, call: Call[TokenBucket]) -> Any:
        if self._sharing is not None and (bucket := self._joined(call)) is not None:
            return await self._run_in_common(call, bucket)
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

    async def _run_in_common(self, call: Call[TokenBucket], bucket: CommonBucket) -> Any:
        place = await bucket.take_in_common(call.clock, self._max_wait_s)
        if not place.granted:
            raise self._refusal(call, place)
        if place.wait_s > 0:
            try:
                await call.clock.sleep(place.wait_s)
            except BaseException:
                bucket.give_back_in_common(place)
                raise
        return await call.make()

    def _joined(self, call: Call[TokenBucket]) -> CommonBucket | None:
        """The bucket, in common with others; ``None`` if there are none just now."""
        bucket, sharing = call.state, self._sharing
        assert isinstance(bucket, CommonBucket)
        assert sharing is not None
        states = sharing.states(call.outgoing)
        if states is None:
            return None
        if bucket.states is not states:
            key = None if self._key is None else self._key(*call.args, **call.kwargs)
            name = sharing.name(call.func, call.outgoing, key, has_key=self._key is not None)
            bucket.join(states, name)
        return bucket

    def _take(self, call: Call[TokenBucket]) -> Place:
        place = call.state.take(call.clock.monotonic(), self._max_wait_s)
        if not place.granted:
            raise self._refusal(call, place)
        return place

    def _refusal(self, call: Call[TokenBucket], place: Place | CommonPlace) -> ThrottlingError:
        return ThrottlingError(
            f"{call.name} was not called: there are more than {self._rate:g} calls a second; "
            f"there may be one more in {place.wait_s:.3g} s",
            retry_after_s=max(1, math.ceil(place.wait_s)),
        )
