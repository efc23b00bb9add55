"""Durable work as a part of an app: the open ledger, the tasks known by name, their queues."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import Context as Variables
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from backstay.app import Backstay
from backstay.context import Context
from backstay.errors import BadJob, LedgerUnavailable
from backstay.jobs.definition import AnyTask, Rate, require_queue, require_seconds
from backstay.jobs.durable import DurableScheduler, Options
from backstay.jobs.job import Job
from backstay.jobs.registry import Registry
from backstay.jobs.secret import Sealer
from backstay.ledger.ids import new_job_id
from backstay.ledger.opening import DEFAULT_URL, new_ledger, without_password
from backstay.ledger.port import Ledger, Wake
from backstay.ledger.rows import Gate, NewJob, QueueRow, State

__all__ = ["DurablePart", "Queue"]

_PLAIN = Options()


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue's limits, over all workers of the database.

    Attributes:
        limit: how many of its jobs run at a time, ``None`` for any number.
        rate: how many start within a period, such as ``"100/minute"``; ``None`` for any number.
    """

    limit: int | None = None
    rate: Rate | str | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and (
            isinstance(self.limit, bool) or not isinstance(self.limit, int) or self.limit < 1
        ):
            raise BadJob(f"Queue(limit=) is how many may run, 1 or more; got {self.limit!r}")
        if self.rate is not None:
            Rate.of(self.rate)


