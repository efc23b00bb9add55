"""A line to a server, which can be cut, go dead, and be mended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Wire", "a_wire"]


class Wire:
    """Stands between a store and its server.

    Attributes:
        port: where.
        is_dead: whether nothing comes through any more, though nobody says so.
        is_out: whether new connections are closed at once.
    """

    def __init__(self, host: str, port: int) -> None:
        self._there = (host, port)
        self._writers: set[asyncio.StreamWriter] = set()
        self.served: set[asyncio.Task[None]] = set()
        self._mended = asyncio.Event()
        self._mended.set()
        self.port = 0
        self.is_out = False
        self.connections = 0

    @property
    def is_dead(self) -> bool:
        return not self._mended.is_set()

    @is_dead.setter
    def is_dead(self, value: bool) -> None:
        if value:
            self._mended.clear()
        else:
            self._mended.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_out:
            writer.close()
            return
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.served.add(task)
        task.add_done_callback(self.served.discard)
        there, to_there = await asyncio.open_connection(*self._there)
        self._writers |= {writer, to_there}
        try:
            await asyncio.gather(self._pass(reader, to_there), self._pass(there, writer))
        finally:
            for each in (writer, to_there):
                self._writers.discard(each)
                each.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self._mended.wait()
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()

    def cut(self) -> None:
        """End every connection."""
        for each in self._writers:
            each.transport.abort()


@asynccontextmanager
async def a_wire(host: str, port: int) -> AsyncIterator[Wire]:
    wire = Wire(host, port)
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        server.close()
        wire.is_dead = False
        wire.cut()
        await asyncio.gather(*wire.served, return_exceptions=True)
        for _ in range(3):
            await asyncio.sleep(0)  # until the sockets are closed, too
