"""Jobs coming to PostgreSQL and leaving it, statement by statement.

Plans run on our own connections and in other people's sessions. Every statement takes one
parameter, a JSON text, because that means the same to every driver: asyncpg wants exact types,
psycopg guesses them, and SQLAlchemy casts numbers to 32 bits and times to ones without a zone.
"""

# ruff: noqa: S608  # the pieces put together here are constants

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from backstay.errors import LedgerUnavailable
from backstay.ledger.bounds import check_finishes, check_jobs, check_tick
from backstay.ledger.postgres_lane import Plan
from backstay.ledger.rows import FINISHED, Finish, Inserted, NewJob, State, Tick

__all__ = [
    "BITS",
    "KEEP_KEY",
    "cancel_plan",
    "children_plan",
    "error_text",
    "finish_plan",
    "insert_plan",
    "tick_plan",
]

BITS = {state: 1 << place for place, state in enumerate(State)}
"""The states as bits of ``unique_states``."""

_LIVE_NAMES = frozenset(str(state) for state in State) - {str(state) for state in FINISHED}
_FAILED = {"discarded", "cancelled"}

KEEP_KEY = """CASE WHEN j.unique_key IS NOT NULL AND (j.unique_states & {bit}) <> 0
    AND (j.unique_until IS NULL OR j.unique_until > {now}) THEN j.unique_key END"""
"""What becomes of a held key in a new state."""


def _keep_key(bit: str) -> str:
    return KEEP_KEY.replace("{bit}", bit).replace("{now}", "c.t")


_HEAD = """WITH d AS MATERIALIZED (SELECT CAST(:doc AS json) AS j),
c AS MATERIALIZED (
    SELECT t, CAST(extract(epoch FROM t) * 1000000 AS bigint) AS us
    FROM (SELECT coalesce(CAST(d.j->>'now' AS timestamptz), clock_timestamp()) AS t FROM d) n
)
"""
_IDS = (
    "ANY(ARRAY(SELECT CAST(x AS uuid) FROM json_array_elements_text((SELECT j->'ids' FROM d)) x))"
)
_KEYS = "ANY(ARRAY(SELECT x FROM json_array_elements_text((SELECT j->'keys' FROM d)) x))"

# FOR NO KEY UPDATE and not FOR SHARE: two that both hold a share and both want to set
# has_children would wait for each other for ever.
_LOCK_PARENTS = (
    _HEAD
    + """SELECT p.id, p.state, p.has_children, (SELECT t FROM c)
FROM {jobs} p WHERE p.id = """
    + _IDS
    + " ORDER BY p.id FOR NO KEY UPDATE"
)
# Setting the flag makes a new version of the row, and that is the point: a finish that waits for
# our lock looks at the flag again when it gets the row, and so cannot miss the new child.
_MARK_PARENTS = _HEAD + "UPDATE {jobs} p SET has_children = true WHERE p.id = " + _IDS
_FREE_KEYS = (
    _HEAD
    + """UPDATE {jobs} j SET unique_key = NULL
WHERE j.unique_key IS NOT NULL AND j.unique_key = """
    + _KEYS
    + " AND j.unique_until <= (SELECT t FROM c)"
)
_FIND_HOLDERS = (
    _HEAD
    + "SELECT p.id, NULL FROM {jobs} p WHERE p.id = "
    + _IDS
    + """ UNION ALL SELECT h.id, h.unique_key FROM {jobs} h
WHERE h.unique_key IS NOT NULL AND h.unique_key = """
    + _KEYS
)
# Sorted by key, so that two that write the same keys wait for each other in the same order.
_INSERT_ROWS = (
    _HEAD
    + """INSERT INTO {jobs} (id, created_at, run_at, rank, finished_at, expires_at, unique_until,
    keep_s, gate_per_s, priority, max_attempts, waiting_for, gate_limit, gate_rate, unique_states,
    has_children, state, task, queue, on_parent_failure, gate, unique_key, unique_by, args, meta,
    errors)
SELECT r.id, c.t, w.run_at, c.us - CAST(r.priority AS bigint) * 600000000,
    CASE WHEN s.bit >= 32 THEN c.t END,
    CASE WHEN s.bit >= 32 THEN c.t + make_interval(secs => r.keep_s) END,
    c.t + make_interval(secs => r.period_s),
    r.keep_s, r.gate_per_s, r.priority, r.max_attempts, r.waiting_for, r.gate_limit, r.gate_rate,
    r.unique_states, r.has_children, s.state, r.task, r.queue, r.on_parent_failure, r.gate,
    CASE WHEN (r.unique_states & s.bit) <> 0 THEN r.unique_by END, r.unique_by, r.args, r.meta,
    CASE WHEN r.error IS NOT NULL THEN ARRAY[r.error] END
FROM d CROSS JOIN c CROSS JOIN json_to_recordset(d.j->'rows') AS r(
    place integer, id uuid, task text, args text, meta text, queue text, priority integer,
    delay_s double precision, run_at timestamptz, max_attempts integer, keep_s double precision,
    unique_by text, unique_states integer, period_s double precision, gate text,
    gate_limit integer, gate_rate integer, gate_per_s double precision, waiting_for integer,
    has_children boolean, state text, on_parent_failure text, error text)
CROSS JOIN LATERAL (SELECT coalesce(r.run_at,
    c.t + make_interval(secs => greatest(0, r.delay_s))) AS run_at) w
CROSS JOIN LATERAL (SELECT v.state, CASE v.state WHEN 'waiting' THEN 1 WHEN 'scheduled' THEN 2
    WHEN 'available' THEN 4 WHEN 'discarded' THEN 64 ELSE 128 END AS bit
    FROM (SELECT CASE WHEN r.state IS NOT NULL THEN r.state
        WHEN w.run_at > c.t THEN 'scheduled' ELSE 'available' END AS state) v) s
WHERE r.unique_by IS NULL OR (r.unique_states & s.bit) <> 0
    OR NOT EXISTS (SELECT 1 FROM {jobs} h WHERE h.unique_key = r.unique_by)
ORDER BY r.unique_by NULLS LAST, r.place
ON CONFLICT DO NOTHING
RETURNING id, state"""
)
_INSERT_EDGES = (
    _HEAD
    + """INSERT INTO {edges} (parent, child, position, settled)
SELECT r.parent, r.child, r.position, r.settled
FROM d CROSS JOIN json_to_recordset(d.j->'rows')
    AS r(parent uuid, child uuid, position integer, settled boolean)
ON CONFLICT DO NOTHING"""
)