class DurablePart:
    """What ``add_tasks(app)`` switches on for ``tasks.durable``. ``add_tasks`` documents the options.

    Attributes:
        fastapi: the FastAPI app, whose dependencies jobs may ask for; ``None`` in scripts.
        ledger: where the jobs are; open while ``is_open``.
        registry: the tasks known by name.
        inline: for tests: jobs are run as soon as they are written.
        is_open: whether the ledger is. With no ``database=`` it stays closed, and no file is made,
            until somebody schedules a task, or there is one with a ``cron``.
    """

    attribute = "durable"

    def __init__(
        self,
        app: Backstay,
        *,
        fastapi: Any = None,
        database: Any = None,
        prefix: str = "backstay_",
        schema: str | None = None,
        queues: Mapping[str, Queue | None] | Iterable[str] = (),
        keep_s: float = 7 * 86_400.0,
        max_args_bytes: int = 65_536,
        find_session: Callable[[Context], object | None] | None = None,
    ) -> None:
        self.app = app
        self.fastapi = fastapi
        self._asked_for = database is not None
        if database is None:
            database = app.settings.get("BACKSTAY_DATABASE")
            self._asked_for = database is not None
        self._prefix = prefix
        self._schema = schema
        self.use(DEFAULT_URL if database is None else database)
        if isinstance(queues, str):
            raise BadJob(f"queues= is a list of names, or names with limits; got {queues!r}")
        named = queues if isinstance(queues, Mapping) else dict.fromkeys(queues)
        self._queues: dict[str, Queue] = {}
        for name, queue in named.items():
            if queue is not None and not isinstance(queue, Queue):
                raise BadJob(f"queues={{{name!r}: ...}} is a Queue or None; got {queue!r}")
            self._queues[require_queue(name)] = queue or Queue()
        if not isinstance(max_args_bytes, int) or max_args_bytes < 2:
            raise BadJob(f"max_args_bytes= is a number of bytes; got {max_args_bytes!r}")
        self.keep_s = require_seconds(keep_s, "keep_s")
        self.max_args_bytes = max_args_bytes
        self.registry = Registry()
        self.is_open = False
        self._find_session = find_session
        self._started = False
        self._opening: asyncio.Task[None] | None = None
        self._listeners: list[Callable[[Wake], object]] = []
        self._waiting: dict[UUID, list[asyncio.Future[None]]] = {}
        self._after_opening: list[Callable[[], Any]] = []
        self._sealer: Sealer | None = None
        self._known_queues: set[str] | None = None
        self._familiar: dict[str, AnyTask] = {}
        self.inline = False

    def use(self, database: Any) -> None:
        """Keep the jobs there. Before the app starts.

        Raises:
            BadJob: it is no address of a ledger.
            RuntimeError: the ledger is open.
        """
        if getattr(self, "is_open", False):
            raise RuntimeError("the ledger is open; choose another database before the app starts")
        self.database = database
        self.ledger: Ledger = new_ledger(
            database, clock=self.app.clock, prefix=self._prefix, schema=self._schema
        )

    # ------------------------------------------------------------------ as a part

    def bind(self, ctx: Context) -> DurableScheduler:
        """``ctx.tasks.durable``."""
        return DurableScheduler(self, ctx)

    async def open(self) -> None:
        """Open the ledger, unless nobody has asked for one and nothing would use it."""
        self._started = True
        self.registry.scan()
        for task in self.registry:
            task.prepare()
        # Without being asked only if something is known to be there, or to come by itself.
        if (
            self._asked_for
            or self._file_exists()
            or any(task.cron is not None for task in self.registry)
        ):
            await self.awake()

    def _file_exists(self) -> bool:
        return os.path.exists(str(self.database).removeprefix("sqlite:///"))

    async def close(self) -> None:
        """Close the ledger."""
        self._started = False
        if self._opening is not None:
            await asyncio.gather(self._opening, return_exceptions=True)
        if self.is_open:
            self.is_open = False
            self.ledger.on_wake(None)
            await self.ledger.close()
        for waiters in self._waiting.values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def when_open(self, start: Callable[[], Any]) -> None:
        """Await ``start()`` whenever the ledger opens from now on. For the worker."""
        self._after_opening.append(start)

    def when_open_no_more(self, start: Callable[[], Any]) -> None:
        """Not any longer."""
        if start in self._after_opening:
            self._after_opening.remove(start)

    def listen(self, listener: Callable[[Wake], object]) -> None:
        """Call ``listener`` when there may be work."""
        self._listeners.append(listener)

    def unlisten(self, listener: Callable[[Wake], object]) -> None:
        """No more."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def _woken(self, wake: Wake) -> None:
        for listener in list(self._listeners):
            listener(wake)

    # ------------------------------------------------------------------ for schedulers and handles

    async def awake(self) -> Ledger:
        """The ledger; opened, if it was not.

        Raises:
            LedgerUnavailable, LedgerMismatch: it cannot be.
        """
        if self.is_open:
            return self.ledger
        if not self._started:
            raise LedgerUnavailable(
                "the ledger is closed, because the app has not started or has stopped; start it "
                "first (backstay.testing.running(app) in tests, backstay.tasks.connect(...) in "
                "scripts)"
            )
        if self._opening is None:
            # In a task of its own: whoever asks first may be cancelled, and what the worker
            # inherits (context variables, PEP 567) must not be one request's.
            self._opening = asyncio.create_task(self._open_ledger(), context=Variables())
        await asyncio.shield(self._opening)
        return self.ledger

    async def _open_ledger(self) -> None:
        try:
            await self.ledger.open()
            try:
                self.ledger.on_wake(self._woken)
                await self.ledger.declare(self._rows_of_queues())
                self.is_open = True
                for start in self._after_opening:
                    await start()
            except BaseException:
                self.is_open = False
                self.ledger.on_wake(None)
                await self.ledger.close()
                raise
        finally:
            self._opening = None

    def ledger_now(self) -> Ledger:
        """The ledger, for callers that cannot wait for it to open."""
        if self.is_open:
            return self.ledger
        raise LedgerUnavailable(
            f"the ledger {without_password(str(self.ledger.url))} is not open: the app has not "
            "started, or has stopped"
            + ("" if self._asked_for else "; name it: add_tasks(app, database=...)")
        )

    def _rows_of_queues(self) -> list[QueueRow]:
        rows = []
        for name, queue in self._queues.items():
            rate = None if queue.rate is None else Rate.of(queue.rate)
            rows.append(
                QueueRow(
                    name=name,
                    limit=queue.limit,
                    rate=None if rate is None else rate.count,
                    per_s=1.0 if rate is None else rate.per_s,
                )
            )
        return rows

    @property
    def queues(self) -> set[str]:
        """Every queue there is: declared, named by a task, or the default one."""
        return {"default", *self._queues, *self.registry.queues}

    def require_queue(self, queue: str) -> str:
        """A queue that some worker may serve.

        Raises:
            BadJob: nobody knows it.
        """
        if self._known_queues is None or queue not in self._known_queues:
            known = self._known_queues = self.queues
            if queue not in known:
                self.registry.scan()
                known = self._known_queues = self.queues
            if queue not in known:
                raise BadJob(
                    f"there is no queue {queue!r}, so no worker would serve it; there are "
                    f"{', '.join(sorted(known))}. Declare it: add_tasks(app, queues=[{queue!r}])"
                )
        return queue

    @property
    def sealer(self) -> Sealer:
        """Encrypts sensitive arguments with the keys in the setting ``BACKSTAY_SECRET_KEY``.

        Raises:
            SettingMissing: it has no value.
            BadJob: a key is too short.
        """
        if self._sealer is None:
            self._sealer = Sealer.from_settings(self.app.settings)
        return self._sealer

    def session_of(self, ctx: Context) -> object | None:
        """The session that jobs scheduled by ``ctx`` join."""
        return None if self._find_session is None else self._find_session(ctx)

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
        """A row for a call, arguments checked."""
        if self._familiar.get(task.name) is not task:
            self._get_to_know(task)
        arguments = task.arguments
        text = arguments.dump(
            args,
            kwargs,
            sealer=self.sealer if arguments.has_secrets else None,
            max_bytes=self.max_args_bytes if max_bytes is None else max_bytes,
        )
        if options is None:
            if task.says_little:
                # The usual case, and on the way of every job that is scheduled.
                return NewJob(
                    new_job_id(),
                    task.name,
                    text,
                    task.queue,
                    task.priority,
                    0.0,
                    None,
                    task.retry.attempts,
                    None,
                    None,
                    (),
                    "cancel",
                    task.keep_s,
                    meta,
                )
            options = _PLAIN
        unique = task.unique
        if options.unique is not None:
            unique = options.unique
            task.require_unique(unique)
        return NewJob(
            new_job_id(),
            task.name,
            text,
            self.require_queue(task.queue if options.queue is None else options.queue),
            task.priority if options.priority is None else options.priority,
            options.delay_s,
            options.at,
            task.retry.attempts if options.max_attempts is None else options.max_attempts,
            None if unique is None else unique.key_for(task.name, text),
            _gate(task, text) if task.limit is not None or task.rate is not None else None,
            tuple(parent.id for parent in options.after),
            options.on_parent_failure,
            task.keep_s if options.keep_s is None else options.keep_s,
            meta,
        )

    async def written(self, jobs: Sequence[Job[Any]]) -> None:
        """Jobs have been written. With ``inline`` they are run to their end before this returns."""
        if self.inline:
            for job in jobs:
                status = await job.status()
                if status.state in (State.AVAILABLE, State.RUNNING):
                    await job.wait()

    def _get_to_know(self, task: AnyTask) -> None:
        self.registry.add(task)
        self.require_queue(task.queue)
        self._familiar[task.name] = task

    # ------------------------------------------------------------------ waiting for jobs

    async def pause(self, job_id: UUID, delay_s: float) -> None:
        """Wait, or less if the job ends in this process."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(job_id, []).append(waiter)

        def wake() -> None:
            if not waiter.done():
                waiter.set_result(None)

        timer = self.app.clock.call_later(delay_s, wake)
        try:
            await waiter
        finally:
            timer.cancel()
            waiters = self._waiting.get(job_id, [])
            if waiter in waiters:
                waiters.remove(waiter)
            if not waiters:
                self._waiting.pop(job_id, None)

    def ended(self, job_id: UUID) -> None:
        """A job has ended here. For the worker."""
        if self._waiting:
            for waiter in self._waiting.get(job_id, ()):
                if not waiter.done():
                    waiter.set_result(None)


def _gate(task: AnyTask, args: str) -> Gate:
    name = f"task:{task.name}"  # queues have gates too, and their names begin otherwise
    if task.limit_key is not None:
        name = f"{name}:{task.limit_key_of(args)}"
    rate = task.rate
    return Gate(
        name,
        task.limit,
        None if rate is None else rate.count,
        1.0 if rate is None else rate.per_s,
    )
