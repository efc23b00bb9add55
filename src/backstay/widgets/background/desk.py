"""Tasks from the side of whoever asks: made, looked at, answered, cancelled."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from mcp_types import INTERNAL_ERROR

from backstay.app import Backstay
from backstay.clock import Clock
from backstay.context import Origin
from backstay.jobs.definition import Unique
from backstay.jobs.durable import DurableScheduler
from backstay.jobs.job import Job
from backstay.jobs.part import DurablePart
from backstay.ledger.rows import FINISHED, LIVE, JobRow, State
from backstay.widgets.background.job import run_widget
from backstay.widgets.background.record import TaskRecord, TaskRecords

__all__ = ["Status", "TaskDesk", "TaskView", "clip_ttl_ms"]

Status = Literal["working", "input_required", "completed", "failed", "cancelled"]

_DEFAULT_TTL_MS = 24 * 3_600_000
_SHORTEST_TTL_MS = 60_000
_LONGEST_TTL_MS = 7 * 24 * 3_600_000


def clip_ttl_ms(asked: int | None) -> int:
    """For how long a task is kept, in milliseconds.

    Args:
        asked: what the client would like; between a minute and a week it gets that. ``None``: a
            day.
    """
    if asked is None:
        return _DEFAULT_TTL_MS
    return min(max(asked, _SHORTEST_TTL_MS), _LONGEST_TTL_MS)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskView:
    """How a task is at the moment.

    Attributes:
        record: the task.
        status: as both dialects name it.
        message: for people: its progress, or what went wrong; ``None`` for nothing.
        updated_at: ISO 8601, UTC.
        result: a ``CallToolResult`` if it is ``completed``.
        error: of the protocol, if it ``failed``.
        questions: what is waited for if it is ``input_required``: requests, by key.
    """

    record: TaskRecord
    status: Status
    message: str | None
    updated_at: str
    result: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    questions: Mapping[str, Mapping[str, Any]] | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing will happen to it any more."""
        return self.status in {"completed", "failed", "cancelled"}


