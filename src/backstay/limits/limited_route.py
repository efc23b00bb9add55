"""The route that a request has come to, as far as its limits are concerned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.routing import Mount

__all__ = ["LimitedRoute", "LimitedRoutes"]

_AT_MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class LimitedRoute:
    """One route.

    Attributes:
        identity: the same in all processes, different for every route of an app. Nothing that a
            client sends is in it: the paths of mounts, which may have parameters, are not.
        calls: what its dependencies call, at any depth.
    """

    identity: str
    calls: tuple[object, ...]


class LimitedRoutes:
    """Remembers them."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, LimitedRoute]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, scope: Mapping[str, Any]) -> LimitedRoute:
        """The route of an ASGI scope, after routing."""
        # FastAPI from 0.137 on keeps included routers as they are; what a route is in this place
        # of them is in the scope.
        included = scope.get("fastapi")
        route = included.get("effective_route_context") if isinstance(included, dict) else None
        if route is None or isinstance(getattr(route, "starlette_route", None), Mount):
            # Or it is the mount through which an app was reached whose own route took it.
            route = scope.get("route", route)
        known = self._known.get(id(route))
        if known is not None and known[0] is route:
            return known[1]
        found = LimitedRoute(_identity(route, scope.get("endpoint")), tuple(_calls(route)))
        if len(self._known) >= _AT_MOST:
            self._known.clear()
        # The route itself is kept along, so that no other one gets its id meanwhile.
        self._known[id(route)] = (route, found)
        return found


def _identity(route: object, endpoint: object) -> str:
    path = getattr(route, "path_format", None) or getattr(route, "path", "")
    methods = ",".join(sorted(getattr(route, "methods", None) or ()))
    function = getattr(route, "endpoint", endpoint)
    where = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
    return f"{methods} {path} {getattr(route, 'name', '')} {where}"


def _calls(route: object) -> Iterator[object]:
    dependant = getattr(route, "dependant", None)
    for each in getattr(dependant, "dependencies", ()):
        yield from _calls_of(each)


def _calls_of(dependant: Any) -> Iterator[object]:
    yield dependant.call
    for each in dependant.dependencies:
        yield from _calls_of(each)
