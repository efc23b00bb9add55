"""What ``top`` knows: the ledger's numbers, taken again and again."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

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

_EXACT = 200
_DOUBLINGS = 26
_RUNNING_SEEN = 500
_FAILURES_SEEN = 100


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
        oldest_s: how long the oldest available job has been waiting, ``None`` if there is none.
        oldest_exact: whether that is so, or the least it can be.
    """

    row: QueueRow
    jobs: dict[State, int]
    oldest_s: float | None = None
    oldest_exact: bool = True

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

    Args:
        ledger: it, opened.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._finished: deque[tuple[datetime, int]] = deque()
        self._history: deque[float] = deque(maxlen=120)
        self._ages: dict[str, float] = {}

    async def take(self) -> Sample:
        """The present.

        Raises:
            LedgerUnavailable: the database does not answer.
        """
        ledger = self._ledger
        at = await ledger.now()
        counts = await ledger.counts()
        running = await ledger.find(
            JobFilter(states=frozenset({State.RUNNING})), limit=_RUNNING_SEEN
        )
        totals: dict[State, int] = {}
        for each in counts:
            totals[each.state] = totals.get(each.state, 0) + each.jobs
        queues = await queue_samples(ledger, counts=counts, at=at, ages=self._ages)
        self._ages = {each.row.name: each.oldest_s for each in queues if each.oldest_s}
        return Sample(
            at=at,
            queues=queues,
            workers=await ledger.workers(),
            throughput=self._measure(at, sum(totals.get(state, 0) for state in FINISHED)),
            slowest=sorted(running, key=lambda each: each.started_at or at),
            failing=await self._failing(counts),
            totals=totals,
        )

    def _measure(self, at: datetime, finished: int) -> Throughput:
        samples = self._finished
        if samples and at > samples[-1][0]:
            # Pruning takes away what had been counted; that is not negative work.
            gained = max(0, finished - samples[-1][1])
            self._history.append(gained / (at - samples[-1][0]).total_seconds())
        samples.append((at, finished))
        while len(samples) > 2 and at - samples[1][0] >= timedelta(minutes=1):
            samples.popleft()
        if len(samples) < 2 or not self._history:
            return Throughput()
        total = sum(max(0, b[1] - a[1]) for a, b in itertools.pairwise(samples))
        seconds = (samples[-1][0] - samples[0][0]).total_seconds()
        return Throughput(
            self._history[-1], total / seconds if seconds else None, tuple(self._history)
        )

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
    at: datetime | None = None,
    ages: Mapping[str, float] | None = None,
) -> list[QueueSample]:
    """Every queue that is declared, or paused, or has a job in it; by name.

    Args:
        ledger: where.
        counts: what ``ledger.counts()`` said; ``None`` asks it.
        at: the ledger's present; ``None`` asks for it.
        ages: how long the oldest jobs waited a moment ago, by queue, as a place to begin at.
    """
    counts = await ledger.counts() if counts is None else counts
    at = await ledger.now() if at is None else at
    rows = {each.name: each for each in await ledger.queues()}
    jobs: dict[str, dict[State, int]] = {name: {} for name in rows}
    for each in counts:
        of_queue = jobs.setdefault(each.queue, {})
        of_queue[each.state] = of_queue.get(each.state, 0) + each.jobs
    samples = []
    for name in sorted(jobs):
        available = jobs[name].get(State.AVAILABLE, 0)
        oldest_s, exact = await _oldest(ledger, name, available, at, (ages or {}).get(name, 0.0))
        row = rows.get(name, QueueRow(name=name))
        samples.append(QueueSample(row, jobs[name], oldest_s, exact))
    return samples


async def _oldest(
    ledger: Ledger, queue: str, available: int, at: datetime, guess_s: float
) -> tuple[float | None, bool]:
    """How long the oldest available job of a queue waits, and whether that is exact.

    A ledger lists the newest first, so a long queue's end is found by asking for jobs of twice
    the age until there are none: what is found is at least half the truth. A guess saves most
    of the questions, which cost something where a queue is long.
    """
    if not available:
        return None, True
    which = JobFilter(states=frozenset({State.AVAILABLE}), queue=queue)
    if available <= _EXACT:
        rows = await ledger.find(which, limit=_EXACT + 1)
        ages = [(at - each.run_at).total_seconds() for each in rows]
        return (max(0.0, *ages) if ages else None), True
    if guess_s > 2:
        # A little less, since what was the oldest may have been started meanwhile.
        found_s = await _doubled(ledger, which, at, guess_s * 0.8)
        if found_s is not None:
            return found_s, False
    return await _doubled(ledger, which, at, 1.0) or 0.0, False


async def _doubled(ledger: Ledger, which: JobFilter, at: datetime, age_s: float) -> float | None:
    """How long the oldest that was found waits, ``None`` if none is older than ``age_s``."""
    oldest_s: float | None = None
    for _ in range(_DOUBLINGS):
        milliseconds = int((at.timestamp() - age_s) * 1000)
        if milliseconds <= 0:
            break
        older = await ledger.find(which, limit=1, before=UUID(int=milliseconds << 80))
        if not older:
            break
        waited_s = (at - older[0].run_at).total_seconds()
        oldest_s = waited_s if oldest_s is None else max(oldest_s, waited_s)
        age_s = max(age_s, (at - older[0].created_at).total_seconds()) * 2
    return oldest_s
