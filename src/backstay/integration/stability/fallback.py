"""What answers when the call fails."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

from backstay.calls import is_async_callable, name_of, require_function
from backstay.errors import BadAnswer, BadIntegration, UpstreamError
from backstay.integration.outgoing import current_call
from backstay.integration.stability.failures import FailureOn, Failures
from backstay.integration.stability.pattern import JSON, Call, Pattern, Stateless

__all__ = ["Fallback"]

logger = logging.getLogger("backstay.integration")


class Fallback(Pattern[Stateless]):
    """Calls another function where the first one fails. Cancelled calls have no fallback.

    Each time is logged at INFO, with the kind of the error.

    Args:
        alternative_func: gets the call's arguments, and the error as ``error=`` if it has a
            parameter of that name which the function itself has not. One without other parameters
            gets nothing else. May be async if the function is.
        fallback_on: which errors, a type or several. ``None`` means those that ``failure_on`` says,
            refusals of other patterns included.
        failure_on: what is a failure: types of errors, HTTP statuses, functions that get results;
            see ``Failures``. ``None`` means every ``Exception`` and no result. For a result the
            error is an ``UpstreamError``, or a ``BadAnswer`` where it has no status.

    Raises:
        BadIntegration: the alternative is no function, or cannot stand in for this one.
    """

    def __init__(
        self,
        alternative_func: Callable[..., Any],
        *,
        fallback_on: type[Exception] | tuple[type[Exception], ...] | None = None,
        failure_on: FailureOn | None = None,
    ) -> None:
        super().__init__()
        require_function(alternative_func, "sp.Fallback")
        self._on: tuple[type[Exception], ...] | None = None
        if fallback_on is not None:
            types = fallback_on if isinstance(fallback_on, tuple) else (fallback_on,)
            are_errors = (isinstance(each, type) and issubclass(each, Exception) for each in types)
            if not types or not all(are_errors):
                raise BadIntegration(
                    f"Fallback(fallback_on=) is types of Exception; got {fallback_on!r}"
                )
            self._on = types
        self._failures = Failures(failure_on, refusals=True)
        self._alternative = alternative_func
        self._is_async = is_async_callable(alternative_func)
        parameters = _parameters_of(alternative_func)
        if parameters is None:  # some that are written in C do not say
            raise BadIntegration(
                f"Fallback: nobody can tell which arguments {name_of(alternative_func)} takes; wrap "
                "it in a function"
            )
        self._has_error = "error" in parameters
        self._takes_arguments = bool(parameters - {"error"})

    def _check(self, func: Callable[..., Any]) -> None:
        if self._is_async and not is_async_callable(func):
            raise BadIntegration(
                f"Fallback: {name_of(self._alternative)} is async and {name_of(func)} is not, so "
                "nobody could await it; make both alike"
            )

    _only_state = Stateless()

    def _new_state(self) -> Stateless:
        return Stateless()

    def _options(self) -> dict[str, JSON]:
        options: dict[str, JSON] = {"alternative": name_of(self._alternative)}
        if self._on is not None:
            options["fallback_on"] = [each.__name__ for each in self._on]
        if self._failures.names:
            options["failure_on"] = list(self._failures.names)
        return options

    async def _run_async(self, call: Call[Stateless]) -> Any:
        try:
            result = await call.make()
        except Exception as error:
            if not self._has(error):
                raise
            self._log(call, f"failed with {type(error).__qualname__}")
            instead = self._instead(call, error)
            return await instead if inspect.isawaitable(instead) else instead
        if not self._failures.has_result(result):
            return result
        self._log(call, "answered what failure_on= names")
        instead = self._instead(call, self._error_of(call, result))
        return await instead if inspect.isawaitable(instead) else instead

    def _run(self, call: Call[Stateless]) -> Any:
        try:
            result = call.make()
        except Exception as error:
            if not self._has(error):
                raise
            self._log(call, f"failed with {type(error).__qualname__}")
            return self._instead(call, error)
        if not self._failures.has_result(result):
            return result
        self._log(call, "answered what failure_on= names")
        return self._instead(call, self._error_of(call, result))

    def _has(self, error: Exception) -> bool:
        return self._failures.has_error(error) if self._on is None else isinstance(error, self._on)

    def _log(self, call: Call[Stateless], what: str) -> None:
        logger.info("%s %s; %s answers instead", call.name, what, name_of(self._alternative))

    def _error_of(self, call: Call[Stateless], result: object) -> Exception:
        """What would have been raised for a result that is a failure."""
        status = self._failures.status_of(result)
        if status is None:
            return BadAnswer(f"{call.name} answered what failure_on= names", endpoint=call.name)
        return UpstreamError(
            f"{call.name} answered with {status}", endpoint=call.name, answered=status
        )

    def _instead(self, call: Call[Stateless], error: Exception) -> Any:
        outgoing = current_call.get()
        if outgoing is not None:
            outgoing.forget_answer()  # what the alternative returns is not the body of that error
        more: dict[str, Any] = {}
        if self._has_error and "error" not in (_parameters_of(call.func) or ()):
            more["error"] = error
        if not self._takes_arguments and (more or not self._has_error):
            return self._alternative(**more)
        return self._alternative(*call.args, **{**call.kwargs, **more})


def _parameters_of(func: Callable[..., Any]) -> set[str] | None:
    try:
        return set(inspect.signature(func).parameters)
    except (TypeError, ValueError):
        return None
