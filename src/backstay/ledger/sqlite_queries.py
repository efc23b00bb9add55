"""What is asked about jobs, queues and workers, and their upkeep."""

# ruff: noqa: S608  # the pieces put together here are constants, and values are parameters

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from backstay.ledger.port import Execute
from backstay.ledger.rows import (
    FINISHED,
    Beat,
    Counts,
    JobFilter,
    JobRow,
    Orphan,
    QueueRow,
    State,
    Wait,
    WorkerRow,
)
from backstay.ledger.sqlite_rows import JOB_COLUMNS, from_us, job_row, to_us, to_uuid

__all__ = ["Queries"]

_IDS_AT_A_TIME = 500
_NEWEST = 1000

# What is few beside the history, by the partial indexes that list it. SQLite left to itself would
# go through the whole table by id, to be spared the sorting.
_LISTED = {
    State.AVAILABLE: (
        ("available", "state = 'available' AND gate IS NULL"),
        ("gated", "state = 'available' AND gate IS NOT NULL"),
    ),
    State.RUNNING: (("running", "state = 'running'"),),
    State.SCHEDULED: (("due", "state IN ('scheduled', 'retrying') AND state = 'scheduled'"),),
    State.RETRYING: (("due", "state IN ('scheduled', 'retrying') AND state = 'retrying'"),),
}
_GIVEN_UP = frozenset({State.DISCARDED, State.CANCELLED})
_SUCCEEDED = frozenset({State.SUCCEEDED})
_SEQS = "WHERE seq IN (SELECT value FROM json_each(:these))"

# What is counted by which index: one question each.
_COUNTED = {
    **_LISTED,
    State.WAITING: (("waiting", "state = 'waiting'"),),
    **{
        state: (("finished", f"finished_at IS NOT NULL AND state = '{state.value}'"),)
        for state in FINISHED
    },
}
_COUNT = "SELECT queue, task, count(*) FROM {p}jobs INDEXED BY {p}jobs_%s WHERE %s GROUP BY 1, 2"

# The next queue after one, and the first of it in line: since when could it have been started?
# Those of an ordinary kind wait in the order in which they came, and only jobs of higher priority
# can be in front of them.
_NEXT_QUEUE = (
    "SELECT queue FROM {p}jobs INDEXED BY {p}jobs_%s WHERE %s AND queue > :queue "
    "ORDER BY queue LIMIT 1"
)
_FIRST = (
    "SELECT %s FROM {p}jobs INDEXED BY {p}jobs_%s WHERE %s AND queue = :queue %s "
    "ORDER BY %s LIMIT 1"
)
_WAITS = tuple(
    (_NEXT_QUEUE % (index, where), _FIRST % (since, index, where, more, since))
    for index, where, since, more in (
        (
            "available",
            "state = 'available' AND gate IS NULL",
            "rank",
            "AND priority = 0",
        ),
        (
            "unlike",
            "state = 'available' AND (priority <> 0 OR gate IS NOT NULL)",
            "rank + priority * 600000000",
            "",
        ),
        ("due", "state IN ('scheduled', 'retrying')", "run_at", "AND run_at <= :now"),
    )
)
# The next task of the same queue, else the first of the next one. Not (queue, task) > (...), for
# which SQLite goes through all of the queue.
_NEXT_KIND = tuple(
    "SELECT queue, task FROM {p}jobs INDEXED BY {p}jobs_finished "
    f"WHERE finished_at IS NOT NULL AND state = :state AND {after} ORDER BY queue, task LIMIT 1"
    for after in ("queue = :queue AND task > :task", "queue > :queue")
)
_LATEST_OF_KIND = (
    "SELECT seq, id FROM {p}jobs INDEXED BY {p}jobs_finished WHERE finished_at IS NOT NULL "
    "AND state = :state AND queue = :kind_queue AND task = :kind_task AND %s "
    "ORDER BY +id DESC LIMIT :limit"
)
_OF_KIND = (
    "SELECT seq, id FROM {p}jobs INDEXED BY {p}jobs_finished "
    "WHERE finished_at IS NOT NULL AND state = :state AND queue = :queue AND task = :task "
)
_EXPIRED = _OF_KIND + "AND expires_at <= :now LIMIT :most"
_OUTLIVED = _OF_KIND + "AND expires_at IS NULL AND finished_at <= :before LIMIT :most"
_KEEP_WORKER = (
    "INSERT INTO {p}workers (id, host, pid, started_at, beat_at, lease_s, concurrency, queues, "
    "version) VALUES (:id, :host, :pid, :started_at, :now, :lease_s, :concurrency, :queues, "
    ":version) ON CONFLICT (id) DO UPDATE SET host = excluded.host, pid = excluded.pid, "
    "beat_at = excluded.beat_at, lease_s = excluded.lease_s, "
    "concurrency = excluded.concurrency, queues = excluded.queues, version = excluded.version"
)
_ORPHANS = (
    "SELECT id, fence, attempt, max_attempts, task, queue, args, meta, worker, cancel_requested "
    "FROM {p}jobs INDEXED BY {p}jobs_running WHERE state = 'running' "
    "AND coalesce(worker, '') NOT IN (SELECT id FROM {p}workers) LIMIT :most"
)
_WISHES = (
    "SELECT id FROM {p}jobs INDEXED BY {p}jobs_running "
    "WHERE state = 'running' AND worker = :worker AND cancel_requested = 1"
)
_WORKERS = (
    "SELECT id, host, pid, lease_s, concurrency, queues, version, started_at, beat_at, "
    "(SELECT count(*) FROM {p}jobs INDEXED BY {p}jobs_running "
    "WHERE state = 'running' AND worker = {p}workers.id) FROM {p}workers ORDER BY started_at, id"
)
_DECLARE = (
    "INSERT INTO {p}queues (name, declared, max_running, rate, per_s) "
    "VALUES (:name, 1, :limit, :rate, :per_s) ON CONFLICT (name) DO UPDATE SET declared = 1, "
    "max_running = excluded.max_running, rate = excluded.rate, per_s = excluded.per_s"
)
_PAUSE = (
    "INSERT INTO {p}queues (name, paused_at) VALUES (:name, :now) ON CONFLICT (name) "
    "DO UPDATE SET paused_at = coalesce(paused_at, excluded.paused_at)"
)


