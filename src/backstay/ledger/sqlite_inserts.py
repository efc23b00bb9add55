"""How jobs are written, and what becomes of those that wait for others.

Statements are run by an ``Execute``, so that they work in the engine's own transactions and in
those of somebody's session. Two rules follow. The first statement of a call is one that writes:
Python's ``sqlite3`` opens a transaction for nothing else, and what was read before it might be
outdated. And every statement is given exactly the parameters it names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from backstay.errors import BadJob
from backstay.ledger.bounds import check_jobs
from backstay.ledger.port import Execute
from backstay.ledger.rows import FINISHED, Inserted, NewJob, State
from backstay.ledger.sqlite_rows import BITS, from_us, states_bits, to_us, to_uuid, with_error

__all__ = ["Children", "Inserts", "PRIORITY_US"]

PRIORITY_US = 600_000_000
"""What a point of priority is worth, in microseconds of waiting."""

_SIMPLE = (
    "INSERT INTO {p}jobs (id, task, queue, state, priority, rank, run_at, max_attempts, "
    "created_at, keep_s, args, meta) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_FULL = (
    "INSERT INTO {p}jobs (id, task, queue, state, priority, rank, run_at, max_attempts, "
    "created_at, finished_at, expires_at, keep_s, gate, gate_limit, gate_rate, gate_per_s, "
    "unique_key, unique_held, unique_states, unique_until, waiting_for, on_parent_failure, "
    "args, meta, errors) VALUES (:id, :task, :queue, :state, :priority, :rank, :run_at, "
    ":max_attempts, :created_at, :finished_at, :expires_at, :keep_s, :gate, :gate_limit, "
    ":gate_rate, :gate_per_s, :unique_key, :unique_held, :unique_states, :unique_until, "
    ":waiting_for, :on_parent_failure, :args, :meta, :errors) "
    "ON CONFLICT (id) DO NOTHING RETURNING seq"
)
_LOCK = "UPDATE {p}meta SET value = value WHERE key = 'schema_version'"
_FREE_EXPIRED = (
    "UPDATE {p}jobs SET unique_held = 0 "
    "WHERE unique_held = 1 AND unique_key = :key AND unique_until <= :now"
)
_HOLDER = "SELECT id FROM {p}jobs WHERE unique_held = 1 AND unique_key = :key"
_STATE = "SELECT state FROM {p}jobs WHERE id = :id"
_EDGE = (
    "INSERT INTO {p}edges (child, position, parent, settled) "
    "VALUES (:child, :position, :parent, :settled)"
)
_SETTLE = "UPDATE {p}edges SET settled = 1 WHERE settled = 0 AND parent = :parent RETURNING child"
_PARENT_DONE = (
    "UPDATE {p}jobs SET waiting_for = max(0, waiting_for - 1) WHERE id = :id "
    "RETURNING state, waiting_for, on_parent_failure, run_at, priority, errors"
)
_RELEASE = (
    "UPDATE {p}jobs SET state = :state, run_at = :run_at, rank = :rank, waiting_for = 0, "
    "unique_held = CASE WHEN unique_states & :bit THEN unique_held ELSE 0 END WHERE id = :id"
)
_GIVE_UP = (
    "UPDATE {p}jobs SET state = :state, finished_at = :now, errors = :errors, "
    "expires_at = :now + CAST(keep_s * 1000000 AS INTEGER), "
    "unique_held = CASE WHEN unique_states & :bit THEN unique_held ELSE 0 END WHERE id = :id"
)

_ENDS = {"cancel": State.CANCELLED, "discard": State.DISCARDED}


def _parent_error(parent: bytes, became: State, now: int) -> dict[str, Any]:
    """What stands in the errors of a job that was given up because of a parent."""
    return {
        "type": "ParentFailed",
        "message": f"the job {to_uuid(parent)}, which this one waited for, was {became}",
        "at": from_us(now).isoformat(),
    }


class Inserts:
    """Writes jobs.

    Attributes:
        simple: the statement that takes ``simple_row``.
    """

    def __init__(self, prefix: str) -> None:
        def ours(statement: str) -> str:
            return statement.replace("{p}", prefix)

        self.simple = ours(_SIMPLE)
        self._full = ours(_FULL)
        self._lock = ours(_LOCK)
        self._free_expired = ours(_FREE_EXPIRED)
        self._holder = ours(_HOLDER)
        self._state = ours(_STATE)
        self._edge = ours(_EDGE)

    @staticmethod
    def simple_rows(jobs: Sequence[NewJob], now: int) -> list[tuple[Any, ...]] | None:
        """The parameters of ``simple``; ``None`` if a job needs more than one row.

        Raises:
            BadJob: a job cannot be written.
        """
        if check_jobs(jobs):
            return [
                (
                    job.id.int.to_bytes(16),
                    job.task,
                    job.queue,
                    "available",
                    job.priority,
                    now - job.priority * PRIORITY_US,
                    now,
                    job.max_attempts,
                    now,
                    job.keep_s,
                    job.args,
                    job.meta,
                )
                for job in jobs
            ]
        rows = []
        for job in jobs:
            if job.unique is not None or job.gate is not None or job.after:
                return None
            state = "available"
            run_at = now
            if job.run_at is not None:
                run_at = to_us(job.run_at)
            elif job.delay_s > 0:
                run_at = now + int(job.delay_s * 1_000_000)
            if run_at > now:
                state = "scheduled"
            rows.append((
                job.id.int.to_bytes(16),
                job.task,
                job.queue,
                state,
                job.priority,
                max(run_at, now) - job.priority * PRIORITY_US,
                run_at,
                job.max_attempts,
                now,
                job.keep_s,
                job.args,
                job.meta,
            ))  # fmt: skip
        return rows

    def insert(self, execute: Execute, jobs: Sequence[NewJob], now: int) -> list[Inserted]:
        """Write jobs of any kind, in their order.

        Raises:
            BadJob: one cannot be written.
        """
        check_jobs(jobs)
        try:
            if any(job.after or job.unique is not None for job in jobs):
                execute(self._lock, {})
            inserted: list[Inserted] = []
            holders: dict[UUID, UUID] = {}  # by the jobs of this call that they stand for
            for job in jobs:
                inserted.append(self._insert_one(execute, job, now, holders))
                if inserted[-1].id != job.id:
                    holders[job.id] = inserted[-1].id
        except UnicodeEncodeError as error:
            raise BadJob(
                f"a text cannot be stored in SQLite ({error}), so nothing was written; it takes no "
                "lone surrogates"
            ) from error
        return inserted

    def _insert_one(
        self, execute: Execute, job: NewJob, now: int, holders: Mapping[UUID, UUID]
    ) -> Inserted:
        unique, gate = job.unique, job.gate
        raw = job.id.bytes
        if unique is not None:
            holder = self.holder(execute, unique.key, now)
            if holder is not None:
                taken = execute(self._state, {"id": raw})
                return Inserted(job.id if taken else holder, False)
        run_at = now
        if job.run_at is not None:
            run_at = to_us(job.run_at)
        elif job.delay_s > 0:
            run_at = now + int(job.delay_s * 1_000_000)
        state = State.SCHEDULED if run_at > now else State.AVAILABLE
        edges: list[dict[str, Any]] = []
        errors: str | None = None
        waiting_for = 0
        if job.after:
            edges, waiting_for, failed = self._look_at_parents(execute, job, holders)
            if waiting_for:
                state = State.WAITING
            if failed is not None and job.on_parent_failure != "run":
                state = _ENDS[job.on_parent_failure]
                errors = with_error(None, _parent_error(*failed, now))
        finished = state in FINISHED
        written = execute(
            self._full,
            {
                "id": raw,
                "task": job.task,
                "queue": job.queue,
                "state": state.value,
                "priority": job.priority,
                "rank": max(run_at, now) - job.priority * PRIORITY_US,
                "run_at": run_at,
                "max_attempts": job.max_attempts,
                "created_at": now,
                "finished_at": now if finished else None,
                "expires_at": (
                    now + int(job.keep_s * 1_000_000)
                    if finished and job.keep_s is not None
                    else None
                ),
                "keep_s": job.keep_s,
                "gate": None if gate is None else gate.name,
                "gate_limit": None if gate is None else gate.limit,
                "gate_rate": None if gate is None else gate.rate,
                "gate_per_s": None if gate is None else gate.per_s,
                "unique_key": None if unique is None else unique.key,
                "unique_held": 0 if unique is None else int(state in unique.states),
                "unique_states": 0 if unique is None else states_bits(unique.states),
                "unique_until": (
                    None
                    if unique is None or unique.period_s is None
                    else now + int(unique.period_s * 1_000_000)
                ),
                "waiting_for": waiting_for,
                "on_parent_failure": job.on_parent_failure,
                "args": job.args,
                "meta": job.meta,
                "errors": errors,
            },
        )
        if not written:
            return Inserted(job.id, False)
        for edge in edges:
            execute(self._edge, edge)
        return Inserted(job.id, True)

    def holder(self, execute: Execute, key: str, now: int) -> UUID | None:
        """Who holds a unique key, once those whose period is over have let go of it."""
        execute(self._free_expired, {"key": key, "now": now})
        rows = execute(self._holder, {"key": key})
        return to_uuid(rows[0][0]) if rows else None

    def _look_at_parents(
        self, execute: Execute, job: NewJob, holders: Mapping[UUID, UUID]
    ) -> tuple[list[dict[str, Any]], int, tuple[bytes, State] | None]:
        edges: list[dict[str, Any]] = []
        waiting_for = 0
        failed: tuple[bytes, State] | None = None
        parents = dict.fromkeys(holders.get(parent, parent) for parent in job.after)
        for position, parent in enumerate(parents):
            rows = execute(self._state, {"id": parent.bytes})
            # One that is gone was pruned, and what is pruned without being asked has succeeded.
            state = State(rows[0][0]) if rows else State.SUCCEEDED
            settled = state in FINISHED
            if not settled:
                waiting_for += 1
            elif state is not State.SUCCEEDED and failed is None:
                failed = (parent.bytes, state)
            edges.append(
                {
                    "child": job.id.bytes,
                    "position": position,
                    "parent": parent.bytes,
                    "settled": int(settled),
                }
            )
        return edges, waiting_for, failed


class Children:
    """Tells waiting jobs what became of their parents."""

    def __init__(self, prefix: str) -> None:
        def ours(statement: str) -> str:
            return statement.replace("{p}", prefix)

        self._settle = ours(_SETTLE)
        self._parent_done = ours(_PARENT_DONE)
        self._release = ours(_RELEASE)
        self._give_up = ours(_GIVE_UP)

    def settle(self, execute: Execute, parent: bytes, became: State, now: int) -> bool:
        """A job has finished: release its children or give them up, and so on down.

        Returns:
            Whether any was released.
        """
        released = False
        finished = [(parent, became)]
        while finished:
            parent, became = finished.pop()
            for (child,) in execute(self._settle, {"parent": parent}):
                rows = execute(self._parent_done, {"id": child})
                if not rows or rows[0][0] != "waiting":
                    continue  # deleted, or cancelled by somebody meanwhile
                _, waiting_for, rule, run_at, priority, errors = rows[0]
                if became is not State.SUCCEEDED and rule in _ENDS:
                    end = _ENDS[rule]
                    execute(
                        self._give_up,
                        {
                            "id": child,
                            "state": end.value,
                            "now": now,
                            "bit": BITS[end],
                            "errors": with_error(errors, _parent_error(parent, became, now)),
                        },
                    )
                    finished.append((child, end))
                elif waiting_for == 0:
                    state = State.SCHEDULED if run_at > now else State.AVAILABLE
                    run_at = max(run_at, now)
                    execute(
                        self._release,
                        {
                            "id": child,
                            "state": state.value,
                            "run_at": run_at,
                            "rank": run_at - priority * PRIORITY_US,
                            "bit": BITS[state],
                        },
                    )
                    released = True
        return released
