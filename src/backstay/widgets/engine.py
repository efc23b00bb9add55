"""The running server: the SDK's session manager, and the threads."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any

from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from sse_starlette.sse import AppStatus
from starlette.types import Receive, Scope, Send

from backstay.signals import SignalChain
from backstay.threads import ThreadPool
from backstay.widgets.event_store import MemoryEventStore

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Engine"]


class _Sessions(StreamableHTTPSessionManager):
    """The SDK's manager, with events kept for each session by itself.

    Given one store for all, the SDK would file under ``1`` the first call of every client, and
    let each resume those of the others.
    """

    resumable = False

    @property
    def event_store(self) -> MemoryEventStore | None:
        """Read once for each session that is opened: its own."""
        return MemoryEventStore() if self.resumable else None

    @event_store.setter
    def event_store(self, _: object) -> None:
        """The SDK's constructor says what it was given: nothing."""


class Engine:
    """What exists from the start of the app to its end; made anew for every start.

    Args:
        sdk: the handlers.
        stateless: no sessions.
        resumable: clients of sessions may resume their streams.
        max_body_bytes: how large requests may be.
        session_idle_s: how long a session may say nothing.
        max_sessions: how many there may be.
        threads: how many sync tools run at a time, ``None`` for four more than processors.
        on_stop: called first when stopping, and already when the process is asked to stop:
            servers wait for open streams before they end the lifespan, so these have to end.
    """

    def __init__(
        self,
        sdk: Server[Any],
        *,
        stateless: bool,
        resumable: bool,
        max_body_bytes: int,
        session_idle_s: float,
        max_sessions: int,
        threads: int | None,
        on_stop: Callable[[], None],
    ) -> None:
        size = min(32, (os.cpu_count() or 1) + 4) if threads is None else threads
        self.pool = ThreadPool(size, asyncio.get_running_loop())
        self._on_stop = on_stop
        self._manager = (
            None
            if stateless
            else _Sessions(
                sdk,
                retry_interval=500 if resumable else None,
                max_request_body_size=max_body_bytes,
                session_idle_timeout=session_idle_s,
                max_sessions=max_sessions,
            )
        )
        if self._manager is not None:
            self._manager.resumable = resumable
        self._signals = SignalChain(self._leave)
        self._stop = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def _leave(self) -> None:
        """The process is asked to stop: streams that would stay open for ever end now.

        A server waits for its connections before it ends the lifespan. Those of sessions are
        sse-starlette's, which listens to uvicorn's signals itself, but only where it is loaded
        before uvicorn starts.
        """
        self._on_stop()
        if self._manager is not None:
            AppStatus.should_exit = True

    async def start(self) -> None:
        """Run until ``stop``."""
        if self._manager is not None:
            AppStatus.should_exit = False  # an app that ran in this process before may have set it
        started = asyncio.get_running_loop().create_future()
        sessions = contextlib.nullcontext() if self._manager is None else self._manager.run()

        # In a task of its own: the SDK's task group has to end in the task it began in, and nobody
        # promises that an app's start and end come from the same one.
        async def run() -> None:
            try:
                async with sessions:
                    started.set_result(None)
                    await self._stop.wait()
                    self._on_stop()
            except BaseException as error:
                if not started.done():
                    started.set_exception(error)
                    return
                raise

        self._running = asyncio.create_task(run())
        await started
        self._signals.install(asyncio.get_running_loop())

    async def stop(self) -> None:
        """End every session and stream, and let the threads go."""
        self._signals.remove()
        self._stop.set()
        if self._running is not None:
            await self._running
        self.pool.stop()

    async def sessions(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The SDK's endpoint, for clients that keep a session."""
        assert self._manager is not None
        await self._manager.handle_request(scope, receive, send)