class Queries:
    """Statements that look, and those that keep the house."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def _ours(self, statement: str) -> str:
        return statement.replace("{p}", self._prefix)

    # ------------------------------------------------------------------ jobs

    def get(self, execute: Execute, ids: Sequence[UUID], now: int) -> dict[UUID, JobRow]:
        """Jobs by id."""
        found = {}
        for some in _portions(ids):
            where, parameters = _id_in(some)
            for row in execute(
                self._ours(f"SELECT {JOB_COLUMNS} FROM {{p}}jobs WHERE {where}"),
                parameters,
            ):
                job = job_row(row, now)
                found[job.id] = job
        return found

    def find(
        self, execute: Execute, which: JobFilter, limit: int, before: UUID | None, now: int
    ) -> list[JobRow]:
        """Jobs that match, the newest first."""
        if limit <= 0:
            return []
        if which.states is None and (which.queue is not None or which.task is not None):
            which = replace(which, states=frozenset(State))
        if which.ids is None and which.states is not None:
            found = self._among_the_newest(execute, which, limit, before, now)
            if found is not None:
                return found
        jobs: list[JobRow] = []
        for narrow in self._narrow(which):
            where, parameters = _conditions(narrow, now)
            column = "+id" if "seq IN" in where else "id"  # + keeps the index on id out of it
            if before is not None:
                where += f" AND {column} < :before"
                parameters["before"] = before.bytes
            parameters["limit"] = limit
            if column == "+id":
                # Only the ids are sorted: whole rows are large.
                where = f"SELECT seq FROM {{p}}jobs {where} ORDER BY +id DESC LIMIT :limit"
                where = f"WHERE seq IN ({where})"
            elif _is_history(narrow):
                seqs = self._latest_of_kinds(execute, narrow, where, parameters)
                where, parameters = _SEQS, {"these": json.dumps(seqs), "limit": limit}
            jobs += self._select(execute, where, parameters, now)
        jobs.sort(key=lambda job: job.id.int, reverse=True)
        return jobs[:limit]

    def _select(
        self, execute: Execute, where: str, parameters: dict[str, Any], now: int
    ) -> list[JobRow]:
        column = "+id" if "seq IN" in where else "id"
        rows = execute(
            self._ours(
                f"SELECT {JOB_COLUMNS} FROM {{p}}jobs {where} ORDER BY {column} DESC LIMIT :limit"
            ),
            parameters,
        )
        return [job_row(row, now) for row in rows]

    def _among_the_newest(
        self, execute: Execute, which: JobFilter, limit: int, before: UUID | None, now: int
    ) -> list[JobRow] | None:
        """What matches, if a full page does among the newest; ``None`` if not.

        Where much matches, that is quicker than sorting all of it.
        """
        upper = b"\xff" * 17 if before is None else before.bytes
        edge = execute(
            self._ours(
                "SELECT id FROM {p}jobs WHERE id < :before ORDER BY id DESC LIMIT 1 OFFSET :newest"
            ),
            {"before": upper, "newest": max(_NEWEST, 4 * limit)},
        )
        if not edge:
            return None
        where, parameters = _conditions(replace(which, states=None), now)
        found = self._select(
            execute,
            f"{where} AND +{_in_states(which.states)} AND id < :before AND id > :edge",
            {**parameters, "before": upper, "edge": edge[0][0], "limit": limit},
            now,
        )
        return found if len(found) == limit else None

    def _latest_of_kinds(
        self, execute: Execute, which: JobFilter, where: str, parameters: dict[str, Any]
    ) -> list[int]:
        """``seq`` of the newest of each kind that match."""
        found: list[tuple[bytes, int]] = []
        statement = self._ours(_LATEST_OF_KIND % where.removeprefix("WHERE "))
        for kind in self._kinds(execute, State.SUCCEEDED, queue=which.queue):
            if which.task in (None, kind["task"]):
                rows = execute(
                    statement,
                    {
                        **parameters,
                        "state": kind["state"],
                        "kind_queue": kind["queue"],
                        "kind_task": kind["task"],
                    },
                )
                found += [(raw, seq) for seq, raw in rows]
        found.sort(reverse=True)
        return [seq for _, seq in found[: parameters["limit"]]]

    def given_up(
        self, execute: Execute, which: JobFilter, now: int
    ) -> list[tuple[bytes, str | None, int, int | None]]:
        """``id, unique_key, unique_states, unique_until`` of matching jobs that may be requeued,
        oldest first.
        """
        wanted = _GIVEN_UP if which.states is None else _GIVEN_UP & which.states
        found: list[Any] = []
        for narrow in self._narrow(replace(which, states=wanted)):
            where, parameters = _conditions(narrow, now)
            found.extend(
                execute(
                    self._ours(
                        "SELECT id, unique_key, unique_states, unique_until "
                        f"FROM {{p}}jobs {where} ORDER BY id"
                    ),
                    parameters,
                )
            )
        return found

    def last(self, execute: Execute) -> int:
        """``seq`` of the newest row, 0 if there is none."""
        found: int = execute(self._ours("SELECT coalesce(max(seq), 0) FROM {p}jobs"), {})[0][0]
        return found

    def deletable(
        self, execute: Execute, which: JobFilter, last: int, limit: int, now: int
    ) -> list[tuple[int, bytes]]:
        """``seq`` and ``id`` of matching jobs that have finished, up to ``last``, ``limit`` at
        most.
        """
        found: list[Any] = []
        for narrow in self._narrow(replace(which, states=_finished(which))):
            index = ""
            if which.ids is None and (which.queue is not None or narrow.states == _SUCCEEDED):
                index = "INDEXED BY {p}jobs_finished"
                where, parameters = _conditions(replace(narrow, states=None), now)
                where += f" AND finished_at IS NOT NULL AND {_in_states(narrow.states)}"
            else:
                where, parameters = _conditions(narrow, now)
            found += execute(
                self._ours(
                    f"SELECT seq, id FROM {{p}}jobs {index} {where} AND +seq <= :last LIMIT :most"
                ),
                {**parameters, "last": last, "most": limit - len(found)},
            )
            if len(found) >= limit:
                break
        return found

    def delete(self, execute: Execute, which: JobFilter, found: Sequence[tuple[int, bytes]]) -> int:
        """Delete what was ``deletable`` and is still there and finished; how many there were."""
        # By both: seq is quick, and given to another row once the last one is gone.
        these = {
            "seqs": json.dumps([seq for seq, _ in found]),
            "ids": json.dumps([raw.hex().upper() for _, raw in found]),
        }
        where = (
            "WHERE seq IN (SELECT value FROM json_each(:seqs)) "
            "AND hex(id) IN (SELECT value FROM json_each(:ids)) "
            f"AND +{_in_states(_finished(which))}"
        )
        if self._has_edges(execute):
            execute(
                self._ours(
                    f"DELETE FROM {{p}}edges WHERE child IN (SELECT id FROM {{p}}jobs {where})"
                ),
                these,
            )
        execute(self._ours(f"DELETE FROM {{p}}jobs {where}"), these)
        deleted: int = execute("SELECT changes()", {})[0][0]
        return deleted

    def prune(self, execute: Execute, keep_s: float, limit: int, now: int) -> int:
        """Delete finished jobs whose time is over, ``limit`` at most."""
        found: list[Any] = []
        before = now - int(keep_s * 1_000_000)
        for state in sorted(FINISHED):
            for kind in self._kinds(execute, state):
                most = limit - len(found)
                found += execute(self._ours(_EXPIRED), {**kind, "now": now, "most": most})
                if state is not State.DISCARDED:
                    most = limit - len(found)
                    found += execute(
                        self._ours(_OUTLIVED), {**kind, "before": before, "most": most}
                    )
                if len(found) >= limit:
                    break
        if found:
            if self._has_edges(execute):
                for _, raw in found:
                    execute(self._ours("DELETE FROM {p}edges WHERE child = :id"), {"id": raw})
            execute(
                self._ours(
                    "DELETE FROM {p}jobs WHERE seq IN (SELECT value FROM json_each(:these))"
                ),
                {"these": json.dumps([seq for seq, _ in found])},
            )
        execute(self._ours("DELETE FROM {p}gates WHERE stale_at < :now"), {"now": now})
        return len(found)

    def _kinds(
        self, execute: Execute, state: State, *, queue: str | None = None
    ) -> Iterator[dict[str, str]]:
        """The queues and tasks that have finished jobs: one step through the index for each."""
        kind = {"state": state.value, "queue": queue or "", "task": ""}
        next_task, next_queue = map(self._ours, _NEXT_KIND)
        while rows := (
            execute(next_task, kind) or (execute(next_queue, kind) if queue is None else [])
        ):
            kind["queue"], kind["task"] = rows[0]
            yield kind

    def parents(self, execute: Execute, job_id: UUID) -> list[UUID]:
        """In the order given."""
        rows = execute(
            self._ours("SELECT parent FROM {p}edges WHERE child = :id ORDER BY position"),
            {"id": job_id.bytes},
        )
        return [to_uuid(raw) for (raw,) in rows]

    def children(self, execute: Execute, job_id: UUID) -> list[UUID]:
        """The oldest first."""
        rows = execute(
            self._ours("SELECT child FROM {p}edges WHERE parent = :id ORDER BY child"),
            {"id": job_id.bytes},
        )
        return [to_uuid(raw) for (raw,) in rows]

    def counts(self, execute: Execute, states: frozenset[State] | None = None) -> list[Counts]:
        """By queue, task and state."""
        sums: dict[tuple[str, str, State], int] = {}
        for state in State if states is None else sorted(states):
            for part in _COUNTED[state]:
                for queue, task, jobs in execute(self._ours(_COUNT % part), {}):
                    key = queue, task, state
                    sums[key] = sums.get(key, 0) + jobs
        return [Counts(*key, jobs) for key, jobs in sorted(sums.items())]

    def waits(self, execute: Execute, now: int) -> list[Wait]:
        """By queue."""
        since: dict[str, int] = {}
        for next_queue, first in _WAITS:
            at = {"queue": "", "now": now}
            while rows := execute(self._ours(next_queue), at):
                (at["queue"],) = rows[0]
                for (then,) in execute(self._ours(first), at):
                    since[rows[0][0]] = min(since.get(rows[0][0], then), then)
        return [Wait(queue, max(0.0, (now - then) / 1e6)) for queue, then in sorted(since.items())]

    def _has_edges(self, execute: Execute) -> bool:
        return bool(execute(self._ours("SELECT 1 FROM {p}edges LIMIT 1"), {}))

    @staticmethod
    def _narrow(which: JobFilter) -> Iterator[JobFilter]:
        """Filters that together say the same, each good for an index."""
        states: list[frozenset[State] | None] = [None]
        if which.states is not None:
            given_up = which.states & _GIVEN_UP
            states = [given_up] if given_up else []
            states += [frozenset({state}) for state in sorted(which.states - _GIVEN_UP)]
        for some in states:
            if which.ids is None:
                yield replace(which, states=some)
            else:
                for ids in _portions(tuple(dict.fromkeys(which.ids))):
                    yield replace(which, states=some, ids=tuple(ids))

    # ------------------------------------------------------------------ workers

    def keep_worker(self, execute: Execute, worker: WorkerRow, now: int) -> None:
        """Make a worker known, beating now."""
        execute(
            self._ours(_KEEP_WORKER),
            {
                "id": worker.id,
                "host": worker.host,
                "pid": worker.pid,
                "started_at": now if worker.started_at is None else to_us(worker.started_at),
                "now": now,
                "lease_s": worker.lease_s,
                "concurrency": worker.concurrency,
                "queues": json.dumps(worker.queues),
                "version": worker.version,
            },
        )

    def forget_worker(self, execute: Execute, worker: str) -> None:
        """It has stopped."""
        execute(self._ours("DELETE FROM {p}workers WHERE id = :id"), {"id": worker})

    def beat(self, execute: Execute, worker: WorkerRow, now: int) -> Beat:
        """Renew a worker's lease."""
        known = execute(
            self._ours("UPDATE {p}workers SET beat_at = :now WHERE id = :id RETURNING id"),
            {"id": worker.id, "now": now},
        )
        if not known:
            self.keep_worker(execute, worker, now)
        return Beat(bool(known), tuple(self.wishes(execute, worker.id)))

    def wishes(self, execute: Execute, worker: str) -> list[UUID]:
        """Jobs it holds that somebody wants cancelled."""
        rows = execute(self._ours(_WISHES), {"worker": worker})
        return [to_uuid(raw) for (raw,) in rows]

    def orphans(self, execute: Execute, limit: int, now: int) -> list[Orphan]:
        """Forget workers whose lease is over; what nobody known holds."""
        execute(
            self._ours(
                "DELETE FROM {p}workers WHERE beat_at + CAST(lease_s * 1000000 AS INTEGER) < :now"
            ),
            {"now": now},
        )
        return [
            Orphan(
                to_uuid(raw), fence, attempt, most, task, queue, str(args), str(meta),
                worker or "", bool(cancel_requested),
            )
            for (raw, fence, attempt, most, task, queue, args, meta, worker, cancel_requested)
            in execute(self._ours(_ORPHANS), {"most": limit})
        ]  # fmt: skip

    def workers(self, execute: Execute, now: int) -> list[WorkerRow]:
        """By start."""
        found = []
        for (
            name, host, pid, lease_s, concurrency, queues, version, started_at, beat_at, running,
        ) in execute(self._ours(_WORKERS), {}):  # fmt: skip
            found.append(
                WorkerRow(
                    id=name,
                    host=host,
                    pid=pid,
                    lease_s=lease_s,
                    concurrency=concurrency,
                    queues=tuple(json.loads(queues)),
                    version=version,
                    started_at=from_us(started_at),
                    running=running,
                    seen_s_ago=max(0.0, (now - beat_at) / 1e6),
                )
            )
        return found

    # ------------------------------------------------------------------ queues and ticks

    def declare(self, execute: Execute, queues: Iterable[QueueRow]) -> None:
        """Make queues known, with their limits."""
        for queue in queues:
            execute(
                self._ours(_DECLARE),
                {
                    "name": queue.name,
                    "limit": queue.limit,
                    "rate": queue.rate,
                    "per_s": queue.per_s,
                },
            )

    def pause(self, execute: Execute, queue: str, paused: bool, now: int) -> None:
        """Stop or resume a queue."""
        if paused:
            execute(self._ours(_PAUSE), {"name": queue, "now": now})
            return
        execute(
            self._ours("UPDATE {p}queues SET paused_at = NULL WHERE name = :name"),
            {"name": queue},
        )
        # A row that was made by pausing alone has nothing more to say.
        execute(
            self._ours("DELETE FROM {p}queues WHERE name = :name AND declared = 0"),
            {"name": queue},
        )

    def queues(self, execute: Execute) -> list[QueueRow]:
        """Declared and paused ones, by name."""
        return [
            QueueRow(
                name=name,
                paused_at=None if paused_at is None else from_us(paused_at),
                limit=limit,
                rate=rate,
                per_s=per_s,
            )
            for name, paused_at, limit, rate, per_s in execute(
                self._ours(
                    "SELECT name, paused_at, max_running, rate, per_s FROM {p}queues ORDER BY name"
                ),
                {},
            )
        ]

    def last_tick(self, execute: Execute, name: str) -> datetime | None:
        """The last tick of a schedule."""
        rows = execute(
            self._ours("SELECT last_tick FROM {p}ticks WHERE name = :name"), {"name": name}
        )
        return from_us(rows[0][0]) if rows else None

    def move_tick(
        self, execute: Execute, name: str, previous: datetime | None, at: datetime
    ) -> bool:
        """Go on from ``previous`` to ``at``; whether that was the last one still."""
        if previous is None:
            return bool(
                execute(
                    self._ours(
                        "INSERT INTO {p}ticks (name, last_tick) VALUES (:name, :at) "
                        "ON CONFLICT (name) DO NOTHING RETURNING name"
                    ),
                    {"name": name, "at": to_us(at)},
                )
            )
        return bool(
            execute(
                self._ours(
                    "UPDATE {p}ticks SET last_tick = :at "
                    "WHERE name = :name AND last_tick = :previous RETURNING name"
                ),
                {"name": name, "at": to_us(at), "previous": to_us(previous)},
            )
        )


