"""One run of ``backstay widgets dev``: the app, the inspector, and an eye on the files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn

from backstay.clock import Clock, SystemClock
from backstay.errors import BadWidget
from backstay.widgets.build import Builder, Component, Outcome, find_components
from backstay.widgets.dev.app_process import AppProcess
from backstay.widgets.dev.bulletin import Bulletin
from backstay.widgets.dev.inspector import new_inspector
from backstay.widgets.dev.watching import Changes, Watch

__all__ = ["Session", "run_session"]

_LOOK_S = 0.4
_BACKLOG = 128


@dataclass(frozen=True, slots=True)
class Session:
    """What is to be inspected, and where.

    Attributes:
        app: ``package.module:app``, importable from the working directory.
        port: the inspector's.
        app_port: the app's.
        mcp_path: where the app has mounted its MCP server.
        faces: the folder with React faces; it need not be there.
    """

    app: str
    port: int = 8765
    app_port: int = 8766
    mcp_path: str = "/mcp"
    faces: Path = Path("widgets")

    @property
    def inspector_url(self) -> str:
        """What to open in a browser."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def mcp_url(self) -> str:
        """What other clients on this machine can connect to."""
        return f"http://127.0.0.1:{self.app_port}{self.mcp_path}"


def run_session(
    session: Session,
    *,
    ready: Callable[[], None] = lambda: None,
    say: Callable[[str, str], None] = lambda said, style: None,
    clock: Clock | None = None,
) -> None:
    """Inspect an app until interrupted.

    Args:
        session: which, and where.
        ready: called once the inspector can be opened.
        say: told, with a style for the terminal, what happens meanwhile.
        clock: the time between two looks at the files; ``None`` means the machine's.

    Raises:
        OSError: one of the ports cannot be had.
    """
    with _listening(session.port) as inspector, _listening(session.app_port) as listener:
        running = _Run(session, listener, say, clock or SystemClock())
        with contextlib.suppress(KeyboardInterrupt):  # which is how it is meant to end
            asyncio.run(running.until_interrupted(inspector, ready))


def _listening(port: int) -> socket.socket:
    made = socket.socket()
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        made.listen(_BACKLOG)
    except OSError:
        made.close()
        raise
    return made


class _Server(uvicorn.Server):
    """Ends the streams of news first, which would keep it waiting, and lets the app end too."""

    def __init__(self, bulletin: Bulletin, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._bulletin = bulletin

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Uvicorn would have this process die of the signal, with the app still running.
        self.force_exit = self.should_exit
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._bulletin.close()
        await super().shutdown(sockets)


class _Run:
    def __init__(
        self,
        session: Session,
        listener: socket.socket,
        say: Callable[[str, str], None],
        clock: Clock,
    ) -> None:
        self._session = session
        self._say = say
        self._clock = clock
        self._bulletin = Bulletin()
        self._builder = Builder()
        self._inputs: dict[str, frozenset[Path]] = {}
        self._process = AppProcess(
            session.app, listener, hear=self._hear, write=sys.stderr.buffer.write
        )

    async def until_interrupted(self, inspector: socket.socket, ready: Callable[[], None]) -> None:
        session = self._session
        app = new_inspector(
            session.app, port=session.port, mcp_url=session.mcp_url, bulletin=self._bulletin
        )
        server = _Server(
            self._bulletin,
            uvicorn.Config(
                app,
                lifespan="off",
                ws="none",
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=1,
            ),
        )
        working = asyncio.create_task(self._work(ready))
        working.add_done_callback(lambda _: setattr(server, "should_exit", True))
        try:
            await server.serve(sockets=[inspector])
        finally:
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working
            await self._process.stop()

    async def _work(self, ready: Callable[[], None]) -> None:
        watch = Watch(Path.cwd())
        ready()
        await self._build(self._components())
        await self._process.start()
        while True:
            await self._clock.sleep(_LOOK_S)
            changes = await asyncio.to_thread(watch.look)
            if changes:
                await self._take(changes)

    async def _take(self, changes: Changes) -> None:
        if changes.faces:
            await self._build(
                [
                    each
                    for each in self._components()
                    if each.identifier not in self._inputs
                    or changes.faces & (self._inputs[each.identifier] | each.sources)
                ]
            )
        if changes.pages:
            self._bulletin.post("pages", standing=False, files=sorted(map(_shown, changes.pages)))
        if changes.code:
            names = sorted(map(_shown, changes.code))
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            self._say(f"{names[0]}{more} changed: starting the app anew", "dim")
            await self._process.start()

    def _components(self) -> list[Component]:
        if not self._session.faces.is_dir():
            return []
        try:
            return find_components(self._session.faces.absolute())
        except BadWidget as error:
            self._say(str(error), "yellow")
            return []

    async def _build(self, components: list[Component]) -> None:
        if not components:
            return
        for each in components:
            self._bulletin.post("face", each.identifier, status="building", standing=False)
        try:
            outcomes = await asyncio.to_thread(lambda: list(self._builder.build(components)))
        except BadWidget as error:
            self._say(str(error), "yellow")
            for each in components:
                self._bulletin.post("face", each.identifier, status="failed", message=str(error))
            return
        for outcome in outcomes:
            self._told(outcome)

    def _told(self, outcome: Outcome) -> None:
        name = outcome.component.identifier
        self._inputs[name] = outcome.inputs
        if outcome.problems:
            lines = [
                "\n".join(filter(None, [f"{each.place}  {each.message}".strip(), each.frame]))
                for each in outcome.problems
            ]
            self._say(f"{name} was not built\n" + "\n".join(lines), "yellow")
            self._bulletin.post("face", name, status="failed", message="\n\n".join(lines))
            return
        if outcome.write():
            self._say(f"{name} built", "dim")
        self._bulletin.forget("face", name)
        self._bulletin.post("face", name, status="built", standing=False)

    def _hear(self, status: str, said: str) -> None:
        self._bulletin.post("app", status=status, said=said)
        if status == "failed":
            self._say("the app does not run; it is started anew when its code changes", "yellow")


def _shown(path: Path) -> str:
    return os.path.relpath(path)
