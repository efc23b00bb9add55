"""The layers that stand around an app, and the order they stand in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from backstay.app import Backstay
from backstay.pattern.health_routes import PROBES, takes_probe
from backstay.web.allowed_hosts import AllowedHosts
from backstay.web.body_limits import BodyBounds, BodyLimits
from backstay.web.cors import (
    EVERYBODY,
    CrossOrigin,
    headers_for_everybody,
    headers_for_named,
)
from backstay.web.security_headers import SecurityHeaders
from backstay.web.timing import Timing

__all__ = ["Guards", "add_guards"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """What stands around an app.

    Attributes:
        origins: whose pages may read answers; empty for nobody's.
        hosts: which names it answers to; empty for any.
        headers: what goes with answers.
        bounds: of request bodies, of which a route may say others.
        timing: whether answers say how long they took.
        log: whether there is a line in the log for each request.
    """

    origins: Sequence[str]
    hosts: Sequence[str]
    headers: SecurityHeaders
    bounds: BodyBounds
    timing: bool
    log: bool


def add_guards(app: FastAPI, backstay: Backstay, guards: Guards) -> None:
    """Stand them around the app.

    From the outside: the headers that every answer has, CORS, and the bounds of bodies, around the
    error answers, for a page can only be shown an error that it may read. Then, around all the
    app's own middlewares, whenever those are added: times and hosts.
    """
    layers: list[Middleware] = []
    always = list(guards.headers.always)
    if guards.timing or guards.log:
        layers.append(Middleware(Timing, tell=guards.timing, log=guards.log, clock=backstay.clock))
        backstay.tells_time = guards.timing
    if guards.hosts:
        layers.append(Middleware(_allowed_hosts, hosts=guards.hosts, service=app))
    # Even where the app has no bounds: a route may have its own.
    backstay.add_layer(
        partial(BodyLimits, bounds=guards.bounds, clock=backstay.clock),
        headers=["content-length", "transfer-encoding"],
        beyond_http1=True,
    )
    if guards.origins:
        header = backstay.correlation_header
        always += (
            headers_for_everybody(correlation_header=header)
            if EVERYBODY in guards.origins
            else headers_for_named()
        )
        backstay.add_layer(
            partial(CrossOrigin, origins=guards.origins, correlation_header=header),
            headers=["origin"],
        )
    backstay.answer_headers = (*backstay.answer_headers, *always)
    if guards.headers.pages:
        backstay.page_headers = guards.headers.for_pages(_openers(app))
    _stand_outside(app, layers)


def _allowed_hosts(app: ASGIApp, *, hosts: Sequence[str], service: FastAPI) -> ASGIApp:
    """Made when the app starts: by then it is known whose routes the probes come to."""
    exempt = [each for each in PROBES if takes_probe(service.routes, each)]
    return AllowedHosts(app, hosts, exempt=exempt)


def _openers(app: FastAPI) -> dict[str, bytes]:
    """The documentation logs people in through a window of the identity provider's."""
    found = {}
    if app.docs_url is not None:
        found[app.docs_url] = b"same-origin-allow-popups"
        if app.swagger_ui_oauth2_redirect_url is not None:
            # It talks to the window that opened it, after having been at the provider's.
            found[app.swagger_ui_oauth2_redirect_url] = b"unsafe-none"
    return found


def _stand_outside(app: FastAPI, layers: Sequence[Middleware]) -> None:
    """Put these around all middlewares that the app will have when it is built."""
    build = app.build_middleware_stack

    def build_with_layers() -> ASGIApp:
        others = [each for each in app.user_middleware if each not in layers]
        app.user_middleware[:] = [*layers, *others]
        return build()

    app.build_middleware_stack = build_with_layers  # type: ignore[method-assign]  # on this one app only
