"""``add_docintegration(app, integrations)``: the page, and its data."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol, cast

from fastapi import Depends, HTTPException
from fastapi.params import Depends as Dependency
from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route, WebSocketRoute
from starlette.types import ASGIApp, Scope

from backstay.appstate import DEBUG
from backstay.errors import BadIntegration
from backstay.integration.page.assets import asset_answer, page_answer
from backstay.integration.page.document import Documentation, DocumentedService
from backstay.web.exchange import Exchange
from backstay.web.installation import install
from backstay.web.problems import in_debug

__all__ = ["Access", "add_docintegration", "read_access"]

Access = bool | Callable[..., Any] | Dependency | None
"""Who may see the page: ``None``: everybody in debug mode, otherwise nobody; ``True``: everybody;
a dependency: whom it lets pass."""

_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_NUMBER: Final = re.compile(r"[0-9]{1,12}")
_NOT_KEPT: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def add_docintegration(
    app: Starlette,
    integrations: Iterable[DocumentedService],
    *,
    path: str = "/docintegration",
    access: Access = None,
) -> None:
    """Add the page about an app's integrations.

    ``GET path`` is the page, ``path + ".json"`` is all of it as JSON (see ``document``). They are not
    in the OpenAPI schema. They stand in front of a catch-all route, which would hide them, and
    outside of the app's dependencies.

    Args:
        app: the app.
        integrations: what it uses; see ``document``.
        path: where the page is.
        access: ``None``: it is there in debug mode only, and elsewhere as if it were not.
            ``True``: everybody sees it. A dependency, or its function, decides by itself, in debug
            mode too: it lets pass, or raises, or returns ``False``, which is answered with 403.

    Raises:
        BadIntegration: the path or the access is something else. When the app starts: a route of
            its own has that path.
        RuntimeError: the app has started.
    """
    read_access(access)
    if not isinstance(path, str) or _PATH.fullmatch(path) is None:
        raise BadIntegration(
            f'add_docintegration(path=) is a path such as "/docintegration", without a slash at its '
            f"end; got {path!r}"
        )
    backstay = install(app)
    if app.middleware_stack is not None:
        raise RuntimeError(
            "add_docintegration(app) came after the app had started; call it where the app is made"
        )
    desk = _Desk(app, path, Documentation(integrations), new_id=backstay.clock.new_id)
    kinds: list[tuple[str, Callable[..., Response]]] = [
        (path, desk.page),
        (f"{path}.json", desk.all),
        (f"{path}/live.json", desk.live),
        (f"{path}/{{name}}", desk.asset),
    ]
    ours: list[BaseRoute] = [_route(app, each, answer, access) for each, answer in kinds]
    routes = app.router.routes
    at = next((n for n, each in enumerate(routes) if _takes(each, path)), len(routes))
    routes[at:at] = ours
    _check_at_start(app, {path, f"{path}.json"}, ours)


def read_access(access: Access) -> Access:
    """The same, looked over.

    Raises:
        BadIntegration: it is none of what is possible.
    """
    if access is None or access is True or isinstance(access, Dependency):
        return access
    if not callable(access):
        raise BadIntegration(
            "the page about integrations has access= None (in debug mode), True (everybody) or a "
            f"dependency that decides; got {access!r}"
        )
    return access


class _Named(Protocol):
    title: str


class _Desk:
    """Answers."""

    def __init__(
        self, app: Starlette, path: str, documentation: Documentation, *, new_id: Callable[[], str]
    ) -> None:
        self._app = app
        self._folder = path.rpartition("/")[2]
        self._documentation = documentation
        self._new_id = new_id
        self._declared: tuple[dict[str, Any], str] | None = None
        self._process: dict[str, Any] | None = None

    # Not async: it may be much to write, and others shall be answered meanwhile.

    def page(self, request: Request) -> Response:
        named = cast("_Named", self._app)
        return page_answer(self._folder, str(getattr(named, "title", "")))

    def all(self, request: Request) -> Response:
        declared, print_ = self._said()
        live = self._documentation.live()
        told = [
            {
                **each,
                "endpoints": [
                    {**endpoint, "live": live.get(endpoint["id"])} for endpoint in each["endpoints"]
                ],
            }
            for each in declared["integrations"]
        ]
        answer = {"integrations": told, "document": print_, "process": self._of_process()}
        return JSONResponse(answer, headers=_NOT_KEPT)

    def live(self, request: Request) -> Response:
        """How it goes. ``process`` and ``since`` say which slots the page knows already."""
        process, query = self._of_process(), request.query_params
        since = query.get("since", "")
        is_known = query.get("process") == process["id"] and _NUMBER.fullmatch(since)
        answer = {
            "document": self._said()[1],
            "process": process,
            "endpoints": self._documentation.live(since=int(since) if is_known else None),
        }
        return JSONResponse(answer, headers=_NOT_KEPT)

    def asset(self, request: Request) -> Response:
        return asset_answer(request, request.path_params["name"])

    def _said(self) -> tuple[dict[str, Any], str]:
        """What is declared, and its fingerprint."""
        if self._declared is None:
            declared = self._documentation.declared()
            digest = hashlib.sha256(json.dumps(declared).encode()).hexdigest()
            self._declared = declared, digest[:16]
        return self._declared

    def _of_process(self) -> dict[str, Any]:
        """Who counts: each process does for itself. Made late, for processes are forked."""
        found = self._process
        if found is None or found["pid"] != os.getpid():
            found = self._process = {
                "id": f"{os.getpid()}-{self._new_id()[-12:]}",
                "host": socket.gethostname(),
                "pid": os.getpid(),
            }
        return found


class _InDebug(Route):
    """A route that is there in debug mode; otherwise others, or the app's own 404, answer."""

    def __init__(self, path: str, answer: Callable[..., Response], app: Starlette) -> None:
        super().__init__(path, answer, methods=["GET"], include_in_schema=False)
        self._of = app

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return super().matches(scope) if _is_debugging(self._of, scope) else (Match.NONE, {})


