"""What answers when the call fails."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

from backstay.calls import is_async_callable, name_of, require_function
from backstay.errors import BadIntegration
from backstay.integration.pattern import Call, Pattern, Stateless

__all__ = ["Fallback"]

logger = logging.getLogger("backstay.integration")


class Fallback(Pattern[Stateless]):
    """Calls another function where the first one fails. Cancelled calls have no fallback.

    Each time is logged at INFO, with the kind of the error.

    Args:
        alternative_func: gets the call's arguments, and the error as ``error=`` if it has a
            parameter of that name which the function itself has not. One without other parameters
            gets nothing else. May be async if the function is.
        fallback_on: which errors, a type or several.

    Raises:
        BadIntegration: the alternative is no function, or cannot stand in for this one.
    """

    def __init__(
        self,
        alternative_func: Callable[..., Any],
        *,
        fallback_on: type[Exception] | tuple[type[Exception], ...] = Exception,
    ) -> None:
        super().__init__()
        require_function(alternative_func, "sp.Fallback")
        types = fallback_on if isinstance(fallback_on, tuple) else (fallback_on,)
        if not types or not all(isinstance(t, type) and issubclass(t, Exception) for t in types):
            raise BadIntegration(
                f"Fallback(fallback_on=) is types of Exception; got {fallback_on!r}"
            )
        self._alternative = alternative_func
        self._is_async = is_async_callable(alternative_func)
        self._on = types
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

    def _new_state(self) -> Stateless:
        return Stateless()

    async def _run_async(self, call: Call[Stateless]) -> Any:
        try:
            return await call.make()
        except self._on as error:
            result = self._instead(call, error)
            return await result if inspect.isawaitable(result) else result

    def _run(self, call: Call[Stateless]) -> Any:
        try:
            return call.make()
        except self._on as error:
            return self._instead(call, error)

    def _instead(self, call: Call[Stateless], error: Exception) -> Any:
        logger.info(
            "%s failed with %s; %s answers instead",
            call.name,
            type(error).__qualname__,
            name_of(self._alternative),
        )
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
