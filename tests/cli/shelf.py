"""A ledger that holds rows in memory and runs nothing: for tests of what shows and steers jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from backstay.errors import LedgerUnavailable
from backstay.ledger.port import Ledger
from backstay.ledger.rows import (
    FINISHED,
    Counts,
    JobFilter,
    JobRow,
    QueueRow,
    State,
    Wait,
    WorkerRow,
)

NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)


def job_id(number: int, *, at: datetime = NOON) -> UUID:
    """A UUIDv7 of a moment; a higher number is a later one."""
    milliseconds = int(at.timestamp() * 1000)
    return UUID(int=(milliseconds << 80) | (7 << 76) | (number << 64) | (2 << 62) | number)


def a_job(
    number: int = 1, *, state: State = State.AVAILABLE, age_s: float = 60.0, **more: Any
) -> JobRow:
    """A row with everything a job in that state has."""
    created = NOON - timedelta(seconds=age_s)
    plain: dict[str, Any] = {
        "id": job_id(number, at=created),
        "task": "shop.mail.send_receipt",
        "queue": "default",
        "state": state,
        "priority": 0,
        "attempt": 0 if state in {State.AVAILABLE, State.SCHEDULED, State.WAITING} else 1,
        "max_attempts": 5,
        "args": '{"order_id": 17}',
        "meta": {"correlation": "c0ffee"},
        "created_at": created,
        "run_at": created,
    }
    if state is State.RUNNING or state in FINISHED:
        plain["started_at"] = created + timedelta(seconds=1)
    if state in FINISHED:
        plain["finished_at"] = created + timedelta(seconds=3)
    return JobRow(**{**plain, **more})


class Shelf:
    """What a ``Ledger`` can show and steer."""

    url = "sqlite:///shelf.db"
    dialect = "sqlite"

    def __init__(self, *rows: JobRow) -> None:
        self.rows = {each.id: each for each in rows}
        self.queue_rows: dict[str, QueueRow] = {}
        self.worker_rows: list[WorkerRow] = []
        self.parents_of: dict[UUID, list[UUID]] = {}
        self.at = NOON
        self.asked: list[tuple[UUID, ...]] = []
        self.counted: list[frozenset[State] | None] = []
        self.broken: Exception | None = None

    @property
    def ledger(self) -> Ledger:
        """It, as what it pretends to be."""
        return cast("Ledger", self)

    def put(self, row: JobRow, **changes: Any) -> JobRow:
        """Replace a row."""
        self.rows[row.id] = changed = replace(row, **changes)
        return changed

    def break_down(self, why: str = "the disk is full") -> None:
        self.broken = LedgerUnavailable(why)

    def _work(self) -> None:
        if self.broken is not None:
            raise self.broken

    async def open(self, *, create: bool = True) -> None:
        self._work()

    async def close(self) -> None:
        pass

    async def awake(self) -> Ledger:
        return self.ledger

    async def now(self) -> datetime:
        self._work()
        return self.at

    async def get(self, ids: Sequence[UUID]) -> dict[UUID, JobRow]:
        self.asked.append(tuple(ids))
        self._work()
        return {each: self.rows[each] for each in ids if each in self.rows}

    def _matching(self, which: JobFilter) -> list[JobRow]:
        return [
            each
            for each in sorted(self.rows.values(), key=lambda row: row.id, reverse=True)
            if (which.ids is None or each.id in which.ids)
            and (which.states is None or each.state in which.states)
            and (which.task is None or each.task == which.task)
            and (which.queue is None or each.queue == which.queue)
            and (which.text is None or which.text in each.task or which.text in each.args)
            and (
                which.older_than_s is None
                or (
                    each.finished_at is not None
                    and (self.at - each.finished_at).total_seconds() > which.older_than_s
                )
            )
        ]

    async def find(
        self, which: JobFilter, *, limit: int = 50, before: UUID | None = None
    ) -> list[JobRow]:
        self._work()
        found = [each for each in self._matching(which) if before is None or each.id < before]
        return found[:limit]

    async def parents(self, child: UUID) -> list[UUID]:
        return self.parents_of.get(child, [])

    async def children(self, parent: UUID) -> list[UUID]:
        return [child for child, parents in self.parents_of.items() if parent in parents]

    async def counts(self, states: frozenset[State] | None = None) -> list[Counts]:
        self._work()
        self.counted.append(states)
        found = Counter(
            (each.queue, each.task, each.state)
            for each in self.rows.values()
            if states is None or each.state in states
        )
        return [Counts(*key, jobs) for key, jobs in found.items()]

    async def waits(self) -> list[Wait]:
        self._work()
        oldest: dict[str, float] = {}
        for each in self.rows.values():
            if each.state is State.AVAILABLE:
                waited_s = (self.at - each.run_at).total_seconds()
                oldest[each.queue] = max(waited_s, oldest.get(each.queue, 0.0))
        return [Wait(*each) for each in sorted(oldest.items())]

    async def queues(self) -> list[QueueRow]:
        return [self.queue_rows[name] for name in sorted(self.queue_rows)]

    async def workers(self) -> list[WorkerRow]:
        return self.worker_rows

    async def pause(self, queue: str, paused: bool) -> None:
        row = self.queue_rows.get(queue, QueueRow(name=queue))
        self.queue_rows[queue] = replace(row, paused_at=self.at if paused else None)

    async def cancel(self, which: UUID, reason: str) -> State | None:
        self._work()
        row = self.rows.get(which)
        if row is None:
            return None
        if row.state is State.RUNNING:
            self.put(row, cancel_requested=True)
        elif row.state not in FINISHED:
            error = {"type": "Cancelled", "message": reason}
            self.put(row, state=State.CANCELLED, finished_at=self.at, errors=(*row.errors, error))
        return row.state

    async def requeue(self, which: JobFilter) -> list[UUID]:
        done = []
        for row in self._matching(which):
            if row.state in {State.DISCARDED, State.CANCELLED} and row.unique_key != "taken":
                self.put(row, state=State.AVAILABLE, attempt=0, finished_at=None)
                done.append(row.id)
        return done

    async def delete(self, which: JobFilter, *, told: Callable[[int], object] | None = None) -> int:
        gone = [each for each in self._matching(which) if each.state in FINISHED]
        for each in gone:
            del self.rows[each.id]
        if told is not None and gone:
            told(len(gone))
        return len(gone)
