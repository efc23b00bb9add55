"""Widgets as a part of an app: its MCP servers start and stop with it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any, Protocol

from backstay.context import Context

__all__ = ["BoundWidgets", "Startable", "WidgetsPart"]


class Startable(Protocol):
    """A server, as far as its app is concerned."""

    async def start(self) -> None:
        """Begin to serve."""

    async def stop(self) -> None:
        """Stop serving."""

    def has_tool(self, name: str) -> bool:
        """Whether it has that widget or tool."""

    async def call(self, identifier: str, /, **inputs: Any) -> Any:
        """Call one."""


class WidgetsPart:
    """What mounting a server switches on. ``ctx.widgets.call("weather", city="Oslo")``.

    Attributes:
        servers: in the order they were mounted.
    """

    attribute = "widgets"

    def __init__(self) -> None:
        self.servers: list[Startable] = []
        self._open = AsyncExitStack()

    def bind(self, ctx: Context) -> BoundWidgets:
        """``ctx.widgets``."""
        return BoundWidgets(self)

    async def open(self) -> None:
        """Start every server, or none: if one cannot, those before it are stopped again."""
        async with AsyncExitStack() as opened:
            for server in self.servers:
                await server.start()
                opened.push_async_callback(server.stop)
            self._open = opened.pop_all()

    async def close(self) -> None:
        """Stop them, last started first, also if one of them fails to."""
        await self._open.aclose()


class BoundWidgets:
    """The app's widgets, called on behalf of whoever the running work is for."""

    def __init__(self, part: WidgetsPart) -> None:
        self._part = part

    async def call(self, identifier: str, /, **inputs: Any) -> Any:
        """Call a widget or tool of any of the app's servers, as ``WidgetMCPServer.call`` does."""
        for server in self._part.servers[:-1]:
            if server.has_tool(identifier):
                return await server.call(identifier, **inputs)
        return await self._part.servers[-1].call(identifier, **inputs)
