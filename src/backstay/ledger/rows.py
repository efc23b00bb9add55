"""What stands in the ledger, as values: nothing here touches a database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, NamedTuple
from uuid import UUID

__all__ = [
    "Beat",
    "Claimed",
    "Counts",
    "FINISHED",
    "Finish",
    "Gate",
    "Inserted",
    "JobFilter",
    "JobRow",
    "LIVE",
    "NewJob",
    "Orphan",
    "ParentFailure",
    "ProgressReport",
    "QueueRow",
    "State",
    "Tick",
    "UniqueKey",
    "Wait",
    "WorkerRow",
]


class State(StrEnum):
    """Where a job is in its life.

    ::

        waiting ──> scheduled ──> available ──> running ──> succeeded
           (parents)   (time)         ^            │ ├────> discarded   (the dead letter list)
                                      └─ retrying <┘ └────> cancelled
    """

    WAITING = "waiting"
    """For other jobs, its parents, to finish."""
    SCHEDULED = "scheduled"
    """For its time to come; also while snoozed."""
    AVAILABLE = "available"
    """For a worker with a free place."""
    RUNNING = "running"
    """Claimed by a worker."""
    RETRYING = "retrying"
    """For the pause after a failed attempt to end."""
    SUCCEEDED = "succeeded"
    DISCARDED = "discarded"
    """Given up: attempts used up, discarded by its code, or unreadable. Can be requeued."""
    CANCELLED = "cancelled"


LIVE = frozenset({State.WAITING, State.SCHEDULED, State.AVAILABLE, State.RUNNING, State.RETRYING})
FINISHED = frozenset({State.SUCCEEDED, State.DISCARDED, State.CANCELLED})

ParentFailure = Literal["cancel", "discard", "run"]
"""What becomes of a waiting job whose parent was discarded or cancelled: the same is done to it
(``"cancel"``, ``"discard"``), or it counts as a parent that is done (``"run"``)."""


@dataclass(frozen=True, slots=True)
class UniqueKey:
    """A key only one job may hold at a time.

    Attributes:
        key: the key.
        states: the job holds it while in one of these.
        period_s: and at most for this many seconds after it was inserted; ``None``: no end.
    """

    key: str
    states: frozenset[State] = LIVE
    period_s: float | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """A limit that jobs of the same gate share, over every worker of the database.

    Jobs carry the rule along; where they disagree (during a deploy), the oldest waiting one's holds.

    Attributes:
        name: jobs with the same name share the limit.
        limit: how many may run at a time, ``None`` for any number.
        rate: how many may start within any ``per_s`` seconds, ``None`` for any number.
        per_s: seconds, more than 0; means nothing without ``rate``.
    """

    name: str
    limit: int | None = None
    rate: int | None = None
    per_s: float = 1.0


@dataclass(slots=True)  # not frozen: made for every enqueue, and freezing triples the price
class NewJob:
    """A job to be written.

    Attributes:
        id: chosen by the caller (UUIDv7, RFC 9562), which makes writing it twice harmless.
        task: the task's name.
        args: the arguments, the text of a JSON object.
        queue: where it waits.
        priority: higher starts first; each point is worth ten minutes of waiting, so nothing starves.
        delay_s: seconds from the database's now until it may start, 0 or more.
        run_at: when it may start, aware; wins over ``delay_s``.
        max_attempts: how often it may be started, crashes of workers included.
        unique: ``None`` for jobs that may exist any number of times.
        gate: ``None`` for jobs that share no limit.
        after: ids of jobs that must finish first (its parents).
        on_parent_failure: see ``ParentFailure``.
        keep_s: seconds the row is kept after it finished; ``None``: as long as the ledger's rule says.
        meta: text of a JSON object that the ledger only stores: correlation id and the like.
    """

    id: UUID
    task: str
    args: str = "{}"
    queue: str = "default"
    priority: int = 0
    delay_s: float = 0.0
    run_at: datetime | None = None
    max_attempts: int = 1
    unique: UniqueKey | None = None
    gate: Gate | None = None
    after: tuple[UUID, ...] = ()
    on_parent_failure: ParentFailure = "cancel"
    keep_s: float | None = None
    meta: str = "{}"

    @property
    def plain(self) -> bool:
        """Whether it needs one row and nothing else: no key, no gate, no parents, no waiting."""
        return (
            self.unique is None
            and self.gate is None
            and not self.after
            and self.run_at is None
            and self.delay_s <= 0
        )


class Inserted(NamedTuple):
    """What became of a ``NewJob``.

    Attributes:
        id: the job's id; the holder's, if another job holds the unique key.
        created: whether it was written; ``False``: the unique key was taken (or the id is there).
    """

    id: UUID
    created: bool


class Claimed(NamedTuple):
    """A job that a worker holds. ``(id, fence)`` proves it: the fence grows with every claim."""

    id: UUID
    fence: int
    attempt: int
    max_attempts: int
    task: str
    queue: str
    args: str
    meta: str
    created_at: datetime
    run_at: datetime


@dataclass(slots=True)
class Finish:
    """How a claim ends. Changes nothing if the claim is no longer the current one.

    Attributes:
        id, fence: the claim.
        state: ``SUCCEEDED``, ``DISCARDED``, ``CANCELLED``; or ``RETRYING``, ``SCHEDULED`` (snoozed)
            and ``AVAILABLE`` (handed back), which make it claimable again after ``delay_s``.
        delay_s: seconds until it may start again, 0 or more. A job handed back without any keeps
            its place in the line: a restart of its worker must not send it to the end.
        give_back: the attempt is not counted (snoozed or handed back).
        result: JSON text, ``None`` for no result.
        error: text of a JSON object describing this attempt's failure; appended to the row's list.
        keep_s: seconds the finished row is kept; ``None``: the job's own, else the ledger's rule.
        then: jobs written in the same transaction, if and only if the claim is current.
    """

    id: UUID
    fence: int
    state: State
    delay_s: float = 0.0
    give_back: bool = False
    result: str | None = None
    error: str | None = None
    keep_s: float | None = None
    then: tuple[NewJob, ...] = ()

    @classmethod
    def failed(
        cls,
        job_id: UUID,
        fence: int,
        state: State,
        error: Mapping[str, Any],
        *,
        delay_s: float = 0.0,
        give_back: bool = False,
        then: tuple[NewJob, ...] = (),
    ) -> Finish:
        """The end of an attempt that did not succeed, with what went wrong."""
        return cls(job_id, fence, state, delay_s, give_back, error=json.dumps(error), then=then)


class ProgressReport(NamedTuple):
    """Progress of a claim: ``progress`` is the text of a JSON object."""

    id: UUID
    fence: int
    progress: str


class Orphan(NamedTuple):
    """A job held by a worker that has stopped beating (or is not known at all)."""

    id: UUID
    fence: int
    attempt: int
    max_attempts: int
    task: str
    queue: str
    args: str
    meta: str
    worker: str
    cancel_requested: bool


class Beat(NamedTuple):
    """The answer to a heartbeat.

    Attributes:
        known: ``False``: the worker had been declared dead; it is registered afresh, and what it
            held is lost to it.
        cancelled: ids of the jobs it holds that somebody wants cancelled.
    """

    known: bool
    cancelled: tuple[UUID, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One tick of a cron schedule, to be written once whoever comes first.

    Attributes:
        name: the schedule's name.
        previous: the tick that the caller believes was the last; ``None``: none so far.
        at: the new tick, later than ``previous``.
        jobs: written together with it.
    """

    name: str
    previous: datetime | None
    at: datetime
    jobs: tuple[NewJob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """Everything about one job, for people and handles. Times are aware UTC.

    Attributes:
        errors: one JSON object per failed attempt, oldest first, the latest twenty at most.
        result, progress: decoded JSON; ``None`` if there is none.
        worker: who holds it; ``None`` if it is not running.
        corrupt: the row holds something unreadable; what could be read is here.
        waiting_for: how many parents are not done.
    """

    id: UUID
    task: str
    queue: str
    state: State
    priority: int
    attempt: int
    max_attempts: int
    args: str
    meta: Mapping[str, Any]
    created_at: datetime
    run_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    worker: str | None = None
    unique_key: str | None = None
    gate: str | None = None
    cancel_requested: bool = False
    waiting_for: int = 0
    progress: Any = None
    result: Any = None
    has_result: bool = False
    errors: tuple[Mapping[str, Any], ...] = field(default=())
    corrupt: bool = False

    @property
    def finished(self) -> bool:
        """Whether it has come to an end, good or bad."""
        return self.state in FINISHED

    @property
    def error(self) -> Mapping[str, Any] | None:
        """The latest attempt's failure: ``type``, ``message``, ``attempt``, ``at``; or ``None``."""
        return self.errors[-1] if self.errors else None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs: all that match every field given. Empty means all.

    Attributes:
        older_than_s: finished longer ago than this.
        text: found in the task's name or the arguments.
    """

    ids: tuple[UUID, ...] | None = None
    states: frozenset[State] | None = None
    task: str | None = None
    queue: str | None = None
    text: str | None = None
    older_than_s: float | None = None


class Counts(NamedTuple):
    """How many jobs are in a state, by queue and task."""

    queue: str
    task: str
    state: State
    jobs: int


class Wait(NamedTuple):
    """How long the job of a queue that has waited longest could have been started.

    Attributes:
        queue: the queue, paused or not.
        oldest_s: seconds since that job became available, or was due; retries count from theirs.
    """

    queue: str
    oldest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """A queue as the database knows it.

    Attributes:
        paused_at: since when it is paused, ``None`` if it is not.
        limit, rate, per_s: what ``Gate`` says, for all jobs of the queue together.
    """

    name: str
    paused_at: datetime | None = None
    limit: int | None = None
    rate: int | None = None
    per_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """A worker process as the database knows it.

    Attributes:
        id: unique for every start of a worker.
        host, pid: where it runs.
        lease_s: seconds without a beat after which it counts as dead.
        concurrency: jobs it runs at a time.
        queues: what it serves.
        running: jobs it holds.
        seen_s_ago: seconds since its last beat, by the database's clock.
    """

    id: str
    host: str
    pid: int
    lease_s: float
    concurrency: int
    queues: tuple[str, ...]
    version: str = ""
    started_at: datetime | None = None
    running: int = 0
    seen_s_ago: float = 0.0
