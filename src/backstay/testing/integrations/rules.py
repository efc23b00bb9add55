"""``MockRules``: what stands in for which endpoint, and what was asked of it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backstay.errors import BadIntegration
from backstay.integration.http.declaration import EndpointsDeclaration
from backstay.integration.http.endpoint import Endpoint, endpoint_of
from backstay.testing.integrations.answer import Answers

__all__ = ["MockRules", "MockedCall", "Rule"]


@dataclass(frozen=True)
class MockedCall:
    """A call that a mock got.

    Attributes:
        endpoint: what was called.
        instance: of which instance of the integration.
        args: as they were given.
        kwargs: likewise.
        arguments: all of them by their names, defaults included.
    """

    endpoint: Endpoint
    instance: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    arguments: Mapping[str, Any]

    def __str__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.endpoint.label}({told})"


@dataclass(frozen=True, eq=False)
class Rule:
    """A mock, and for whose calls it is.

    Attributes:
        endpoint: calls of this one.
        kind: of instances of this class, ``None`` for any.
        instance: of this instance, ``None`` for any.
        mock: what stands in.
    """

    endpoint: Endpoint
    kind: type | None
    instance: Any
    mock: Any

    def fits(self, endpoint: Endpoint, instance: Any) -> bool:
        """Whether it is for that call."""
        return (
            self.endpoint is endpoint
            # An instance with options is another object that calls for the same one.
            and (self.instance is None or self.instance.owner is instance.owner)
            and (self.kind is None or isinstance(instance, self.kind))
        )


class MockRules:
    """What stands in for which endpoints. Everything else that is called is an error.

    Args:
        mock_rules: from what is called to what stands in. What is called is an endpoint of a class,
            ``NameIntegration.method``, or of one instance, ``name_api.method``, which goes first.
            What stands in is a function, async or not, that gets ``(api, *args, **kwargs)``, where
            ``api.client`` is ``None``; or what to return; an exception to raise; an ``Answer``; or
            ``answers(...)``, one for each call. An endpoint that yields takes a list as well as a
            generator, async or not.
            A class or an instance as a whole may be given, too: ``{NameIntegration: Fake()}``, where
            methods of that name stand in for endpoints.
        patterns: leave the stability patterns of the endpoints around the mocks, so that breakers
            open and fallbacks answer. They begin anew, except for those with a ``key``, whose states
            are shared; other decorators are left out.

    Attributes:
        calls: what was called, in order, since these rules began to stand in.
        misses: what was called and is not among the rules, a line each.

    Raises:
        BadIntegration: something is no endpoint, or cannot stand in.
    """

    def __init__(self, mock_rules: Mapping[Any, Any], *, patterns: bool = False) -> None:
        if not isinstance(mock_rules, Mapping):
            raise BadIntegration(
                f"MockRules is made of a dictionary {{NameIntegration.method: mock}}; got {mock_rules!r}"
            )
        rules = [rule for key, mock in mock_rules.items() for rule in _rules_of(key, mock)]
        # Those for one instance first, then those for an endpoint, then those for whole classes.
        self._rules = sorted(rules, key=lambda rule: (rule.instance is None, rule.kind is not None))
        self.patterns = patterns
        self.calls: list[MockedCall] = []
        self.misses: list[str] = []

    def __repr__(self) -> str:
        return f"<MockRules for {', '.join(self.labels) or 'nothing'}>"

    @property
    def labels(self) -> list[str]:
        """What is stood in for, for people."""
        return sorted({rule.endpoint.label for rule in self._rules})

    def find(self, endpoint: Endpoint, instance: Any) -> Rule | None:
        """The rule for a call, ``None`` if there is none."""
        return next((rule for rule in self._rules if rule.fits(endpoint, instance)), None)

    def clear(self) -> None:
        """Forget what was called."""
        self.calls.clear()
        self.misses.clear()

    def calls_of(self, called: Any) -> list[MockedCall]:
        """The calls of one endpoint, or of a class or an instance, in order.

        Args:
            called: as in the rules.
        """
        targets = list(_targets_of(called))
        return [
            call
            for call in self.calls
            if any(Rule(*each, None).fits(call.endpoint, call.instance) for each in targets)
        ]

    def assert_called(self, called: Any, /, **arguments: Any) -> MockedCall:
        """Make sure that something was called.

        Args:
            called: as in the rules.
            arguments: that it was called with; others do not matter.

        Returns:
            The last such call.

        Raises:
            AssertionError: it was not; the message says with what it was.
        """
        calls = self.calls_of(called)
        for call in reversed(calls):
            if all(
                name in call.arguments and call.arguments[name] == value
                for name, value in arguments.items()
            ):
                return call
        wanted = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        told = "\n".join(f"  {call}" for call in calls) or "  it was not called"
        raise AssertionError(
            f"{_name_of(called)} was not called{' with ' + wanted if wanted else ''}; its calls:\n{told}"
        )

    def assert_not_called(self, called: Any) -> None:
        """Make sure that something was not called.

        Raises:
            AssertionError: it was; the message says with what.
        """
        if calls := self.calls_of(called):
            told = "\n".join(f"  {call}" for call in calls)
            raise AssertionError(f"{_name_of(called)} was called {len(calls)} times:\n{told}")


Target = tuple[Endpoint, type | None, Any]


def _targets_of(called: Any) -> Iterator[Target]:
    if isinstance(called, type) and issubclass(called, EndpointsDeclaration):
        for endpoint in called.endpoints().values():
            yield endpoint, called, None
    elif isinstance(called, EndpointsDeclaration):
        for endpoint in type(called).endpoints().values():
            yield endpoint, None, called
    else:
        owner = getattr(called, "__self__", None)
        yield endpoint_of(called), None, owner if isinstance(owner, EndpointsDeclaration) else None


def _rules_of(called: Any, mock: Any) -> Iterator[Rule]:
    targets = list(_targets_of(called))
    if not isinstance(called, EndpointsDeclaration) and not isinstance(called, type):
        _require_mock(targets[0][0], mock)
        yield Rule(*targets[0], mock)
        return
    found = [Rule(*each, own) for each in targets if (own := getattr(mock, each[0].name, None))]
    if not found:
        raise BadIntegration(
            f"{mock!r} stands in for {_name_of(called)} and has none of its methods "
            f"({', '.join(each[0].name for each in targets)})"
        )
    yield from found


def _require_mock(endpoint: Endpoint, mock: Any) -> None:
    if isinstance(mock, Answers):
        for each in mock.mocks:
            _require_mock(endpoint, each)
        return
    problem = None
    if isinstance(mock, type) and not issubclass(mock, BaseException):
        problem = "a class; give one of its instances, or a function that makes one"
    elif inspect.isawaitable(mock):
        if inspect.iscoroutine(mock):
            mock.close()  # it can never be awaited now, and Python would warn about that as well
        problem = "a coroutine that was called already; give the function"
    elif inspect.isasyncgen(mock) or inspect.isgenerator(mock):
        problem = "a generator that was called already and works once; give the function, or a list"
    elif isinstance(mock, Iterator):
        problem = "an iterator, which works once; give answers(...), or a list to return"
    if problem is not None:
        raise BadIntegration(f"what stands in for {endpoint.label} is {problem}")


def _name_of(called: Any) -> str:
    if isinstance(called, type):
        return called.__name__
    if isinstance(called, EndpointsDeclaration):
        return type(called).__name__
    return endpoint_of(called).label
