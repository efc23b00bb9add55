"""An upstream that is a process of its own, so that it can be stopped as one."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["UpstreamProcess", "upstream_process"]

_PROGRAM = """
import asyncio

async def serve(reader, writer):
    try:
        while True:
            await reader.readuntil(b"\\r\\n\\r\\n")
            writer.write(
                b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\n"
                b'Content-Length: 17\\r\\n\\r\\n{"text": "hello"}'
            )
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


class UpstreamProcess:
    """Answers ``{"text": "hello"}`` to every request without a body.

    ``freeze`` is SIGSTOP: its kernel goes on to accept connections, and nobody answers.
    """

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.url = f"http://127.0.0.1:{port}"

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def upstream_process() -> AsyncIterator[UpstreamProcess]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROGRAM, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield UpstreamProcess(process, int(await process.stdout.readline()))
    finally:
        process.kill()  # ends a stopped one, too
        await process.wait()
