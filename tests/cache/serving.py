"""Apps whose answers are kept, and how they are asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backstay.cache.early import EarlyAnswers
from backstay.cache.installation import add_cache
from backstay.testing import FakeClock, RunningApp, running
from backstay.web import install, installed

__all__ = ["Front", "a_scope", "an_app", "asking", "sent_by"]


def an_app(where: Any = None, **options: Any) -> tuple[FastAPI, FakeClock]:
    """An app with a cache whose time stands still."""
    app, clock = FastAPI(), FakeClock()
    install(app, clock=clock, **options)
    add_cache(app, where)
    return app, clock


@asynccontextmanager
async def asking(app: FastAPI, **options: Any) -> AsyncIterator[RunningApp]:
    """A client of the running app, which sees answers as they are, cookies forgotten."""
    async with running(app, **options) as client:
        client.headers["accept"] = "application/json"
        yield client


class Front:
    """An app, and which paths it was asked for that were not answered before routing.

    To be made before the app starts.

    Args:
        app: the app.
        early: what answers before routing in place of what the app's start makes.
    """

    def __init__(self, app: FastAPI, early: EarlyAnswers | None = None) -> None:
        self.app = app
        self.went_in: list[str] = []
        self._early = early
        app.add_middleware(_Noting, paths=self.went_in)

    @property
    def early(self) -> EarlyAnswers | None:
        """What answers before routing, once the app has started."""
        found: EarlyAnswers | None = installed(self.app).early  # type: ignore[assignment]  # it is
        return found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._early is not None:
            installed(self.app).early = self._early
        await self.app(scope, receive, send)


class _Noting:
    def __init__(self, app: ASGIApp, paths: list[str]) -> None:
        self.app = app
        self.paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.paths.append(scope["path"])
        await self.app(scope, receive, send)


def a_scope(
    path: str = "/", headers: Iterable[tuple[str, str]] = (), *, method: str = "GET", **more: Any
) -> Scope:
    """A request as a server makes it. The query may stand in the path."""
    path, _, query = path.partition("?")
    given = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    if not any(name == b"host" for name, _ in given):
        given.insert(0, (b"host", b"shop.example"))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": given,
        "client": ("203.0.113.7", 4000),
        "server": ("127.0.0.1", 8000),
        "state": {},
        **more,
    }


async def sent_by(app: ASGIApp, scope: Scope) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body that an app answers with."""
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, send)
    start, *rest = messages
    headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    return start["status"], headers, b"".join(each.get("body", b"") for each in rest)
