"""``/healthcheck``, ``/livez`` and ``/readyz``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route

from backstay.appstate import DEBUG
from backstay.pattern.health import Finding, Standing
from backstay.pattern.routers import COMMON_TAG

if TYPE_CHECKING:
    from backstay.pattern.part import PatternPart

__all__ = ["HealthcheckResponse", "PATHS", "PROBES", "add_health_routes", "takes_probe"]

PATHS = ("/healthcheck", "/livez", "/readyz")
"""Where they are."""

PROBES = PATHS[1:]
"""Those that an orchestrator asks, by an address and not by a name."""

_NOT_KEPT = {"Cache-Control": "no-store"}


class HealthcheckResponse(BaseModel):
    """What ``/healthcheck`` answers.

    Attributes:
        status: ``True``: the service answers.
        version: the app's.
    """

    status: bool
    version: str


def add_health_routes(app: FastAPI, part: PatternPart) -> None:
    """Add the three routes. A path that the app has a route at already is left to it.

    They stand behind the app's other routes, which have nothing to pay for them then; but in front
    of a catch-all, which would hide them. And outside of the app's dependencies: who probes has no
    token.
    """

    async def healthcheck() -> HealthcheckResponse:
        """Whether the service answers, and which version it is."""
        return HealthcheckResponse(status=True, version=app.version)

    async def livez(_: Request) -> Response:
        return JSONResponse({"status": Standing.OK}, headers=_NOT_KEPT)

    async def readyz(request: Request) -> Response:
        return await _readiness(app, part, request)

    async def head(_: Request) -> Response:
        return JSONResponse((await healthcheck()).model_dump())

    routes: dict[str, Callable[[str], list[BaseRoute]]] = {
        "/healthcheck": lambda path: [
            APIRoute(
                path,
                healthcheck,
                methods=["GET"],
                tags=[COMMON_TAG["name"]],
                summary="Whether the service answers",
            ),
            Route(path, head, methods=["HEAD"], include_in_schema=False),
        ],
        "/livez": lambda path: [_Probe(path, livez, include_in_schema=False)],
        "/readyz": lambda path: [_Probe(path, readyz, include_in_schema=False)],
    }
    for path in PATHS:
        others = app.router.routes
        if all(getattr(each, "path", None) != path for each in others):
            at = next((n for n, each in enumerate(others) if _takes(each, path)), len(others))
            others[at:at] = routes[path](path)


def takes_probe(routes: Sequence[BaseRoute], path: str) -> bool:
    """Whether a request for ``path`` comes to a probe of ours, and to no route of the app's own."""
    return isinstance(next((each for each in routes if _takes(each, path)), None), _Probe)


class _Probe(Route):
    """``/livez`` or ``/readyz``."""


def _takes(route: BaseRoute, path: str) -> bool:
    """Whether a request for ``path`` would come to that route."""
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": []}
    return route.matches(scope)[0] is not Match.NONE


async def _readiness(app: FastAPI, part: PatternPart, request: Request) -> Response:
    report = await part.health.report()
    standing = Standing.DOWN if part.is_draining else report.standing
    in_detail = bool(DEBUG(app))
    body: dict[str, Any] = {
        "status": standing,
        "checks": {name: _shown(each, in_detail) for name, each in report.findings.items()},
    }
    if part.is_draining:
        body["draining"] = True
    return JSONResponse(
        body, status_code=503 if standing is Standing.DOWN else 200, headers=_NOT_KEPT
    )


def _shown(finding: Finding, in_detail: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "status": finding.standing,
        "duration_ms": round(finding.duration_s * 1000, 2),
    }
    if in_detail and finding.detail is not None:
        shown["detail"] = finding.detail
    return shown