# One that is handed back (available) keeps its place in the queue.
_FINISH_ROWS = (
    _HEAD
    + """UPDATE {jobs} j SET
    state = r.state,
    run_at = CASE WHEN r.bit IN (2, 16) THEN c.t + make_interval(secs => greatest(0, r.delay_s))
        ELSE j.run_at END,
    attempt = CASE WHEN r.give_back THEN greatest(0, j.attempt - 1) ELSE j.attempt END,
    worker = NULL,
    result = r.result,
    errors = CASE WHEN r.error IS NULL THEN j.errors
        ELSE (coalesce(j.errors, '{}') || ARRAY[r.error])
            [coalesce(cardinality(j.errors), 0) - 18 : ] END,
    finished_at = CASE WHEN r.bit >= 32 THEN c.t END,
    expires_at = CASE WHEN r.bit >= 32
        THEN c.t + make_interval(secs => coalesce(r.keep_s, j.keep_s)) END,
    unique_key = """
    + _keep_key("r.bit")
    + """
FROM d CROSS JOIN c CROSS JOIN json_to_recordset(d.j->'rows') AS r(id uuid, fence bigint,
    state text, bit integer, delay_s double precision, give_back boolean, result text, error text,
    keep_s double precision)
WHERE j.id = r.id AND j.fence = r.fence AND j.state || '' = 'running'
RETURNING j.id, j.has_children"""
)
_LOCK_CHILDREN = (
    _HEAD
    + """SELECT j.id, j.waiting_for, j.on_parent_failure, e.parent, (SELECT t FROM c)
FROM {edges} e JOIN {jobs} j ON j.id = e.child
WHERE NOT e.settled AND j.state = 'waiting' AND e.parent = """
    + _IDS
    + " ORDER BY j.id FOR UPDATE OF j"
)
_SETTLE_EDGES = (
    _HEAD + "UPDATE {edges} e SET settled = true WHERE NOT e.settled AND e.parent = " + _IDS
)
_RELEASE_CHILDREN = (
    _HEAD
    + """UPDATE {jobs} j SET
    waiting_for = r.waiting_for,
    state = n.state,
    rank = c.us - CAST(j.priority AS bigint) * 600000000,
    run_at = CASE n.bit WHEN 4 THEN c.t ELSE j.run_at END,
    unique_key = """
    + _keep_key("n.bit")
    + """
FROM d CROSS JOIN c CROSS JOIN json_to_recordset(d.j->'rows') AS r(id uuid, waiting_for integer)
JOIN {jobs} o ON o.id = r.id
CROSS JOIN LATERAL (SELECT CASE WHEN r.waiting_for > 0 THEN 'waiting'
        WHEN o.run_at > c.t THEN 'scheduled' ELSE 'available' END AS state,
    CASE WHEN r.waiting_for > 0 THEN 1 WHEN o.run_at > c.t THEN 2 ELSE 4 END AS bit) n
WHERE j.id = r.id AND j.state = 'waiting'"""
)
_END_ROWS = (
    _HEAD
    + """UPDATE {jobs} j SET
    state = r.state,
    waiting_for = coalesce(r.waiting_for, j.waiting_for),
    finished_at = c.t,
    expires_at = c.t + make_interval(secs => j.keep_s),
    errors = (coalesce(j.errors, '{}') || ARRAY[r.error])
        [coalesce(cardinality(j.errors), 0) - 18 : ],
    unique_key = """
    + _keep_key("r.bit")
    + """
FROM d CROSS JOIN c CROSS JOIN json_to_recordset(d.j->'rows')
    AS r(id uuid, state text, bit integer, error text, waiting_for integer)
WHERE j.id = r.id AND j.state NOT IN ('running', 'succeeded', 'discarded', 'cancelled')
RETURNING j.id, j.has_children"""
)
_LOCK_JOB = (
    _HEAD
    + "SELECT j.id, j.state, (SELECT t FROM c) FROM {jobs} j WHERE j.id = "
    + _IDS
    + " FOR UPDATE"
)
_ASK_TO_CANCEL = (
    _HEAD
    + """UPDATE {jobs} j SET cancel_requested = true,
    cancel_reason = (SELECT d.j->>'reason' FROM d)
WHERE j.id = """
    + _IDS
)
_FIRST_TICK = (
    _HEAD
    + """INSERT INTO {ticks} (name, last_tick)
SELECT d.j->>'name', CAST(d.j->>'at' AS timestamptz) FROM d
ON CONFLICT DO NOTHING RETURNING name"""
)
_NEXT_TICK = (
    _HEAD
    + """UPDATE {ticks} k SET last_tick = CAST(d.j->>'at' AS timestamptz) FROM d
WHERE k.name = d.j->>'name' AND k.last_tick = CAST(d.j->>'previous' AS timestamptz)
RETURNING k.name"""
)


