"""Taking jobs in PostgreSQL: SKIP LOCKED, so that claimers do not wait for each other."""

# ruff: noqa: S608  # the pieces put together here are constants

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from backstay.ledger.gates import Rates, decode_rates, encode_rates, has_rate, record, room
from backstay.ledger.port import Claims
from backstay.ledger.postgres_lane import Connection, Lane
from backstay.ledger.postgres_plans import KEEP_KEY
from backstay.ledger.postgres_schema import Tables
from backstay.ledger.rows import Claimed, Gate

__all__ = ["CLAIM", "Claimer"]

_GATES_AT_A_TIME = 200
_DUE_AT_A_TIME = 2000
_LOOK_AGAIN_S = 0.05  # when there were more gates than one claim looks at

_NOW = "WITH c AS MATERIALIZED (SELECT coalesce($1::timestamptz, clock_timestamp()) AS t)\n"
_TAKE = """UPDATE {jobs} j SET state = 'running', worker = $2, ticket = $3,
    attempt = j.attempt + 1, fence = j.fence + 1, started_at = (SELECT t FROM c),
    unique_key = """ + KEEP_KEY.replace("{bit}", "8").replace("{now}", "(SELECT t FROM c)")
_TAKEN = """
    RETURNING j.id, j.fence, j.attempt, j.max_attempts, j.task, j.queue, j.args, j.meta,
        j.created_at, j.run_at, j.rank"""

# The queues in which something waits for its time, and the first of each: one step through the
# index per queue, however many jobs wait.
_QUEUES_WITH_DUE = """(SELECT queue FROM {jobs} WHERE state IN ('scheduled', 'retrying')
        ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (SELECT queue FROM {jobs} WHERE state IN ('scheduled', 'retrying')
        AND queue > q.queue ORDER BY queue LIMIT 1)
    FROM q WHERE q.queue IS NOT NULL"""
_FIRST_DUE = """SELECT q.queue, f.run_at FROM q CROSS JOIN LATERAL (
        SELECT run_at FROM {jobs}
        WHERE queue = q.queue AND state IN ('scheduled', 'retrying')
        ORDER BY run_at LIMIT 1) f"""

# One round trip when nothing is due and nothing is limited. It takes nothing if something is due
# (what is due may rank before what is available), and nothing from queues that have limits or
# gated jobs; its first four columns say so. Rows are found again by their place (ctid), a tenth
# cheaper than by id: they are locked, so they stay where they are.
CLAIM = (
    _NOW.replace("WITH", "WITH RECURSIVE")
    + """, q(queue) AS (
    """
    + _QUEUES_WITH_DUE
    + """
), w AS MATERIALIZED (
    SELECT w.queue, w.n, (q.max_running IS NOT NULL OR q.rate IS NOT NULL OR EXISTS (
        SELECT 1 FROM {jobs} g
        WHERE g.queue = w.queue AND g.state = 'available' AND g.gate IS NOT NULL)) AS slow
    FROM unnest($4::text[], $5::integer[]) AS w(queue, n)
    LEFT JOIN {queues} q ON q.name = w.queue
    WHERE q.paused_at IS NULL
), first AS MATERIALIZED (
    """
    + _FIRST_DUE
    + """
), due AS MATERIALIZED (
    SELECT $6::boolean AND EXISTS (
        SELECT 1 FROM first WHERE run_at <= (SELECT t FROM c)) AS yes
), picked AS MATERIALIZED (
    SELECT a.queue, a.rank, a.id, a.place FROM w CROSS JOIN LATERAL (
        SELECT queue, rank, id, ctid AS place FROM {jobs}
        WHERE queue = w.queue AND state = 'available' AND gate IS NULL
        ORDER BY rank, id LIMIT w.n FOR UPDATE SKIP LOCKED) a
    WHERE NOT w.slow AND NOT (SELECT yes FROM due)
), taken AS (
    """
    + _TAKE
    + """
    WHERE j.ctid = ANY(ARRAY(SELECT place FROM picked))"""
    + _TAKEN
    + """
), last AS (
    SELECT DISTINCT ON (queue) queue, rank, id FROM picked ORDER BY queue, rank DESC, id DESC
), info AS (
    SELECT (SELECT yes FROM due) AS due,
        (SELECT coalesce(array_agg(queue), '{}') FROM w WHERE slow) AS slow,
        (SELECT CAST(extract(epoch FROM min(first.run_at) - (SELECT t FROM c)) AS float8)
            FROM first JOIN w ON w.queue = first.queue) AS next_due_s,
        EXISTS (SELECT 1 FROM last CROSS JOIN LATERAL (
            SELECT 1 FROM {jobs} b
            WHERE b.queue = last.queue AND b.state = 'available' AND b.gate IS NULL
            AND (b.rank, b.id) > (last.rank, last.id) LIMIT 1) m) AS more
)
SELECT i.due, i.slow, i.next_due_s, i.more, t.* FROM info i LEFT JOIN taken t ON true
ORDER BY t.rank, t.id"""
)
_PROMOTE = (
    _NOW.replace("WITH", "WITH RECURSIVE")
    + """, q(queue) AS (
    """
    + _QUEUES_WITH_DUE
    + """
)
UPDATE {jobs} j SET state = 'available',
    rank = CAST(extract(epoch FROM j.run_at) * 1000000 AS bigint)
        - CAST(j.priority AS bigint) * 600000000,
    unique_key = """
    + KEEP_KEY.replace("{bit}", "4").replace("{now}", "(SELECT t FROM c)")
    + """
WHERE j.id = ANY(ARRAY(SELECT d.id FROM q CROSS JOIN LATERAL (
    SELECT id FROM {jobs} WHERE queue = q.queue AND state IN ('scheduled', 'retrying')
    AND run_at <= (SELECT t FROM c) ORDER BY run_at LIMIT $2 FOR UPDATE SKIP LOCKED) d))"""
)
_GIVE_BACK = """UPDATE {jobs} SET state = 'available', attempt = attempt - 1, worker = NULL
WHERE state = 'running' AND worker = $1 AND ticket = ANY($2)"""

