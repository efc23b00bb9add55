"""A call that failed is tried again."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import Token
from datetime import timedelta
from typing import Any

from backstay.calls import name_of
from backstay.clock import Clock
from backstay.errors import BadIntegration, MaxRetriesExceededError
from backstay.integration.outgoing import OutgoingCall, current_call
from backstay.integration.stability.answers import (
    read_retry_after,
    retry_after_s,
    status_behind,
    status_of,
    was_not_sent,
)
from backstay.integration.stability.failures import OF_THIS_SIDE, FailureOn, Failures
from backstay.integration.stability.options import Seconds, read_count, read_fraction, read_seconds
from backstay.integration.stability.pattern import JSON, Call, Key, Pattern
from backstay.integration.stability.retry_budget import RetryBudget
from backstay.retry import Backoff, Retry, RetryOn

__all__ = ["MayRetry", "RetryPattern"]

MayRetry = Callable[[Any, int], bool]
"""Gets the error, or the result that is a failure, and how many attempts there were; says whether
there may be another one."""

_TOO_MANY_REQUESTS = 429


class RetryPattern(Pattern[RetryBudget]):
    """Tries again after a failure, later each time.

    Only for what may run twice. Inside a declared endpoint that is seen to: what was sent with an
    unsafe method, such as POST, and without an idempotency key, is not sent again, unless it never
    left, or the answer was 429. Elsewhere nobody knows: say with ``may_retry`` what may be
    repeated. Cancelled calls are never tried again.

    Args:
        max_attempts: how often the function runs at most, the first time included.
        delay: the pause after the first failure.
        backoff: how the pause grows, see ``backstay.tasks.Retry``.
        max_delay: no pause is longer. If the other side asks for more (``Retry-After``, RFC 9110
            §10.2.3), there is no other attempt; if for less, that is the least pause.
        jitter: draw each pause from 50 to 100 % of what the rule says.
        retry_on: which errors are worth another attempt: types, or a function that is asked.
            ``None`` means those that ``failure_on`` says, or else all but refusals of other
            patterns. Others are raised as they are.
        failure_on: what is a failure: types of errors, HTTP statuses, functions that get results;
            see ``Failures``. ``None`` means that no result is. When there is no other attempt, such
            a result is what the call returns.
        may_retry: asked before each further attempt; where it says no, the call ends as it is.
            Whoever is asked answers for what is not safe to repeat, too.
        repeat_unsafe: try again inside declared endpoints whatever was sent.
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
        failure_on: FailureOn | None = None,
        may_retry: MayRetry | None = None,
        repeat_unsafe: bool = False,
        budget: float | None = 0.2,
        key: Key | None = None,
        clock: Clock | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        super().__init__(key=key, clock=clock)
        if may_retry is not None and not callable(may_retry):
            raise BadIntegration(f"RetryPattern(may_retry=) is a function; got {may_retry!r}")
        self._failures = Failures(failure_on)
        try:
            self._rule = Retry(
                attempts=read_count(max_attempts, "RetryPattern(max_attempts=)"),
                backoff=backoff,
                base_s=read_seconds(delay, "RetryPattern(delay=)", zero=True),
                max_s=read_seconds(max_delay, "RetryPattern(max_delay=)", zero=True),
                jitter=jitter,
                on=self._is_failure if retry_on is None else retry_on,
            )
        except TypeError as error:
            raise BadIntegration(f"RetryPattern: {error}") from error
        self._retry_on = retry_on
        self._may_retry = may_retry
        self._repeat_unsafe = repeat_unsafe
        self._budget = None if budget is None else read_fraction(budget, "RetryPattern(budget=)")
        self._sleep = sleep

    def _options(self) -> dict[str, JSON]:
        rule = self._rule
        options: dict[str, JSON] = {
            "max_attempts": rule.attempts,
            "delay_s": rule.base_s,
            "backoff": rule.backoff if isinstance(rule.backoff, str) else name_of(rule.backoff),
            "max_delay_s": rule.max_s,
            "jitter": rule.jitter,
            "budget": self._budget,
        }
        if self._retry_on is not None:
            on = self._retry_on if isinstance(self._retry_on, tuple) else (self._retry_on,)
            options["retry_on"] = [name_of(each) for each in on]
        if self._failures.names:
            options["failure_on"] = list(self._failures.names)
        if self._may_retry is not None:
            options["may_retry"] = name_of(self._may_retry)
        if self._repeat_unsafe:
            options["repeat_unsafe"] = True
        return options

    def _describe(self, state: RetryBudget, now: float) -> dict[str, JSON]:
        left = state.left(now)
        return {"retries_left": None if left is None else round(left, 2)}

    def _new_state(self) -> RetryBudget:
        return RetryBudget(self._budget)

    async def _run_async(self, call: Call[RetryBudget]) -> Any:
        call.state.count_call(call.clock.monotonic())
        attempts = 0
        while True:
            attempt = _Attempt(call.outgoing, is_first=attempts == 0)
            attempts += 1
            try:
                try:
                    result = await call.make()
                    is_failure = self._failures.has_result(result)
                finally:
                    attempt.end()
            except Exception as error:
                pause_s = self._pause_after_error(call, attempt.sent, error, attempts)
            else:
                if not is_failure:
                    return result
                asked = self._pause_after_result(call, attempt.sent, result, attempts)
                if asked is None:
                    return result
                pause_s = asked
            await call.clock.sleep(pause_s)

    def _run(self, call: Call[RetryBudget]) -> Any:
        call.state.count_call(call.clock.monotonic())
        attempts = 0
        while True:
            attempt = _Attempt(call.outgoing, is_first=attempts == 0)
            attempts += 1
            try:
                try:
                    result = call.make()
                    is_failure = self._failures.has_result(result)
                finally:
                    attempt.end()
            except Exception as error:
                pause_s = self._pause_after_error(call, attempt.sent, error, attempts)
            else:
                if not is_failure:
                    return result
                asked = self._pause_after_result(call, attempt.sent, result, attempts)
                if asked is None:
                    return result
                pause_s = asked
            self._sleep(pause_s)

    def _pause_after_error(
        self, call: Call[RetryBudget], sent: OutgoingCall | None, error: Exception, attempts: int
    ) -> float:
        """Seconds until the next attempt. Raises what the call ends with if there is none."""
        on = self._rule.on
        # Whether it is worth it is asked of the last failure, too: it decides what is raised.
        if not (isinstance(error, on) if isinstance(on, tuple | type) else on(error)):
            raise error
        if attempts >= self._rule.attempts:
            raise self._over(call, attempts, f"it may be tried {attempts} times") from error
        if not self._is_allowed(sent, error, attempts):
            raise error
        pause_s = self._pause_s(call, sent, error, attempts)
        if isinstance(pause_s, str):
            raise self._over(call, attempts, pause_s) from error
        return pause_s

    def _pause_after_result(
        self, call: Call[RetryBudget], sent: OutgoingCall | None, result: object, attempts: int
    ) -> float | None:
        """Seconds until the next attempt; ``None`` if there is none."""
        if attempts >= self._rule.attempts or not self._is_allowed(sent, result, attempts):
            return None
        pause_s = self._pause_s(call, sent, result, attempts)
        return None if isinstance(pause_s, str) else pause_s

    def _is_failure(self, error: Exception) -> bool:
        """Whether it is worth another attempt, as ``failure_on`` says.

        What was refused on this side is not hammered at; retries of retries would multiply.
        """
        return self._failures.has_error(error) and (
            self._failures.has_types
            or not isinstance(error, (*OF_THIS_SIDE, MaxRetriesExceededError))
        )

    def _is_allowed(self, sent: OutgoingCall | None, outcome: object, attempts: int) -> bool:
        """Whether what was done may be done once more.

        Args:
            sent: what it was, ``None`` outside declared endpoints.
            outcome: an error or a result.
            attempts: how many there were.
        """
        if self._may_retry is not None:
            return bool(self._may_retry(outcome, attempts))
        if sent is None or self._repeat_unsafe or sent.may_repeat:
            return True
        if sent.is_watched and sent.requests_in_attempt > 1:
            return False  # the outcome is that of one of them; the others may have been done
        if isinstance(outcome, Exception):
            if was_not_sent(outcome):
                return True
            status = status_behind(outcome)
        else:
            status = status_of(outcome)
        return (sent.status if status is None else status) == _TOO_MANY_REQUESTS

    def _pause_s(
        self, call: Call[RetryBudget], sent: OutgoingCall | None, outcome: object, attempts: int
    ) -> float | str:
        """Seconds until the next attempt, or why there is none."""
        rule = self._rule
        pause_s = rule.pause_s(attempts, call.clock.random())
        asked_s = retry_after_s(outcome, call.clock.now())
        if asked_s is None and sent is not None and sent.retry_after and (sent.status or 0) >= 400:
            asked_s = read_retry_after(sent.retry_after, call.clock.now())
        if asked_s is not None:
            if asked_s > rule.max_s:
                return (
                    f"the other side asks to wait {asked_s:g} s, more than max_delay={rule.max_s:g}"
                )
            pause_s = max(pause_s, asked_s)
        if not call.state.take(call.clock.monotonic()):
            return f"there were more retries lately than budget={self._budget} allows"
        return pause_s

    def _over(self, call: Call[RetryBudget], attempts: int, why: str) -> MaxRetriesExceededError:
        times = "once" if attempts == 1 else f"{attempts} times"
        return MaxRetriesExceededError(f"{call.name} failed {times}; {why}", attempts=attempts)


class _Attempt:
    """One attempt inside a declared endpoint, and what was sent in it. Nothing outside any."""

    __slots__ = ("_outgoing", "_token", "sent")

    def __init__(self, outgoing: OutgoingCall | None, *, is_first: bool) -> None:
        self._outgoing = outgoing
        self._token: Token[OutgoingCall | None] | None = None
        self.sent = outgoing
        # The first one may count as the endpoint's own, unless that has sent something before.
        if outgoing is not None and (not is_first or outgoing.requests_in_attempt):
            self.sent = outgoing.branch()
            if not is_first:
                self.sent.begin_attempt()
            self._token = current_call.set(self.sent)

    def end(self) -> None:
        if self._token is not None:
            assert self._outgoing is not None
            assert self.sent is not None
            current_call.reset(self._token)
            self._outgoing.merge(self.sent, is_result=True)
