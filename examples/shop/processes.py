"""Starting the shop and its third parties as processes, and getting rid of them for certain."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]

THIRD_PARTIES = ("payment", "email", "warehouse", "analytics")


def end_with_parent() -> None:
    """Ask this process to stop when its standard input ends.

    A parent that holds the other end need not live to say goodbye: if it is killed, its
    children still go.
    """

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="leash", daemon=True).start()


class Service:
    """A running service.

    Attributes:
        name: for people.
        url: where it is.
        last_words: the end of what it wrote to standard error.
    """

    def __init__(self, name: str, url: str, process: Process) -> None:
        self.name = name
        self.url = url
        self.last_words: deque[str] = deque(maxlen=30)
        self._process = process
        self._asked_to_stop = False
        self._watch: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        name: str,
        *arguments: str,
        url: str = "",
        env: Mapping[str, str] | None = None,
        listening: socket.socket | None = None,
        on_line: Callable[[str], object] | None = None,
        stop_s: float = 3.0,
    ) -> AsyncIterator[Service]:
        """Run ``python -m arguments`` and end it with the block.

        Args:
            name: for people.
            url: where it will be, if that is known.
            env: settings on top of this process's environment.
            listening: a socket to hand over. It is closed here.
            on_line: called with each line it writes to standard error.
            stop_s: seconds from SIGTERM to SIGKILL.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *arguments,
            "--leash",
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdin=PIPE,
            stderr=PIPE,
            pass_fds=() if listening is None else (listening.fileno(),),
            start_new_session=True,  # Ctrl-C is for the parent; it ends them in the right order
            limit=2**22,
        )
        if listening is not None:
            listening.close()
        service = cls(name, url, process)
        reader = asyncio.create_task(service._read(on_line))
        try:
            yield service
        finally:
            await service._stop(stop_s)
            await reader

    @property
    def returncode(self) -> int | None:
        """How it ended, ``None`` while it runs."""
        return self._process.returncode

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def ended(self) -> int:
        """Wait until it ends; its exit status."""
        return await self._process.wait()

    def when_ended(self, call: Callable[[str, int], object]) -> None:
        """Call ``call(name, status)`` if it ends before it is asked to."""

        async def watch() -> None:
            status = await self.ended()
            if not self._asked_to_stop:
                call(self.name, status)

        self._watch = asyncio.create_task(watch())

    def ask_to_stop(self) -> None:
        """Send SIGTERM, once."""
        if not self._asked_to_stop:
            self._asked_to_stop = True
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    async def _read(self, on_line: Callable[[str], object] | None) -> None:
        assert self._process.stderr is not None
        async for raw in self._process.stderr:
            line = raw.decode(errors="replace").rstrip("\n")
            self.last_words.append(line)
            if on_line is not None:
                on_line(line)

    async def _stop(self, stop_s: float) -> None:
        """SIGTERM, and SIGKILL if that is not enough. Whoever stops waiting for it kills it."""
        process = self._process
        try:
            if process.returncode is None:
                self.ask_to_stop()
                async with asyncio.timeout(stop_s):
                    await process.wait()
        except TimeoutError:
            pass
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            assert process.stdin is not None
            process.stdin.close()
        await process.wait()


@asynccontextmanager
async def third_parties(
    *, seed: str = "0", failures: Mapping[str, float] | None = None
) -> AsyncIterator[dict[str, Service]]:
    """All of them, on free ports, answering before the block begins.

    Args:
        seed: what goes wrong.
        failures: the part of calls that fail, by name. What is not named fails as usual.
    """
    async with AsyncExitStack() as stack:
        started = {}
        for name in THIRD_PARTIES:
            # Connections queue at the socket from now on, so nobody has to wait for readiness.
            listening = socket.create_server(("127.0.0.1", 0))
            arguments = ["examples.shop.third_parties", name, "--seed", seed]
            if failures is not None and name in failures:
                arguments += ["--failures", str(failures[name])]
            started[name] = await stack.enter_async_context(
                Service.start(
                    name,
                    *arguments,
                    "--fd",
                    str(listening.fileno()),
                    url=f"http://127.0.0.1:{listening.getsockname()[1]}",
                    listening=listening,
                )
            )
        try:
            yield started
        finally:
            for service in started.values():
                service.ask_to_stop()  # all at once; the stack waits for each


def settings_for(services: Mapping[str, Service]) -> dict[str, str]:
    """The shop's settings that say where its third parties are."""
    return {f"{name.upper()}_URL": service.url for name, service in services.items()}
