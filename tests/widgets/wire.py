"""MCP over HTTP as a client writes it, by hand, and the people who write."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.types import ASGIApp, Message

from backstay.auth.token import VerifiedToken
from backstay.errors import TokensUncheckable
from backstay.web.lifespan import started

__all__ = [
    "EVERY_ERA",
    "HANDSHAKES",
    "MODERN",
    "Book",
    "Stream",
    "Wire",
    "envelope",
    "events",
    "reaching",
]

MODERN = "2026-07-28"
HANDSHAKES = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]
EVERY_ERA = [*HANDSHAKES, MODERN]

_NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


def envelope(
    method: str,
    params: Mapping[str, Any] | None = None,
    *,
    version: str | None = None,
    meta: Mapping[str, Any] | None = None,
    can: Mapping[str, Any] | None = None,
    request_id: str | int | None = 1,
) -> tuple[dict[str, Any], dict[str, str]]:
    """A message and the headers that go with it, in the manner of a revision."""
    body: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": dict(params or {})}
    if request_id is not None:
        body["id"] = request_id
    headers = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    about = dict(meta or {})
    if version is not None:
        headers["mcp-protocol-version"] = version
    if version == MODERN:
        about["io.modelcontextprotocol/protocolVersion"] = MODERN
        about["io.modelcontextprotocol/clientCapabilities"] = dict(can or {})
        headers["mcp-method"] = method
        if method in _NAMED and isinstance(body["params"].get(_NAMED[method]), str):
            headers["mcp-name"] = body["params"][_NAMED[method]]
    if about:
        body["params"]["_meta"] = about
    return body, headers


def events(text: str) -> list[dict[str, Any]]:
    """The messages of a stream of events, comments left out."""
    lines = text.replace("\r\n", "\n").split("\n")
    data = [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]
    return [json.loads(each) for each in data if each]


class Wire:
    """A client that speaks one revision.

    Args:
        http: to speak through.
        version: of MCP.
        path: of the server.
        headers: of every request.
        can: what it declares to be able to.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        version: str | None = "2025-11-25",
        *,
        path: str = "/mcp",
        headers: Mapping[str, str] | None = None,
        can: Mapping[str, Any] | None = None,
    ) -> None:
        self.http = http
        self.version = version
        self.path = path
        self.headers = dict(headers or {})
        self.can = can

    async def hello(self) -> httpx.Response:
        """The handshake, and the session it gives."""
        params = {
            "protocolVersion": self.version,
            "capabilities": dict(self.can or {}),
            "clientInfo": {"name": "by-hand", "version": "1"},
        }
        body, headers = envelope("initialize", params)
        answer = await self.http.post(self.path, json=body, headers={**headers, **self.headers})
        if (session := answer.headers.get("mcp-session-id")) is not None:
            self.headers["mcp-session-id"] = session
        body, headers = envelope("notifications/initialized", request_id=None, version=self.version)
        await self.http.post(self.path, json=body, headers={**headers, **self.headers})
        return answer

    async def post(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        meta: Mapping[str, Any] | None = None,
        request_id: str | int | None = 1,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """The answer as HTTP has it."""
        body, own = envelope(
            method, params, version=self.version, meta=meta, can=self.can, request_id=request_id
        )
        return await self.http.post(
            self.path, content=json.dumps(body), headers={**own, **self.headers, **(headers or {})}
        )

    async def ask(
        self, method: str, params: Mapping[str, Any] | None = None, **more: Any
    ) -> dict[str, Any]:
        """The answer as JSON-RPC has it: the last message, if there are several."""
        answer = await self.post(method, params, **more)
        if answer.headers["content-type"].startswith("text/event-stream"):
            return events(answer.text)[-1]
        found: dict[str, Any] = answer.json()
        return found

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The result of a tool."""
        answer = await self.ask("tools/call", {"name": tool, "arguments": arguments})
        found: dict[str, Any] = answer["result"]
        return found


@asynccontextmanager
async def reaching(app: Any, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of any ASGI app, with its lifespan; errors come as the 500 that clients see."""
    async with started(app, {}):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://testserver", **options
        ) as client:
            yield client


class Stream:
    """One request whose answer is looked at while it comes, and which may be left.

    Args:
        app: any ASGI app; its lifespan is not run.
        body: the message.
        headers: of the request.
    """

    def __init__(
        self,
        app: ASGIApp,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        *,
        method: str = "POST",
        path: str = "/mcp",
    ) -> None:
        self.sent: list[Message] = []
        self._came = asyncio.Event()
        self._left = asyncio.Event()
        self._given = False
        self._body = b"" if body is None else json.dumps(body).encode()
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "server": ("testserver", 80),
            "client": ("127.0.0.1", 123),
        }
        self.task = asyncio.ensure_future(app(self._scope, self._receive, self._send))

    async def _receive(self) -> Message:
        if not self._given:
            self._given = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)
        self._came.set()

    def leave(self) -> None:
        """Close the connection."""
        self._left.set()

    @property
    def status(self) -> int:
        found: int = self.sent[0]["status"]
        return found

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def text(self) -> str:
        return b"".join(each.get("body", b"") for each in self.sent[1:]).decode()

    @property
    def over(self) -> bool:
        """Whether the last byte has come."""
        return len(self.sent) > 1 and not self.sent[-1].get("more_body", False)

    async def until(self, text: str) -> None:
        """Wait until that has come."""
        while text not in self.text:
            if self.task.done():
                raise AssertionError(f"ended without {text!r}: {self.sent}")
            self._came.clear()
            waiting = asyncio.ensure_future(self._came.wait())
            await asyncio.wait({waiting, self.task}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()


class Book:
    """A verifier that knows a few tokens: ``"ada:orders,photos"`` is Ada's, with two scopes.

    Args:
        open: whether it can say anything at the moment.
    """

    def __init__(self, *, open: bool = True) -> None:
        self.open = open
        self.asked: list[str] = []

    async def verify_token(self, token: str) -> VerifiedToken | None:
        self.asked.append(token)
        if not self.open:
            raise TokensUncheckable("the book is at the binder's")
        name, colon, scopes = token.partition(":")
        if not colon or name not in {"ada", "ben"}:
            return None
        return VerifiedToken(
            name, issuer="https://id.example.com", scopes=frozenset(filter(None, scopes.split(",")))
        )
