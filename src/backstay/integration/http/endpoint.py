"""One declared endpoint of another service."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Protocol, get_type_hints
from weakref import WeakKeyDictionary

from backstay.errors import BadIntegration
from backstay.integration.http.answer_rules import AnswerRules
from backstay.integration.http.http_method import HTTPMethod
from backstay.integration.http.url import PathTemplate

__all__ = ["Caller", "Endpoint", "endpoint_of"]

_MARK = "__backstay_endpoint__"


class Caller(Protocol):
    """An instance of a declaration: it calls its endpoints."""

    def call_endpoint(
        self, endpoint: Endpoint, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Awaitable[Any]:
        """Make one call of an endpoint that answers once."""

    def stream_endpoint(
        self, endpoint: Endpoint, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> AsyncIterator[Any]:
        """Make one call of an endpoint that yields."""


class Endpoint:
    """One declared endpoint.

    Args:
        func: the method with the patterns around it; async, or an async generator function. What is
            innermost says what it is called, takes and returns.
        integration: the name of the service.
        method: how it is called.
        path: where, with the names of arguments in braces.
        version: of the other service's interface.
        docurl: where that is documented.
        handled: see ``IntegrationHTTP.endpoint``.
        raise_errors: see there.
        idempotent: see there.

    Attributes:
        name: the method's name.
        label: integration and name, for people, logs and metrics: ``"Google Translate.translate"``.
        doc: the method's docstring, without its indentation.
        is_stream: it yields.
        signature: of the method, ``api`` first.

    Raises:
        BadIntegration: it is declared in a way that could never work.
    """

    def __init__(
        self,
        func: Callable[..., Any],
        integration: str,
        method: HTTPMethod,
        path: str,
        *,
        version: str,
        docurl: str,
        handled: frozenset[int],
        raise_errors: bool,
        idempotent: bool,
    ) -> None:
        inner = inspect.unwrap(func)
        self.func = func
        self.name: str = inner.__name__
        self.label = f"{integration}.{self.name}"
        self.method = method
        self.path = path
        self.version = version
        self.docurl = docurl
        self.doc = inspect.getdoc(inner) or ""
        self.handled = handled
        self.raise_errors = raise_errors
        self.idempotent = idempotent
        self.is_stream = inspect.isasyncgenfunction(inner)
        if not self.is_stream and not inspect.iscoroutinefunction(inner):
            raise BadIntegration(
                f"{self.label} is not async; write async def {self.name}(api, ...)"
            )
        self._inner = inner
        self.signature = inspect.signature(inner)
        parameters = list(self.signature.parameters.values())
        if not parameters or parameters[0].kind not in {
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        }:
            raise BadIntegration(
                f"{self.label} takes no api; write async def {self.name}(api: ApiHTTP, ...)"
            )
        if self.signature.return_annotation is inspect.Signature.empty:
            raise BadIntegration(
                f"Return type must be specified for integration function {self.name}: "
                "-> Schema.Something, or -> Any"
            )
        plain = inspect.Parameter.POSITIONAL_OR_KEYWORD
        self._plain_names = (
            tuple(each.name for each in parameters)
            if all(each.kind is plain for each in parameters)
            else ()
        )
        self.template = PathTemplate(path)
        taken = {each.name for each in parameters[1:]}
        if unknown := [each for each in self.template.names if each not in taken]:
            raise BadIntegration(
                f"the path of {self.label} names {unknown[0]!r}, which is no argument of it"
            )
        self._rules: WeakKeyDictionary[type, AnswerRules] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"<endpoint {self.label}: {self.method.value} {self.path}>"

    def answers(self, declaration: type) -> AnswerRules:
        """What it may answer, as a declaring class says.

        Raises:
            BadIntegration: the annotation cannot be resolved, or not be read into.
        """
        rules = self._rules.get(declaration)
        if rules is None:
            rules = self._rules[declaration] = AnswerRules(
                self.label,
                self._annotation(declaration),
                getattr(declaration, "SchemaError", None),
                handled=self.handled,
                raise_errors=self.raise_errors,
            )
        return rules

    def _annotation(self, declaration: type) -> Any:
        # Annotations name classes beside them, in the class or in one that it inherits from.
        names = {
            name: each
            for base in reversed(declaration.__mro__)
            for name, each in vars(base).items()
        }
        names[declaration.__name__] = declaration
        try:
            return get_type_hints(self._inner, localns=names, include_extras=True)["return"]
        except (NameError, AttributeError, TypeError) as error:
            raise BadIntegration(
                f"the return annotation of {self.label} cannot be resolved: {error}; its names have "
                "to be known in the class or in its module"
            ) from error

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Arguments by their names, defaults included. The first one is the ``api``'s place: ``None``.

        Raises:
            TypeError: they are not what the method takes.
        """
        names = self._plain_names
        if len(names) == 1 + len(args) + len(kwargs):
            # Each given once, as most calls are: a signature takes four times as long to say so.
            rest = names[1 + len(args) :]
            if all(name in kwargs for name in rest):
                return dict(
                    zip(names, (None, *args, *(kwargs[name] for name in rest)), strict=True)
                )
        bound = self.signature.bind(None, *args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def as_method(self) -> Callable[..., Any]:
        """What stands in the declaring class: a function that is called on an instance."""
        # No functools.wraps: what it would show as wrapped takes an api, where this takes self.
        if self.is_stream:

            def stream(self: Caller, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
                _require_instance(self, endpoint)
                return self.stream_endpoint(endpoint, args, kwargs)

            method: Callable[..., Any] = stream
        else:

            async def call(self: Caller, *args: Any, **kwargs: Any) -> Any:
                _require_instance(self, endpoint)
                return await self.call_endpoint(endpoint, args, kwargs)

            method = call
        endpoint = self
        parameters = list(self.signature.parameters.values())
        setattr(method, _MARK, self)
        method.__name__ = self.name
        method.__qualname__ = self._inner.__qualname__
        method.__module__ = self._inner.__module__
        method.__doc__ = self._inner.__doc__
        method.__annotations__ = dict(self._inner.__annotations__)
        method.__signature__ = self.signature.replace(  # type: ignore[attr-defined]  # inspect asks for it
            parameters=[
                parameters[0].replace(name="self", annotation=inspect.Parameter.empty),
                *parameters[1:],
            ]
        )
        return method


def _require_instance(instance: object, endpoint: Endpoint) -> None:
    if isinstance(instance, type) or not hasattr(instance, "call_endpoint"):
        raise TypeError(
            f"Method must be called on an instance, not the class itself: {endpoint.label} was called "
            f"with {type(instance).__name__} in its place"
        )


def endpoint_of(method: object) -> Endpoint:
    """The endpoint behind a method of a declaring class, or of an instance of it.

    Raises:
        BadIntegration: that is none.
    """
    found = getattr(method, _MARK, None)
    if not isinstance(found, Endpoint):
        raise BadIntegration(
            f"{method!r} is no endpoint of an integration; give one such as NameIntegration.method"
        )
    return found
