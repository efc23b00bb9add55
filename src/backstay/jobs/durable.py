"""How durable work is scheduled: ``tasks.durable``."""

from __future__ import annotations

import json
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload
from uuid import UUID

from typing_extensions import ParamSpec

from backstay.context import Context, Moment, current_work
from backstay.errors import BadJob, ContextClosed, LedgerUnavailable
from backstay.jobs.definition import (
    AnyTask,
    Call,
    TaskFunction,
    Unique,
    require_priority,
    require_seconds,
    require_task,
)
from backstay.jobs.job import Job, JobKeeper
from backstay.ledger.rows import Inserted, NewJob, ParentFailure

if TYPE_CHECKING:
    from backstay.ledger.port import Ledger

__all__ = ["Chain", "DurableScheduler", "Group", "Options", "Writer"]

P = ParamSpec("P")
S = ParamSpec("S")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What ``.task(...)`` said. ``None`` means: as the task itself says."""

    delay_s: float = 0.0
    at: datetime | None = None
    unique: Unique | None = None
    priority: int | None = None
    queue: str | None = None
    max_attempts: int | None = None
    after: tuple[Job[Any], ...] = ()
    on_parent_failure: ParentFailure = "cancel"
    keep_s: float | None = None


class Writer(JobKeeper, Protocol):
    """What scheduling needs of the app: the ledger, and how a job of its looks."""

    def new_job(
        self,
        task: AnyTask,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        options: Options | None,
        meta: str,
        *,
        max_bytes: int | None = None,
    ) -> NewJob:
        """A row for a call, arguments checked.

        Args:
            task: what is called.
            args: by position.
            kwargs: by name.
            options: what ``.task(...)`` said, ``None`` for nothing.
            meta: goes with the row.
            max_bytes: how large the arguments may be; ``None``: as the app says.

        Raises:
            BadJob: it could never work.
        """

    def ledger_now(self) -> Ledger:
        """The ledger, if it is open.

        Raises:
            LedgerUnavailable: it is not, and opening it takes an event loop.
        """

    async def written(self, jobs: Sequence[Job[Any]]) -> None:
        """Told of jobs that have just been written outside of any session."""

    def session_of(self, ctx: Context) -> object | None:
        """The database session that ``ctx`` works with, ``None`` if nobody has told."""


class DurableScheduler:
    """``tasks.durable``: work that is written down, and so survives whatever happens to us.

    ``schedule`` writes with the session's transaction, or else before the answer leaves; nothing
    is written if the work fails. ``enqueue`` writes now.
    """

    __slots__ = ("_ctx", "_options", "_scheduled", "_session", "_writer")

    def __init__(
        self,
        writer: Writer,
        ctx: Context,
        *,
        options: Options | None = None,
        session: object | None = None,
        scheduled: _Scheduled | None = None,
    ) -> None:
        self._writer = writer
        self._ctx = ctx
        self._options = options
        self._session = session
        self._scheduled = _Scheduled(writer, ctx) if scheduled is None else scheduled

    # ------------------------------------------------------------------ how

    def task(
        self,
        *,
        delay: float | None = None,
        at: datetime | None = None,
        unique: Unique | str | bool | None = None,
        priority: int | None = None,
        queue: str | None = None,
        max_attempts: int | None = None,
        after: Sequence[Job[Any]] | Job[Any] = (),
        on_parent_failure: ParentFailure = "cancel",
        keep_s: float | None = None,
    ) -> DurableScheduler:
        """The same with options; ``schedule`` or ``enqueue`` comes next.

        Args:
            delay: seconds until it may start, by the database's clock.
            at: when it may start, an aware datetime. Not together with ``delay``.
            unique: ``True``, a key, or a ``Unique``; wins over the task's own.
            priority: higher starts first, -1000 to 1000; wins over the task's own.
            queue: wins over the task's own.
            max_attempts: wins over the task's ``retry``.
            after: jobs that must finish first.
            on_parent_failure: what becomes of it if one of those fails: ``"cancel"`` or
                ``"discard"`` it too, or ``"run"`` it all the same.
            keep_s: seconds its row and result are kept when it has finished.

        Raises:
            BadJob: an option makes no sense.
        """
        if delay is not None:
            require_seconds(delay, "delay")
            if at is not None:
                raise BadJob(f"delay={delay!r} and at={at!r} say two different things; give one")
        if at is not None and (not isinstance(at, datetime) or at.tzinfo is None):
            raise BadJob(
                f"at= is a datetime with a time zone, such as datetime.now(UTC); got {at!r}"
            )
        if max_attempts is not None and (
            isinstance(max_attempts, bool) or not isinstance(max_attempts, int) or max_attempts < 1
        ):
            raise BadJob(f"max_attempts= counts runs, so it is 1 or more; got {max_attempts!r}")
        if on_parent_failure not in ("cancel", "discard", "run"):
            raise BadJob(
                f'on_parent_failure= is "cancel", "discard" or "run"; got {on_parent_failure!r}'
            )
        if keep_s is not None:
            require_seconds(keep_s, "keep_s")
        parents = (after,) if isinstance(after, Job) else tuple(after)
        for each in parents:
            if not isinstance(each, Job):
                raise BadJob(f"after= is the jobs to wait for, as enqueue() returns; got {each!r}")
        options = Options(
            delay_s=0.0 if delay is None else float(delay),
            at=at,
            unique=Unique.of(unique),
            priority=None if priority is None else require_priority(priority),
            queue=queue,
            max_attempts=max_attempts,
            after=parents,
            on_parent_failure=on_parent_failure,
            keep_s=keep_s,
        )
        return DurableScheduler(
            self._writer,
            self._ctx,
            options=options,
            session=self._session,
            scheduled=self._scheduled,
        )

    def on(self, session: object) -> DurableScheduler:
        """The same, in the transaction of a SQLAlchemy ``Session`` or ``AsyncSession``.

        Its commit writes the jobs, its rollback forgets them.
        """
        return DurableScheduler(
            self._writer,
            self._ctx,
            options=self._options,
            session=session,
            scheduled=self._scheduled,
        )

    # ------------------------------------------------------------------ what

    @overload
    def schedule(
        self, func: TaskFunction[..., S, Awaitable[R]], /, *args: S.args, **kwargs: S.kwargs
    ) -> Job[R]: ...
    @overload
    def schedule(
        self, func: TaskFunction[..., S, R], /, *args: S.args, **kwargs: S.kwargs
    ) -> Job[R]: ...

    def schedule(self, func: TaskFunction[..., ..., Any], /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Have ``func(*args, **kwargs)`` run once this work has succeeded, whatever happens then.

        With a session (``on(session)``, ``ctx.db``, or the dependency named in ``add_tasks``) the
        job is written by the session's commit. Without, it is written before the answer leaves; if
        that fails, so does the request. In a job it is written with the job's completion. If the
        work fails, nothing is written.

        Returns:
            A handle, at once.

        Raises:
            BadJob: not a ``@task``, arguments that do not fit or cannot be written, an unknown
                queue, and the like.
            TypeError: arguments that do not fit the function's signature.
            ContextClosed: the work's answer has left already; ``await enqueue(...)`` instead.
        """
        task = require_task(func, "tasks.durable.schedule")
        new = self._new(task, args, kwargs)
        job = self._handle(task, new)
        session = self._current_session()
        if session is None:
            self._scheduled.add(new, job)
        else:
            self._scheduled.add_to_session(session, new, job)
        return job

    @overload
    async def enqueue(
        self, func: TaskFunction[..., S, Awaitable[R]], /, *args: S.args, **kwargs: S.kwargs
    ) -> Job[R]: ...
    @overload
    async def enqueue(
        self, func: TaskFunction[..., S, R], /, *args: S.args, **kwargs: S.kwargs
    ) -> Job[R]: ...

    async def enqueue(
        self, func: TaskFunction[..., ..., Any], /, *args: Any, **kwargs: Any
    ) -> Job[Any]:
        """Write the job now; when this returns it is on disk.

        With a session, it is written in the session's transaction now, and on disk when that
        commits. Many calls at a time share one commit.

        Returns:
            A handle; of the job that is there already if a unique key is taken.

        Raises:
            BadJob, TypeError: as ``schedule`` says.
            LedgerUnavailable: it could not be written.
        """
        task = require_task(func, "tasks.durable.enqueue")
        self._require_written_parents("enqueue")
        new = self._new(task, args, kwargs)
        job = self._handle(task, new)
        session = self._current_session()
        ledger = await self._writer.awake()
        if session is None:
            inserted = await ledger.insert((new,))
        else:
            from backstay.jobs.session import insert_in

            inserted = await insert_in(session, ledger, [new])
            self._scheduled.watch(session)
        job.told(*inserted[0])
        if session is None:
            await self._writer.written((job,))
        return job

    async def enqueue_many(self, calls: Sequence[Call[Any]]) -> list[Job[Any]]:
        """Write many jobs now, all or none: ``enqueue_many([send.bind(1), send.bind(2)])``.

        Raises:
            BadJob, TypeError: one of them is wrong; none is written.
            LedgerUnavailable: they could not be written.
        """
        self._require_written_parents("enqueue_many")
        writer, options, meta = self._writer, self._options, self._scheduled.meta
        news: list[NewJob] = []
        jobs: list[Job[Any]] = []
        for call in calls:
            if type(call) is not Call:
                _require_call(call, "enqueue_many")
            task = call.task
            new = writer.new_job(task, call.args, call.kwargs, options, meta)
            news.append(new)
            jobs.append(Job(writer, new.id, task.name, task.decode_result))
        await self._write_now(news, jobs)
        return jobs

    def enqueue_now(
        self, func: TaskFunction[..., S, Any], /, *args: S.args, **kwargs: S.kwargs
    ) -> Job[Any]:
        """``enqueue`` for sync code: blocks until the job is on disk. Not in an event loop's thread.

        Raises:
            BadJob, TypeError, LedgerUnavailable: as ``enqueue`` says.
        """
        task = require_task(func, "tasks.durable.enqueue_now")
        self._require_written_parents("enqueue_now")
        new = self._new(task, args, kwargs)
        job = self._handle(task, new)
        session = self._current_session()
        ledger = self._writer.ledger_now()
        if session is None:
            inserted = ledger.insert_now((new,))
        else:
            from backstay.jobs.session import insert_in_sync

            inserted = insert_in_sync(session, ledger, [new])
        job.told(*inserted[0])
        return job

    async def chain(self, *calls: Call[Any]) -> Chain:
        """Write jobs that run one after the other; if one fails, those after it are cancelled.

        ``ctx.job.parents()`` gives a job those it waited for, with their results.

        Raises:
            BadJob, TypeError, LedgerUnavailable: as ``enqueue_many`` says.
        """
        news: list[NewJob] = []
        for call in calls:
            new = self._new_of(call, "chain")
            if news:
                new.after = (news[-1].id,)
                new.delay_s, new.run_at = 0.0, None
            news.append(new)
        if not news:
            raise BadJob("chain() needs at least one call: chain(charge.bind(17), notify.bind(17))")
        jobs = [self._handle(call.task, new) for call, new in zip(calls, news, strict=True)]
        await self._write_now(news, jobs)
        return Chain(tuple(jobs))

    async def group(self, *calls: Call[Any], then: Call[Any] | None = None) -> Group:
        """Write jobs that run side by side, and one that runs when all of them have finished.

        Args:
            calls: side by side.
            then: runs when all have succeeded; what happens otherwise is said by
                ``task(on_parent_failure=...)``. ``None``: nothing.

        Raises:
            BadJob, TypeError, LedgerUnavailable: as ``enqueue_many`` says.
        """
        if not calls:
            raise BadJob("group() needs at least one call: group(resize.bind(1), resize.bind(2))")
        news = [self._new_of(call, "group") for call in calls]
        every = list(calls)
        if then is not None:
            last = self._new_of(then, "group")
            last.after = tuple(new.id for new in news)
            last.delay_s, last.run_at = 0.0, None
            news.append(last)
            every.append(then)
        jobs = [self._handle(call.task, new) for call, new in zip(every, news, strict=True)]
        await self._write_now(news, jobs)
        return Group(tuple(jobs[: len(calls)]), jobs[-1] if then is not None else None)

    def job(self, job_id: UUID | str) -> Job[Any]:
        """A handle on a job that was scheduled earlier, here or elsewhere.

        Raises:
            BadJob: ``job_id`` is no id.
        """
        try:
            found = job_id if isinstance(job_id, UUID) else UUID(job_id)
        except (ValueError, AttributeError, TypeError):
            raise BadJob(f"{job_id!r} is no job's id, which is a UUID") from None
        return Job(self._writer, found, "an unnamed task", created=False)

    # ------------------------------------------------------------------ within

    def _require_written_parents(self, where: str) -> None:
        """A job that is written now cannot wait for one that may never be."""
        for parent in () if self._options is None else self._options.after:
            if parent.created is None:
                raise BadJob(
                    f"{where}() writes now, and the job of {parent.task} it is to come after is "
                    "not written yet (that happens with its session's commit, or when this work "
                    "returns): schedule() both, or enqueue() both"
                )

    def _new(self, task: AnyTask, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> NewJob:
        return self._writer.new_job(task, args, kwargs, self._options, self._scheduled.meta)

    def _new_of(self, call: Call[Any], where: str) -> NewJob:
        _require_call(call, where)
        return self._new(call.task, call.args, call.kwargs)

    def _handle(self, task: AnyTask, new: NewJob) -> Job[Any]:
        return Job(self._writer, new.id, task.name, task.decode_result)

    def _current_session(self) -> object | None:
        return self._session if self._session is not None else self._writer.session_of(self._ctx)

    async def _write_now(self, news: list[NewJob], jobs: list[Job[Any]]) -> None:
        session = self._current_session()
        ledger = await self._writer.awake()
        if session is None:
            inserted = await ledger.insert(news)
        else:
            from backstay.jobs.session import insert_in

            inserted = await insert_in(session, ledger, news)
            self._scheduled.watch(session)
        for job, each in zip(jobs, inserted, strict=True):
            job.told(*each)
        if session is None:
            await self._writer.written(jobs)


def _require_call(call: object, where: str) -> None:
    if not isinstance(call, Call):
        raise BadJob(
            f"{where}() takes tasks with their arguments, such as send.bind(17); got {call!r}"
        )


@dataclass(frozen=True, slots=True)
class Chain:
    """Jobs one after the other. ``last`` is the one whose end is the chain's."""

    jobs: tuple[Job[Any], ...]

    @property
    def last(self) -> Job[Any]:
        """The last one."""
        return self.jobs[-1]


@dataclass(frozen=True, slots=True)
class Group:
    """Jobs side by side, and the one that waits for all of them, if any."""

    jobs: tuple[Job[Any], ...]
    then: Job[Any] | None

    async def wait(self, timeout_s: float | None = None) -> None:
        """Wait until all have finished, ``then`` included."""
        if self.then is not None:
            await self.then.wait(timeout_s)
        else:
            for job in self.jobs:
                await job.wait(timeout_s)


class _Scheduled:
    """What one piece of work has scheduled and not written yet."""

    __slots__ = ("_ctx", "_held", "_joined", "_lock", "_meta", "_news", "_sessions", "_writer")

    def __init__(self, writer: Writer, ctx: Context) -> None:
        self._writer = writer
        self._ctx = ctx
        self._news: list[tuple[NewJob, Job[Any]]] = []
        self._sessions: list[object] = []
        self._joined: list[Job[Any]] = []
        self._held = False
        self._meta: str | None = None
        self._lock = threading.Lock()

    @property
    def meta(self) -> str:
        if self._meta is None:
            # Correlation ids are plain by construction, so they need no escaping.
            correlation, link = self._ctx.correlation_id, self._ctx.app.link()
            self._meta = (
                f'{{"correlation":"{correlation}"}}'
                if link is None
                else json.dumps({"correlation": correlation, "trace": link})
            )
        return self._meta

    def add(self, new: NewJob, job: Job[Any]) -> None:
        """Write ``new`` when the work returns."""
        work = self._ctx.work
        take = getattr(work, "write_with_completion", None)
        if take is not None:
            take(new, job)
            return
        if work is None:
            self._write_here(new, job)
            return
        with self._lock:
            # Endpoints may schedule from several threads; only one of them asks to be waited for.
            first = not self._held
            if first:
                self._hold("tasks.durable.schedule")
            self._news.append((new, job))

    def add_to_session(self, session: object, new: NewJob, job: Job[Any]) -> None:
        """Write ``new`` with the session's commit."""
        from backstay.jobs.session import jobs_of

        def told(inserted: Inserted | None) -> None:
            job.told(*((None, False) if inserted is None else inserted))

        jobs_of(session).add(self._writer.ledger_now(), new, told)
        self._joined.append(job)
        self.watch(session)

    def watch(self, session: object) -> None:
        """See, before the answer leaves, whether the session has committed."""
        with self._lock:
            if all(each is not session for each in self._sessions):
                self._sessions.append(session)
            work = self._ctx.work
            if hasattr(work, "write_with_completion"):
                return  # a job commits its sessions before it counts as done
            if not self._held and self._ctx.moment is Moment.OPENED and work is not None:
                try:
                    self._hold("tasks.durable.schedule")
                except ContextClosed:
                    # Not a FastAPI route, or the work has returned: whoever commits is on his own.
                    self._held = False

    def _hold(self, where: str) -> None:
        work = self._ctx.work
        assert work is not None
        scope = getattr(work, "scope", None) or {}
        if scope.get("type") == "websocket":
            raise ContextClosed(
                f"{where}() in a WebSocket would be written when it closes, and it has no other "
                "answer to wait for; use: await tasks.durable.enqueue(...)"
            )
        try:
            work.hold_answer(self._flush, first=True)
        except ContextClosed as closed:
            raise ContextClosed(
                f"{where}() came too late: this {self._ctx.origin} has returned, so nothing waits "
                "for the job to be written; use: await tasks.durable.enqueue(...)"
            ) from closed
        self._held = True

    def _write_here(self, new: NewJob, job: Job[Any]) -> None:
        """Outside of any work there is no end to wait for, so it is written now."""
        from asyncio import get_running_loop

        if getattr(current_work.get(), "left_behind", False):
            raise ContextClosed(
                "the work was given up (its time was over, or it was cancelled), so what it "
                "schedules now is not written"
            )

        try:
            get_running_loop()
        except RuntimeError:
            job.told(*self._writer.ledger_now().insert_now((new,))[0])
            return
        raise ContextClosed(
            "tasks.durable.schedule() is for requests, tasks and jobs, whose end it waits for; "
            "here there is none: use await tasks.durable.enqueue(...)"
        )

    async def _flush(self) -> None:
        """Before the answer leaves: write what was scheduled."""
        with self._lock:
            self._held = False  # whoever comes from now on has to ask again
            news, self._news = self._news, []
            sessions, self._sessions = self._sessions, []
        if sessions:
            news += self._left_over(sessions)
        if news:
            ledger = await self._writer.awake()
            inserted = await ledger.insert([new for new, _ in news])
            for (_, job), each in zip(news, inserted, strict=True):
                job.told(*each)
        done = [job for _, job in news if isinstance(job, Job)]
        await self._writer.written(done + [job for job in self._joined if job.created])

    def _left_over(self, sessions: list[object]) -> list[tuple[NewJob, Any]]:
        """Jobs whose session will only commit when the answer has left, if it ever does."""
        from backstay.jobs.session import jobs_of

        left: list[tuple[NewJob, Any]] = []
        for session in sessions:
            jobs = jobs_of(session)
            if jobs.pending() and jobs.holds_lock:
                raise LedgerUnavailable(
                    "durable jobs were scheduled in a session that has written to the SQLite file "
                    "and has not committed, so they can be written neither with it nor beside it "
                    "before the answer leaves: commit in the endpoint, or declare the session "
                    'with Depends(..., scope="function")'
                )
            if jobs.uncommitted():
                # They are in its transaction already, so there is no writing them beside it.
                self._ctx.logger.warning(
                    "%d durable job(s) were enqueued in a session that had not committed when the "
                    "answer was ready: if nobody commits it, there is no job. Commit in the "
                    'endpoint, or declare the session with Depends(..., scope="function")',
                    len(jobs.uncommitted()),
                )
            left += [(new, _Told(told)) for new, told in jobs.take()]
        if left:
            self._ctx.logger.warning(
                "%d durable job(s) were scheduled in a session that had not committed when the "
                "answer was ready, so they are written on their own, whatever becomes of the "
                "session. To commit both together, commit in the endpoint, or declare the "
                'session with Depends(..., scope="function")',
                len(left),
            )
        return left


class _Told:
    """The teller of a session's job, in the shape of a handle."""

    __slots__ = ("_told",)

    def __init__(self, told: Callable[[Inserted | None], object]) -> None:
        self._told = told

    def told(self, job_id: UUID | None, created: bool) -> None:
        self._told(None if job_id is None else Inserted(job_id, created))
