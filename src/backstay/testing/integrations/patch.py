"""``patch_integration``: mocks stand in for other services."""

from __future__ import annotations

import copy
import functools
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextvars import ContextVar
from typing import Any

from pydantic import BaseModel

from backstay.errors import BadIntegration, UnmockedCall
from backstay.integration.http.api import ApiHTTP
from backstay.integration.http.endpoint import Endpoint
from backstay.integration.http.stand_in import StandIn
from backstay.integration.outgoing import current_call
from backstay.integration.stability.pattern import patterns_of
from backstay.testing.integrations.answer import Answer, Answers
from backstay.testing.integrations.block import Block, Miss
from backstay.testing.integrations.rules import MockedCall, MockRules, Rule

__all__ = ["patch_integration"]

_current_rule: ContextVar[Rule] = ContextVar("backstay_mock_rule")
"""What stands in for the call that is running: patterns call the mock without saying so."""


def patch_integration(mock_rules: MockRules) -> Block[MockRules]:
    """Let mocks stand in for other services, and nothing else be called.

    A decorator of test functions and methods, async or not, and a context manager, ``with`` or
    ``async with``; ``as`` gives the rules. Inside of another one, its rules go first, and what it
    has no rule for is left to the outer one. What mocks return is read as real answers are.

    Args:
        mock_rules: what stands in for what. May be used again; its ``calls`` begin anew.

    Raises:
        BadIntegration: those are no rules.
        UnmockedCall: by calls that there is no rule for.
    """
    if not isinstance(mock_rules, MockRules):
        raise BadIntegration(
            "patch_integration takes MockRules({NameIntegration.method: mock}); got "
            f"{type(mock_rules).__name__}"
        )
    return _Patch(mock_rules)


class _Patch(Block[MockRules]):
    def __init__(self, rules: MockRules) -> None:
        super().__init__()
        self._rules = rules

    def _begin(self, function: str | None, outer: StandIn | None) -> tuple[MockRules, StandIn]:
        self._rules.clear()
        return self._rules, _Mocks(self._rules, outer)


class _Mocks:
    """Stands in. One for each time that rules come into force."""

    def __init__(self, rules: MockRules, outer: StandIn | None) -> None:
        self._rules = rules
        self._outer = outer
        self._given: Counter[Any] = Counter()
        self._patterned: dict[Endpoint, Callable[..., Any]] = {}

    def call(
        self,
        endpoint: Endpoint,
        instance: Any,
        api: ApiHTTP,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        rule = self._rules.find(endpoint, instance)
        if rule is None and self._outer is not None:
            return self._outer.call(endpoint, instance, api, args, kwargs)
        if endpoint.is_stream:
            return self._stream(rule, endpoint, instance, api, args, kwargs)
        return self._call(rule, endpoint, instance, api, args, kwargs)

    async def _call(
        self,
        rule: Rule | None,
        endpoint: Endpoint,
        instance: Any,
        api: ApiHTTP,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        rule = self._noted(rule, endpoint, instance, args, kwargs)
        try:
            if not self._rules.patterns:
                return await self._answer(rule, api, args, kwargs)
            token = _current_rule.set(rule)
            try:
                return await self._around(endpoint)(api, *args, **kwargs)
            finally:
                _current_rule.reset(token)
        except Miss as miss:
            self._rules.misses.append(str(miss))
            raise UnmockedCall(str(miss)) from None

    async def _stream(
        self,
        rule: Rule | None,
        endpoint: Endpoint,
        instance: Any,
        api: ApiHTTP,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> AsyncIterator[Any]:
        rule = self._noted(rule, endpoint, instance, args, kwargs)
        try:
            items = await self._answer(rule, api, args, kwargs)
        except Miss as miss:
            self._rules.misses.append(str(miss))
            raise UnmockedCall(str(miss)) from None
        if isinstance(items, AsyncIterator):
            async for each in items:
                yield each
            return
        if hasattr(items, "status_code"):  # an Answer's
            if api.rules.is_error(items.status_code):
                raise api.rules.refusal(items.status_code, items)
            items = items.json()
        if isinstance(items, str | bytes | Mapping) or not hasattr(items, "__iter__"):
            raise BadIntegration(
                f"{endpoint.label} yields, and what stands in for it gave a {type(items).__name__}; "
                "give a list, or a generator, async or not"
            )
        for each in items:
            yield each

    def _noted(
        self,
        rule: Rule | None,
        endpoint: Endpoint,
        instance: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Rule:
        if rule is None:
            named = f"{type(instance).__name__}.{endpoint.name}"
            problem = (
                f"{endpoint.label} was called, and nothing stands in for it; add {{{named}: ...}} to "
                f"MockRules, which has: {', '.join(self._rules.labels) or 'nothing'}"
            )
            self._rules.misses.append(problem)
            raise UnmockedCall(problem)
        arguments = dict(endpoint.bind(args, kwargs))
        arguments.pop(next(iter(endpoint.signature.parameters)), None)
        self._rules.calls.append(MockedCall(endpoint, instance, args, dict(kwargs), arguments))
        return rule

    def _around(self, endpoint: Endpoint) -> Callable[..., Any]:
        """A mock of that endpoint with its patterns. What they remember is this patch's own."""
        found = self._patterned.get(endpoint)
        if found is None:

            @functools.wraps(inspect.unwrap(endpoint.func))
            async def mock(api: ApiHTTP, *args: Any, **kwargs: Any) -> Any:
                return await self._answer(_current_rule.get(), api, args, kwargs)

            found = mock
            for each in reversed(patterns_of(endpoint.func)):
                found = each.pattern(found)
            self._patterned[endpoint] = found
        return found

    async def _answer(
        self, rule: Rule, api: ApiHTTP, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        mock = rule.mock
        while isinstance(mock, Answers):
            number = self._given[mock_id := (rule, id(mock))]
            self._given[mock_id] += 1
            try:
                mock = mock.at(number)
            except IndexError:
                raise Miss(
                    f"{api.endpoint.label} was called once more after its {number} answers; give more "
                    "of them, or answers(..., then=) for all further calls"
                ) from None
        if isinstance(mock, type) and issubclass(mock, BaseException):
            raise _made(mock, api)
        if isinstance(mock, BaseException):
            raise mock
        # Models may be callable for reasons of their own.
        if callable(mock) and not isinstance(mock, BaseModel):
            found = mock(api, *args, **kwargs)
            if inspect.isawaitable(found):
                found = await found
            if inspect.isasyncgen(found) and not api.endpoint.is_stream:
                await found.aclose()
                raise BadIntegration(
                    f"{api.endpoint.label} answers once, and what stands in for it is a generator"
                )
        else:
            # A test may change what it got, and the next one is not to see that.
            found = copy.deepcopy(mock) if isinstance(mock, dict | list | BaseModel) else mock
        if isinstance(found, Answer):
            return self._response(found, api)
        return found

    def _response(self, answer: Answer, api: ApiHTTP) -> Any:
        response = answer.response(api.endpoint.method.value, api.url.geturl())
        if (call := current_call.get()) is not None:
            call.answered(answer.status, response)
        return response


def _made(kind: type[BaseException], api: ApiHTTP) -> BaseException:
    try:
        return kind()
    except TypeError:  # those of httpx want to be told what happened
        return kind(f"what stands in for {api.endpoint.label} raises it")
