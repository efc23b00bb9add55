"""A small server of files on loopback that can be as bad as a test wants it to be."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

__all__ = ["FileServer", "Names", "answer", "serving"]

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


class FileServer:
    """What was asked of it, and where it is."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.port = 0
        self.gone = asyncio.Event()

    def url(self, path: str = "/file", *, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


class Names:
    """A resolver that knows what it was told, and counts."""

    def __init__(self, **known: str | Sequence[str]) -> None:
        self._known = {name.replace("_", "."): value for name, value in known.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        found = self._known.get(host)
        if found is None:
            raise OSError("no such name")
        return [found] if isinstance(found, str) else found


def answer(
    body: bytes = b"", *, status: str = "200 OK", length: int | None = -1, **headers: str
) -> bytes:
    """An answer as it goes over the wire; ``length`` of ``None`` leaves it out, -1 is true."""
    lines = [f"HTTP/1.1 {status}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length < 0 else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def serving(
    paths: dict[str, bytes | Behaviour], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[FileServer]:
    """Serve what ``paths`` say: bytes as they are, or whatever a function does."""
    server = FileServer()
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            server.requests.append(head)
            behaviour = paths[head.split(" ")[1].split("?")[0]]
            if isinstance(behaviour, bytes):
                writer.write(behaviour)
                await writer.drain()
            else:
                await behaviour(writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            running.discard(task)
            server.gone.set()
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
