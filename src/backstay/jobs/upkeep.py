"""What every worker does for all: rescue, cron, pruning. No leader: each may, one does."""

from __future__ import annotations

import asyncio
import logging
import math
from datetime import datetime, timedelta

from backstay.errors import LedgerUnavailable
from backstay.jobs.definition import AnyTask
from backstay.jobs.failure import describe
from backstay.jobs.handlers import handlers_of
from backstay.jobs.heartbeat import Heartbeat
from backstay.jobs.part import DurablePart
from backstay.ledger.rows import Finish, Orphan, State, Tick

__all__ = ["Upkeep"]

logger = logging.getLogger("backstay.jobs")

_PRUNE_EVERY_S = 60.0
_PRUNE_AT_A_TIME = 1_000
_PRUNINGS_IN_A_ROUND = 20


class Upkeep:
    """Looks after the ledger every few seconds.

    Args:
        part: the app's ledger and tasks.
        worker: the worker on whose behalf.
        heartbeat: asked for a beat before others are declared dead.
        every_s: seconds between rounds.
    """

    def __init__(
        self, part: DurablePart, worker: str, heartbeat: Heartbeat, *, every_s: float
    ) -> None:
        self._part = part
        self._worker = worker
        self._heartbeat = heartbeat
        self._clock = part.app.clock
        self._every_s = every_s
        self._last_ticks: dict[str, datetime | None] = {}
        self._prune_in_s = _PRUNE_EVERY_S * self._clock.random()
        self._stopped = False

    def stop(self) -> None:
        """After this round, no more."""
        self._stopped = True

    async def run_forever(self) -> None:
        """Go round until cancelled."""
        while not self._stopped:
            tick_s = math.inf
            try:
                await self.rescue()
                tick_s = await self.tick()
                self._prune_in_s -= self._every_s
                if self._prune_in_s <= 0:
                    self._prune_in_s = _PRUNE_EVERY_S
                    await self.prune()
            except LedgerUnavailable as error:
                logger.debug("upkeep has to wait: %s", error)
            except Exception:
                logger.exception("upkeep failed; it goes on in a moment")
            await self._pause(tick_s)

    async def _pause(self, tick_s: float) -> None:
        """Wait for the next round, or for the next tick if that comes first."""
        over = asyncio.Event()
        # Not all workers at the same moment.
        round_s = self._every_s * (0.9 + self._clock.random() / 5)
        timers = [self._clock.poll_later(round_s, over.set)]
        if math.isfinite(tick_s):
            timers.append(self._clock.call_later(max(0.01, tick_s), over.set))
        try:
            await over.wait()
        finally:
            for timer in timers:
                timer.cancel()

    async def rescue(self) -> int:
        """Take jobs from workers that are dead. How many."""
        await self._heartbeat.now()
        if not self._heartbeat.steady_for(2.5 * self._every_s):
            return 0
        ledger = self._part.ledger
        rescued = 0
        while True:
            # Never our own: whoever looks is alive, and his next beat puts his lease in order.
            orphans = [each for each in await ledger.orphans() if each.worker != self._worker]
            if not orphans:
                return rescued
            finishes = [self._rescued(orphan) for orphan in orphans]
            stale = await ledger.finish(finishes)
            for orphan, finish in zip(orphans, finishes, strict=True):
                if orphan.id not in stale:
                    rescued += 1
                    logger.warning(
                        "the worker %s died while it ran the job %s of %s, which is %s now",
                        orphan.worker,
                        orphan.id,
                        orphan.task,
                        finish.state,
                    )

    def _rescued(self, orphan: Orphan) -> Finish:
        error = describe(
            "WorkerLost",
            f"the worker {orphan.worker} died or lost touch while it ran attempt {orphan.attempt}",
            attempt=orphan.attempt,
            at=self._clock.now(),
        )
        if orphan.cancel_requested:
            state = State.CANCELLED
        elif orphan.attempt >= orphan.max_attempts:
            state = State.DISCARDED
        else:
            state = State.AVAILABLE
        task = self._part.registry.find(orphan.task)
        then = () if task is None else handlers_of(self._part, task, orphan, state, error)
        return Finish.failed(orphan.id, orphan.fence, state, error, then=then)

    async def tick(self) -> float:
        """Write the cron ticks that are due. Seconds until the next one, infinity if there is none."""
        scheduled = [task for task in self._part.registry if task.cron is not None]
        if not scheduled:
            return math.inf
        now = await self._part.ledger.now()
        waits_s = []
        for task in scheduled:
            try:
                waits_s.append(await self._tick_one(task, now))
            except LedgerUnavailable:
                raise
            except Exception:
                logger.exception("the schedule of %s cannot be kept", task.name)
        return min(waits_s, default=math.inf)

    async def _tick_one(self, task: AnyTask, now: datetime) -> float:
        cron, ledger = task.cron, self._part.ledger
        assert cron is not None
        if task.name not in self._last_ticks:
            self._last_ticks[task.name] = await ledger.last_tick(task.name)
        last = self._last_ticks[task.name]
        if last is None:
            # The first start ever: from now on ticks count, and none has been missed.
            await ledger.tick(Tick(name=task.name, previous=None, at=now))
            last = self._last_ticks[task.name] = await ledger.last_tick(task.name)
            assert last is not None
        for due in cron.due(last, now):
            job = self._part.new_job(
                task, (), {}, None, f'{{"correlation":"{self._clock.new_id()}"}}'
            )
            written = await ledger.tick(Tick(name=task.name, previous=last, at=due, jobs=(job,)))
            # If somebody else was first, his word is in the ledger.
            last = due if written else await ledger.last_tick(task.name)
            self._last_ticks[task.name] = last
            if not written:
                break
        assert last is not None
        return max(0.0, (cron.next_after(max(last, now)) - now) / timedelta(seconds=1))

    async def prune(self) -> int:
        """Delete history whose time is over, a portion of it. How many rows."""
        deleted = 0
        for _ in range(_PRUNINGS_IN_A_ROUND):
            some = await self._part.ledger.prune(self._part.keep_s, _PRUNE_AT_A_TIME)
            deleted += some
            if some < _PRUNE_AT_A_TIME:
                return deleted
        self._prune_in_s = 0.0  # there is more; rescue and cron come first
        return deleted
