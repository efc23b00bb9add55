"""Looking at jobs in PostgreSQL: filters as conditions, rows as values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from backstay.ledger.rows import JobFilter, JobRow, State

__all__ = ["COLUMNS", "conditions", "job_row"]

COLUMNS = """j.id, j.task, j.queue, j.state, j.priority, j.attempt, j.max_attempts, j.args, j.meta,
    j.created_at, j.run_at, j.started_at, j.finished_at, j.expires_at, j.worker,
    CASE WHEN j.unique_until IS NULL
        OR j.unique_until > coalesce($1::timestamptz, clock_timestamp()) THEN j.unique_key END AS unique_key,
    j.gate, j.cancel_requested, j.waiting_for, j.progress, j.result, j.errors"""
"""What ``job_row`` reads; ``$1`` is the time, if not the database's."""


def conditions(which: JobFilter, now: datetime | None, values: list[Any]) -> str:
    """The filter as SQL over ``{jobs} j``; its parameters are appended to ``values``."""

    def parameter(value: Any) -> str:
        values.append(value)
        return f"${len(values)}"

    found = ["true"]
    if which.ids is not None:
        found.append(f"j.id = ANY({parameter(list(which.ids))}::uuid[])")
    if which.states is not None:
        # As literals, so that indexes for some states can be used.
        names = ", ".join(f"'{state}'" for state in State if state in which.states)
        found.append(f"j.state IN ({names})" if names else "false")
    if which.task is not None:
        found.append(f"j.task = {parameter(which.task)}")
    if which.queue is not None:
        found.append(f"j.queue = {parameter(which.queue)}")
    if which.text is not None:
        text = parameter(which.text.lower())
        found.append(
            f"(strpos(lower(j.task), {text}::text) > 0 OR strpos(lower(j.args), {text}::text) > 0)"
        )
    if which.older_than_s is not None:
        found.append(
            f"j.finished_at <= coalesce({parameter(now)}::timestamptz, clock_timestamp())"
            f" - make_interval(secs => {parameter(float(which.older_than_s))})"
        )
    return " AND ".join(found)


def job_row(row: Any) -> JobRow:
    """A row of ``COLUMNS`` as a value, however broken its texts are."""
    broken: list[str] = []

    def decoded(text: str | None, kind: type | None = None) -> Any:
        if text is None:
            return None
        try:
            value = json.loads(text)
        except ValueError:
            broken.append(text)
            return None
        if kind is not None and not isinstance(value, kind):
            broken.append(text)
            return None
        return value

    decoded(row["args"], dict)
    meta: Mapping[str, Any] = decoded(row["meta"], dict) or {}
    progress = decoded(row["progress"])
    result = decoded(row["result"])
    errors = tuple(
        error for text in row["errors"] or () if (error := decoded(text, dict)) is not None
    )
    return JobRow(
        id=row["id"],
        task=row["task"],
        queue=row["queue"],
        state=State(row["state"]),
        priority=row["priority"],
        attempt=row["attempt"],
        max_attempts=row["max_attempts"],
        args=row["args"],
        meta=meta,
        created_at=row["created_at"],
        run_at=row["run_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        expires_at=row["expires_at"],
        worker=row["worker"],
        unique_key=row["unique_key"],
        gate=row["gate"],
        cancel_requested=row["cancel_requested"],
        waiting_for=row["waiting_for"],
        progress=progress,
        result=result,
        has_result=row["result"] is not None,
        errors=errors,
        corrupt=bool(broken),
    )
