"""Which route took a request, as its template: few in number, whatever paths are asked for."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route, Router, WebSocketRoute

__all__ = ["route_template"]


def route_template(scope: MutableMapping[str, Any]) -> str | None:
    """The template of the route that took a request, such as ``"/orders/{order_id}"``.

    With the prefixes of the routers and mounts it came through, without the server's ``root_path``.

    Args:
        scope: the ASGI scope, after routing.

    Returns:
        ``None`` if no route took it.
    """
    endpoint = scope.get("endpoint")
    if endpoint is None or isinstance(endpoint, Starlette | Router):
        # A mounted app was reached, and none of its routes.
        return None
    # FastAPI from 0.137 on keeps included routers as they are; which prefixes they have here is in
    # the scope. Before that, a route knows its whole path.
    included = scope.get("fastapi")
    route = included.get("effective_route_context") if isinstance(included, dict) else None
    if route is None or isinstance(getattr(route, "starlette_route", None), Mount):
        # Or it is the mount through which an app was reached whose own route took it.
        route = scope.get("route", route)
    prefix = _mounted_at(scope)
    if isinstance(getattr(route, "starlette_route", route), Mount):
        # What is mounted here is no app that could say more, and the prefix has its path already.
        return f"{prefix}/{{path}}"
    path = getattr(route, "path_format", None) or getattr(route, "path", None)
    if path is not None:
        return f"{prefix}{path}"
    app = scope.get("app")
    routes: Iterable[BaseRoute] = app.routes if isinstance(app, Starlette) else ()
    for each in routes:
        # Starlette's own routes do not say which of them it was.
        if isinstance(each, Route | WebSocketRoute) and each.endpoint is endpoint:
            return f"{prefix}{each.path_format}"
    # An app of another kind, mounted: what is behind it is its own affair.
    return f"{prefix}/{{path}}"


def _mounted_at(scope: MutableMapping[str, Any]) -> str:
    """The templates of the mounts it came through, one after the other."""
    outer = scope.get("app_root_path")
    if outer is None:
        return ""
    prefix = str(scope.get("root_path", ""))[len(outer) :]
    for name, value in scope.get("path_params", {}).items():
        prefix = _replaced(prefix, str(value), name)
    return prefix


def _replaced(path: str, value: str, name: str) -> str:
    parts = path.split("/")
    return "/".join(f"{{{name}}}" if part == value and value else part for part in parts)
