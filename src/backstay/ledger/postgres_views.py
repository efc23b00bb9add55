"""Looking at jobs in PostgreSQL: filters as statements, rows as values."""

# ruff: noqa: S608  # names of tables and states are put into statements, never values

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from backstay.ledger.rows import FINISHED, JobFilter, JobRow, State

__all__ = ["COLUMNS", "by_state", "conditions", "counting", "job_row", "newest", "pages"]

# The queues and tasks that have jobs that succeeded: one step through the index for each.
_KINDS = """WITH RECURSIVE k AS (
    (SELECT queue, task FROM {jobs} WHERE state = 'succeeded' ORDER BY queue, task LIMIT 1)
    UNION ALL
    SELECT n.queue, n.task FROM k CROSS JOIN LATERAL (
        SELECT queue, task FROM {jobs} WHERE state = 'succeeded'
        AND (queue, task) > (k.queue, k.task) ORDER BY queue, task LIMIT 1) n
) SELECT queue, task FROM k"""

COLUMNS = """j.id, j.task, j.queue, j.state, j.priority, j.attempt, j.max_attempts, j.args, j.meta,
    j.created_at, j.run_at, j.started_at, j.finished_at, j.expires_at, j.worker,
    CASE WHEN j.unique_until IS NULL
        OR j.unique_until > coalesce($1::timestamptz, clock_timestamp()) THEN j.unique_key END AS unique_key,
    j.gate, j.cancel_requested, j.waiting_for, j.progress, j.result, j.errors"""
"""What ``job_row`` reads; ``$1`` is the time, if not the database's."""

_Asked: TypeAlias = tuple[str, list[Any]]


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


# Each state's rows by the partial indexes that hold them: the planner, left to itself, may go
# through the whole table by id, to be spared the sorting.
_PARTS = {
    State.AVAILABLE: (
        "j.state = 'available' AND j.gate IS NULL",
        "j.state = 'available' AND j.gate IS NOT NULL",
    ),
    State.SCHEDULED: ("j.state IN ('scheduled', 'retrying') AND j.state = 'scheduled'",),
    State.RETRYING: ("j.state IN ('scheduled', 'retrying') AND j.state = 'retrying'",),
}
_IN_ORDER = frozenset({State.WAITING, State.DISCARDED, State.CANCELLED})
_NEWEST = 1000


def pages(which: JobFilter) -> frozenset[State] | None:
    """The states whose indexes find what matches; ``None`` if going through all by id does."""
    if which.ids is not None:
        return None
    narrow = which.queue is not None or which.task is not None
    if which.states is None:
        return frozenset(State) if narrow else None
    if State.SUCCEEDED in which.states and not narrow:
        return None
    return which.states


def newest(which: JobFilter, now: datetime | None, limit: int, before: UUID | None) -> _Asked:
    """What matches among the newest, or among all if no index says more."""
    values: list[Any] = [now, limit]
    earlier = ""
    if before is not None:
        values.append(before)
        earlier = f"WHERE j.id < ${len(values)}"
    table = "{jobs}"
    if pages(which) is not None:
        values.append(max(_NEWEST, 4 * limit))
        table = f"(SELECT * FROM {{jobs}} j {earlier} ORDER BY j.id DESC LIMIT ${len(values)})"
        earlier = ""
    where = conditions(which, now, values)
    where = f"{earlier} AND {where}" if earlier else f"WHERE {where}"
    return f"SELECT {COLUMNS} FROM {table} j {where} ORDER BY j.id DESC LIMIT $2", values


def by_state(
    which: JobFilter,
    states: frozenset[State],
    now: datetime | None,
    limit: int,
    before: UUID | None,
) -> _Asked:
    """What matches, each state by its own index."""
    values: list[Any] = [now, limit]
    where = conditions(replace(which, states=None), now, values)
    if before is not None:
        values.append(before)
        where += f" AND j.id < ${len(values)}"
    some: list[str] = []
    for state in sorted(states):
        latest = f"AND {where} ORDER BY j.id DESC LIMIT $2"
        if state is State.SUCCEEDED:
            kinds = ["true"]
            if which.queue is not None:
                values.append(which.queue)
                kinds.append(f"k.queue = ${len(values)}")
            if which.task is not None:
                values.append(which.task)
                kinds.append(f"k.task = ${len(values)}")
            some.append(
                f"SELECT n.id FROM ({_KINDS}) k CROSS JOIN LATERAL ("
                "SELECT j.id FROM {jobs} j WHERE j.state = 'succeeded' "
                f"AND j.queue = k.queue AND j.task = k.task {latest}) n "
                f"WHERE {' AND '.join(kinds)}"
            )
        elif state in _IN_ORDER:
            listed = "j.state IN ('discarded', 'cancelled') AND " if state in FINISHED else ""
            some.append(f"(SELECT j.id FROM {{jobs}} j WHERE {listed}j.state = '{state}' {latest})")
        else:
            some += [
                f"SELECT j.id FROM {{jobs}} j WHERE {part} AND {where}"
                for part in _PARTS.get(state, (f"j.state = '{state}'",))
            ]
    found = " UNION ALL ".join(some) or "SELECT NULL::uuid AS id WHERE false"
    statement = (
        f"WITH matching AS MATERIALIZED ({found}), "
        "best AS MATERIALIZED (SELECT id FROM matching ORDER BY id DESC LIMIT $2) "
        f"SELECT {COLUMNS} FROM best JOIN {{jobs}} j ON j.id = best.id ORDER BY j.id DESC"
    )
    return statement, values


def counting(states: frozenset[State] | None) -> str:
    """The statement that counts jobs in these states, each by its own index."""
    if states is None:
        # All of it is read at once.
        return "SELECT queue, task, state, count(*) FROM {jobs} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    parts = []
    for state in sorted(states):
        parts += [
            f"SELECT j.queue, j.task, '{state}' AS state, count(*) AS jobs FROM {{jobs}} j "
            f"WHERE {part} GROUP BY j.queue, j.task"
            for part in _PARTS.get(state, (f"j.state = '{state}'",))
        ]
    if not parts:
        return "SELECT '', '', '', 0 WHERE false"
    counted = " UNION ALL ".join(parts)
    return (
        f"SELECT queue, task, state, sum(jobs)::bigint FROM ({counted}) c "
        "GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )


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