def error_text(kind: str, message: str, at: datetime) -> str:
    """One entry of ``errors``, for an end that no worker wrote."""
    return json.dumps({"type": kind, "message": message, "at": at.astimezone(UTC).isoformat()})


def _doc(now: datetime | None, **rest: Any) -> str:
    if now is not None:
        rest["now"] = now.isoformat()
    return json.dumps(rest, separators=(",", ":"))


def _uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(str(value))


def _texts(ids: Iterable[UUID]) -> list[str]:
    return [str(entry) for entry in ids]


# ---------------------------------------------------------------------------- inserting


def insert_plan(jobs: Sequence[NewJob], now: datetime | None) -> Plan[list[Inserted]]:
    """Write jobs of any kind.

    Raises:
        BadJob: one cannot be written; raised before the first statement.
    """
    check_jobs(jobs)
    wanted = {parent for job in jobs for parent in job.after}
    states: dict[UUID, str] = {}
    at = now or datetime.now(UTC)
    if wanted:
        at = yield from _adopt(wanted, states, at, now)
    keys = sorted({job.unique.key for job in jobs if job.unique is not None})
    if keys:
        yield _FREE_KEYS, _doc(now, keys=keys)
    outcome: dict[int, Inserted] = {}
    waiting = list(enumerate(jobs))
    edges: list[dict[str, Any]] = []
    held_by: dict[UUID, UUID] = {}  # who stands for a job that is not written
    rounds_left = 10
    while waiting:
        # A child of a job whose unique key may turn out to be taken has to wait until that is
        # known, so it goes with the next round.
        open_ids: set[UUID] = set()
        now_these: list[tuple[int, NewJob]] = []
        later: list[tuple[int, NewJob]] = []
        rows: list[dict[str, Any]] = []
        started: dict[UUID, str] = {}
        for place, given in waiting:
            job = _behind(given, held_by)
            if any(parent in open_ids for parent in job.after):
                later.append((place, job))
                open_ids.add(job.id)
                continue
            known = states | started if job.after else states
            row = _row(place, job, known, job.id in wanted, at)
            rows.append(row)
            now_these.append((place, job))
            if job.unique is not None:
                open_ids.add(job.id)
            elif job.id in wanted:
                started.setdefault(job.id, row["state"] or "available")
        written = {_uuid(row[0]): row[1] for row in (yield _INSERT_ROWS, _doc(now, rows=rows))}
        missing: list[tuple[int, NewJob]] = []
        for place, job in now_these:
            state = written.pop(job.id, None)
            if state is None:
                missing.append((place, job))
                continue
            outcome[place] = Inserted(job.id, True)
            if job.after:
                known = states | started
                edges += _edges(job, known)
            if job.id in wanted:
                states[job.id] = state
        if missing:
            holders = yield (
                _FIND_HOLDERS,
                _doc(
                    now,
                    ids=_texts(job.id for _, job in missing),
                    keys=[job.unique.key for _, job in missing if job.unique is not None],
                ),
            )
            by_id = {_uuid(row[0]) for row in holders if row[1] is None}
            by_key = {row[1]: _uuid(row[0]) for row in holders if row[1] is not None}
            for place, job in missing:
                if job.id in by_id:
                    outcome[place] = Inserted(job.id, False)
                elif job.unique is not None and job.unique.key in by_key:
                    outcome[place] = Inserted(by_key[job.unique.key], False)
                    held_by[job.id] = by_key[job.unique.key]
                else:  # its holder let go in this very moment
                    later.append((place, job))
            strangers = {held_by[each] for each in wanted & held_by.keys()} - states.keys()
            if strangers:
                at = yield from _adopt(strangers, states, at, now)
        rounds_left -= 0 if len(later) < len(waiting) else 1
        if not rounds_left:
            raise LedgerUnavailable(
                "unique keys changed hands ten times while a job was being written; try again"
            )
        waiting = sorted(later, key=lambda pair: pair[0])
    if edges:
        yield _INSERT_EDGES, _doc(now, rows=edges)
    return [outcome[place] for place in range(len(jobs))]


