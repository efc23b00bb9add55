"""What of a call's outcomes are failures of the other side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from backstay.calls import name_of
from backstay.errors import AddressRefused, BadIntegration, CallRefused
from backstay.integration.outgoing import current_call
from backstay.integration.stability.answers import status_behind, status_of

__all__ = ["FailureOn", "Failures", "OF_THIS_SIDE"]

_One = type[Exception] | int | Callable[[Any], bool]
FailureOn = _One | Iterable[_One]
"""Types of errors, HTTP statuses, functions that are asked about results; one or several."""


OF_THIS_SIDE: Final = (AddressRefused, BadIntegration, CallRefused)
"""Errors that say nothing of the other side: nothing was asked of it."""


class Failures:
    """Tells failures of the other side from everything else.

    Args:
        failure_on: ``None`` means every ``Exception`` and no result. Types say which errors count
            instead. Statuses count in results, and in errors that carry one (``error.response``);
            once any is named, such errors go by their status alone. Functions get each result.
            Inside a declared endpoint a result without a status has that of the last answer.
        refusals: calls that another pattern refused count, too. Otherwise they never do unless
            their type is named.

    Attributes:
        has_types: types of errors were named.
        names: what was named, for people.

    Raises:
        BadIntegration: something else was named, or nothing.
    """

    def __init__(self, failure_on: FailureOn | None = None, *, refusals: bool = False) -> None:
        types: list[type[Exception]] = []
        statuses: set[int] = set()
        asked: list[Callable[[Any], bool]] = []
        self.names: list[str] = []
        if failure_on is not None:
            named = failure_on if isinstance(failure_on, Iterable) else (failure_on,)
            for each in list(named):
                if isinstance(each, type) and issubclass(each, Exception):
                    types.append(each)
                    self.names.append(each.__name__)
                elif isinstance(each, int) and 100 <= each <= 599:
                    statuses.add(int(each))
                    self.names.append(str(int(each)))
                elif callable(each) and not isinstance(each, type):
                    asked.append(each)
                    self.names.append(name_of(each))
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
        self._refusals = refusals
        self.has_types = bool(types)

    def has_error(self, error: Exception) -> bool:
        """Whether ``error`` counts."""
        if self._statuses and (status := status_behind(error)) is not None:
            return status in self._statuses
        if self._types:
            return isinstance(error, self._types)
        return self._refusals or not isinstance(error, OF_THIS_SIDE)

    def has_result(self, result: object) -> bool:
        """Whether ``result`` counts, though nothing was raised."""
        if self._statuses and self.status_of(result) in self._statuses:
            return True
        return bool(self._asked) and any(ask(result) for ask in self._asked)

    def status_of(self, result: object) -> int | None:
        """The status of ``result``, or of the last answer in the call that is running.

        Methods of integrations usually return what an answer held, and not the answer.
        """
        status = status_of(result)
        if status is None and (outgoing := current_call.get()) is not None:
            return outgoing.status
        return status
