"""What becomes of jobs, told to many who listen by one who asks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from backstay.clock import Clock
from backstay.errors import LedgerUnavailable
from backstay.ledger.port import Ledger
from backstay.ledger.rows import JobRow
from backstay.signals import SignalChain

__all__ = ["JobFeed", "Listener"]

logger = logging.getLogger("backstay.jobs")

_BATCH = 500


class Listener:
    """One stream's ear."""

    def __init__(self, clock: Clock, row: JobRow) -> None:
        self._clock = clock
        self._row = row
        self._news: JobRow | str | Exception | None = None
        self._told = asyncio.Event()

    def tell(self, news: JobRow | str | Exception) -> bool:
        """Hand over a row (only the latest counts), ``"gone"``, ``"stopping"``, or a failure.

        Returns whether it was news.
        """
        if isinstance(news, JobRow):
            if news == self._row:
                return False
            self._row = news
        self._news = news
        self._told.set()
        return True

    async def hear(self, patience_s: float) -> JobRow | str | None:
        """What happened next; ``None`` if nothing did for ``patience_s`` seconds."""
        timer = self._clock.call_later(patience_s, self._told.set)
        try:
            await self._told.wait()
        finally:
            timer.cancel()
        self._told.clear()
        news, self._news = self._news, None
        if isinstance(news, Exception):
            raise news
        return news


class JobFeed:
    """Tells any number of listeners what becomes of their jobs, asking the ledger once for all.

    Asks only while somebody listens. Where the ledger cannot be reached, listeners hear nothing
    until it can. When the process is asked to stop, listeners hear ``"stopping"``: servers wait
    for open responses before they end the app's lifespan, and streams have no end of their own.

    Args:
        ledger: where to ask.
        clock: time between questions.
        poll_s: seconds between questions while something happens, and at most while nothing does.
    """

    def __init__(
        self, ledger: Callable[[], Awaitable[Ledger]], clock: Clock, *, poll_s: tuple[float, float]
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._quick_s, self._slow_s = poll_s
        self._listeners: dict[UUID, list[Listener]] = {}
        self._poller: asyncio.Task[None] | None = None
        self._joined = asyncio.Event()
        self._signals = SignalChain(self._stop)
        self.listeners = 0

    @contextmanager
    def listen(self, row: JobRow) -> Iterator[Listener]:
        """Hear what becomes of a job after ``row``."""
        listener = Listener(self._clock, row)
        if row.finished:
            yield listener
            return
        of_job = self._listeners.setdefault(row.id, [])
        of_job.append(listener)
        self.listeners += 1
        if self.listeners == 1:
            self._joined = asyncio.Event()  # of this event loop
            self._signals.install(asyncio.get_running_loop())
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll(), name="backstay-job-feed")
        self._joined.set()
        try:
            yield listener
        finally:
            of_job.remove(listener)
            if not of_job:
                self._listeners.pop(row.id, None)
            self.listeners -= 1
            if self.listeners == 0:
                self._signals.remove()
                if self._poller is not None:
                    self._poller.cancel()
                    self._poller = None

    def _stop(self) -> None:
        for listener in [each for of_job in self._listeners.values() for each in of_job]:
            listener.tell("stopping")

    async def _poll(self) -> None:
        pause_s = self._quick_s
        reachable = True
        while True:
            await self._rest(pause_s)
            began_s = self._clock.monotonic()
            try:
                news = await self._ask()
            except LedgerUnavailable as error:
                if reachable:
                    logger.warning("job events pause, the ledger is unavailable: %s", error)
                reachable, pause_s = False, self._slow_s
                continue
            except Exception as error:
                logger.exception("job events end")
                for of_job in self._listeners.values():
                    for listener in of_job:
                        listener.tell(error)
                return
            reachable = True
            # A ledger that takes long to answer is asked less often.
            took_s = self._clock.monotonic() - began_s
            pause_s = self._quick_s if news else min(pause_s * 1.5, self._slow_s)
            pause_s = max(pause_s, 4 * took_s)

    async def _rest(self, pause_s: float) -> None:
        """Wait; when somebody joins during a long pause, no longer than a short one from then."""
        self._joined.clear()
        if pause_s > self._quick_s:
            rest = asyncio.create_task(self._clock.sleep(pause_s))
            joined = asyncio.create_task(self._joined.wait())
            try:
                await asyncio.wait({rest, joined}, return_when=asyncio.FIRST_COMPLETED)
                if rest.done():
                    return
            finally:
                for each in (rest, joined):
                    each.cancel()
                await asyncio.gather(rest, joined, return_exceptions=True)
        await self._clock.sleep(self._quick_s)

    async def _ask(self) -> bool:
        """Ask for everybody. Whether there was news for anybody."""
        news = False
        ledger = await self._ledger()
        ids = list(self._listeners)
        for start in range(0, len(ids), _BATCH):
            batch = ids[start : start + _BATCH]
            rows = await ledger.get(batch)
            for job_id in batch:
                row = rows.get(job_id)
                for listener in list(self._listeners.get(job_id, ())):
                    news = listener.tell("gone" if row is None else row) or news
        return news
