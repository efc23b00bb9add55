"""The inspector as an ASGI app: one page, its news, and the other origin that widgets are put into."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

import backstay
from backstay.widgets.dev.bulletin import Bulletin

__all__ = ["new_inspector"]

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_FILE = re.compile(r"[a-z_]+\.(?:css|js|svg)")
_POLICY = re.compile(r"[A-Za-z0-9 :/.;'*+_-]{0,4000}")


class _Doors:
    """Two names of this machine are two origins: one for the inspector, one for the widgets.

    A page on the web that makes a browser here ask under a name of its own is answered nothing.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._inspector = f"127.0.0.1:{port}"
        self._sandbox = f"localhost:{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        request = Request(scope)
        host = request.headers.get("host", "")
        if request.url.path == "/sandbox.html":
            allowed = host == self._sandbox
        elif host == self._sandbox and request.url.path == "/":
            moved = Response(status_code=307, headers={"Location": f"http://{self._inspector}/"})
            return await moved(scope, receive, send)
        else:
            allowed = host == self._inspector
        if allowed:
            return await self._app(scope, receive, send)
        refusal = PlainTextResponse(f"The inspector is at http://{self._inspector}/\n", 421)
        return await refusal(scope, receive, send)


def new_inspector(app: str, *, port: int, mcp_url: str, bulletin: Bulletin) -> Starlette:
    """The inspector.

    Args:
        app: what is inspected, for people.
        port: its own, of 127.0.0.1 and, for widgets, of localhost.
        mcp_url: the app's MCP server.
        bulletin: the news for its pages.
    """
    address = urlsplit(mcp_url)
    inspector, sandbox = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
    policy = "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            f"connect-src 'self' {address.scheme}://{address.netloc}",
            f"frame-src {sandbox}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )
    session = {
        "app": app,
        "mcp": mcp_url,
        "sandbox": sandbox,
        "version": backstay.__version__,
    }

    async def page(request: Request) -> Response:
        return _file("inspector.html", {"Content-Security-Policy": policy})

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        return _file(name, {}) if _FILE.fullmatch(name) else Response(status_code=404)

    async def told(request: Request) -> Response:
        return JSONResponse(session, headers={"Cache-Control": "no-store"})

    async def news(request: Request) -> Response:
        return StreamingResponse(
            bulletin.read(),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def proxy(request: Request) -> Response:
        wanted = request.query_params.get("csp", "")
        if not _POLICY.fullmatch(wanted):
            return PlainTextResponse("csp= is no content security policy\n", 400)
        joined = f"{wanted}; frame-ancestors {inspector}" if wanted else "default-src 'none'"
        return _file("sandbox.html", {"Content-Security-Policy": joined})

    return Starlette(
        routes=[
            Route("/", page),
            Route("/session.json", told),
            Route("/events", news),
            Route("/sandbox.html", proxy),
            Route("/page/{name}", static),
            Route("/favicon.ico", _icon),
        ],
        middleware=[Middleware(_Doors, port=port)],
    )


async def _icon(request: Request) -> Response:
    """The mark, where browsers look for it unasked."""
    return _file("mark.svg", {})


def _file(name: str, headers: dict[str, str]) -> Response:
    file = files("backstay.widgets.dev").joinpath("page", name)
    if not file.is_file():
        return Response(status_code=404)
    kind: Any = _TYPES[name.rpartition(".")[2]]
    more = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **headers}
    return Response(file.read_bytes(), media_type=kind, headers=more)
