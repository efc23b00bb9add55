"""Handing ``tasks: Tasks`` to endpoints without FastAPI's dependency solving.

FastAPI takes longer to solve an empty dependency than backstay takes for everything else it does
in a request. So where an async endpoint itself declares the parameter, the dependency is taken
out of the route's ``Dependant`` and its ``call`` is wrapped, as FastAPI foresees for integrations,
to add the value. Nothing depends on this: whatever is not recognised here (sync endpoints,
parameters of dependencies, routes added later, a FastAPI that works differently) is solved by
FastAPI in the ordinary way, with the same result.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import fastapi.routing
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute

__all__ = ["hand_over_directly"]

_CONNECTION = "backstay_connection"


def hand_over_directly(
    routes: Iterable[BaseRoute],
    dependency: Callable[..., Any],
    provide: Callable[[HTTPConnection], object],
) -> None:
    """Give endpoints of ``routes`` the value of ``provide`` where they declare ``dependency``.

    Args:
        routes: an app's routes.
        dependency: the function that ``Depends`` names.
        provide: the same value, from the request.
    """
    for dependant in _dependants(routes):
        ours = [each for each in dependant.dependencies if each.call is dependency and each.name]
        endpoint = dependant.call
        if not ours or not inspect.iscoroutinefunction(endpoint):
            continue
        dependant.dependencies = [each for each in dependant.dependencies if each not in ours]
        # FastAPI hands over the request for nothing; it has to be asked for by some name.
        asked_for_here = dependant.http_connection_param_name is None
        if asked_for_here:
            dependant.http_connection_param_name = _CONNECTION
        dependant.call = _with_values(
            endpoint,
            [each.name for each in ours if each.name],
            provide,
            dependant.http_connection_param_name or _CONNECTION,
            asked_for_here,
        )


def _dependants(routes: Iterable[BaseRoute]) -> list[Dependant]:
    # Newer versions of FastAPI keep included routers as they are, and this says what their
    # routes come to; older ones copy them into the app's own.
    iterate = getattr(fastapi.routing, "iter_route_contexts", None)
    candidates: Iterable[Any] = routes if iterate is None else iterate(list(routes))
    return [
        candidate.dependant
        for candidate in candidates
        if isinstance(getattr(candidate, "original_route", candidate), APIRoute)
        and isinstance(getattr(candidate, "dependant", None), Dependant)
    ]


def _with_values(
    endpoint: Callable[..., Any],
    names: list[str],
    provide: Callable[[HTTPConnection], object],
    connection_name: str,
    remove_connection: bool,
) -> Callable[..., Any]:
    first, *others = names

    @functools.wraps(endpoint)
    async def call(**values: Any) -> Any:
        connection = values.pop(connection_name) if remove_connection else values[connection_name]
        values[first] = value = provide(connection)
        for name in others:
            values[name] = value
        return await endpoint(**values)

    return call
