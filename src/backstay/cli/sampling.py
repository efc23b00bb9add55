"""What ``top`` knows: the ledger's numbers, taken again and again."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from backstay.clock import Clock
from backstay.ledger.port import Ledger
from backstay.ledger.rows import (
    FINISHED,
    Counts,
    JobFilter,
    JobRow,
    QueueRow,
    State,
    WorkerRow,
)

__all__ = [
    "FailingTask",
    "QueueSample",
    "Sample",
    "Sampler",
    "Throughput",
    "alive",
    "queue_samples",
    "worker_json",
]

_RUNNING_SEEN = 500
_FAILURES_SEEN = 100
# Most of what there is, once a service has run for a while; it only grows.
_HISTORY = frozenset({State.SUCCEEDED, State.CANCELLED})
_HISTORY_SHARE = 0.05


def alive(row: WorkerRow) -> bool:
    """Whether a worker's lease still holds."""
    return row.seen_s_ago <= row.lease_s


def worker_json(row: WorkerRow) -> dict[str, Any]:
    """A worker for programs."""
    return {
        "id": row.id,
        "host": row.host,
        "pid": row.pid,
        "running": row.running,
        "concurrency": row.concurrency,
        "queues": list(row.queues),
        "version": row.version,
        "started_at": None if row.started_at is None else row.started_at.isoformat(),
        "seen_s_ago": round(row.seen_s_ago, 3),
        "lease_s": row.lease_s,
        "alive": alive(row),
    }


@dataclass(frozen=True, slots=True)
class QueueSample:
    """A queue at a moment.

    Attributes:
        row: what the ledger says of it.
        jobs: how many, by state.
        oldest_s: how long the first job that could be started has been waiting, ``None`` if
            there is none.
    """

    row: QueueRow
    jobs: dict[State, int]
    oldest_s: float | None = None

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        paused_at = self.row.paused_at
        return {
            "name": self.row.name,
            "paused_at": None if paused_at is None else paused_at.isoformat(),
            "limit": self.row.limit,
            "rate": self.row.rate,
            "per_s": self.row.per_s if self.row.rate is not None else None,
            "jobs": {state.value: self.jobs.get(state, 0) for state in State},
            "oldest_available_s": None if self.oldest_s is None else round(self.oldest_s, 3),
        }


@dataclass(frozen=True, slots=True)
class FailingTask:
    """A task with jobs that failed.

    Attributes:
        task: its name.
        retrying, discarded: how many of its jobs.
        last: the newest of them that was found, ``None`` if it is not among the newest of all.
    """

    task: str
    retrying: int
    discarded: int
    last: JobRow | None = None


@dataclass(frozen=True, slots=True)
class Throughput:
    """Jobs finished per second, as far as samples tell.

    Attributes:
        now: over the last interval; ``None`` before there are two samples.
        minute: over the last minute, or what has been seen of it.
        history: of each interval, oldest first.
    """

    now: float | None = None
    minute: float | None = None
    history: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Everything at a moment, by the ledger's clock."""

    at: datetime
    queues: list[QueueSample]
    workers: list[WorkerRow]
    throughput: Throughput
    slowest: list[JobRow]
    failing: list[FailingTask]
    totals: dict[State, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "at": self.at.isoformat(),
            "jobs": {state.value: self.totals.get(state, 0) for state in State},
            "finished_per_s": self.throughput.now,
            "queues": [each.as_json() for each in self.queues],
            "workers": [worker_json(each) for each in self.workers],
            "slowest": [
                {"id": str(each.id), "task": each.task, "queue": each.queue}
                | {"started_at": None if each.started_at is None else each.started_at.isoformat()}
                for each in self.slowest
            ],
            "failing": [
                {"task": each.task, "retrying": each.retrying, "discarded": each.discarded}
                for each in self.failing
            ],
        }