_QUEUE_RULE = (
    "SELECT q.max_running, q.rate, q.per_s FROM (SELECT 1) one LEFT JOIN {queues} q ON q.name = $1"
)
_ANY_WAITING = """SELECT EXISTS (
    SELECT 1 FROM {jobs} WHERE queue = $1 AND state = 'available' AND gate IS NULL) OR EXISTS (
    SELECT 1 FROM {jobs} WHERE queue = $1 AND state = 'available' AND gate IS NOT NULL)"""
_MAKE_GATES = """INSERT INTO {gates} (name) SELECT n FROM unnest($1::text[]) n
WHERE NOT EXISTS (SELECT 1 FROM {gates} g WHERE g.name = n) ORDER BY n ON CONFLICT DO NOTHING"""
_LOCK_QUEUE = "SELECT starts FROM {gates} WHERE name = $1 FOR UPDATE"
_LOCK_GATES = """SELECT name, starts FROM {gates} WHERE name = ANY($1)
ORDER BY name FOR UPDATE SKIP LOCKED"""
_REMEMBER = """UPDATE {gates} g SET starts = r.starts, forget_at = r.forget_at
FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS r(name, starts, forget_at)
WHERE g.name = r.name"""
_RUNNING_IN_QUEUE = "SELECT count(*) FROM {jobs} WHERE queue = $1 AND state = 'running'"
_RUNNING_IN_GATES = """SELECT gate, count(*) FROM {jobs}
WHERE state = 'running' AND gate IS NOT NULL AND gate = ANY($1) GROUP BY gate"""
# A loose scan: from each gate to the next one, however many jobs wait in between.
_GATES_WAITING = """WITH RECURSIVE g AS (
    (SELECT gate, gate_limit, gate_rate, gate_per_s FROM {jobs}
     WHERE queue = $1 AND state = 'available' AND gate IS NOT NULL AND gate > $2
     ORDER BY gate, rank, id LIMIT 1)
    UNION ALL
    SELECT n.* FROM g CROSS JOIN LATERAL (
        SELECT gate, gate_limit, gate_rate, gate_per_s FROM {jobs}
        WHERE queue = $1 AND state = 'available' AND gate IS NOT NULL AND gate > g.gate
        ORDER BY gate, rank, id LIMIT 1) n
)
SELECT * FROM g LIMIT $3"""
_FIRST_GATES_WAITING = _GATES_WAITING.replace("gate > $2", "gate >= $2")  # '' is a name, too
_CANDIDATES = """SELECT rank, id, gate FROM {jobs}
WHERE queue = $1 AND state = 'available' AND gate IS NULL
ORDER BY rank, id LIMIT $2 FOR UPDATE SKIP LOCKED"""
_GATED_CANDIDATES = """SELECT a.rank, a.id, a.gate
FROM unnest($2::text[], $3::integer[]) AS g(name, n) CROSS JOIN LATERAL (
    SELECT rank, id, gate FROM {jobs}
    WHERE queue = $1 AND state = 'available' AND gate IS NOT NULL AND gate = g.name
    ORDER BY rank, id LIMIT g.n FOR UPDATE SKIP LOCKED) a"""
_TAKE_THESE = (
    _NOW
    + ", taken AS (\n"
    + _TAKE
    + "\n    WHERE j.id = ANY($4)"
    + _TAKEN
    + "\n)\nSELECT * FROM taken"
)


