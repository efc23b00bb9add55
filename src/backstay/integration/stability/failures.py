"""What of a call's outcomes are failures of the other side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from backstay.errors import BadIntegration, CallRefused
from backstay.integration.answers import status_of

__all__ = ["FailureOn", "Failures"]

_One = type[Exception] | int | Callable[[Any], bool]
FailureOn = _One | Iterable[_One]
"""Types of errors, HTTP statuses, functions that are asked about results; one or several."""


class Failures:
    """Tells failures of the other side from everything else.

    Args:
        failure_on: ``None`` means every ``Exception`` and no result. Types say which errors count
            instead. Statuses count in results, and in errors that carry one (``error.response``);
            once any is named, such errors go by their status alone. Functions get each result.
            Calls that another pattern refused never count unless their type is named.

    Raises:
        BadIntegration: something else was named, or nothing.
    """

    def __init__(self, failure_on: FailureOn | None = None) -> None:
        types: list[type[Exception]] = []
        statuses: set[int] = set()
        asked: list[Callable[[Any], bool]] = []
        if failure_on is not None:
            named = failure_on if isinstance(failure_on, Iterable) else (failure_on,)
            for each in list(named):
                if isinstance(each, type) and issubclass(each, Exception):
                    types.append(each)
                elif isinstance(each, int) and 100 <= each <= 599:
                    statuses.add(int(each))
                elif callable(each) and not isinstance(each, type):
                    asked.append(each)
                else:
                    raise BadIntegration(
                        "failure_on= names types of Exception, HTTP statuses and functions of the "
                        f"result; got {each!r}"
                    )
            if not (types or statuses or asked):
                raise BadIntegration("failure_on= is empty, so nothing would ever count")
        self._types = tuple(types)
        self._statuses = frozenset(statuses)
        self._asked = tuple(asked)

    def has_error(self, error: Exception) -> bool:
        """Whether ``error`` counts."""
        if self._statuses and (status := self._status_in(error)) is not None:
            return status in self._statuses
        if self._types:
            return isinstance(error, self._types)
        return not isinstance(error, CallRefused)

    def has_result(self, result: object) -> bool:
        """Whether ``result`` counts, though nothing was raised."""
        if self._statuses and status_of(result) in self._statuses:
            return True
        return any(ask(result) for ask in self._asked)

    def _status_in(self, error: Exception) -> int | None:
        # Not the error's own status: backstay's own errors have one, for whoever asks here.
        return status_of(getattr(error, "response", None))