class Sampler:
    """Takes samples of one ledger.

    The jobs that succeeded and were cancelled are counted again only so often that it takes a
    twentieth of the time at most; throughput is what was finished between two such counts.

    Args:
        ledger: it, opened.
        clock: how long counting takes.
    """

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._history_counts: list[Counts] = []
        self._history_due_s = float("-inf")
        self._finished: deque[tuple[datetime, int]] = deque()
        self._history: deque[float] = deque(maxlen=120)
        self._throughput = Throughput()

    async def take(self, *, thoroughly: bool = False) -> Sample:
        """The present.

        Args:
            thoroughly: count everything, however long it takes.

        Raises:
            LedgerUnavailable: the database does not answer.
        """
        ledger = self._ledger
        at = await ledger.now()
        counts, anew = await self._count(thoroughly)
        running = await ledger.find(
            JobFilter(states=frozenset({State.RUNNING})), limit=_RUNNING_SEEN
        )
        totals: dict[State, int] = {}
        for each in counts:
            totals[each.state] = totals.get(each.state, 0) + each.jobs
        finished = sum(totals.get(state, 0) for state in FINISHED)
        return Sample(
            at=at,
            queues=await queue_samples(ledger, counts=counts),
            workers=await ledger.workers(),
            throughput=self._measure(at, finished if anew else None),
            slowest=sorted(running, key=lambda each: each.started_at or at),
            failing=await self._failing(counts),
            totals=totals,
        )

    async def _count(self, thoroughly: bool) -> tuple[list[Counts], bool]:
        """What there is, and whether the history was counted anew for it."""
        began_s = self._clock.monotonic()
        anew = thoroughly or began_s >= self._history_due_s
        if anew:
            self._history_counts = await self._ledger.counts(_HISTORY)
            ended_s = self._clock.monotonic()
            self._history_due_s = ended_s + (ended_s - began_s) / _HISTORY_SHARE
        rest = await self._ledger.counts(frozenset(State) - _HISTORY)
        return [*rest, *self._history_counts], anew

    def _measure(self, at: datetime, finished: int | None) -> Throughput:
        samples = self._finished
        if finished is None:
            return self._throughput
        if samples and at > samples[-1][0]:
            # Pruning takes away what had been counted; that is not negative work.
            gained = max(0, finished - samples[-1][1])
            self._history.append(gained / (at - samples[-1][0]).total_seconds())
        samples.append((at, finished))
        while len(samples) > 2 and at - samples[1][0] >= timedelta(minutes=1):
            samples.popleft()
        if len(samples) < 2 or not self._history:
            return self._throughput
        total = sum(max(0, b[1] - a[1]) for a, b in itertools.pairwise(samples))
        seconds = (samples[-1][0] - samples[0][0]).total_seconds()
        self._throughput = Throughput(
            self._history[-1], total / seconds if seconds else None, tuple(self._history)
        )
        return self._throughput

    async def _failing(self, counts: list[Counts]) -> list[FailingTask]:
        by_task: dict[str, dict[State, int]] = {}
        for each in counts:
            if each.state in {State.RETRYING, State.DISCARDED} and each.jobs:
                of_task = by_task.setdefault(each.task, {})
                of_task[each.state] = of_task.get(each.state, 0) + each.jobs
        if not by_task:
            return []
        newest = await self._ledger.find(
            JobFilter(states=frozenset({State.RETRYING, State.DISCARDED})), limit=_FAILURES_SEEN
        )
        last: dict[str, JobRow] = {}
        for row in newest:
            last.setdefault(row.task, row)
        found = [
            FailingTask(
                task, jobs.get(State.RETRYING, 0), jobs.get(State.DISCARDED, 0), last.get(task)
            )
            for task, jobs in by_task.items()
        ]
        return sorted(found, key=lambda each: (-each.retrying, -each.discarded, each.task))


async def queue_samples(
    ledger: Ledger,
    *,
    counts: list[Counts] | None = None,
) -> list[QueueSample]:
    """Every queue that is declared, or paused, or has a job in it; by name.

    Args:
        ledger: where.
        counts: what ``ledger.counts()`` said; ``None`` asks it.
    """
    counts = await ledger.counts() if counts is None else counts
    rows = {each.name: each for each in await ledger.queues()}
    jobs: dict[str, dict[State, int]] = {name: {} for name in rows}
    for each in counts:
        of_queue = jobs.setdefault(each.queue, {})
        of_queue[each.state] = of_queue.get(each.state, 0) + each.jobs
    oldest_s = {each.queue: each.oldest_s for each in await ledger.waits()}
    return [
        QueueSample(rows.get(name, QueueRow(name=name)), jobs[name], oldest_s.get(name))
        for name in sorted(jobs)
    ]