def _is_debugging(app: Starlette, scope: Scope) -> bool:
    if not DEBUG(app):
        return False
    exchange = Exchange.of(scope)
    # One that is mounted may have been left in debug mode; the app around it decides.
    is_mounted = exchange is not None and (
        exchange.outer is not None or exchange.app.app_state is not app.state
    )
    return in_debug(scope) if is_mounted else True


def _route(app: Starlette, path: str, answer: Callable[..., Response], access: Access) -> BaseRoute:
    if access is None:
        return _InDebug(path, answer, app)
    if access is True:
        return Route(path, answer, methods=["GET"], include_in_schema=False)
    dependency: Any = access if isinstance(access, Dependency) else Depends(cast("Any", access))

    # With a default, as an annotation would be looked up by its name.
    def guarded(request: Request, decision: Any = dependency) -> Response:
        if decision is False:  # a function that answers a question, instead of raising
            raise HTTPException(403)
        return answer(request)

    return APIRoute(
        path,
        guarded,
        methods=["GET"],
        include_in_schema=False,
        response_model=None,
        dependency_overrides_provider=app,
    )


def _takes(route: BaseRoute, path: str) -> bool:
    """Whether a request for ``path`` would come to that route."""
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": []}
    return route.matches(scope)[0] is not Match.NONE


def _check_at_start(app: Starlette, paths: set[str], ours: list[BaseRoute]) -> None:
    """Refuse to start an app that has a route of its own where the page is."""
    build = app.build_middleware_stack

    def build_after_check() -> ASGIApp:
        for path in _paths(each for each in app.router.routes if each not in ours):
            if path in paths:
                raise BadIntegration(
                    f"the page about integrations is at {path}, where the app has a route of its "
                    "own; give add_docintegration another path="
                )
        return build()

    app.build_middleware_stack = build_after_check  # type: ignore[method-assign]  # on this one app only


def _paths(routes: Iterable[BaseRoute]) -> Iterator[str]:
    """Of all routes that answer a GET, those of included routers among them."""
    for each in routes:
        included = getattr(each, "effective_route_contexts", None)
        if callable(included):  # newer versions of FastAPI keep an included router as one route
            for context in included():
                route = getattr(context, "starlette_route", None) or context
                if _answers_get(route):
                    yield str(getattr(route, "path", ""))
        elif not isinstance(each, WebSocketRoute) and _answers_get(each):
            yield str(getattr(each, "path", ""))


def _answers_get(route: Any) -> bool:
    methods = getattr(route, "methods", None)
    return methods is None or "GET" in methods
