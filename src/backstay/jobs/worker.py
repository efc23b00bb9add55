"""The worker: claims jobs, runs them, says how they ended.

It lives in one event loop, embedded in a web process or alone in its own. Claims, completions
and progress travel in groups: while one group is on its way to the database the next one
collects, so the busier it is, the cheaper each job gets.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import socket
from collections import deque
from collections.abc import Sequence
from contextvars import Context as Variables
from contextvars import copy_context
from typing import Any
from uuid import UUID

import backstay
from backstay.app import Backstay
from backstay.clock import Timer
from backstay.context import Progress, current_work
from backstay.errors import LedgerUnavailable, TaskTimeout
from backstay.jobs.definition import AnyTask
from backstay.jobs.endings import Endings, given_back, outcome_of
from backstay.jobs.heartbeat import Heartbeat
from backstay.jobs.outage import Outage
from backstay.jobs.part import DurablePart
from backstay.jobs.pool import ProcessPool
from backstay.jobs.recorder import Recorder
from backstay.jobs.run import JobRun
from backstay.jobs.upkeep import Upkeep
from backstay.ledger.ids import new_job_id
from backstay.ledger.port import Ledger, Wake
from backstay.ledger.rows import Claimed, Finish, State, WorkerRow
from backstay.log import correlation_id
from backstay.observation import Kind, Observation
from backstay.threads import ThreadPool

__all__ = ["Worker"]

logger = logging.getLogger("backstay.jobs")

_AHEAD_S = 0.02
_IGNORED_CANCELLATION_S = 5.0
_LAST_WORDS_S = 1.0
_SIGN_OFF_S = 2.0
_MOST_UNRECORDED = 10_000


class Worker:
    """Runs an app's durable jobs in the running event loop.

    Args:
        part: the app's ledger and tasks.
        concurrency: jobs at a time; sync ones need as many threads.
        queues: which queues to serve, ``None`` for all there are.
        lease_s: seconds without a heartbeat after which others take over its jobs.
        poll_s: seconds between looks at the ledger when nothing says that there is work.

    Attributes:
        id: of this worker, unique for every start.
        running: attempts in progress, by job.
    """

    def __init__(
        self,
        part: DurablePart,
        *,
        concurrency: int = 50,
        queues: Sequence[str] | None = None,
        lease_s: float = 10.0,
        poll_s: float = 1.0,
    ) -> None:
        self.part = part
        self.app: Backstay = part.app
        self.keeper = part
        self._clock = part.app.clock
        self._concurrency = concurrency
        self._only = None if queues is None else tuple(queues)
        self._lease_s = lease_s
        self._poll_s = poll_s
        self.id = f"{socket.gethostname()}-{os.getpid()}-{new_job_id().hex[:12]}"
        self.running: dict[UUID, JobRun] = {}
        self._ledger: Ledger = part.ledger
        self._buffer: deque[Claimed] = deque()
        self._endings = Endings(part, self._clock, self.id)
        self._outage = Outage()
        self._look = asyncio.Event()
        self._rest = asyncio.Event()
        self._empty: set[str] = set()
        self._served: list[str] | None = None
        self._served_of = 0
        self._wakes = 0
        self._turn = 0
        self._started = 0
        self._started_at_poll = 0
        self._claiming = False
        self._given_up = False
        self._stopping = False
        self._timer: Timer | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._done = 0
        self._measured = (0, 0.0)
        self._per_second = 0.0
        self._looked_after = -1
        self._looked_at = -1
        self._found = 0
        self._watchers: list[asyncio.Future[None]] = []

    # ------------------------------------------------------------------ starting and stopping

    async def start(self) -> None:
        """Register, and begin to claim."""
        self._loop = asyncio.get_running_loop()
        self._pool = ThreadPool(self._concurrency, self._loop)
        self._processes = ProcessPool(self._concurrency)
        self._recorder = Recorder(
            self._ledger,
            self._clock,
            self._endings,
            self._outage,
            told=self.part.ended,
            rested=self._notice_rest,
        )
        row = WorkerRow(
            id=self.id,
            host=socket.gethostname(),
            pid=os.getpid(),
            lease_s=self._lease_s,
            concurrency=self._concurrency,
            queues=tuple(self._queues()),
            version=backstay.__version__,
        )
        await self._ledger.register(row)
        self._heartbeat = Heartbeat(
            lambda: self._ledger.heart(row),
            self._clock,
            every_s=self._lease_s / 5,
            on_cancelled=self._cancel_several,
            on_lost=self._lost,
        )
        self._heartbeat.start()
        self._upkeep = Upkeep(self.part, self.id, self._heartbeat, every_s=self._lease_s / 5)
        self.part.listen(self._woken)
        self._measured = (0, self._clock.monotonic())
        for loop in (self._claim_forever, self._recorder.run_forever, self._upkeep.run_forever):
            name = f"backstay worker {loop.__qualname__}"
            self._tasks.append(asyncio.create_task(loop(), name=name, context=Variables()))

    def stop_claiming(self) -> None:
        """Take no more jobs, and hand back those that have not begun."""
        if self._stopping:
            return
        self._stopping = True
        self.part.unlisten(self._woken)
        self._look.set()
        self._give_back_buffer()

    def _give_back_buffer(self) -> None:
        while self._buffer:
            claim = self._buffer.popleft()
            self._recorder.record(JobRun(claim, None, self), given_back(claim))

    def hand_back(self) -> None:
        """Cancel what runs; each job is given back without using up an attempt."""
        for run in list(self.running.values()):
            run.handed_back = True
            self._stop_run(run)

    async def stop(self, grace_s: float) -> None:
        """Finish what can be finished within ``grace_s`` seconds, hand the rest back, and go."""
        self.stop_claiming()
        timer = self._clock.call_later(grace_s, self.hand_back)
        self._last = self._clock.call_later(grace_s + _IGNORED_CANCELLATION_S, self._abandon_all)
        try:
            await self._rested()
        finally:
            timer.cancel()
            self._last.cancel()
            await self._heartbeat.stop()
            self._upkeep.stop()
            self._recorder.stop()
            if self._timer is not None:
                self._timer.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._tasks.clear()
            self._pool.stop()
            await self._processes.stop()
        try:
            # Not for long: a lease runs out by itself, and whoever stops us has little patience.
            async with asyncio.timeout(_SIGN_OFF_S):
                await self._ledger.unregister(self.id)
        except (LedgerUnavailable, TimeoutError) as error:
            logger.warning("the worker could not sign off, its lease will run out: %s", error)

    async def _rested(self) -> None:
        while not self._given_up and (self.running or self._recorder.unrecorded or self._claiming):
            self._rest.clear()
            await self._rest.wait()

    @property
    def idle(self) -> bool:
        """Whether it holds nothing and has nothing to record."""
        return not (self.running or self._buffer or self._recorder.unrecorded or self._claiming)

    async def settled(self) -> None:
        """Wait until nothing that is due is left: a look found nothing, and nothing runs.

        What waits for a time to come, or for a queue that is paused, is not waited for.
        """
        while True:
            self._poll()
            while self._looked_after != self._wakes or not self.idle:
                watcher = self._loop.create_future()
                self._watchers.append(watcher)
                await watcher
            if not self._found and self._looked_at == self._recorder.groups:
                return

    def _abandon_all(self) -> None:
        """Let go of what ignored its cancellation; its claim is given back."""
        for run in list(self.running.values()):
            self._abandon(run)
        self._last = self._clock.call_later(_LAST_WORDS_S, self._give_up)

    def _give_up(self) -> None:
        if self._recorder.unrecorded:
            logger.error(
                "the ledger is out of reach, so the ends of %d jobs are not recorded; they run "
                "again when the lease of this worker is over",
                self._recorder.unrecorded,
            )
            self._given_up = True
            self._rest.set()

    # ------------------------------------------------------------------ claiming

    def _queues(self) -> list[str]:
        known = len(self.part.registry)
        if self._served is None or (self._only is None and known != self._served_of):
            self._served_of = known
            self._served = sorted(self.part.queues) if self._only is None else list(self._only)
        return self._served

    def _woken(self, wake: Wake) -> None:
        if wake.enqueued:
            self._look_again()
        if wake.cancelled and self.running:
            self._heartbeat.soon()

    def _look_again(self) -> None:
        self._wakes += 1
        self._empty.clear()
        self._look.set()

    @property
    def _dry(self) -> bool:
        """Whether every queue was empty when last looked at, and nobody has called since."""
        return bool(self._empty) and self._empty.issuperset(self._queues())

    def _room(self) -> int:
        self._measure()
        ahead = min(4 * self._concurrency, int(self._per_second * _AHEAD_S))
        room = self._concurrency + ahead - len(self.running) - len(self._buffer)
        # With short jobs, groups: not one claim for each place that gets free.
        return room if room > ahead // 2 else 0

    async def _claim_forever(self) -> None:
        pause_s = 0.1
        while not self._stopping:
            room = self._room()
            if self._dry or room <= 0 or self._recorder.unrecorded > _MOST_UNRECORDED:
                self._look.clear()
                await self._look.wait()
                continue
            self._claiming = True
            try:
                await self._claim(room)
                pause_s = 0.1
                self._outage.over()
            except LedgerUnavailable as error:
                self._outage.noticed(error)
                await self._clock.sleep(pause_s * (0.5 + self._clock.random() / 2))
                pause_s = min(pause_s * 2, 5.0)
            except Exception:
                logger.exception("claiming failed; the worker goes on in a moment")
                await self._clock.sleep(1.0)
            finally:
                self._claiming = False
                self._notice_rest()

    async def _claim(self, room: int) -> None:
        wants = self._shares(room)
        wakes, recordings = self._wakes, self._recorder.groups
        claims = await self._ledger.claim(self.id, wants)
        if self._stopping:
            for claim in claims.jobs:
                self._recorder.record(JobRun(claim, None, self), given_back(claim))
            return
        got: dict[str, int] = {}
        for claim in claims.jobs:
            got[claim.queue] = got.get(claim.queue, 0) + 1
            if len(self.running) < self._concurrency:
                self._start(claim)
            else:
                self._buffer.append(claim)
        if self._wakes == wakes:  # else somebody has called meanwhile, and any queue may have more
            self._empty.update(
                queue for queue, wanted in wants.items() if got.get(queue, 0) < wanted
            )
        self._set_timer(claims.next_due_s)
        self._looked_after, self._looked_at = wakes, recordings
        self._found = len(claims.jobs)

    def _shares(self, room: int) -> dict[str, int]:
        """Which queue may have how many of the free places: each its share, in turn.

        Never more than there are places: a job that is claimed and has to wait for one is a job
        that nobody else can run.
        """
        queues = [queue for queue in self._queues() if queue not in self._empty]
        self._turn += 1
        first = self._turn % len(queues)
        queues = (queues[first:] + queues[:first])[:room]
        share, rest = divmod(room, len(queues))
        return {queue: share + (place < rest) for place, queue in enumerate(queues)}

    def _set_timer(self, next_due_s: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if next_due_s is not None and next_due_s < self._poll_s:
            self._timer = self._clock.call_later(max(0.0, next_due_s), self._poll)
        else:
            self._timer = self._clock.poll_later(self._poll_s, self._poll)

    def _poll(self) -> None:
        if self._buffer and self._started == self._started_at_poll:
            self._give_back_buffer()  # long jobs have come after short ones; others may be free
        self._started_at_poll = self._started
        self._set_timer(None)
        self._look_again()

    def _measure(self) -> None:
        """How many jobs a second this worker gets through, lately."""
        done, at = self._measured
        now = self._clock.monotonic()
        if now - at >= 0.02:
            latest = (self._done - done) / (now - at)
            self._per_second += 0.5 * (latest - self._per_second)
            self._measured = (self._done, now)

    # ------------------------------------------------------------------ running

    def _start(self, claim: Claimed) -> None:
        run = JobRun(claim, self.part.registry.find(claim.task), self)
        self.running[claim.id] = run
        self._started += 1
        # A fresh context (PEP 567): what another job or a request has set is not this one's.
        run.asyncio_task = self._loop.create_task(self._run(run), context=Variables())

    async def _run(self, run: JobRun) -> None:
        current_work.set(run)
        correlation_id.set(run.correlation_id)
        run.begun = True
        task = run.task
        recorded: bool | None = None
        seen = self._observe(run)
        raised: BaseException | None = None
        try:
            if run.cancel_reason is not None or run.handed_back:
                raise asyncio.CancelledError
            if task is None:
                finish = self._endings.unknown(run)
            elif task.plain:
                args, kwargs = self._load(run, task)
                value = await task.func(*args, **kwargs)
                if run.opened is not None:
                    await self._returned(run)
                finish = self._endings.succeeded(run, task, value)
            else:
                finish, recorded = await self._call(run, task)
        except GeneratorExit:
            raise  # the event loop is gone; the lease will run out
        except BaseException as error:
            recorded = None
            raised = error
            try:
                finish = self._endings.failed(run, task, error)
            except BaseException:
                # Whatever user code does here (rules, handlers, words of an error), the job ends.
                logger.exception("what the failure of the job %s comes to cannot be said", run.id)
                finish = self._endings.unrecordable(run.id, run.claim.fence, State.DISCARDED)
            await self._roll_back(run)
        if seen is not None:
            seen.end(outcome_of(finish, raised), error=raised)
            raised = None  # a traceback and its frame would keep each other alive
        if self.running.get(run.claim.id) is run:
            self._ended(run, finish, recorded=recorded)

    def _observe(self, run: JobRun) -> Observation | None:
        if not self.app.is_observed(Kind.JOB):
            return None
        facts = {"queue": run.queue, "job": str(run.id), "attempt": run.attempt}
        return self.app.observe(Kind.JOB, run.name, run.correlation_id, link=run.link, facts=facts)

    def _load(self, run: JobRun, task: AnyTask) -> tuple[tuple[Any, ...], dict[str, Any]]:
        sealer = self.part.sealer if task.arguments.has_secrets else None
        return task.arguments.load(run.claim.args, sealer=sealer)

    async def _call(self, run: JobRun, task: AnyTask) -> tuple[Finish, bool | None]:
        """One attempt with everything that may go with it.

        Returns:
            Its end; and, if that has been recorded already, whether the claim was current.
        """
        args, kwargs = self._load(run, task)
        timeout_s = task.timeout
        if timeout_s is None:
            value = await self._with_injected(run, task, args, kwargs)
        else:
            value = await self._timed(run, task, timeout_s, args, kwargs)
        await self._returned(run)
        finish = self._endings.succeeded(run, task, value)
        if task.transactional and finish.state is State.SUCCEEDED:
            from backstay.jobs.transaction import finish_together

            return finish, await finish_together(run, self._ledger, finish)
        await self._commit(run)
        return finish, None

    async def _timed(
        self, run: JobRun, task: AnyTask, timeout_s: float, args: Any, kwargs: Any
    ) -> Any:
        current = asyncio.current_task()
        assert current is not None

        def expire() -> None:
            run.expired = True
            current.cancel()
            self._clock.call_later(_IGNORED_CANCELLATION_S, lambda: self._abandon(run))

        timer = self._clock.call_later(timeout_s, expire)
        try:
            return await self._with_injected(run, task, args, kwargs)
        except asyncio.CancelledError:
            if not run.expired or run.cancel_reason is not None or run.handed_back:
                raise
            current.uncancel()
            raise TaskTimeout(
                f"the job {run.id} of {run.name} ran longer than its timeout of {timeout_s} s"
            ) from None
        finally:
            timer.cancel()

    async def _with_injected(self, run: JobRun, task: AnyTask, args: Any, kwargs: Any) -> Any:
        if not task.injection.names:
            return await self._invoke(run, task, args, kwargs)
        async with task.injection.solve(self.part.fastapi, run, state=self.app.state) as values:
            return await self._invoke(run, task, args, {**kwargs, **values})

    async def _invoke(self, run: JobRun, task: AnyTask, args: Any, kwargs: Any) -> Any:
        if task.is_async:
            return await task.func(*args, **kwargs)
        if task.executor == "process":
            return await self._processes.run(task, args, kwargs)
        run.call = self._pool.submit(lambda: task.func(*args, **kwargs), copy_context())
        value = await self._pool.result(run.call)
        # A plain function may hand on the coroutine of another.
        return await value if inspect.isawaitable(value) else value

    async def _returned(self, run: JobRun) -> None:
        await run.returned()
        if run.task is not None and run.task.plain:
            await self._commit(run)

    async def _commit(self, run: JobRun) -> None:
        """What the job wrote through ``ctx.db`` is committed before the job counts as done."""
        if run.opened is not None and run.opened.has("db"):
            await run.opened.db.commit()

    async def _roll_back(self, run: JobRun) -> None:
        """What the attempt wrote is not to stay, and what is left of it is to do nothing more."""
        left_behind = run.call is not None and run.call.abandoned
        if left_behind:
            # Its function goes on in a thread that nobody waits for any more.
            run.left_behind = True
        ctx = run.opened
        if ctx is None or not ctx.has("db"):
            return
        if left_behind and run.call is not None:
            run.call.at_end = ctx.db.leave_behind()
        try:
            # Shielded: a stop must not break it off half-way, nor change how the attempt ended.
            await asyncio.shield(ctx.db.rollback())
        except asyncio.CancelledError:
            logger.debug("the worker stopped while the job %s was rolled back", run.id)
        except Exception:
            logger.exception("rolling back what the job %s wrote failed", run.id)

    def _ended(self, run: JobRun, finish: Finish, *, recorded: bool | None) -> None:
        """The attempt is over: its place is free, and its end is to be recorded."""
        del self.running[run.claim.id]
        self._done += 1
        if recorded is None:
            self._recorder.record(run, finish)
        else:
            self._recorder.was_recorded(run, finish, current=recorded)
        if self._buffer and not self._stopping:
            self._start(self._buffer.popleft())
        elif not self._dry:
            self._look.set()
        self._notice_rest()

    def _notice_rest(self) -> None:
        if not (self.running or self._recorder.unrecorded):
            self._rest.set()
            if self._watchers:
                watchers, self._watchers = self._watchers, []
                for watcher in watchers:
                    if not watcher.done():
                        watcher.set_result(None)

    def _abandon(self, run: JobRun) -> None:
        """An attempt that was told to stop and did not: the worker goes on without it."""
        if self.running.get(run.claim.id) is not run:
            return
        logger.error(
            "the job %s of %s ignored its cancellation and was abandoned", run.id, run.name
        )
        if run.asyncio_task is not None:
            # Documented for writers of task implementations: the loop's last act is to wait for
            # every task it knows, and this one has shown that it never ends.
            asyncio._unregister_task(run.asyncio_task)
        claim = run.claim
        if run.cancel_reason is not None:
            finish = self._endings.stopped(run, State.CANCELLED, "Cancelled", run.cancel_reason)
        elif run.handed_back:
            finish = given_back(claim)
        else:
            finish = self._endings.failed(
                run, run.task, TaskTimeout("it ran longer than its timeout")
            )
        self._ended(run, finish, recorded=None)

    # ------------------------------------------------------------------ cancelling

    def _cancel_several(self, jobs: Sequence[UUID]) -> None:
        for job_id in jobs:
            run = self.running.get(job_id)
            if run is not None and run.cancel_reason is None:
                run.cancel_reason = "it was cancelled while it ran"
                self._stop_run(run)
            elif run is None:
                for claim in [each for each in self._buffer if each.id == job_id]:
                    self._buffer.remove(claim)
                    waiting = JobRun(claim, self.part.registry.find(claim.task), self)
                    self._recorder.record(
                        waiting,
                        self._endings.stopped(
                            waiting, State.CANCELLED, "Cancelled", "cancelled before it began"
                        ),
                    )

    def _stop_run(self, run: JobRun) -> None:
        if run.asyncio_task is not None and run.begun:
            run.asyncio_task.cancel()
            self._clock.call_later(_IGNORED_CANCELLATION_S, lambda: self._abandon(run))

    def progressed(self, run: JobRun, progress: Progress) -> None:
        """Any thread."""
        self._recorder.progressed(run, progress)

    def _lost(self) -> None:
        """Others have taken over what we held: it runs on, but its end will change nothing."""
        logger.error(
            "the worker %s was taken for dead, because its heartbeat did not arrive for %.3g s; "
            "the jobs it held are run again elsewhere",
            self.id,
            self._lease_s,
        )