def _adopt(
    parents: Iterable[UUID], states: dict[UUID, str], at: datetime, now: datetime | None
) -> Plan[datetime]:
    """Lock those of the parents that are there, tell them that they have children, and add what
    they are to ``states``. The time.
    """
    found = yield _LOCK_PARENTS, _doc(now, ids=_texts(sorted(parents)))
    states.update((_uuid(row[0]), row[1]) for row in found)
    unmarked = [str(row[0]) for row in found if row[1] in _LIVE_NAMES and not row[2]]
    if unmarked:
        yield _MARK_PARENTS, _doc(now, ids=unmarked)
    return found[0][3] if found else at


def _behind(job: NewJob, held_by: dict[UUID, UUID]) -> NewJob:
    """The job, waiting for those that hold the keys of parents that are not written."""
    if not held_by or not any(parent in held_by for parent in job.after):
        return job
    return replace(job, after=tuple(held_by.get(parent, parent) for parent in job.after))


def _row(
    place: int, job: NewJob, states: dict[UUID, str], has_children: bool, at: datetime
) -> dict[str, Any]:
    parents = dict.fromkeys(job.after)
    live = sum(states.get(parent) in _LIVE_NAMES for parent in parents)
    state: str | None = "waiting" if live else None
    error: str | None = None
    if job.on_parent_failure != "run":
        failed = next((parent for parent in parents if states.get(parent) in _FAILED), None)
        if failed is not None:
            state, error = _end(job.on_parent_failure, failed, states[failed], at)
    unique, gate = job.unique, job.gate
    return {
        "place": place,
        "id": str(job.id),
        "task": job.task,
        "args": job.args,
        "meta": job.meta,
        "queue": job.queue,
        "priority": job.priority,
        "delay_s": job.delay_s,
        "run_at": None if job.run_at is None else job.run_at.isoformat(),
        "max_attempts": job.max_attempts,
        "keep_s": job.keep_s,
        "unique_by": unique and unique.key,
        "unique_states": unique and sum(BITS[state] for state in unique.states),
        "period_s": unique and unique.period_s,
        "gate": gate and gate.name,
        "gate_limit": gate and gate.limit,
        "gate_rate": gate and gate.rate,
        "gate_per_s": gate and gate.per_s,
        "waiting_for": live,
        "has_children": has_children,
        "state": state,
        "on_parent_failure": job.on_parent_failure if parents else None,
        "error": error,
    }


def _edges(job: NewJob, states: dict[UUID, str]) -> list[dict[str, Any]]:
    return [
        {
            "parent": str(parent),
            "child": str(job.id),
            "position": position,
            "settled": states.get(parent) not in _LIVE_NAMES,
        }
        for position, parent in enumerate(dict.fromkeys(job.after))
    ]


def _end(rule: str, parent: UUID, became: str, at: datetime) -> tuple[str, str]:
    """The state and the error of a job whose parent failed."""
    message = f"the job {parent}, which this one waited for, was {became}"
    state = "cancelled" if rule == "cancel" else "discarded"
    return state, error_text("ParentFailed", message, at)


