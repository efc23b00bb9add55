"""``add_integrations(app, …)``: integrations that live as long as an app does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from backstay.errors import (
    BadIntegration,
    IntegrationError,
    StabilityTimeoutError,
    UpstreamUnreachable,
)
from backstay.integration.http.client_errors import is_time_out
from backstay.integration.http.declaration import EndpointsDeclaration
from backstay.integration.part import IntegrationsPart
from backstay.web.installation import install, mounted_apps
from backstay.web.problems import answer_error

__all__ = ["add_integrations"]


def add_integrations(
    app: FastAPI, integrations: Iterable[EndpointsDeclaration], *, shared_state: Any = None
) -> IntegrationsPart:
    """Let integrations live as long as an app: their connections are closed when it stops.

    Errors of their clients that no code has caught are answered with 502, and with 504 where the
    other side took too long. May be called again, with more of them.

    Args:
        app: the FastAPI app you serve.
        integrations: instances of declarations.
        shared_state: where processes tell each other what ``sp`` patterns with ``shared=True`` know:
            ``"redis://…"``, a database's URL, ``Database`` or manager. ``None``: nowhere.

    Raises:
        BadIntegration: one is something else, or the shared state is said twice.
        RuntimeError: the app has started.
    """
    found = list(integrations)
    for each in found:
        if not isinstance(each, EndpointsDeclaration):
            what = (
                "the class; give an instance of it" if isinstance(each, type) else "something else"
            )
            raise BadIntegration(
                f"add_integrations(app, [...]) takes instances of EndpointsDeclaration; {each!r} is "
                f"{what}"
            )
    backstay = install(app)
    if backstay.started:
        raise RuntimeError(
            "add_integrations() came after the app had started; call it where the app is made"
        )
    if backstay.has(IntegrationsPart.attribute):
        part = backstay.part(IntegrationsPart.attribute)
        assert isinstance(part, IntegrationsPart)
        if shared_state is not None and part.shared_states is not None:
            raise BadIntegration("add_integrations(shared_state=) was said before; say it once")
    else:
        part = IntegrationsPart(backstay)
        backstay.add(part, first=True)  # open before what calls, closed after it
        _answer_client_errors(app, part)
    if shared_state is not None:
        from backstay.integration.stability.shared.opening import open_shared_states

        part.shared_states = open_shared_states(shared_state, clock=backstay.clock)
    part.take(found)
    return part


def _answer_client_errors(app: FastAPI, part: IntegrationsPart) -> None:
    """Have an app, and those mounted in it, answer errors of the clients, unless they do so already."""
    build = app.build_middleware_stack

    def build_with_handlers() -> ASGIApp:
        kinds = [each.HTTPError for each in part.libraries() if hasattr(each, "HTTPError")]
        for each in (app, *mounted_apps(app.routes)):
            for kind in kinds:
                each.exception_handlers.setdefault(kind, _answer_client_error)
        return build()

    app.build_middleware_stack = build_with_handlers  # type: ignore[method-assign]  # on this one app only


async def _answer_client_error(request: Request | WebSocket, error: Exception) -> Response | None:
    """The exception handler for httpx's ``HTTPError``: 502, or 504 where time ran out."""
    kind = type(error).__name__
    # Not its text: that may have the URL, and what is secret in it.
    label = "; ".join(getattr(error, "__notes__", ()))
    ours: IntegrationError
    if is_time_out(error):
        ours = StabilityTimeoutError(f"another service did not answer in time: {kind} {label}")
    else:
        ours = UpstreamUnreachable(f"another service could not be used: {kind} {label}")
    ours.__cause__ = error
    return await answer_error(request, ours)
