"""One attempt at one job: the piece of work behind its Context."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from backstay.app import Backstay
from backstay.context import Context, Moment, Origin, Progress
from backstay.errors import ContextClosed
from backstay.jobs.definition import AnyTask
from backstay.jobs.job import Job, JobKeeper
from backstay.ledger.rows import Claimed, NewJob

if TYPE_CHECKING:
    from backstay.threads import Job as Call

__all__ = ["JobRun", "Runs"]


class Runs(Protocol):
    """What an attempt needs of whoever runs it."""

    @property
    def app(self) -> Backstay:
        """Whose job it is."""

    @property
    def keeper(self) -> JobKeeper:
        """Where handles ask."""

    def progressed(self, run: JobRun, progress: Progress) -> None:
        """The job says how far it is. Any thread."""


class JobRun:
    """One attempt at one job. ``ctx.job`` inside it.

    Attributes:
        claim: what the worker holds.
        task: the function, ``None`` while its name is not known here.
        then: jobs to write together with the completion.
        cancel_reason: why it is to stop, ``None`` if it is not.
        handed_back: it is to stop because the worker does; somebody else will run it.
        expired: it is to stop because its time is over.
        left_behind: the attempt is over, and its function goes on in a thread all the same.
    """

    __slots__ = (
        "_context",
        "_correlation",
        "_held",
        "_runs",
        "_writing",
        "asyncio_task",
        "begun",
        "call",
        "cancel_reason",
        "claim",
        "expired",
        "handed_back",
        "left_behind",
        "task",
        "then",
    )

    def __init__(self, claim: Claimed, task: AnyTask | None, runs: Runs) -> None:
        self.claim = claim
        self.task = task
        self._runs = runs
        self._context: Context | None = None
        self._correlation: str | None = None
        self._held: list[Callable[[], Awaitable[None]]] | None = None
        self._writing: list[Callable[[], Awaitable[None]]] | None = None
        self.asyncio_task: asyncio.Task[None] | None = None
        self.call: Call | None = None
        self.begun = False
        self.then: list[tuple[NewJob, Job[Any]]] | None = None
        self.cancel_reason: str | None = None
        self.handed_back = False
        self.left_behind = False
        self.expired = False

    # ------------------------------------------------------------------ what a job may ask

    @property
    def id(self) -> UUID:
        """The job's id."""
        return self.claim.id

    @property
    def attempt(self) -> int:
        """Which attempt this is, 1 for the first."""
        return self.claim.attempt

    @property
    def max_attempts(self) -> int:
        """How many there may be."""
        return self.claim.max_attempts

    @property
    def queue(self) -> str:
        """The queue it came from."""
        return self.claim.queue

    @property
    def name(self) -> str:
        """The task's name."""
        return self.claim.task

    @property
    def created_at(self) -> datetime:
        """When it was scheduled, aware UTC."""
        return self.claim.created_at

    @property
    def handle(self) -> Job[Any]:
        """The handle that others have on it."""
        return Job(self._runs.keeper, self.claim.id, self.claim.task, created=True)

    async def parents(self) -> list[Job[Any]]:
        """The jobs this one waited for, in the order given, to ask for their results."""
        ledger = await self._runs.keeper.awake()
        ids = await ledger.parents(self.claim.id)
        found = await ledger.get(ids)
        return [
            Job(self._runs.keeper, each, found[each].task, created=True)
            for each in ids
            if each in found
        ]

    # ------------------------------------------------------------------ a piece of work

    @property
    def app(self) -> Backstay:
        """Whose job it is."""
        return self._runs.app

    @property
    def correlation_id(self) -> str:
        """That of the work that scheduled it."""
        if self._correlation is None:
            self._correlation = self._told("correlation") or self.claim.id.hex
        return self._correlation

    @property
    def link(self) -> str | None:
        """The ``traceparent`` of the work that scheduled it, ``None`` if it had none."""
        return self._told("trace")

    def _told(self, name: str) -> str | None:
        try:
            found = json.loads(self.claim.meta).get(name)
        except (ValueError, AttributeError):
            return None
        return found if isinstance(found, str) else None

    @property
    def opened(self) -> Context | None:
        """The context, if anybody has asked for it."""
        return self._context

    @property
    def context(self) -> Context:
        """The job's context, made on first use."""
        ctx = self._context
        if ctx is None:
            ctx = self._context = self.app.open(
                Origin.JOB, self, correlation_id=self.correlation_id
            )
            ctx.on_progress = self._progressed
        return ctx

    def _progressed(self, progress: Progress) -> None:
        self._runs.progressed(self, progress)

    def hold_answer(self, until: Callable[[], Awaitable[None]], *, first: bool = False) -> None:
        """Have ``until`` run once the function has returned; its failure is the job's."""
        if first:
            if self._writing is None:
                self._writing = []
            self._writing.append(until)
        else:
            if self._held is None:
                self._held = []
            self._held.append(until)

    def write_with_completion(self, new: NewJob, job: Job[Any]) -> None:
        """``new`` is written in the transaction that completes this job, or not at all.

        Raises:
            ContextClosed: the attempt is over, though its function goes on in a thread.
        """
        if self.left_behind:
            raise ContextClosed(
                f"the job {self.id} was given up (its time was over, or it was cancelled), so "
                "what it schedules now is not written"
            )
        if self.then is None:
            self.then = []
        self.then.append((new, job))

    async def returned(self) -> None:
        """The function has returned: RETURNED, and what waits for it."""
        for write in self._writing or ():
            await write()
        if self._context is not None:
            self._context.reach(Moment.RETURNED, True)
        if self._held:
            for until in self._held:
                await until()

    def over(self, succeeded: bool) -> None:
        """The end is recorded, or somebody else's is: ANSWERED, and closed."""
        if self._context is not None:
            self._context.reach(Moment.ANSWERED, succeeded)
            self._context.close()

    def __repr__(self) -> str:
        return f"<attempt {self.attempt} of job {self.id} of {self.name}>"