# ---------------------------------------------------------------------------- finishing


def finish_plan(finishes: Sequence[Finish], now: datetime | None) -> Plan[set[UUID]]:
    """End claims of any kind. Returns the ids of those that were current.

    Raises:
        BadJob: one cannot be written; raised before the first statement.
    """
    check_finishes(finishes)
    firsts: dict[UUID, Finish] = {}
    for finish in finishes:
        firsts.setdefault(finish.id, finish)
    rows = []
    for job_id in sorted(firsts):
        finish = firsts[job_id]
        state = finish.state
        if state is State.AVAILABLE and finish.delay_s > 0:
            state = State.SCHEDULED
        rows.append(
            {
                "id": str(job_id),
                "fence": finish.fence,
                "state": state,
                "bit": BITS[state],
                "delay_s": finish.delay_s,
                "give_back": finish.give_back,
                "result": finish.result,
                "error": finish.error,
                "keep_s": finish.keep_s,
            }
        )
    ended = yield _FINISH_ROWS, _doc(now, rows=rows)
    current = {_uuid(row[0]) for row in ended}
    then = [job for finish in firsts.values() if finish.id in current for job in finish.then]
    if then:
        yield from insert_plan(then, now)
    with_children = [firsts[_uuid(row[0])] for row in ended if row[1]]
    parents = {finish.id: str(finish.state) for finish in with_children if finish.state in FINISHED}
    if parents:
        yield from children_plan(parents, now)
    return current


def children_plan(parents: dict[UUID, str], now: datetime | None) -> Plan[bool]:
    """Let children know what became of their parents, and theirs. Whether any may run now."""
    released = False
    while parents:
        ids = _texts(sorted(parents))
        found = yield _LOCK_CHILDREN, _doc(now, ids=ids)
        yield _SETTLE_EDGES, _doc(now, ids=ids)
        left: dict[UUID, int] = {}  # parents that are not done
        ends: dict[UUID, dict[str, Any]] = {}
        for row in found:
            child, rule, parent = _uuid(row[0]), row[2], _uuid(row[3])
            left[child] = max(0, left.get(child, int(row[1])) - 1)
            if parents[parent] != "succeeded" and rule != "run" and child not in ends:
                state, error = _end(rule, parent, parents[parent], row[4])
                ends[child] = {
                    "id": str(child),
                    "state": state,
                    "bit": BITS[State(state)],
                    "error": error,
                }
        going = [
            {"id": str(child), "waiting_for": count}
            for child, count in left.items()
            if child not in ends
        ]
        if going:
            released = released or any(not row["waiting_for"] for row in going)
            yield _RELEASE_CHILDREN, _doc(now, rows=going)
        parents = {}
        if ends:
            for child, end in ends.items():
                end["waiting_for"] = left[child]
            ended = yield _END_ROWS, _doc(now, rows=list(ends.values()))
            failed = [_uuid(row[0]) for row in ended if row[1]]
            parents = {child: str(ends[child]["state"]) for child in failed}
    return released


def cancel_plan(job_id: UUID, reason: str, now: datetime | None) -> Plan[tuple[State | None, bool]]:
    """Cancel a job, or ask for it. Returns the state before, and whether others may run now."""
    found = yield _LOCK_JOB, _doc(now, ids=[str(job_id)])
    if not found:
        return None, False
    state = State(found[0][1])
    if state in FINISHED:
        return state, False
    if state is State.RUNNING:
        yield _ASK_TO_CANCEL, _doc(now, ids=[str(job_id)], reason=reason)
        return state, False
    error = error_text("Cancelled", reason, found[0][2])
    row = {"id": str(job_id), "state": "cancelled", "bit": BITS[State.CANCELLED], "error": error}
    ended = yield _END_ROWS, _doc(now, rows=[row])
    released = False
    if ended and ended[0][1]:
        released = yield from children_plan({job_id: "cancelled"}, now)
    return state, released


def tick_plan(tick: Tick, now: datetime | None) -> Plan[bool]:
    """Write a tick and its jobs, if it is the next one.

    Raises:
        BadJob: it cannot be written; raised before the first statement.
    """
    check_tick(tick)
    times = {"name": tick.name, "at": tick.at.isoformat()}
    if tick.previous is None:
        rows = yield _FIRST_TICK, _doc(now, **times)
    else:
        rows = yield _NEXT_TICK, _doc(now, **times, previous=tick.previous.isoformat())
    if rows and tick.jobs:
        yield from insert_plan(tick.jobs, now)
    return bool(rows)
