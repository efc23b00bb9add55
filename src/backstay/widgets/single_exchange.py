"""One request, one answer: MCP over HTTP without sessions.

The SDK serves such a request with a task and memory streams of its own, made for it and thrown
away. There is one message to handle, so this hands it to the SDK's kernel directly
(``ServerRunner``) and answers in the form the request turns out to need: as JSON, unless something
has to be said before the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any

import anyio
import pydantic
from mcp.server.connection import Connection
from mcp.server.lowlevel import Server
from mcp.server.runner import ServerRunner, aclose_shielded
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS, InboundModernRoute
from mcp.shared.message import MessageMetadata, ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS
from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from backstay.clock import Clock, Timer
from backstay.log import correlation_id

__all__ = ["PING_S", "SingleExchange", "encode"]

logger = logging.getLogger("backstay.widgets")

_TRANSPORT = TransportContext(kind="streamable-http", can_send_request=False)

_STREAM_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),  # nginx would keep the events until the end
]

PING_S = 15.0
"""Seconds of silence after which a comment is sent, so that proxies keep the connection."""


def encode(message: Any) -> bytes:
    """JSON in UTF-8."""
    try:
        return to_json(message, inf_nan_mode="null")
    except PydanticSerializationError:
        import json

        # A lone surrogate, which has no UTF-8; JSON can escape it.
        return json.dumps(to_jsonable_python(message, inf_nan_mode="null")).encode("ascii")


class SingleExchange:
    """Serves one JSON-RPC request. The SDK's ``DispatchContext`` for it, too.

    Args:
        server: whose handlers serve it.
        clock: for keeping streams alive.
        scope, receive, send: of the HTTP request; its body has been read.
        request_id: the message's id.
        progress_token: the client's name for progress of this call, ``None`` if it wants none.
        may_stream: whether the client accepts a stream of events.
        version: the revision it speaks.
        envelope: what a request of 2026-07-28 says of its client, ``None`` for earlier ones.
        headers: more headers for the answer.
    """

    can_send_request = False
    transport = _TRANSPORT

    def __init__(
        self,
        server: Server[Any],
        clock: Clock,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        request_id: str | int,
        progress_token: str | int | None,
        may_stream: bool,
        version: str,
        envelope: InboundModernRoute | None,
        headers: list[tuple[bytes, bytes]],
    ) -> None:
        self._server = server
        self._envelope = envelope
        self._clock = clock
        self._receive = receive
        self._send = send
        self._may_stream = may_stream
        self._version = version
        self._headers = headers
        self._progress_token = progress_token
        self._streaming = False
        self._client_left = False
        self._over = False
        self._turn = asyncio.Lock()
        self._timer: Timer | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._pinging: asyncio.Task[None] | None = None
        self._cancel_requested: anyio.Event | None = None
        self.request_id = request_id
        self.message_metadata: MessageMetadata = ServerMessageMetadata(
            request_context=Request(scope, receive)
        )

    # ------------------------------------------------------------------ for the SDK

    @property
    def cancel_requested(self) -> anyio.Event:
        """Set when the client has gone."""
        if self._cancel_requested is None:
            self._cancel_requested = anyio.Event()
        return self._cancel_requested

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Nothing can be asked: an answer would come as a request of its own, to any worker."""
        raise NoBackChannelError(method)

    async def notify(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> None:
        """Say something before the end, which makes the answer a stream."""
        if not self._may_stream:
            return
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            message["params"] = dict(params)
        await self._write(_event(message))

    async def progress(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Tell the client how far its call is, if it wants to know."""
        if self._progress_token is None:
            return
        params: dict[str, Any] = {"progressToken": self._progress_token, "progress": progress}
        if total is not None:
            params["total"] = total
        if message is not None:
            params["message"] = message
        await self.notify("notifications/progress", params)

    # ------------------------------------------------------------------ serving

    async def serve(self, method: str, params: Mapping[str, Any] | None) -> None:
        """Handle it and answer."""
        if self._may_stream:
            self._timer = self._clock.call_later(PING_S, self._silence)
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        try:
            await self._answer(await self._handle(method, params))
        except asyncio.CancelledError:
            # Cancelled by the watcher, and by nobody else: there is nobody to answer.
            if not self._client_left or task.uncancel() > 0:
                raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
            for task in (self._watcher, self._pinging):
                if task is not None:
                    task.cancel()

    async def _handle(self, method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
        said = self._envelope
        connection = (
            Connection.from_envelope(self._version, None, None)
            if said is None
            else Connection.from_envelope(self._version, said.client_info, said.client_capabilities)
        )
        runner = ServerRunner(self._server, connection, {})
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": self.request_id}
        try:
            answer["result"] = await runner.on_request(self, method, params)
        except MCPError as error:
            answer["error"] = error.error.model_dump(by_alias=True, mode="json", exclude_none=True)
        except pydantic.ValidationError as error:
            answer["error"] = {"code": INVALID_PARAMS, "message": _misfit(method, error)}
        except Exception:
            error_id = correlation_id.get() or self._clock.new_id()
            logger.exception("serving %r failed", method, extra={"correlation_id": error_id})
            answer["error"] = {
                "code": INTERNAL_ERROR,
                "message": f"An unexpected error occurred (error_id: {error_id})",
                "data": {"error_id": error_id},
            }
        finally:
            await aclose_shielded(connection)
        return answer

    async def _answer(self, answer: dict[str, Any]) -> None:
        async with self._turn:
            if self._over:
                return
            self._over = True
            if self._watcher is not None:
                self._watcher.cancel()
            with contextlib.suppress(OSError):  # the client has gone: there is nobody to answer
                if self._streaming:
                    await self._body(_event(answer), more=False)
                    return
                body = encode(answer)
                length = (b"content-length", str(len(body)).encode("ascii"))
                await self._start(
                    self._status_of(answer), [(b"content-type", b"application/json"), length]
                )
                await self._body(body, more=False)

    def _status_of(self, answer: dict[str, Any]) -> int:
        """Since 2026-07-28 it says what the error is; before, it was about HTTP alone."""
        if self._envelope is None or "error" not in answer:
            return 200
        return ERROR_CODE_HTTP_STATUS.get(answer["error"]["code"], 200)

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        start = {"type": "http.response.start", "status": status}
        await self._send({**start, "headers": [*headers, *self._headers]})

    async def _body(self, data: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    # ------------------------------------------------------------------ as a stream

    async def _write(self, data: bytes) -> None:
        """Send a piece of the stream, which begins with the first."""
        async with self._turn:
            if self._over:
                return
            try:
                if not self._streaming:
                    self._streaming = True
                    self._watcher = asyncio.get_running_loop().create_task(self._watch())
                    await self._start(200, _STREAM_HEADERS)
                await self._body(data, more=True)
            except OSError:
                self._left()

    def _silence(self) -> None:
        async def ping() -> None:
            await self._write(b": still at work\r\n\r\n")

        self._pinging = asyncio.get_running_loop().create_task(ping())
        self._timer = self._clock.call_later(PING_S, self._silence)

    async def _watch(self) -> None:
        """A client that closes its stream does not want the answer any more."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left()

    def _left(self) -> None:
        if not self._client_left:
            self._client_left = self._over = True
            if self._cancel_requested is not None:
                self._cancel_requested.set()
            self._task.cancel()


def _event(message: dict[str, Any]) -> bytes:
    return b"event: message\r\ndata: " + encode(message) + b"\r\n\r\n"


def _misfit(method: str, error: pydantic.ValidationError) -> str:
    """Which parameter of a protocol message does not fit, without repeating what was sent."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    path = ".".join(str(each) for each in first["loc"])
    return f"Invalid parameters of {method}: {path or 'params'}: {first['msg']}"[:300]
