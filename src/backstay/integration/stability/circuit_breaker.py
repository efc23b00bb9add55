"""While the other side fails, it is left alone."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from typing import Any

from backstay.calls import name_of
from backstay.clock import Clock
from backstay.errors import CircuitBreakerError
from backstay.integration.stability.circuit import (
    Circuit,
    CircuitRules,
    CircuitState,
    Outcome,
    Permit,
)
from backstay.integration.stability.deadline import current_deadline
from backstay.integration.stability.failures import FailureOn, Failures
from backstay.integration.stability.options import Seconds, read_count, read_fraction, read_seconds
from backstay.integration.stability.pattern import JSON, Call, Key, Pattern
from backstay.integration.stability.shared.common_circuit import CommonCircuit
from backstay.integration.stability.shared.shared_states import SharedStates
from backstay.integration.stability.shared.sharing import read_sharing

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
        shared: whether processes have their circuits in common: ``True`` by what the app shares,
            ``SharedStates`` by those. It opens for all and closes for all, and of all only one
            call tries. Async functions alone. While the store is out of reach, and for ``None``,
            each process is on its own.
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
        shared: bool | SharedStates | None = None,
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
        if isinstance(failure_on, Iterable):
            failure_on = tuple(failure_on)
        self._failures = Failures(failure_on)
        self._failure_on = failure_on
        self._sharing = read_sharing(shared, "CircuitBreaker")

    def _new_state(self) -> Circuit:
        return Circuit(self._rules) if self._sharing is None else CommonCircuit(self._rules)

    def _check(self, func: Callable[..., Any]) -> None:
        if self._sharing is not None:
            self._sharing.check(func)

    def _options(self) -> dict[str, JSON]:
        rules = self._rules
        return {
            "fail_threshold": rules.fail_threshold,
            "reset_timeout_s": rules.reset_s,
            "window_s": rules.window_s,
            "fail_rate": rules.fail_rate,
            "minimum_calls": rules.minimum_calls,
            "failure_on": _named(self._failure_on),
            "shared": self._sharing is not None,
        }

    def _describe(self, state: Circuit, now: float) -> dict[str, JSON]:
        found = state.standing(now)
        described: dict[str, JSON] = {
            "state": found.state.value,
            "failures": found.failures,
            "calls": found.calls,
            "opens_in_s": round(found.opens_in_s, 3),
        }
        if isinstance(state, CommonCircuit):
            described["shared"] = state.states is not None
            described["alone"] = state.states is None or state.states.is_alone
        return described

    async def _run_async(self, call: Call[Circuit]) -> Any:
        if self._sharing is not None and (circuit := self._joined(call)) is not None:
            return await self._run_in_common(call, circuit)
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

    async def _run_in_common(self, call: Call[Circuit], circuit: CommonCircuit) -> Any:
        now = call.clock.monotonic()
        circuit.keep_hearing(now)
        found = circuit.admit(now)
        if isinstance(found, Permit) and found.is_probe:
            found = await circuit.ask_to_probe(found)
        if not isinstance(found, Permit):
            raise self._refusal(call, found)
        permit = found

        def settle(outcome: Outcome) -> None:
            if not permit.settled:
                self._say(call, circuit.settle_in_common(permit, outcome))

        forget = self._listen(settle)
        try:
            try:
                result = await call.make()
                settle(self._of_result(result))
            except Exception as error:
                settle(self._of_error(error))
                raise
            finally:
                forget()
                settle(Outcome.NOTHING)
        except Exception:
            if permit.is_probe:
                await circuit.told()
            raise
        if permit.is_probe:  # and what comes next finds the circuit as this has left it
            await circuit.told()
        return result

    def _joined(self, call: Call[Circuit]) -> CommonCircuit | None:
        """The circuit, in common with others; ``None`` if there are none just now."""
        circuit, sharing = call.state, self._sharing
        assert isinstance(circuit, CommonCircuit)
        assert sharing is not None
        states = sharing.states(call.outgoing)
        if states is None:
            return None
        if circuit.states is not states:
            key = None if self._key is None else self._key(*call.args, **call.kwargs)
            name = sharing.name(call.func, call.outgoing, key, has_key=self._key is not None)
            circuit.join(states, name, label=call.name, clock=call.clock)
        return circuit

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

        return settle, self._listen(settle)

    def _listen(self, settle: Callable[[Outcome], None]) -> Callable[[], None]:
        """Have it counted as a failure if somebody's patience ends; how to listen no more."""
        deadline = current_deadline.get()
        if deadline is None:
            return _nothing

        def time_is_up() -> None:
            settle(Outcome.FAILURE)

        deadline.listen(time_is_up)
        return lambda: deadline.forget(time_is_up)

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


def _named(failure_on: FailureOn | None) -> JSON:
    """What counts as a failure, by name."""
    if failure_on is None:
        return None
    several = failure_on if isinstance(failure_on, Iterable) else (failure_on,)
    return [each if isinstance(each, int) else name_of(each) for each in several]
