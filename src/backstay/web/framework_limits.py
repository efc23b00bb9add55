"""The answers of the framework's own body limit, made problems like all others.

Starlette's limit sends its 413 by itself, past every exception handler, in plain text. Where an app
sets no limit, or a request has no body, nothing of this is in the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backstay.web.problems import problem_response

__all__ = ["BODY_HEADERS", "BodyLimitProblems", "limits_bodies"]

BODY_HEADERS: Final = ("content-length", "transfer-encoding")
"""One of these has every request with a body (RFC 9112 §6.3)."""

_SENT: Final = (b"Content Too Large", b'{"detail":"Content Too Large"}')
"""What Starlette sends, and FastAPI for an app that is mounted in one with a limit."""

_DETAIL: Final = "The body of the request is larger than this server takes."


def limits_bodies(app: Starlette) -> bool:
    """Whether an app, one of its routes or what is mounted in it has a body limit of its own."""
    return getattr(app, "max_body_size", None) is not None or _any_limit(app.routes)


def _any_limit(routes: Sequence[BaseRoute]) -> bool:
    return any(
        _limited(route)
        or _limited(getattr(route, "include_context", None))
        or _wrapped_in_limit(getattr(route, "app", None))
        or _any_limit(getattr(route, "routes", None) or ())
        or _any_limit(getattr(getattr(route, "original_router", None), "routes", ()))
        for route in routes
    )


def _limited(thing: Any) -> bool:
    return getattr(thing, "max_body_size", None) is not None


def _wrapped_in_limit(app: Any) -> bool:
    # A mount's limit is a middleware around its app; both have the attribute.
    return _limited(app) or _limited(getattr(app, "app", None))


class BodyLimitProblems:
    """Puts a problem in the place of the limit's own 413.

    Args:
        app: what is limited.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        held: Message | None = None

        async def send_problem(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and message["status"] == 413:
                held = message
                return
            if held is None:
                await send(message)
                return
            start, held = held, None
            if message.get("body") in _SENT and not message.get("more_body", False):
                answer = problem_response(413, _DETAIL, headers=_headers(start))
                start = {**start, "headers": answer.raw_headers}
                message = {**message, "body": answer.body}
            await send(start)
            await send(message)

        await self.app(scope, receive, send_problem)


def _headers(start: Message) -> dict[str, str]:
    """What others have put on the answer."""
    return dict(Headers(raw=list(start["headers"])).items())
