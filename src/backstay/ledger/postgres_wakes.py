"""Waking workers through PostgreSQL: LISTEN on a connection of its own, NOTIFY off the write path."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import asyncpg

from backstay.errors import BackstayError
from backstay.ledger.port import Wake
from backstay.ledger.postgres_address import Address
from backstay.ledger.postgres_lane import LOST, Connection, Lane, connect
from backstay.ledger.postgres_schema import Tables

__all__ = ["Wakes"]

_PAUSE_S = 0.005
_FIRST_BACKOFF_S = 0.1
_LAST_BACKOFF_S = 5.0
_ALIVE_EVERY_S = 30.0
_NOTIFY = "SELECT pg_notify($1, $2)"


class Wakes:
    """Tells this process's listener and those of others, and hears theirs.

    However many jobs are written, others hear of it every 5 ms at most: at once for the first,
    and once more for all that came within those 5 ms. A NOTIFY in the writers' own transactions
    would make them commit one after the other (the server takes one lock for all of them).

    Args:
        address: where to listen.
        tables: whose channel.
        lane: the connection to notify through.
        sender: who we are, so that we do not wake ourselves twice.
        timeout_s: seconds to connect, and for each statement.
    """

    def __init__(
        self, address: Address, tables: Tables, lane: Lane, *, sender: str, timeout_s: float
    ) -> None:
        self._address = address
        self._channel = tables.channel
        self._lane = lane
        self._sender = sender
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._listener: Callable[[Wake], object] | None = None
        self._enqueued = self._cancelled = False
        self._notifying: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._closed = False
        self.ready = asyncio.Event()
        """Set while others are heard."""

    def on_wake(self, listener: Callable[[Wake], object] | None) -> None:
        """Whom to call; the first one opens the connection. In the event loop's thread."""
        self._listener = listener
        if listener is not None and self._listening is None and not self._address.pooled:
            self._listening = self._loop.create_task(self._listen(), name="backstay listener")

    def tell(self, wake: Wake) -> None:
        """Tell everybody. Any thread."""
        if threading.get_ident() == self._thread:
            self._tell(wake)
            return
        with suppress(RuntimeError):  # the loop has been closed: nobody is left to be woken
            self._loop.call_soon_threadsafe(self._tell, wake)

    async def close(self) -> None:
        """Send what is still to be said, and stop listening."""
        if self._notifying is not None:
            await self._notifying
        self._closed = True
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening

    def _tell(self, wake: Wake) -> None:
        if self._closed or not (wake.enqueued or wake.cancelled):
            return
        self._enqueued = self._enqueued or wake.enqueued
        self._cancelled = self._cancelled or wake.cancelled
        if self._notifying is None:
            self._notifying = self._loop.create_task(self._notify(), name="backstay notifier")
        if self._listener is not None:
            self._listener(wake)

    async def _notify(self) -> None:
        try:
            while self._enqueued or self._cancelled:
                said = ("e" if self._enqueued else "") + ("c" if self._cancelled else "")
                self._enqueued = self._cancelled = False
                with suppress(BackstayError):  # wakes may be lost; the next poll finds the jobs
                    await self._lane.run(partial(self._say, said), transaction=False)
                await asyncio.sleep(_PAUSE_S)
        finally:
            self._notifying = None

    async def _say(self, said: str, connection: Connection) -> None:
        await connection.execute(_NOTIFY, self._channel, f"{said}:{self._sender}")

    async def _listen(self) -> None:
        backoff_s = _FIRST_BACKOFF_S
        while True:
            connection = None
            try:
                connection = await connect(
                    self._address, timeout_s=self._timeout_s, command_timeout_s=self._timeout_s
                )
                lost = asyncio.Event()
                connection.add_termination_listener(lambda _, lost=lost: lost.set())
                await connection.add_listener(self._channel, self._heard)
                self.ready.set()
                backoff_s = _FIRST_BACKOFF_S
                # What was said before we listened is found by looking.
                self._call(Wake(enqueued=True, cancelled=True))
                await self._until(lost, connection)
            except (*LOST, asyncpg.PostgresError):
                pass
            finally:
                self.ready.clear()
                if connection is not None and not connection.is_closed():
                    connection.terminate()
            await asyncio.sleep(backoff_s)
            backoff_s = min(_LAST_BACKOFF_S, backoff_s * 2)

    async def _until(self, lost: asyncio.Event, connection: Connection) -> None:
        """Until the connection is lost, which without traffic only a question can tell."""
        while not lost.is_set():
            try:
                async with asyncio.timeout(_ALIVE_EVERY_S):
                    await lost.wait()
            except TimeoutError:
                await connection.fetchval("SELECT 1")

    def _heard(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        said, _, sender = str(payload).partition(":")
        if sender != self._sender:
            self._call(Wake(enqueued="e" in said, cancelled="c" in said))

    def _call(self, wake: Wake) -> None:
        if self._listener is not None and not self._closed:
            self._listener(wake)