class _Door(NamedTuple):
    """A gate with room: how many may go through, and what started lately."""

    gate: Gate
    rates: Rates
    free: int


class _Limited(NamedTuple):
    """What a queue with limits or gates gave."""

    rows: Sequence[Any]
    wait_s: float | None
    more: bool


class Claimer:
    """Claims on one connection.

    A claim whose answer got lost may have been committed: jobs would be held by a worker that
    does not know it, and that goes on beating. Each claim therefore leaves a number on its rows,
    and the next one gives back what numbers without an answer had taken.

    Args:
        lane: the connection.
        tables: the tables.
        ticket: where the numbers start; a random one, as two engines may claim for one worker.
    """

    def __init__(self, lane: Lane, tables: Tables, *, ticket: int) -> None:
        self._lane = lane
        self._tables = tables
        self._ticket = ticket
        self._unanswered: dict[str, list[int]] = {}
        self._after_gate: dict[str, str] = {}

    async def claim(self, worker: str, wants: dict[str, int], now: datetime | None) -> Claims:
        """See ``Ledger.claim``."""
        if worker in self._unanswered:
            await self._give_back(worker)
        self._ticket += 1
        ticket = self._ticket
        sql = self._tables[CLAIM]
        queues, places = list(wants), list(wants.values())

        def uncertain() -> None:
            self._unanswered.setdefault(worker, []).append(ticket)

        async def once(connection: Connection) -> Sequence[Any]:
            rows = await connection.fetch(sql, now, worker, ticket, queues, places, True)
            if rows[0][0]:
                await connection.execute(self._tables[_PROMOTE], now, _DUE_AT_A_TIME)
                rows = await connection.fetch(sql, now, worker, ticket, queues, places, False)
            return rows

        rows = await self._lane.run(once, transaction=False, uncertain=uncertain)
        _, slow, next_due_s, more = rows[0][:4]
        jobs = [Claimed._make(row[4:14]) for row in rows] if rows[0][4] is not None else []
        if next_due_s is not None and next_due_s < 0:
            next_due_s = 0.0
        if not slow:
            return Claims(jobs, next_due_s, more)
        ranked = [(row[14], row[4]) for row in rows] if jobs else []
        for queue in slow:

            async def limited(connection: Connection, queue: str = queue) -> _Limited:
                return await self._from_limited(
                    connection, worker, ticket, queue, wants[queue], now
                )

            try:
                found = await self._lane.run(limited, uncertain=uncertain)
            except BaseException:
                # What the statements before have taken, the caller will never hear of.
                if jobs:
                    uncertain()
                raise
            jobs += [Claimed._make(row[:10]) for row in found.rows]
            ranked += [(row[10], row[0]) for row in found.rows]
            more = more or found.more
            if found.wait_s is not None:
                next_due_s = found.wait_s if next_due_s is None else min(next_due_s, found.wait_s)
        order = sorted(range(len(jobs)), key=ranked.__getitem__)
        return Claims([jobs[place] for place in order], next_due_s, more)

    async def _give_back(self, worker: str) -> None:
        tickets = self._unanswered[worker]
        sql = self._tables[_GIVE_BACK]
        await self._lane.run(
            lambda connection: connection.execute(sql, worker, tickets), transaction=False
        )
        del self._unanswered[worker]

    async def _from_limited(
        self,
        connection: Connection,
        worker: str,
        ticket: int,
        queue: str,
        wanted: int,
        now: datetime | None,
    ) -> _Limited:
        """From one queue, in a transaction, under the locks of what limits it."""
        sql = self._tables
        limit, rate, per_s = (await connection.fetch(sql[_QUEUE_RULE], queue))[0]
        take, wait_s = wanted, None
        whole: _Door | None = None
        if limit is not None or rate is not None:
            rule = Gate(f"queue:{queue}", limit, rate, per_s or 1.0)
            await connection.execute(sql[_MAKE_GATES], [rule.name])
            rates = decode_rates(await connection.fetchval(sql[_LOCK_QUEUE], rule.name))
            # Only now: what the one before us in the lock took has to count.
            running = await connection.fetchval(sql[_RUNNING_IN_QUEUE], queue)
            free, wait_s = room(rule, running, rates, await self._time(connection, now))
            if not free:
                waiting = await connection.fetchval(sql[_ANY_WAITING], queue)
                return _Limited([], wait_s if waiting else None, False)
            whole = _Door(rule, rates, free)
            take = min(wanted, free)
        doors, wait_s, unseen, more = await self._doors(connection, queue, now)
        candidates = [
            tuple(row) for row in await connection.fetch(sql[_CANDIDATES], queue, take + 1)
        ]
        full: list[str] = []  # gates before which more jobs wait than may start
        if doors:
            # One more than may start, to know whether anybody waits for the next start.
            rooms = [min(door.free, take) + 1 for door in doors.values()]
            counts: dict[str, int] = {}
            for row in await connection.fetch(sql[_GATED_CANDIDATES], queue, list(doors), rooms):
                name = row[2]
                counts[name] = counts.get(name, 0) + 1
                if counts[name] <= doors[name].free:
                    candidates.append(tuple(row))
                else:
                    full.append(name)
        candidates.sort(key=lambda row: row[:2])
        chosen = candidates[:take]
        rows: Sequence[Any] = []
        at_s = await self._time(connection, now)
        if chosen:
            ids = [row[1] for row in chosen]
            rows = await connection.fetch(sql[_TAKE_THESE], now, worker, ticket, ids)
        started: dict[str, int] = {}
        for _, _, gate in chosen:
            if gate is not None:
                started[gate] = started.get(gate, 0) + 1
        memories = {
            name: record(doors[name].gate, doors[name].rates, count, at_s)
            for name, count in started.items()
            if has_rate(doors[name].gate)
        }
        waits = [wait_s] if wait_s is not None else []
        for name in full:
            gate = doors[name].gate
            _, wait = room(gate, 0, memories.get(name, doors[name].rates), at_s)
            waits += [wait] if wait is not None else []
        further = len(candidates) > take
        rules = {name: doors[name].gate for name in memories}
        if whole is not None and has_rate(whole.gate) and chosen:
            memory = record(whole.gate, whole.rates, len(chosen), at_s)
            memories[whole.gate.name], rules[whole.gate.name] = memory, whole.gate
            _, wait = room(whole.gate, 0, memory, at_s)
            waits += [wait] if wait is not None and further else []
        await self._remember(connection, rules, memories, at_s)
        if further:
            more = more or whole is None or whole.free > take
        elif unseen:
            waits.append(_LOOK_AGAIN_S)
        return _Limited(rows, min(waits, default=None), more)

    async def _doors(
        self, connection: Connection, queue: str, now: datetime | None
    ) -> tuple[dict[str, _Door], float | None, bool, bool]:
        """The gates with room, locked.

        Returns:
            Them, seconds until a rate opens another, whether there are gates that were not looked
            at, and whether somebody else had some locked.
        """
        sql = self._tables
        after = self._after_gate.pop(queue, "")
        look = _GATES_WAITING if after else _FIRST_GATES_WAITING
        found = list(await connection.fetch(sql[look], queue, after, _GATES_AT_A_TIME))
        unseen = bool(after)
        if after and len(found) < _GATES_AT_A_TIME:
            rest = _GATES_AT_A_TIME - len(found)
            seen = {row[0] for row in found}
            wrapped = await connection.fetch(sql[_FIRST_GATES_WAITING], queue, "", rest)
            unseen = len(wrapped) == rest
            found += [row for row in wrapped if row[0] not in seen]
        unseen = unseen or len(found) >= _GATES_AT_A_TIME
        if not found:
            return {}, None, False, False
        if unseen:
            self._after_gate[queue] = found[-1][0]
        gates = {row[0]: Gate(row[0], row[1], row[2], row[3] or 1.0) for row in found}
        every = sorted(gates)
        await connection.execute(sql[_MAKE_GATES], every)
        locked = {row[0]: row[1] for row in await connection.fetch(sql[_LOCK_GATES], every)}
        counted = await connection.fetch(sql[_RUNNING_IN_GATES], list(locked))
        running = {row[0]: row[1] for row in counted}
        at_s = await self._time(connection, now)
        doors: dict[str, _Door] = {}
        waits: list[float] = []
        for name, starts in locked.items():
            rates = decode_rates(starts)
            free, wait = room(gates[name], running.get(name, 0), rates, at_s)
            if free:
                doors[name] = _Door(gates[name], rates, free)
            elif wait is not None:
                waits.append(wait)
        return doors, min(waits, default=None), unseen, len(locked) < len(every)

    async def _remember(
        self,
        connection: Connection,
        rules: dict[str, Gate],
        memories: dict[str, Rates],
        at_s: float,
    ) -> None:
        names = sorted(memories)
        if names:
            await connection.execute(
                self._tables[_REMEMBER],
                names,
                [encode_rates(memories[name]) for name in names],
                [
                    datetime.fromtimestamp(at_s + 3600 + 2 * rules[name].per_s, UTC)
                    for name in names
                ],
            )

    @staticmethod
    async def _time(connection: Connection, now: datetime | None) -> float:
        at: datetime = now or await connection.fetchval("SELECT clock_timestamp()")
        return at.timestamp()
