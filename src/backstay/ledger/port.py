"""The port behind which an engine keeps jobs.

Two engines implement it, SQLite and PostgreSQL; ``backstay.testing.LedgerConformance`` proves
them, and anybody's own. What every engine must keep:

- *Transactional.* Every method is one transaction (or part of a larger one): it happens whole or
  not at all, and has happened, durably, when it returns. ``delete`` alone is many.
- *Fenced.* Whatever names a claim ``(id, fence)`` changes nothing if that claim is not the
  current one: the row must be ``RUNNING`` with exactly that fence.
- *One clock.* Delays, leases, periods and rates are measured by the database's clock, or by the
  ``now`` the engine was given (tests).

Errors: ``LedgerUnavailable`` when the database cannot be reached or written (locked, full, down),
after which nothing has happened or, for ``insert``, trying again is harmless;
``LedgerMismatch`` when the tables are not ours or of another version; ``BadJob``, before anything
is written, for values that no engine could keep its promises about: seconds that are negative, not
finite or more than 3,000 years (``backstay.ledger.bounds.MOST_S``), times without a zone or beyond
the year 9999, whole numbers of more than 32 bits, texts that are none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from backstay.ledger.rows import (
    Beat,
    Claimed,
    Counts,
    Finish,
    Inserted,
    JobFilter,
    JobRow,
    NewJob,
    Orphan,
    ProgressReport,
    QueueRow,
    State,
    Tick,
    Wait,
    WorkerRow,
)

__all__ = ["Claims", "Execute", "Heart", "Ledger", "Wake"]

Execute = Callable[[str, Mapping[str, Any]], Sequence[Sequence[Any]]]
"""Runs one SQL statement with ``:named`` parameters in somebody's open transaction and returns
its rows (an empty sequence for statements that return none)."""


class Wake(NamedTuple):
    """Something happened that a worker may want to look at.

    Attributes:
        enqueued: jobs may be claimable now, or one is due soon.
        cancelled: somebody asked for a running job to be cancelled.
    """

    enqueued: bool
    cancelled: bool


class Claims(NamedTuple):
    """What ``claim`` found.

    Attributes:
        jobs: now held by the worker, in the order to start them.
        next_due_s: seconds until the next scheduled or retrying job of the queues asked for is due,
            or until a rate limit lets the next one start; ``None``: nothing is known to come.
        more: whether more would have been claimable, had more been asked for.
    """

    jobs: list[Claimed]
    next_due_s: float | None
    more: bool


class Heart(Protocol):
    """Beats for one worker, from a thread of its own: blocking, and independent of any event loop."""

    def beat(self) -> Beat:
        """Renew the lease. A worker that was forgotten is registered afresh (``known=False``)."""

    def close(self) -> None:
        """Let go of the connection. The worker stays registered."""


class Ledger(Protocol):
    """Where durable jobs live.

    ``open`` and ``close`` bracket the async methods and belong to one event loop. Methods marked
    "any thread" may be called from any thread at any time between them.
    """

    @property
    def url(self) -> str:
        """The database, as a SQLAlchemy URL without password."""

    @property
    def dialect(self) -> str:
        """``"sqlite"`` or ``"postgresql"``: SQLAlchemy's name for what sessions must speak to join."""

    async def open(self, *, create: bool = True) -> None:
        """Connect, and bring the tables to this version under a lock, if they are not.

        Args:
            create: ``False``: make and change nothing, neither file nor schema nor tables: for
                those who look at what others keep.

        Raises:
            LedgerUnavailable: the database cannot be reached; or the tables are missing, and this
                role may not create them, or nothing was to be created.
            LedgerMismatch: the tables are not ours, of a newer version, or of an older one that
                was not to be changed.
        """

    async def close(self) -> None:
        """Finish what was handed in, and disconnect."""

    def on_wake(self, listener: Callable[[Wake], object] | None) -> None:
        """Whom to call, in the event loop of ``open``, when there may be work. One listener.

        Called for what this process does and, soon after (milliseconds), for what others do.
        Wakes may be lost or come for nothing; workers poll as well.
        """

    def tell(self, wake: Wake) -> None:
        """Wake this process's worker and those of others. Returns at once. Any thread.

        For those who wrote through ``insert_through`` and have committed. ``insert`` and
        ``cancel`` do it themselves.
        """

    # ------------------------------------------------------------------ writing jobs

    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        """Write jobs, all or none; concurrent calls share a commit.

        A job with parents is ``WAITING`` until they have all finished; parents that have finished
        already (or are gone) count by what became of them; a failed one counts as
        ``on_parent_failure`` says. Jobs in one call may be each other's parents if the parent
        comes first. A job whose unique key is held is not written; for jobs of the same call that
        name it as a parent, the job that holds the key takes its place. An id that is in the table
        already is left as it is (``created=False``).
        """

    def insert_now(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        """The same, blocking. Any thread, except that of the event loop when that must not wait."""

    def insert_through(self, execute: Execute, jobs: Sequence[NewJob]) -> list[Inserted]:
        """The same in somebody else's open transaction. Does not ``tell``. Any thread."""

    # ------------------------------------------------------------------ running them

    async def register(self, worker: WorkerRow) -> None:
        """Make a worker known, with its first beat."""

    def heart(self, worker: WorkerRow) -> Heart:
        """A heart for the worker. Connects on its first beat."""

    async def unregister(self, worker: str) -> None:
        """The worker has stopped; what it still holds is an orphan at once."""

    async def claim(self, worker: str, wants: Mapping[str, int]) -> Claims:
        """Take jobs.

        First, whatever is due becomes ``AVAILABLE``. Then, for each queue, at most that many
        available jobs become ``RUNNING``: best rank first, where rank is the time a job became
        available less ten minutes per point of priority. Paused queues give none; gates and
        the queues' own limits hold across all workers.

        Args:
            worker: a registered worker's id.
            wants: queue name to how many at most.
        """

    async def finish(self, finishes: Sequence[Finish]) -> set[UUID]:
        """End claims, and write what each brings along (``then``).

        Children of a job that finished are released (the last parent's success makes them
        ``SCHEDULED`` or ``AVAILABLE``), or go the way their ``on_parent_failure`` says, and so on
        down. A unique key is let go of where the new state is not one that holds it. A row that is
        not running any more names no worker.

        Returns:
            Ids whose claim was not current any more: for these nothing was changed.
        """

    def finish_through(self, execute: Execute, finish: Finish) -> bool:
        """The same for one claim in somebody else's open transaction; whether it was current.

        The caller rolls back if it was not. Does not ``tell``. Any thread.
        """

    async def progress(self, reports: Sequence[ProgressReport]) -> None:
        """Record how far running jobs are. Stale claims are ignored."""

    async def orphans(self, limit: int = 100) -> list[Orphan]:
        """Jobs held by workers whose lease is over or that are not registered.

        Workers whose lease is over are forgotten by the same transaction. Whoever asks rescues:
        ``finish`` with the orphan's fence, so that of several rescuers one wins.
        """

    async def cancel_requests(self, worker: str) -> list[UUID]:
        """Running jobs of this worker that somebody wants cancelled."""

    # ------------------------------------------------------------------ steering

    async def cancel(self, job_id: UUID, reason: str) -> State | None:
        """Cancel a job.

        One that is not running becomes ``CANCELLED``, with ``{"type": "Cancelled", "message":
        reason, ...}`` in its errors; for a running one the wish is recorded, for its worker to find.

        Returns:
            The state before: ``None``: no such job; a finished state: nothing was done.
        """

    async def requeue(self, which: JobFilter) -> list[UUID]:
        """Make discarded and cancelled jobs available again, with a fresh count of attempts.

        Their errors stay. One whose unique key is held by another job meanwhile is left alone.
        """

    async def delete(self, which: JobFilter, *, told: Callable[[int], object] | None = None) -> int:
        """Delete the finished jobs that match. How many there were.

        In portions of a thousand or so, each a transaction of its own with room for other writers
        in between: where it ends early, by an error or cancelled, what was deleted stays deleted.
        What is written or finishes meanwhile may be spared.

        Args:
            which: all that match every field given.
            told: called in the event loop with the number of each portion.
        """

    async def prune(self, keep_s: float, limit: int = 1000) -> int:
        """Delete finished jobs whose time is over: their own ``keep_s``, else this one.

        Discarded jobs without a ``keep_s`` of their own are kept: they are for people to decide.

        Returns:
            How many were deleted, ``limit`` at most; equal to it means: call again.
        """

    async def pause(self, queue: str, paused: bool) -> None:
        """Stop or resume claiming from a queue, everywhere. Running jobs go on."""

    async def declare(self, queues: Iterable[QueueRow]) -> None:
        """Make queues known, with their limits. ``paused_at`` is ignored: that is the operators'."""

    async def tick(self, tick: Tick) -> bool:
        """Write a cron tick and its jobs, if ``previous`` still is the last one; whether it was."""

    async def last_tick(self, name: str) -> datetime | None:
        """The last tick of a schedule, ``None`` if there was none."""

    # ------------------------------------------------------------------ looking

    async def now(self) -> datetime:
        """The clock that delays and leases are measured by."""

    async def get(self, ids: Sequence[UUID]) -> dict[UUID, JobRow]:
        """Jobs by id; those that do not exist are missing."""

    async def find(
        self, which: JobFilter, *, limit: int = 50, before: UUID | None = None
    ) -> list[JobRow]:
        """Jobs that match, the newest first; ``before`` goes on after the last one of a page.

        Costs what the jobs cost that are of the states, the queue and the task given, not what
        the history costs; where those are more than a few thousand and among the newest, less.
        ``text`` alone goes through everything until the page is full.
        """

    async def parents(self, job_id: UUID) -> list[UUID]:
        """The jobs that this one waits or waited for, in the order given."""

    async def children(self, job_id: UUID) -> list[UUID]:
        """The jobs that wait or waited for this one, the oldest first."""

    async def counts(self, states: frozenset[State] | None = None) -> list[Counts]:
        """How many jobs there are, by queue, task and state; exactly.

        Costs what going through the jobs in these states costs: a tenth of a second and more for
        a million that succeeded, nothing for those of states not asked for.

        Args:
            states: ``None``: all.
        """

    async def waits(self) -> list[Wait]:
        """For each queue with jobs that could be started, how long the first of them could; by name.

        Those whose gate or queue lets nothing start now count, and so do scheduled and retrying
        ones that are due. Costs a few steps for each queue, whatever lies in it, unless jobs of
        higher priority wait in front of all others: these are stepped over.
        """

    async def queues(self) -> list[QueueRow]:
        """Declared and paused queues, by name."""

    async def workers(self) -> list[WorkerRow]:
        """Registered workers, by start."""
