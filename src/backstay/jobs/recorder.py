"""Tells the ledger how attempts ended and how far they are, in groups.

While one group is on its way the next one collects, and nothing is given up while the ledger is
out of reach: our claims hold for as long as we beat.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

from backstay.clock import Clock, Timer
from backstay.context import Progress
from backstay.errors import BackstayError, LedgerUnavailable
from backstay.jobs.endings import Endings
from backstay.jobs.job import Job
from backstay.jobs.outage import Outage
from backstay.jobs.run import JobRun
from backstay.ledger.port import Ledger
from backstay.ledger.rows import Finish, NewJob, ProgressReport, State

__all__ = ["Recorder"]

logger = logging.getLogger("backstay.jobs")

_PROGRESS_EVERY_S = 0.25


class Recorder:
    """Records for one worker, in the running event loop.

    Args:
        ledger: where.
        clock: time for pauses.
        endings: says what to write where an end cannot be written as it is.
        outage: told whether the ledger can be reached.
        told: told of each job whose attempt is over and recorded.
        rested: told when a group is done.

    Attributes:
        groups: how many have been recorded.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        endings: Endings,
        outage: Outage,
        *,
        told: Callable[[UUID], object],
        rested: Callable[[], object],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._endings = endings
        self._outage = outage
        self._told = told
        self._rested = rested
        self._loop = asyncio.get_running_loop()
        self._finishing: list[tuple[Finish, JobRun]] = []
        self._recording = 0
        self._some = asyncio.Event()
        self._progress: dict[UUID, ProgressReport] = {}
        self._progress_timer: Timer | None = None
        self.groups = 0

    @property
    def unrecorded(self) -> int:
        """Ends that the ledger does not know yet."""
        return len(self._finishing) + self._recording

    def stop(self) -> None:
        """No more progress is sent."""
        if self._progress_timer is not None:
            self._progress_timer.cancel()

    def record(self, run: JobRun, finish: Finish) -> None:
        """The attempt has ended; tell the ledger soon."""
        self._finishing.append((finish, run))
        self._some.set()

    async def run_forever(self) -> None:
        """Record until cancelled."""
        while True:
            await self._some.wait()
            self._some.clear()
            batch, self._finishing = self._finishing, []
            if not batch:
                continue
            self._recording = len(batch)
            try:
                stale = await self._write(batch)
                for finish, run in batch:
                    try:
                        self.was_recorded(run, finish, current=finish.id not in stale)
                    except Exception:
                        # A listener's failure is his; every other end has to be recorded still.
                        logger.exception("what follows the end of the job %s failed", run.id)
            finally:
                self._recording = 0
                self.groups += 1
            self._rested()

    async def _write(self, batch: list[tuple[Finish, JobRun]]) -> set[UUID]:
        pause_s = 0.05
        failures = 0
        while True:
            try:
                stale = await self._ledger.finish([finish for finish, _ in batch])
            except LedgerUnavailable as error:
                # Our claims hold as long as we beat, so there is time to try again.
                self._outage.noticed(error)
                await self._clock.sleep(pause_s)
                pause_s = min(pause_s * 2, 2.0)
            except Exception:
                failures += 1
                logger.exception("recording the ends of %d jobs failed", len(batch))
                if len(batch) > 1:
                    # One that cannot be recorded as it is must not hold up the others.
                    stale = set()
                    for each in batch:
                        stale |= await self._write([each])
                    return stale
                if failures > 2:
                    logger.critical(
                        "the end of the job %s cannot be recorded, so it runs again when the "
                        "lease of this worker is over",
                        batch[0][0].id,
                    )
                    return {batch[0][0].id}
                if failures > 1:
                    finish, run = batch[0]
                    plainest = self._endings.unrecordable(finish.id, finish.fence, finish.state)
                    batch = [(plainest, run)]
                await self._clock.sleep(pause_s)
            else:
                self._outage.over()
                return stale

    def was_recorded(self, run: JobRun, finish: Finish, *, current: bool) -> None:
        """The ledger knows; ``current``: and the claim was still ours."""
        if not current:
            logger.warning(
                "the job %s of %s ended here as %s, but was no longer ours: it had been taken "
                "over by another worker, whose word counts",
                run.id,
                run.name,
                finish.state,
            )
        if run.then is not None:
            written = current and bool(finish.then)
            for new, job in run.then:
                if written and new.unique is not None:
                    self._loop.create_task(self._tell_unique(new, job))
                else:
                    job.told(new.id if written else None, written)
        if run.opened is not None:
            run.over(current and finish.state is State.SUCCEEDED)
        self._told(run.claim.id)

    async def _tell_unique(self, new: NewJob, job: Job[Any]) -> None:
        """Whether a job was written that would not have been if its unique key was taken."""
        try:
            found = await self._ledger.get([new.id])
        except BackstayError:
            return
        job.told(new.id if found else None, bool(found))

    # ------------------------------------------------------------------ progress

    def progressed(self, run: JobRun, progress: Progress) -> None:
        """Any thread."""
        self._loop.call_soon_threadsafe(self._note_progress, run, progress)

    def _note_progress(self, run: JobRun, progress: Progress) -> None:
        self._progress[run.id] = ProgressReport(
            run.claim.id, run.claim.fence, _progress_text(progress)
        )
        if self._progress_timer is None:
            self._progress_timer = self._clock.call_later(
                _PROGRESS_EVERY_S, lambda: self._loop.create_task(self._send_progress())
            )

    async def _send_progress(self) -> None:
        self._progress_timer = None
        reports, self._progress = list(self._progress.values()), {}
        try:
            await self._ledger.progress(reports)
        except BackstayError as error:
            logger.debug("progress was not recorded: %s", error)


def _progress_text(progress: Progress) -> str:
    return json.dumps(
        {
            "done": progress.done,
            "total": progress.total,
            "message": progress.message,
            "at": progress.at.isoformat(),
        }
    )
