"""The app under development: started, started anew, and what it said when it could not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable

__all__ = ["AppProcess"]

_GRACE_S = 3.0
_LINES_KEPT = 60


class AppProcess:
    """Runs an app in a process of its own.

    Args:
        app: ``package.module:app``.
        listener: the socket it serves on; it stays open between one process and the next.
        hear: told what becomes of it: ``"starting"``, ``"ready"``, or ``"failed"`` with the last
            lines it has written.
        write: where its errors and log lines go as well.
    """

    def __init__(
        self,
        app: str,
        listener: socket.socket,
        *,
        hear: Callable[[str, str], None],
        write: Callable[[bytes], object],
    ) -> None:
        self._app = app
        self._listener = listener
        self._hear = hear
        self._write = write
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._said: deque[bytes] = deque(maxlen=_LINES_KEPT)

    async def start(self) -> None:
        """Start it, ending the one before."""
        await self.stop()
        self._hear("starting", "")
        self._said.clear()
        heard, told = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "backstay.widgets.dev.child",
                self._app,
                str(self._listener.fileno()),
                str(told),
                pass_fds=(self._listener.fileno(), told),
                stdin=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**os.environ, "BACKSTAY_WIDGETS_DEV": "1", "PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # Ctrl-C is for whoever started this
            )
        except BaseException:
            os.close(heard)
            raise
        finally:
            os.close(told)
        self._watch = asyncio.create_task(self._follow(self._process, heard))

    async def stop(self) -> None:
        """End it: asked first, killed if it takes long."""
        process, watch = self._process, self._watch
        self._process = self._watch = None
        if process is None or watch is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(_GRACE_S):
                    await process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        await watch

    async def _follow(self, process: asyncio.subprocess.Process, heard: int) -> None:
        reading = asyncio.create_task(self._read(process))
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(heard, "rb", buffering=0)
        )
        try:
            if await reader.readline():
                self._hear("ready", "")
            code = await process.wait()
            await reading
        finally:
            transport.close()
            if process.stdin is not None:
                process.stdin.close()
        if self._process is process:  # nobody has asked it to end
            said = b"".join(self._said).decode("utf-8", "replace").strip()
            self._hear("failed", said or f"the app's process ended with {code}")

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while True:
            try:
                line = await process.stderr.readline()
            except ValueError:  # a line longer than the buffer; what is left comes next
                continue
            if not line:
                return
            self._said.append(line)
            self._write(line)