def _portions(ids: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    for start in range(0, len(ids), _IDS_AT_A_TIME):
        yield ids[start : start + _IDS_AT_A_TIME]


def _id_in(ids: Sequence[UUID]) -> tuple[str, dict[str, Any]]:
    names = ", ".join(f":id{number}" for number in range(len(ids)))
    return f"id IN ({names})", {f"id{number}": each.bytes for number, each in enumerate(ids)}


def _conditions(which: JobFilter, now: int) -> tuple[str, dict[str, Any]]:
    """The WHERE clause of one of ``Queries._narrow``'s filters."""
    clauses: list[str] = []
    parameters: dict[str, Any] = {}
    if which.ids is not None:
        clause, parameters = _id_in(which.ids)
        clauses.append(clause)
    if which.states is not None:
        clauses.append(
            _state_clause(
                which.states, by_id=which.ids is not None, in_queue=which.queue is not None
            )
        )
    for name, value in (("task", which.task), ("queue", which.queue)):
        if value is not None:
            clauses.append(f"{name} = :{name}")
            parameters[name] = value
    if which.text is not None:
        clauses.append("(task LIKE :text ESCAPE '!' OR args LIKE :text ESCAPE '!')")
        escaped = which.text.replace("!", "!!").replace("%", "!%").replace("_", "!_")
        parameters["text"] = f"%{escaped}%"
    if which.older_than_s is not None:
        clauses.append("finished_at <= :finished_before")
        parameters["finished_before"] = now - int(which.older_than_s * 1_000_000)
    return "WHERE " + (" AND ".join(clauses) or "1"), parameters


def _state_clause(states: frozenset[State], *, by_id: bool, in_queue: bool) -> str:
    if by_id:
        return f"+{_in_states(states)}"
    if states <= _GIVEN_UP:
        return f"state IN ('discarded', 'cancelled') AND {_in_states(states)}"
    (state,) = states
    if state is State.SUCCEEDED:
        # Most rows are: going through them by id beats sorting what an index would find.
        return "+state = 'succeeded'"
    if state is State.WAITING:
        return "state = 'waiting'"
    of_queue = " AND queue = :queue" if in_queue else ""
    found = " UNION ALL ".join(
        f"SELECT seq FROM {{p}}jobs INDEXED BY {{p}}jobs_{index} WHERE {where}{of_queue}"
        for index, where in _LISTED[state]
    )
    return f"seq IN ({found})"


def _in_states(states: frozenset[State] | None) -> str:
    listed = ", ".join(f"'{state.value}'" for state in sorted(states or ()))
    return f"state IN ({listed})"


def _finished(which: JobFilter) -> frozenset[State]:
    return FINISHED if which.states is None else which.states & FINISHED


def _is_history(which: JobFilter) -> bool:
    """Whether only an index by queue and task tells these from the rest of the history."""
    return (
        which.ids is None
        and which.states == _SUCCEEDED
        and (which.queue is not None or which.task is not None)
    )
