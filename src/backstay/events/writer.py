"""Writes what was collected, in batches, beside the app's work."""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context as Variables
from dataclasses import dataclass
from typing import Any

from backstay.clock import Clock, Timer
from backstay.errors import BackstayError, MissingExtra
from backstay.events.collector import Collector, Seen
from backstay.events.masking import Masking
from backstay.events.rows import event_rows, minute_rows
from backstay.events.store import EventStore, Keeping

try:
    from sqlalchemy.exc import (
        InterfaceError,
        InternalError,
        OperationalError,
        ProgrammingError,
        StatementError,
    )
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = ["Writer"]

logger = logging.getLogger("backstay.events")

_PATIENCE_S = 30.0
"""A batch takes milliseconds; a database that has not answered by then is taken to be down."""

_LONGEST_PAUSE_S = 30.0
_WARN_EVERY_S = 60.0
_PRUNE_EVERY_S = 60.0


@dataclass(slots=True)
class _Batch:
    """What is being written, until it is."""

    events: list[dict[str, Any]]
    minutes: list[dict[str, Any]]
    tries: int = 0


class Writer:
    """Takes from a collector and gives to a store, from ``start`` to ``stop``.

    Args:
        collector: has what is to be written.
        store: where to.
        masking: what to leave out.
        clock: says when.
        batch: events written at a time.
        every_s: seconds that an event waits at most, while the database keeps up.
        keeping: how much is kept; what is beyond that is deleted now and then.
    """

    def __init__(
        self,
        collector: Collector,
        store: EventStore,
        masking: Masking,
        clock: Clock,
        *,
        batch: int,
        every_s: float,
        keeping: Keeping,
    ) -> None:
        self._collector = collector
        self._store = store
        self._masking = masking
        self._clock = clock
        self._size = batch
        self._every_s = every_s
        self._keeping = keeping
        self._in_hand: _Batch | None = None
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._timer: Timer | None = None
        self._warned_at: float | None = None
        self._prune_at = clock.monotonic() + _PRUNE_EVERY_S * clock.random()
        self._failures = 0

    def start(self) -> None:
        """Begin. In the event loop."""
        self._collector.on_batch = self._wake.set
        # What a task inherits (PEP 567) must not be what happens to be running.
        self._task = asyncio.get_running_loop().create_task(self._run(), context=Variables())

    async def stop(self, within_s: float) -> None:
        """Write what is waiting, and end; what cannot be written by then is lost, and said so."""
        self._collector.on_batch = None
        self._stopping.set()
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=within_s)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
        lost = self._collector.waiting + (len(self._in_hand.events) if self._in_hand else 0)
        if lost:
            logger.warning("%d events were not written before the app stopped, and are lost", lost)

    async def flush(self) -> None:
        """Write everything that is waiting, now.

        Raises:
            DatabaseUnavailable: it cannot be; it goes on waiting.
        """
        while await self._write_some():
            pass

    # ------------------------------------------------------------------ the task

    async def _run(self) -> None:
        while True:
            if not self._stopping.is_set():
                self._timer = self._clock.poll_later(self._every_s, self._wake.set)
            await self._wake.wait()
            self._wake.clear()
            # Asked before: what comes while this turn prunes is written in one more.
            is_last = self._stopping.is_set()
            if self._timer is not None:
                self._timer.cancel()
            try:
                await self.flush()
                if not is_last:
                    await self._prune()
                self._failures = 0
            except Exception as error:
                self._failures += 1
                self._complain(error)
                if not self._stopping.is_set():
                    await self._pause()
                    self._wake.set()
            if is_last:
                return

    async def _write_some(self) -> bool:
        """Write one batch. Whether there is more."""
        async with self._turn:
            batch = self._in_hand
            if batch is None:
                batch = self._in_hand = await self._next_batch()
            if batch is None:
                return False
            batch.tries += 1
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await self._store.write(batch.events, batch.minutes, again=batch.tries > 1)
            except BackstayError as error:
                if not _is_about_data(error):
                    raise
                await self._write_singly(batch)
            self._in_hand = None
            return self._collector.waiting > 0

    async def _next_batch(self) -> _Batch | None:
        seen = self._collector.take(self._size)
        sums = self._collector.tally.take()
        if not seen and not sums:
            return None
        # Masking takes milliseconds for a batch, which requests would wait for.
        return await asyncio.to_thread(self._prepared, seen, sums)

    def _prepared(self, seen: list[Seen], sums: list[dict[str, Any]]) -> _Batch:
        rows = event_rows(seen, self._masking)
        self._collector.dropped += len(seen) - len(rows)
        return _Batch(rows, minute_rows(sums, self._masking))

    async def _write_singly(self, batch: _Batch) -> None:
        """The database takes everything but something in there; that is left out."""
        left_out = 0
        while batch.events or batch.minutes:
            events, minutes = batch.events[:1], [] if batch.events else batch.minutes[:1]
            try:
                await self._store.write(events, minutes)
            except BackstayError as error:
                if not _is_about_data(error):
                    raise
                self._collector.dropped += 1
                left_out += 1
                self._complain(error)
            del batch.events[: len(events)], batch.minutes[: len(minutes)]

    async def _prune(self) -> None:
        if self._stopping.is_set() or self._clock.monotonic() < self._prune_at:
            return
        self._prune_at = self._clock.monotonic() + _PRUNE_EVERY_S
        now = self._clock.now()
        if await self._store.take_turn(now):
            await self._store.prune(self._keeping, now)

    async def _pause(self) -> None:
        """Longer after each failure, and over at once when the app stops."""
        pause_s = min(self._every_s * 2.0 ** min(self._failures, 20), _LONGEST_PAUSE_S)
        over = asyncio.Event()
        timer = self._clock.call_later(pause_s * (0.5 + self._clock.random() / 2), over.set)
        waits = [asyncio.ensure_future(each.wait()) for each in (over, self._stopping)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            for each in waits:
                each.cancel()

    def _complain(self, error: Exception) -> None:
        now = self._clock.monotonic()
        if self._warned_at is None or now - self._warned_at >= _WARN_EVERY_S:
            self._warned_at = now
            logger.warning(
                "events cannot be written, and wait (%d do, and %d were dropped so far): %s",
                self._collector.waiting,
                self._collector.dropped,
                self._masking.text(f"{type(error).__name__}: {error}"),
            )


def _is_about_data(error: BackstayError) -> bool:
    """Whether the database is there and refuses what it was given."""
    cause = error.__cause__
    return (
        isinstance(cause, StatementError)
        and not isinstance(
            cause, (InterfaceError, InternalError, OperationalError, ProgrammingError)
        )
        and not getattr(cause, "connection_invalidated", False)
    )
