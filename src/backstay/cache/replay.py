"""A request asked once more, to have its answer made anew while the old one is still given.

The handler's arguments are over when the request is: sessions closed, connections given back. So
what asks again is a request like it, on its own, through middleware and dependencies: whoever may
not ask any more gets nothing kept.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Scope

from backstay.cache.outcome import Fill
from backstay.web.exchange import Exchange

__all__ = ["Door", "Replay", "door_of", "replayed"]

Door = tuple[ASGIApp, str]
"""Where requests go in, and the root path there."""

_KEY = "backstay.cache.replay"

# About what the client has, or wants to have: not about the answer.
_LEFT_OUT = frozenset(
    (
        b"cache-control",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"pragma",
        b"range",
    )
)
_COPIED = ("asgi", "http_version", "scheme", "path", "raw_path", "query_string", "client", "server")


@dataclass(slots=True)
class Replay:
    """A request that is asked again.

    Attributes:
        key: what the answer is kept under.
        fill: what came of it; ``None``: nothing to be kept.
    """

    key: str
    fill: Fill | None = None

    @staticmethod
    def of(scope: Scope) -> Replay | None:
        """The one that a scope belongs to, ``None`` for a client's request."""
        found: Replay | None = scope.get(_KEY)
        return found


async def replayed(scope: Scope, door: Door, key: str) -> Fill | None:
    """Ask again what a request asked.

    Args:
        scope: the request's, as its handler saw it. It may be over.
        door: of that request.
        key: what the answer is kept under.

    Returns:
        What the route made of it, ``None`` if it would not be kept.
    """
    app, root_path = door
    replay = Replay(key)
    again: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "root_path": root_path,
        "headers": [pair for pair in scope["headers"] if pair[0] not in _LEFT_OUT],
        "state": dict(scope.get("state") or {}),
        _KEY: replay,
        **{name: scope[name] for name in _COPIED if name in scope},
    }
    asked = False

    async def receive() -> Message:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()  # nobody leaves
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: Message) -> None:
        """Nobody listens."""

    await app(again, receive, send)
    return replay.fill


def door_of(scope: Scope) -> Door:
    """The whole app's door; where backstay is not around it, that of the app that serves.

    Args:
        scope: of a request that is not over yet.
    """
    exchange = Exchange.of(scope)
    outermost: ASGIApp | None = None if exchange is None else exchange.app.door
    if outermost is not None:
        return outermost, scope.get("app_root_path", scope.get("root_path", ""))
    inner: ASGIApp = scope["app"]
    return inner, scope.get("root_path", "")
