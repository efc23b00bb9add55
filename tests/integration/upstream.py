"""A real server on loopback that answers as badly as a test wants, and says what it was asked.

``async with Upstream(script) as upstream``: the script is one answer, a sequence of them (the last
one repeats), or a mapping of paths to either. An answer is bytes as they go over the wire, or one
of the ways to misbehave in ``tests.integration.upstreams.behaviour``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

__all__ = [
    "Behaviour",
    "Line",
    "Received",
    "Script",
    "Upstream",
    "answer",
    "closed_port",
    "json_answer",
    "upstream_port",
]

_KEPT = 1024 * 1024
_AT_ONCE = 64 * 1024


@dataclass
class Received:
    """One request as it came.

    Attributes:
        connection: the number of the connection it came over, from 1.
        target: path and query, as sent.
        headers: with names in small letters, in their order.
        body: its first MiB.
        body_bytes: how much there was in all.
    """

    connection: int
    method: str
    target: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    body_bytes: int = 0

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    def header(self, name: str) -> str | None:
        """The first one of that name."""
        return next((value for each, value in self.headers if each == name), None)

    def json(self) -> Any:
        return json.loads(self.body)


class Line:
    """One connection, as a behaviour has it in its hands."""

    def __init__(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer
        self.is_done = False

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def drip(self, data: bytes) -> None:
        """A byte at a time, each in a packet of its own."""
        for at in range(len(data)):
            await self.send(data[at : at + 1])
            await asyncio.sleep(0)

    async def hang(self) -> None:
        """Say no more until the other side gives up."""
        while await self.reader.read(_AT_ONCE):
            pass
        self.is_done = True

    def reset(self) -> None:
        """Break the connection off with an RST; what was sent and not read is lost, too."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()
        self.is_done = True

    def close(self) -> None:
        """Close it in an orderly way, after what was sent."""
        self.is_done = True


Behaviour = Callable[[Line, Received], Awaitable[None]]
_Answer = bytes | Behaviour
Script = _Answer | Sequence[_Answer] | Mapping[str, "_Answer | Sequence[_Answer]"]


def answer(
    body: bytes = b"",
    status: str | int = 200,
    headers: Sequence[tuple[str, str]] = (),
    *,
    length: int | None = -1,
) -> bytes:
    """An answer as it goes over the wire; ``length`` of ``None`` leaves it out, -1 is true."""
    lines = [f"HTTP/1.1 {status} Whatever" if isinstance(status, int) else f"HTTP/1.1 {status}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length < 0 else length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def json_answer(value: Any, status: int = 200, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    return answer(
        json.dumps(value).encode(), status, [("Content-Type", "application/json"), *headers]
    )


class Upstream:
    """One server for one test.

    Args:
        script: what it answers. A path that a mapping does not have is answered with 404.
        tls: what it proves itself with, ``None`` for plain http.

    Attributes:
        requests: what it was asked, whole or not, in the order of their heads.
        connections: how many there ever were.
        open_connections: how many there are.
    """

    def __init__(self, script: Script = b"", *, tls: ssl.SSLContext | None = None) -> None:
        self.script: Script = script or json_answer({})
        self.requests: list[Received] = []
        self.connections = 0
        self.open_connections = 0
        self.port = 0
        self._tls = tls
        self._answered: dict[str, int] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()

    @property
    def url(self) -> str:
        """Its origin, to be used as base URL."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    @property
    def last(self) -> Received:
        return self.requests[-1]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=self._tls, limit=4 * _KEPT
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Close the port and all connections; ``async with`` the same one opens it again."""
        self._server.close()
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def until(self, condition: Callable[[Upstream], bool]) -> None:
        """Wait for what its counts say, such as ``lambda up: up.open_connections == 0``."""
        async with self._changed:
            await self._changed.wait_for(lambda: condition(self))

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        self.connections += 1
        self.open_connections += 1
        line = Line(self.connections, reader, writer)
        try:
            await self._notify()
            while not line.is_done:
                request = await self._read(line)
                if request is None:
                    break
                await self._behave(line, request)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._running.discard(task)
            self.open_connections -= 1
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            with contextlib.suppress(asyncio.CancelledError):
                await self._notify()

    async def _behave(self, line: Line, request: Received) -> None:
        chosen = self._choose(request.path)
        if isinstance(chosen, bytes):
            await line.send(chosen)
            if b"\r\nconnection: close\r\n" in chosen.partition(b"\r\n\r\n")[0].lower() + b"\r\n":
                line.close()
        else:
            await chosen(line, request)

    def _choose(self, path: str) -> _Answer:
        script, key = self.script, ""
        if isinstance(script, Mapping):
            key = path
            script = script.get(path, answer(status=404))
        if isinstance(script, Sequence) and not isinstance(script, bytes):
            turn = self._answered.get(key, 0)
            self._answered[key] = turn + 1
            return script[min(turn, len(script) - 1)]
        return script

    async def _read(self, line: Line) -> Received | None:
        try:
            head = (await line.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return None
        first, *rest = head.rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ", 2)
        request = Received(line.number, method, target)
        for each in rest:
            name, _, value = each.partition(":")
            request.headers.append((name.strip().lower(), value.strip()))
        self.requests.append(request)
        await self._notify()
        async for piece in self._body(line, request):
            request.body_bytes += len(piece)
            request.body += piece[: _KEPT - len(request.body)]
        return request

    async def _body(self, line: Line, request: Received) -> AsyncIterator[bytes]:
        reader = line.reader
        if request.header("expect") == "100-continue":
            await line.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in (request.header("transfer-encoding") or ""):
            while size := int((await reader.readline()).split(b";")[0], 16):
                while size:
                    piece = await reader.read(min(size, _AT_ONCE))
                    if not piece:
                        raise asyncio.IncompleteReadError(b"", size)
                    size -= len(piece)
                    yield piece
                await reader.readline()
            while (await reader.readline()).strip():
                pass
            return
        left = int(request.header("content-length") or 0)
        while left:
            piece = await reader.read(min(left, _AT_ONCE))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
            yield piece


@contextmanager
def closed_port() -> Iterator[int]:
    """A port of loopback that refuses connections: taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@asynccontextmanager
async def upstream_port(script: Script, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Only the URL of an ``Upstream``, for tests that ask nothing of it."""
    async with Upstream(script, tls=tls) as upstream:
        yield upstream.url
