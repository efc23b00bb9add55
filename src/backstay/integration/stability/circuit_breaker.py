"""While the other side fails, it is left alone."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

from backstay.clock import Clock
from backstay.errors import CircuitBreakerError
from backstay.integration.circuit import Circuit, CircuitRules, CircuitState, Outcome, Permit
from backstay.integration.deadline import current_deadline
from backstay.integration.failures import FailureOn, Failures
from backstay.integration.options import Seconds, read_count, read_fraction, read_seconds
from backstay.integration.pattern import Call, Key, Pattern

__all__ = ["CircuitBreaker"]

logger = logging.getLogger("backstay.integration")


class CircuitBreaker(Pattern[Circuit]):
    """Refuses calls for a while after many failed, then lets exactly one try.

    It opens when, of the calls that ended in the last ``window`` seconds, ``fail_threshold``
    failed and those are ``fail_rate`` of them. Time-outs count, whether their ``Timeout`` stands
    inside or outside; what was cancelled otherwise does not.

    Args:
        fail_threshold: failures in the window that it takes at least.
        reset_timeout: seconds from opening until one call may try. If that one succeeds the circuit
            closes; if it fails, as many seconds again. If it is cancelled, or ends with an error
            that does not count, the next one tries.
        window: seconds that a call counts for.
        fail_rate: the share of failures that it takes at least, 0 to count failures alone.
        minimum_calls: calls in the window that it takes at least, ``None`` for ``fail_threshold``.
        failure_on: what is a failure: types of errors, HTTP statuses, functions that get results.
            ``None`` means every ``Exception``, see ``Failures``.
        key: see ``Pattern``; what has a circuit of its own, such as the host.
        clock: see ``Pattern``.

    Raises:
        CircuitBreakerError: by calls while it is open; answered with 503 and ``Retry-After``.
        BadIntegration: an option makes no sense.
    """

    def __init__(
        self,
        fail_threshold: int = 3,
        reset_timeout: Seconds = 10,
        *,
        window: Seconds = 10,
        fail_rate: float = 0.5,
        minimum_calls: int | None = None,
        failure_on: FailureOn | None = None,
        key: Key | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(key=key, clock=clock)
        least = read_count(fail_threshold, "CircuitBreaker(fail_threshold=)")
        if minimum_calls is not None:
            least = read_count(minimum_calls, "CircuitBreaker(minimum_calls=)")
        self._rules = CircuitRules(
            fail_threshold=fail_threshold,
            fail_rate=read_fraction(fail_rate, "CircuitBreaker(fail_rate=)"),
            minimum_calls=least,
            window_s=read_seconds(window, "CircuitBreaker(window=)"),
            reset_s=read_seconds(reset_timeout, "CircuitBreaker(reset_timeout=)"),
        )
        self._failures = Failures(failure_on)

    def _new_state(self) -> Circuit:
        return Circuit(self._rules)

    async def _run_async(self, call: Call[Circuit]) -> Any:
        settle, forget = self._admit(call)
        try:
            result = await call.make()
            settle(self._of_result(result))
        except Exception as error:
            settle(self._of_error(error))
            raise
        finally:
            forget()
            settle(Outcome.NOTHING)  # cancelled, unless something else was said before
        return result

    def _run(self, call: Call[Circuit]) -> Any:
        settle, forget = self._admit(call)
        try:
            result = call.make()
            settle(self._of_result(result))
        except Exception as error:
            settle(self._of_error(error))
            raise
        finally:
            forget()
            settle(Outcome.NOTHING)
        return result

    def _admit(self, call: Call[Circuit]) -> tuple[Callable[[Outcome], None], Callable[[], None]]:
        """Have the call admitted: how to say how it ended, and that nobody waits any more."""
        permit = call.state.admit(call.clock.monotonic())
        if not isinstance(permit, Permit):
            raise self._refusal(call, permit)
        admitted = permit

        def settle(outcome: Outcome) -> None:
            if not admitted.settled:
                self._say(call, call.state.settle(admitted, outcome, call.clock.monotonic()))

        deadline = current_deadline.get()
        if deadline is None:
            return settle, _nothing

        def time_is_up() -> None:
            settle(Outcome.FAILURE)

        deadline.listen(time_is_up)
        return settle, lambda: deadline.forget(time_is_up)

    def _of_result(self, result: object) -> Outcome:
        return Outcome.FAILURE if self._failures.has_result(result) else Outcome.SUCCESS

    def _of_error(self, error: Exception) -> Outcome:
        return Outcome.FAILURE if self._failures.has_error(error) else Outcome.NOTHING

    def _refusal(self, call: Call[Circuit], wait_s: float) -> CircuitBreakerError:
        why = f"may be tried in {wait_s:.3g} s" if wait_s > 0 else "is being tried by one call"
        return CircuitBreakerError(
            f"{call.name} was not called: it failed too often lately, and {why}",
            retry_after_s=max(1, math.ceil(wait_s)),
        )

    def _say(self, call: Call[Circuit], turned: CircuitState | None) -> None:
        if turned is CircuitState.OPEN:
            logger.warning(
                "the circuit of %s is open: no calls for %g s", call.name, self._rules.reset_s
            )
        elif turned is CircuitState.CLOSED:
            logger.info("the circuit of %s is closed again", call.name)


def _nothing() -> None:
    """There is no deadline to be forgotten by."""
