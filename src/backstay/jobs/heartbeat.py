"""A worker's sign of life, from a thread: a busy event loop must not be taken for death."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from uuid import UUID

from backstay.clock import Clock, SystemClock, Timer
from backstay.errors import BackstayError
from backstay.ledger.port import Heart
from backstay.ledger.rows import Beat

__all__ = ["Heartbeat"]

logger = logging.getLogger("backstay.jobs")


class Heartbeat:
    """Beats every few seconds, and passes on what the ledger answers.

    Under a clock that is not the machine's there is no real time to beat in; then the beats are
    timers of that clock.

    Args:
        connect: makes the heart.
        clock: time.
        every_s: seconds between beats.
        on_cancelled: told, in the event loop, which jobs somebody wants cancelled.
        on_lost: told, in the event loop, that the worker was taken for dead.
    """

    def __init__(
        self,
        connect: Callable[[], Heart],
        clock: Clock,
        *,
        every_s: float,
        on_cancelled: Callable[[Sequence[UUID]], object],
        on_lost: Callable[[], object],
    ) -> None:
        self._heart = connect()
        self._clock = clock
        self._every_s = every_s
        self._on_cancelled = on_cancelled
        self._on_lost = on_lost
        self._soon = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._timer: Timer | None = None
        self._silent = False
        self._heard_at: float | None = None
        self._steady_since: float | None = None

    def start(self) -> None:
        """Begin to beat. The worker has just been registered, which counts as a beat."""
        self._heard_at = self._steady_since = self._clock.monotonic()
        self._loop = asyncio.get_running_loop()
        if isinstance(self._clock, SystemClock):
            self._thread = threading.Thread(
                target=self._beat_forever, name="backstay-heartbeat", daemon=True
            )
            self._thread.start()
        else:
            self._set_timer()

    def soon(self) -> None:
        """Beat as soon as possible: somebody may want a job cancelled."""
        if self._thread is not None:
            self._soon.set()
        elif not self._stopped:
            self._loop.create_task(self.now())

    def steady_for(self, seconds: float) -> bool:
        """Whether it has been heard without a gap for so long.

        When nobody could reach the database for a while, nobody's lease is in order afterwards;
        those who live need a moment to say so before they are taken for dead.
        """
        if self._thread is None:
            return True
        now = self._clock.monotonic()
        return (
            self._steady_since is not None
            and self._heard_at is not None
            and now - self._heard_at <= 2 * self._every_s
            and now - self._steady_since >= seconds
        )

    async def now(self) -> None:
        """Beat, if it is not the thread's business."""
        if self._thread is None and not self._stopped:
            await asyncio.to_thread(self._beat)

    async def stop(self) -> None:
        """Beat no more."""
        self._stopped = True
        self._soon.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._thread is not None:
            # A beat that hangs on a dead connection ends by itself; nobody has to wait for it.
            await asyncio.to_thread(self._thread.join, 1.0)
        else:
            self._heart.close()

    def _set_timer(self) -> None:
        def beat() -> None:
            self.soon()
            self._set_timer()

        self._timer = self._clock.poll_later(self._every_s, beat)

    def _beat_forever(self) -> None:
        while not self._stopped:
            self._soon.wait(self._every_s)
            self._soon.clear()
            if not self._stopped:
                self._beat()
        self._heart.close()

    def _beat(self) -> None:
        try:
            beat = self._heart.beat()
        except BackstayError as error:
            if not self._silent:
                self._silent = True
                logger.warning("the heartbeat does not reach the ledger: %s", error)
            return
        except Exception:
            logger.exception("the heartbeat failed")
            return
        self._silent = False
        now = self._clock.monotonic()
        if self._heard_at is None or now - self._heard_at > 2 * self._every_s:
            self._steady_since = now
        self._heard_at = now
        if beat.cancelled or not beat.known:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                self._loop.call_soon_threadsafe(self._tell, beat)

    def _tell(self, beat: Beat) -> None:
        if not beat.known:
            self._on_lost()
        if beat.cancelled:
            self._on_cancelled(beat.cancelled)
