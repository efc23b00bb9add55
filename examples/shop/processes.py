"""Starting the shop and its third parties as processes, and getting rid of them for certain.

A process of the shop's that is killed is started again at once, as systemd or Kubernetes would.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

THIRD_PARTIES = ("payment", "email", "warehouse", "analytics")


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
            listening: a socket to hand over. It stays open here as well.
            on_line: called with each line it writes to standard error.
            stop_s: seconds from SIGTERM to SIGKILL.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "examples.shop.leash",
            *arguments,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdin=PIPE,
            stderr=PIPE,
            pass_fds=() if listening is None else (listening.fileno(),),
            start_new_session=True,  # Ctrl-C is for the parent; it ends them in the right order
            limit=2**22,
        )
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

    def kill(self) -> None:
        """``kill -9``: it hears nothing, finishes nothing and says goodbye to nobody."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def freeze(self) -> None:
        """``kill -STOP``: it lives, and takes connections, and answers nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """``kill -CONT``: it goes on where it was, with all that has come in meanwhile."""
        self._process.send_signal(signal.SIGCONT)

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


class Kept:
    """A service that is started again whenever somebody kills it.

    Attributes:
        name: for people.
        service: the process that runs now, ``None`` between two.
        kills: how often it was killed.
        last_words: the end of what the latest one wrote to standard error.
    """

    def __init__(
        self,
        name: str,
        on_started: Callable[[str, int], object],
        on_killed: Callable[[str, float], object],
    ) -> None:
        self.name = name
        self.service: Service | None = None
        self.kills = 0
        self.last_words: list[str] = []
        self._on_started = on_started
        self._on_killed = on_killed
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        name: str,
        *arguments: str,
        on_started: Callable[[str, int], object],
        on_killed: Callable[[str, float], object],
        **options: Any,
    ) -> AsyncIterator[Kept]:
        """As ``Service.start``, again and again.

        Args:
            name: for people.
            arguments: behind ``python -m``.
            on_started: called with the name and the id of each process.
            on_killed: called with the name and the time each time it is killed.
            options: of ``Service.start``.
        """
        kept = cls(name, on_started, on_killed)
        keeping = asyncio.create_task(kept._keep(arguments, options))
        try:
            yield kept
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    def kill(self) -> None:
        """``kill -9``."""
        if self.service is not None:
            self.service.kill()

    async def ended(self) -> int:
        """Wait until it ends in any other way; its exit status."""
        return await asyncio.shield(self._ended)

    @property
    def returncode(self) -> int | None:
        """How it ended, ``None`` as long as it is kept up."""
        return self._ended.result() if self._ended.done() else None

    async def _keep(self, arguments: tuple[str, ...], options: dict[str, Any]) -> None:
        while True:
            async with Service.start(self.name, *arguments, **options) as self.service:
                self._on_started(self.name, self.service.pid)
                status = await self.service.ended()
                ended_at = time.time()
            self.last_words = list(self.service.last_words)
            self.service = None
            if status != -signal.SIGKILL:
                self._ended.set_result(status)
                return
            self.kills += 1
            self._on_killed(self.name, ended_at)


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
            stack.enter_context(listening)
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
