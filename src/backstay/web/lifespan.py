"""The server's part of an app's lifespan, for whoever runs an app without being a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import ASGIApp

__all__ = ["started"]


@asynccontextmanager
async def started(app: ASGIApp, state: dict[str, Any]) -> AsyncIterator[None]:
    """Start an app as a server would (ASGI lifespan specification 2.0), and stop it at the end.

    Args:
        app: the app.
        state: where its lifespan puts what it yields.

    Raises:
        RuntimeError: the app failed to start or to stop; the message is the app's.
    """
    to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}

    async def send(message: Any) -> None:
        await from_app.put(dict(message))

    async def run() -> None:
        await app(scope, to_app.get, send)

    lifespan = asyncio.create_task(run())

    async def tell(event: str) -> None:
        await to_app.put({"type": f"lifespan.{event}"})
        answer = asyncio.create_task(from_app.get())
        await asyncio.wait({answer, lifespan}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            await lifespan  # raises what the app raised
            raise RuntimeError(f"the app ended its lifespan without an answer to {event!r}")
        if (message := answer.result())["type"] != f"lifespan.{event}.complete":
            raise RuntimeError(f"the app failed at {event}: {message.get('message', message)}")

    try:
        await tell("startup")
        try:
            yield
        finally:
            await tell("shutdown")
    finally:
        if not lifespan.done():
            lifespan.cancel()
        await asyncio.gather(lifespan, return_exceptions=True)
