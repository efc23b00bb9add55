"""The worker as a part of an app: started after everything else, stopped before it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from backstay.context import Context
from backstay.errors import BadJob, ContextClosed
from backstay.jobs.definition import require_queue
from backstay.jobs.part import DurablePart
from backstay.jobs.run import JobRun
from backstay.jobs.worker import Worker
from backstay.signals import SignalChain

__all__ = ["WorkerPart"]


class WorkerPart:
    """Runs durable jobs beside the app. ``add_tasks`` documents the options.

    Attributes:
        worker: the running one, ``None`` while there is none.
    """

    attribute = "job"

    def __init__(
        self,
        durable: DurablePart,
        *,
        enabled: bool = True,
        concurrency: int = 50,
        queues: Sequence[str] | None = None,
        grace_s: float = 10.0,
        lease_s: float = 10.0,
        poll_s: float = 1.0,
    ) -> None:
        self._durable = durable
        self._enabled = enabled
        self.worker: Worker | None = None
        self._signals: SignalChain | None = None
        self._hurried = 0
        self.configure(concurrency=concurrency, queues=queues, grace_s=grace_s)
        for option, seconds in (("lease_s", lease_s), ("poll_s", poll_s)):
            if not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
                raise BadJob(f"{option}= is seconds, more than 0; got {seconds!r}")
        self._lease_s = lease_s
        self._poll_s = poll_s

    def configure(
        self,
        *,
        enabled: bool | None = None,
        concurrency: int | None = None,
        queues: Sequence[str] | None = None,
        grace_s: float | None = None,
    ) -> None:
        """Change options before the app starts; ``None`` leaves one as it is.

        Raises:
            BadJob: one makes no sense.
        """
        if enabled is not None:
            self._enabled = enabled
        if concurrency is not None:
            if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
                raise BadJob(f"concurrency= is how many jobs run at a time; got {concurrency!r}")
            self._concurrency = concurrency
        if queues is not None:
            if isinstance(queues, str):
                raise BadJob(f"queues= is a list of names; got the string {queues!r}")
            self._queues: Sequence[str] | None = [require_queue(each) for each in queues]
            if not self._queues:
                raise BadJob(
                    "a worker with no queue would do nothing; name some, or leave queues out for "
                    "all (add_tasks(app, worker=False) runs no worker)"
                )
        elif not hasattr(self, "_queues"):
            self._queues = None
        if grace_s is not None:
            if not isinstance(grace_s, int | float) or not 0 <= grace_s < math.inf:
                raise BadJob(f"grace_s= is seconds, 0 or more; got {grace_s!r}")
            self._grace_s = grace_s

    @property
    def concurrency(self) -> int:
        """Jobs it runs at a time."""
        return self._concurrency

    def bind(self, ctx: Context) -> JobRun:
        """``ctx.job``: the attempt that this is."""
        if isinstance(ctx.work, JobRun):
            return ctx.work
        raise ContextClosed(f"ctx.job is for durable jobs while they run; this is a {ctx.origin}")

    async def open(self) -> None:
        """Start the worker as soon as there is a ledger to work on."""
        self._hurried = 0
        if self._enabled:
            self._durable.when_open(self._start)
            if self._durable.is_open:
                await self._start()

    async def _start(self) -> None:
        if self.worker is not None:
            return
        worker = Worker(
            self._durable,
            concurrency=self._concurrency,
            queues=self._queues,
            lease_s=self._lease_s,
            poll_s=self._poll_s,
        )
        await worker.start()
        self.worker = worker
        self._signals = SignalChain(self.hurry)
        self._signals.install(asyncio.get_running_loop())

    def hurry(self) -> None:
        """A signal: take no more jobs; at the second one, hand back what runs."""
        self._hurried += 1
        if self.worker is not None:
            self.worker.stop_claiming()
            if self._hurried > 1:
                self.worker.hand_back()

    async def close(self) -> None:
        """Finish within the grace, hand the rest back."""
        self._durable.when_open_no_more(self._start)
        try:
            if self.worker is not None:
                await self.worker.stop(0.0 if self._hurried > 1 else self._grace_s)
        finally:
            self.worker = None
            if self._signals is not None:
                self._signals.remove()
                self._signals = None
