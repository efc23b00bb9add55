"""A call that failed is tried again."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from backstay.clock import Clock
from backstay.errors import BadIntegration, CallRefused, MaxRetriesExceededError
from backstay.integration.answers import retry_after_s
from backstay.integration.options import Seconds, read_count, read_fraction, read_seconds
from backstay.integration.pattern import Call, Key, Pattern
from backstay.integration.retry_budget import RetryBudget
from backstay.retry import Backoff, Retry, RetryOn

__all__ = ["MayRetry", "RetryPattern"]

MayRetry = Callable[[Exception, int], bool]
"""Gets the error and how many attempts there were, and says whether there may be another one."""


def _is_worth_it(error: Exception) -> bool:
    """What was refused on this side is not hammered at; retries of retries would multiply."""
    return not isinstance(error, CallRefused | MaxRetriesExceededError | BadIntegration)


class RetryPattern(Pattern[RetryBudget]):
    """Tries again after a failure, later each time.

    Only for functions that may run twice: say with ``may_retry`` what may be repeated. Cancelled
    calls are never tried again.

    Args:
        max_attempts: how often the function runs at most, the first time included.
        delay: the pause after the first failure.
        backoff: how the pause grows, see ``backstay.tasks.Retry``.
        max_delay: no pause is longer. If the other side asks for more (``Retry-After``, RFC 9110
            §10.2.3), there is no other attempt; if for less, that is the least pause.
        jitter: draw each pause from 50 to 100 % of what the rule says.
        retry_on: which errors are worth another attempt: types, or a function that is asked. ``None``
            means all but refusals of other patterns. Others are raised as they are.
        may_retry: asked before each further attempt; where it says no, the error is raised as it is.
        budget: retries for each call at most, on the average; one a second, and a reserve of ten,
            there always are. ``None`` for no bound.
        key: see ``Pattern``; whose budget it is.
        clock: see ``Pattern``.
        sleep: how the thread of a function that is not async waits.

    Raises:
        MaxRetriesExceededError: by calls that are not tried again, though they would be worth it;
            answered with 502. The last error is its ``__cause__``.
        BadIntegration: an option makes no sense.
    """

    def __init__(
        self,
        max_attempts: int = 3,
        delay: Seconds = timedelta(seconds=1),
        *,
        backoff: Backoff = "exponential",
        max_delay: Seconds = timedelta(seconds=30),
        jitter: bool = True,
        retry_on: RetryOn | None = None,
        may_retry: MayRetry | None = None,
        budget: float | None = 0.2,
        key: Key | None = None,
        clock: Clock | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        super().__init__(key=key, clock=clock)
        if may_retry is not None and not callable(may_retry):
            raise BadIntegration(f"RetryPattern(may_retry=) is a function; got {may_retry!r}")
        try:
            self._rule = Retry(
                attempts=read_count(max_attempts, "RetryPattern(max_attempts=)"),
                backoff=backoff,
                base_s=read_seconds(delay, "RetryPattern(delay=)", zero=True),
                max_s=read_seconds(max_delay, "RetryPattern(max_delay=)", zero=True),
                jitter=jitter,
                on=_is_worth_it if retry_on is None else retry_on,
            )
        except TypeError as error:
            raise BadIntegration(f"RetryPattern: {error}") from error
        self._may_retry = may_retry
        self._budget = None if budget is None else read_fraction(budget, "RetryPattern(budget=)")
        self._sleep = sleep

    def _new_state(self) -> RetryBudget:
        return RetryBudget(self._budget)

    async def _run_async(self, call: Call[RetryBudget]) -> Any:
        call.state.count_call(call.clock.monotonic())
        attempts = 0
        while True:
            try:
                return await call.make()
            except Exception as error:
                attempts += 1
                pause_s = self._pause_s(call, error, attempts)
            await call.clock.sleep(pause_s)

    def _run(self, call: Call[RetryBudget]) -> Any:
        call.state.count_call(call.clock.monotonic())
        attempts = 0
        while True:
            try:
                return call.make()
            except Exception as error:
                attempts += 1
                pause_s = self._pause_s(call, error, attempts)
            self._sleep(pause_s)

    def _pause_s(self, call: Call[RetryBudget], error: Exception, attempts: int) -> float:
        """Seconds until the next attempt. Raises what the call ends with if there is none."""
        rule, last = self._rule, attempts >= self._rule.attempts
        # Whether it is worth it is asked of the last failure, too: it decides what is raised.
        worth_it = (
            rule.on(error) if not isinstance(rule.on, tuple | type) else isinstance(error, rule.on)
        )
        if not worth_it:
            raise error
        if last:
            raise self._over(call, attempts, f"it may be tried {attempts} times") from error
        if self._may_retry is not None and not self._may_retry(error, attempts):
            raise error
        pause_s = rule.pause_s(attempts, call.clock.random())
        asked_s = retry_after_s(error, call.clock.now())
        if asked_s is not None:
            if asked_s > rule.max_s:
                why = (
                    f"the other side asks to wait {asked_s:g} s, more than max_delay={rule.max_s:g}"
                )
                raise self._over(call, attempts, why) from error
            pause_s = max(pause_s, asked_s)
        if not call.state.take(call.clock.monotonic()):
            why = f"there were more retries lately than budget={self._budget} allows"
            raise self._over(call, attempts, why) from error
        return pause_s

    def _over(self, call: Call[RetryBudget], attempts: int, why: str) -> MaxRetriesExceededError:
        times = "once" if attempts == 1 else f"{attempts} times"
        return MaxRetriesExceededError(f"{call.name} failed {times}; {why}", attempts=attempts)
