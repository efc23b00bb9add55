"""An ASGI server played by hand: for clients that leave, servers that cancel, and WebSockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.types import ASGIApp, Message

__all__ = ["ByHand"]


class ByHand:
    """One call of an app, message by message.

    Args:
        app: any ASGI app. Its lifespan is not run.
        path: what is asked for.
        kind: ``"http"`` or ``"websocket"``.
        headers: of the request.
        spec_version: of ASGI, as the server says.
        takes: how many messages the client takes before it leaves. ``None``: it stays.
        send_raises: whether ``send`` then raises ``OSError``, as servers do from 2.4 on. Before,
            they throw messages away and say ``http.disconnect``.
        extensions: of the server, such as ``websocket.http.response``.

    Attributes:
        sent: what the app has sent and the client has taken.
        client_left: set when the client has gone.
    """

    def __init__(
        self,
        app: ASGIApp,
        path: str = "/",
        *,
        kind: str = "http",
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        spec_version: str = "2.4",
        takes: int | None = None,
        send_raises: bool = True,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        self.scope: dict[str, Any] = {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": spec_version},
            "http_version": "1.1",
            "scheme": "http" if kind == "http" else "ws",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in pairs],
            "server": ("testserver", 80),
            "client": ("127.0.0.1", 123),
            "subprotocols": [],
            "extensions": dict(extensions or {}),
        }
        if kind == "http":
            self.scope["method"] = "GET"
        self.sent: list[Message] = []
        self.client_left = asyncio.Event()
        self._app = app
        self._takes = takes
        self._send_raises = send_raises
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        if kind == "http":
            self.give({"type": "http.request", "body": b"", "more_body": False})
        else:
            self.give({"type": "websocket.connect"})

    def give(self, *messages: Message) -> None:
        """Put messages where the app will receive them."""
        for message in messages:
            self._incoming.put_nowait(message)

    def replace_request(self, *messages: Message) -> None:
        """Send something else than an empty request."""
        self._incoming = asyncio.Queue()
        self.give(*messages)

    async def run(self) -> list[Message]:
        """The whole call; raises what the app raises."""
        await self._app(self.scope, self._receive, self._send)
        return self.sent

    @property
    def start(self) -> Message:
        """The message that carries status and headers."""
        (message,) = [each for each in self.sent if "headers" in each]
        return message

    def header(self, name: str) -> list[str]:
        """Every value of an answer's header."""
        return [
            value.decode("latin-1")
            for key, value in self.start["headers"]
            if key.decode("latin-1").lower() == name.lower()
        ]

    async def _receive(self) -> Message:
        if self._takes is not None and self.scope["type"] == "http" and self._incoming.empty():
            await self.client_left.wait()
            return {"type": "http.disconnect"}
        return await self._incoming.get()

    async def _send(self, message: Message) -> None:
        if self._takes is not None and len(self.sent) >= self._takes:
            self.client_left.set()
            if self._send_raises:
                raise OSError("the client has gone")
            await asyncio.sleep(0)  # as a server does: taken, and thrown away
            return
        self.sent.append(message)
