"""A service that is called over HTTP, and the decorator that declares its endpoints."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from backstay.errors import BadIntegration
from backstay.integration.http.api import ApiHTTP
from backstay.integration.http.endpoint import Endpoint
from backstay.integration.http.http_method import HTTPMethod

__all__ = ["IntegrationHTTP"]

P = ParamSpec("P")
R = TypeVar("R")


class _Declares(Protocol):
    """Makes a method of a declaring class out of a function whose first argument is the ``api``."""

    @overload
    def __call__(
        self, func: Callable[Concatenate[ApiHTTP, P], Coroutine[Any, Any, R]]
    ) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]: ...

    @overload
    def __call__(
        self, func: Callable[Concatenate[ApiHTTP, P], AsyncIterator[R]]
    ) -> Callable[Concatenate[Any, P], AsyncIterator[R]]: ...


class IntegrationHTTP:
    """A service that is called over HTTP.

    Args:
        name: what people call it.
        doc: what it is for.

    Raises:
        BadIntegration: it has no name.
    """

    def __init__(self, name: str, doc: str = "") -> None:
        if not isinstance(name, str) or not name.strip():
            raise BadIntegration(f"an integration has a name; got {name!r}")
        self.name = name
        self.doc = doc
        self._endpoints: list[Endpoint] = []

    def __repr__(self) -> str:
        return f"<IntegrationHTTP {self.name}>"

    @property
    def docs(self) -> dict[str, Any]:
        """What is documented of it: ``name`` (of the class), ``docstring`` and ``methods``."""
        return {
            "name": type(self).__name__,
            "docstring": self.doc,
            "methods": [_documented(each) for each in self._endpoints],
        }

    def endpoint(
        self,
        httpmethod: HTTPMethod,
        path: str,
        version: str = "",
        docurl: str = "",
        *,
        handled: Collection[int] = (),
        raise_errors: bool = False,
        idempotency_key: bool = False,
    ) -> _Declares:
        """Declare an endpoint. Stands above the stability patterns.

        The method may return what the client answered, what is in there, or a model. An answer of
        2xx is read as the success side of the return annotation. One of 400 or more is read as
        the model of ``SchemaError`` for its status (``http404``, else ``http4xx``), whatever the
        method returned; if the annotation names that model it is returned, otherwise
        ``UpstreamError`` is raised. A method that yields is an async generator, annotated
        ``AsyncIterator[Item]``.

        Args:
            httpmethod: how it is called.
            path: where, below the ``base_url``. ``{name}`` is filled with the argument ``name``, as
                one segment; ``{name:path}`` may have slashes.
            version: of the other service's interface.
            docurl: where that is documented.
            handled: statuses of 300 or more that the method turns into a result itself, such as a
                404 into ``None``.
            raise_errors: raise ``UpstreamError``, which has the model as ``error``, also where the
                annotation names it.
            idempotency_key: send ``Idempotency-Key`` (draft-ietf-httpapi-idempotency-key-header) with
                requests that may not be repeated by themselves, the same in all attempts. Inside a
                durable job it is the same in all attempts at that job, too. So ``sp.RetryPattern``
                may repeat them.

        Raises:
            BadIntegration: an option makes no sense; by the decorator: the function is not async, or
                says not what it returns.
        """
        try:
            method = HTTPMethod(httpmethod)
        except ValueError:
            raise BadIntegration(
                f"endpoint(httpmethod=) is an HTTPMethod, such as HTTPMethod.get; got {httpmethod!r}"
            ) from None
        statuses = frozenset(handled)
        if any(not isinstance(each, int) or not 300 <= each <= 599 for each in statuses):
            raise BadIntegration(f"endpoint(handled=) is statuses from 300 to 599; got {handled!r}")

        def declare(func: Callable[..., Any]) -> Callable[..., Any]:
            if not inspect.isfunction(func):
                raise BadIntegration(f"@endpoint stands above an async function; got {func!r}")
            endpoint = Endpoint(
                func,
                self.name,
                method,
                path,
                version=version,
                docurl=docurl,
                handled=statuses,
                raise_errors=raise_errors,
                idempotent=idempotency_key,
            )
            self._endpoints.append(endpoint)
            return endpoint.as_method()

        return declare


def _documented(endpoint: Endpoint) -> dict[str, Any]:
    parameters = list(endpoint.signature.parameters.values())
    annotations = {
        each.name: _as_text(each.annotation)
        for each in parameters[1:]
        if each.annotation is not inspect.Parameter.empty
    }
    return {
        "name": endpoint.name,
        "docstring": endpoint.doc,
        "annotations": {**annotations, "return": _as_text(endpoint.signature.return_annotation)},
        "path": endpoint.path,
        "httpmethod": endpoint.method,
        "version": endpoint.version,
        "docurl": endpoint.docurl,
    }


def _as_text(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