class TaskDesk:
    """The tasks of one server.

    Args:
        app: whose jobs they are.
        records: where they are kept.
    """

    def __init__(self, app: Backstay, records: TaskRecords) -> None:
        self._app = app
        self._records = records

    @property
    def _clock(self) -> Clock:
        return self._app.clock

    async def make(
        self,
        work: dict[str, Any],
        *,
        owner: tuple[str | None, ...],
        ttl_ms: int,
        correlation_id: str | None,
    ) -> TaskView:
        """Make a task. When this returns, any process can be asked about it.

        Args:
            work: what ``run_widget`` takes.
            owner: who may see it.
            ttl_ms: for how long it is kept.
            correlation_id: of the request.

        Raises:
            BadJob: the arguments are too large for a job.
            LedgerUnavailable, StateUnavailable: it could not be written.
        """
        task_id = TaskRecords.new_id()
        job = await self._enqueue(work, task_id, 0, ttl_ms, correlation_id)
        now = _iso(self._clock.now())
        record = TaskRecord(
            id=task_id,
            owner=owner,
            tool=work["tool"],
            job=str(job.id),
            created_at=now,
            changed_at=now,
            ttl_ms=ttl_ms,
        )
        await self._records.write(record)
        return TaskView(record=record, status="working", message=None, updated_at=now)

    async def find(self, task_id: str, owner: tuple[str | None, ...]) -> TaskView | None:
        """How a task is; ``None`` if there is none of that id, or it is somebody else's."""
        record = await self._records.find(task_id)
        if record is None or record.owner != owner:
            return None
        return await self._look(record)

    async def wait(self, view: TaskView) -> TaskView | None:
        """Wait until it has ended or waits for an answer itself; ``None`` if it is gone then."""
        while not view.ended and view.status != "input_required":
            await self._job(view.record).wait()
            found = await self.find(view.record.id, view.record.owner)
            if found is None:
                return None
            view = found
        return view

    async def answer(self, view: TaskView, answers: Mapping[str, Any]) -> None:
        """Hand over answers; those to what was not asked are left aside.

        When nothing is left to answer the call goes on, as another job.
        """
        if view.status != "input_required" or view.questions is None:
            return
        asked = view.questions
        given = {key: value for key, value in answers.items() if key in asked}
        job = view.record.job

        def change(latest: TaskRecord) -> TaskRecord:
            if latest.job != job or latest.cancelled:
                return latest  # somebody has answered meanwhile
            return replace(
                latest, answered={**latest.answered, **given}, changed_at=_iso(self._clock.now())
            )

        record = await self._records.change(view.record, change)
        if record is not None:
            await self._look(record)  # and go on, if that was all

    async def cancel(self, view: TaskView) -> TaskView:
        """Cancel it. From now on it is cancelled, even if its job should succeed all the same."""
        if view.ended:
            return view
        now = _iso(self._clock.now())
        record = await self._records.change(
            view.record, lambda latest: replace(latest, cancelled=True, changed_at=now)
        )
        record = record or replace(view.record, cancelled=True, changed_at=now)
        await self._job(record).cancel("the client has cancelled the task")
        return _cancelled(record)

    # ------------------------------------------------------------------ within

    async def _look(self, record: TaskRecord) -> TaskView | None:
        if record.cancelled:
            return _cancelled(record)
        row = await self._row(record)
        if row is None:
            return None
        progress = row.progress if isinstance(row.progress, Mapping) else {}
        message = progress.get("message")
        told = TaskView(
            record=record,
            status="working",
            message=message if isinstance(message, str) else None,
            updated_at=max(record.changed_at, _latest(row, progress.get("at"))),
        )
        if row.state is State.CANCELLED:
            return replace(told, status="cancelled", message="The task was cancelled.")
        if row.state is State.DISCARDED:
            return _failed(told, row)
        if row.state is not State.SUCCEEDED:
            return told
        found = row.result if isinstance(row.result, Mapping) else {}
        if "result" in found:
            return replace(told, status="completed", result=found["result"])
        if "error" in found:
            error = found["error"]
            return replace(told, status="failed", message=error["message"], error=error)
        questions = {
            key: each
            for key, each in found.get("questions", {}).items()
            if key not in record.answered
        }
        if questions:
            return replace(
                told,
                status="input_required",
                message="The task needs an answer to go on.",
                questions=questions,
            )
        await self._go_on(record, row)
        return replace(told, message=None)

    async def _go_on(self, record: TaskRecord, row: JobRow) -> None:
        """All questions are answered: another job runs the call again, with the answers.

        Whoever finds it so does it, so that nothing is lost if one who did dies on the way; the
        key sees to it that there is one such job only.
        """
        work = json.loads(row.args)["work"]
        work["answers"] = {**work["answers"], **record.answered}
        job = await self._enqueue(
            work,
            record.id,
            record.round + 1,
            record.ttl_ms,
            str(row.meta.get("correlation", "")) or None,
        )
        before = record.job

        def change(latest: TaskRecord) -> TaskRecord:
            if latest.job != before:
                return latest
            return replace(latest, job=str(job.id), round=latest.round + 1, answered={})

        latest = await self._records.change(record, change)
        if latest is not None and latest.cancelled:
            await job.cancel("the client has cancelled the task")

    async def _enqueue(
        self,
        work: dict[str, Any],
        task_id: str,
        number: int,
        ttl_ms: int,
        correlation_id: str | None,
    ) -> Job[Any]:
        ctx = self._app.open(Origin.WIDGET, correlation_id=correlation_id)
        try:
            return await (
                DurableScheduler(self._part, ctx)
                .task(
                    keep_s=ttl_ms / 1000,
                    unique=Unique(key=f"{task_id}:{number}", states=LIVE | FINISHED),
                )
                .enqueue(run_widget, work)
            )
        finally:
            ctx.close()

    def _job(self, record: TaskRecord) -> Job[Any]:
        return DurableScheduler(self._part, self._app.open(Origin.WIDGET)).job(record.job)

    async def _row(self, record: TaskRecord) -> JobRow | None:
        job = self._job(record)
        return (await (await self._part.awake()).get([job.id])).get(job.id)

    @property
    def _part(self) -> DurablePart:
        part = self._app.part(DurablePart.attribute)
        assert isinstance(part, DurablePart)
        return part


def _cancelled(record: TaskRecord) -> TaskView:
    return TaskView(
        record=record,
        status="cancelled",
        message="The task was cancelled.",
        updated_at=record.changed_at,
    )


def _failed(told: TaskView, row: JobRow) -> TaskView:
    error_id = str(row.meta.get("correlation", row.id.hex))
    error = row.error or {}
    # What a tool says itself, by raising Discard or RetryLater, is meant to be read.
    said = error.get("message") if error.get("type") in {"Discard", "RetryLater"} else None
    text = str(said) if said else "the task could not be finished: an unexpected error occurred"
    message = f"{text} (error_id: {error_id})"
    return replace(
        told,
        status="failed",
        message=message,
        error={"code": INTERNAL_ERROR, "message": message, "data": {"error_id": error_id}},
    )


def _latest(row: JobRow, progress_at: Any) -> str:
    times = [row.created_at, row.started_at, row.finished_at]
    with contextlib.suppress(TypeError, ValueError):
        times.append(datetime.fromisoformat(progress_at))
    return _iso(max(each for each in times if each is not None))


def _iso(moment: datetime) -> str:
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
