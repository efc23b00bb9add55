"""How workers get jobs.

Jobs without a gate are claimed by one statement per queue. Jobs behind gates are looked at gate
by gate, because each has its own room; both kinds are merged by rank, so neither starves the
other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from backstay.ledger.gates import Rates, decode_rates, encode_rates, has_rate, record, room
from backstay.ledger.port import Claims, Execute
from backstay.ledger.rows import Gate
from backstay.ledger.sqlite_rows import claimed

__all__ = ["Claiming"]

# Where due jobs are, and when the next one will be: one step through the index for each queue.
_NEXT_DUE = """
WITH RECURSIVE found (queue) AS (
    SELECT (
        SELECT min(queue) FROM {p}jobs INDEXED BY {p}jobs_due
        WHERE state IN ('scheduled', 'retrying')
    )
    UNION ALL
    SELECT (
        SELECT min(queue) FROM {p}jobs INDEXED BY {p}jobs_due
        WHERE state IN ('scheduled', 'retrying') AND queue > found.queue
    )
    FROM found WHERE found.queue IS NOT NULL
)
SELECT queue, (
    SELECT min(run_at) FROM {p}jobs INDEXED BY {p}jobs_due
    WHERE state IN ('scheduled', 'retrying') AND queue = found.queue
)
FROM found WHERE queue IS NOT NULL
"""
_QUEUE_DUE = (
    "SELECT min(run_at) FROM {p}jobs INDEXED BY {p}jobs_due "
    "WHERE state IN ('scheduled', 'retrying') AND queue = :queue"
)
_PROMOTE = (
    "UPDATE {p}jobs SET state = 'available', "
    "unique_held = CASE WHEN unique_states & 4 THEN unique_held ELSE 0 END "
    "WHERE seq IN (SELECT seq FROM {p}jobs INDEXED BY {p}jobs_due "
    "WHERE state IN ('scheduled', 'retrying') AND queue = :queue AND run_at <= :now "
    "ORDER BY run_at LIMIT :most)"
)
_QUEUE = "SELECT paused_at, max_running, rate, per_s FROM {p}queues WHERE name = :queue"
_RUNNING_IN_QUEUE = (
    "SELECT count(*) FROM {p}jobs INDEXED BY {p}jobs_running "
    "WHERE state = 'running' AND queue = :queue"
)
_RUNNING_BEHIND_GATE = (
    "SELECT count(*) FROM {p}jobs INDEXED BY {p}jobs_running_gate "
    "WHERE state = 'running' AND gate IS NOT NULL AND gate = :gate"
)
_ANY_UNGATED = (
    "SELECT 1 FROM {p}jobs INDEXED BY {p}jobs_available "
    "WHERE state = 'available' AND gate IS NULL AND queue = :queue LIMIT 1"
)
_ANY_GATED = (
    "SELECT 1 FROM {p}jobs INDEXED BY {p}jobs_gated "
    "WHERE state = 'available' AND gate IS NOT NULL AND queue = :queue LIMIT 1"
)
_UNGATED = (
    "SELECT rank, seq FROM {p}jobs INDEXED BY {p}jobs_available "
    "WHERE state = 'available' AND gate IS NULL AND queue = :queue ORDER BY rank, seq LIMIT :most"
)
_GATES = """
WITH RECURSIVE found (gate) AS (
    SELECT (
        SELECT min(gate) FROM {p}jobs INDEXED BY {p}jobs_gated
        WHERE state = 'available' AND gate IS NOT NULL AND queue = :queue AND gate >= :first
    )
    UNION ALL
    SELECT (
        SELECT min(gate) FROM {p}jobs INDEXED BY {p}jobs_gated
        WHERE state = 'available' AND gate IS NOT NULL AND queue = :queue AND gate > found.gate
    )
    FROM found WHERE found.gate IS NOT NULL LIMIT :most
)
SELECT gate FROM found WHERE gate IS NOT NULL
"""
_RULE = (
    "SELECT gate_limit, gate_rate, gate_per_s FROM {p}jobs INDEXED BY {p}jobs_gated "
    "WHERE state = 'available' AND gate IS NOT NULL AND queue = :queue AND gate = :gate "
    "ORDER BY rank, seq LIMIT 1"
)
_GATED = (
    "SELECT rank, seq FROM {p}jobs INDEXED BY {p}jobs_gated "
    "WHERE state = 'available' AND gate IS NOT NULL AND queue = :queue AND gate = :gate "
    "AND rank <= :worst ORDER BY rank, seq LIMIT :most"
)
_STARTS = "SELECT starts FROM {p}gates WHERE name = :name"
_RECORD = (
    "INSERT INTO {p}gates (name, starts, stale_at) VALUES (:name, :starts, :stale_at) "
    "ON CONFLICT (name) DO UPDATE SET starts = excluded.starts, stale_at = excluded.stale_at"
)
_TAKE = (
    "UPDATE {p}jobs SET state = 'running', fence = fence + 1, attempt = attempt + 1, "
    "worker = :worker, started_at = :now, "
    "unique_held = CASE WHEN unique_states & 8 THEN unique_held ELSE 0 END "
    "WHERE seq IN (/**/) RETURNING rank, seq, id, fence, attempt, max_attempts, task, queue, "
    "args, meta, created_at, run_at"
)
_TAKE_BEST = (
    "SELECT seq FROM {p}jobs INDEXED BY {p}jobs_available WHERE state = 'available' "
    "AND gate IS NULL AND queue = :queue ORDER BY rank, seq LIMIT :most"
)
_TAKE_THESE = "SELECT value FROM json_each(:these)"

_MOST = 2**62
_PROMOTED_AT_A_TIME = 1000
_GATES_AT_A_TIME = 200
_GATES_PER_CLAIM = 1000
_LOOK_AGAIN_S = 0.05  # when there were more gates than one claim may look at


class Claiming:
    """Claims jobs, in the open write transaction of the engine."""

    def __init__(self, prefix: str) -> None:
        def ours(statement: str) -> str:
            return statement.replace("{p}", prefix)

        self._next_due = ours(_NEXT_DUE)
        self._queue_due = ours(_QUEUE_DUE)
        self._promote = ours(_PROMOTE)
        self._queue = ours(_QUEUE)
        self._running_in_queue = ours(_RUNNING_IN_QUEUE)
        self._running_behind_gate = ours(_RUNNING_BEHIND_GATE)
        self._any_ungated = ours(_ANY_UNGATED)
        self._any_gated = ours(_ANY_GATED)
        self._ungated = ours(_UNGATED)
        self._gates = ours(_GATES)
        self._rule = ours(_RULE)
        self._gated = ours(_GATED)
        self._starts = ours(_STARTS)
        self._record = ours(_RECORD)
        self._take_best = ours(_TAKE.replace("/**/", _TAKE_BEST))
        self._take_these = ours(_TAKE.replace("/**/", _TAKE_THESE))
        # The first gate of a queue to look at next time; not always the same, or some would starve.
        self._look_from: dict[str, str] = {}

    def claim(self, execute: Execute, worker: str, wants: Mapping[str, int], now: int) -> Claims:
        """What ``Ledger.claim`` says."""
        due = self._make_due_available(execute, wants, now)
        taken: list[Sequence[Any]] = []
        waits_s: list[float] = []
        more = False
        for queue, want in wants.items():
            if want <= 0:
                continue
            rule = execute(self._queue, {"queue": queue})
            most = want
            limits: tuple[Gate, Rates] | None = None
            if rule:
                paused_at, limit, rate, per_s = rule[0]
                if paused_at is not None:
                    due.pop(queue, None)
                    continue
                if limit is not None or rate is not None:
                    gate = Gate(queue, limit, rate, per_s)
                    running = 0
                    if limit is not None:
                        running = execute(self._running_in_queue, {"queue": queue})[0][0]
                    rates = self._rates(execute, "queue:" + queue, gate)
                    limits = gate, rates
                    free, wait_s = room(gate, running, rates, now / 1e6)
                    most = min(want, free)
                    if most == 0:
                        if wait_s is not None and self._has_any(execute, queue):
                            waits_s.append(wait_s)
                        continue
            if execute(self._any_gated, {"queue": queue}):
                rows, further = self._take_by_rank(execute, worker, queue, most, now, waits_s)
            else:
                rows = execute(
                    self._take_best,
                    {"queue": queue, "most": most, "worker": worker, "now": now},
                )
                further = len(rows) == most and bool(execute(self._any_ungated, {"queue": queue}))
            taken.extend(rows)
            if limits is not None:
                wait_s = self._remember(execute, "queue:" + queue, *limits, len(rows), now)
                if further and most < want:
                    further = False
                    if wait_s is not None:
                        waits_s.append(wait_s)
            more |= further
        taken.sort(key=_by_rank)
        waits_s.extend(max(0.0, (run_at - now) / 1e6) for run_at in due.values())
        return Claims(claimed(taken), min(waits_s, default=None), more)

    def _make_due_available(
        self, execute: Execute, wants: Mapping[str, int], now: int
    ) -> dict[str, int]:
        """Whatever is due becomes available; when the next ones of the queues asked for are."""
        due: dict[str, int] = {}
        for queue, run_at in execute(self._next_due, {}):
            next_at: int | None = run_at
            if run_at <= now:
                # A flood that falls due at once is let in by portions, more than is claimed:
                # nobody else should have to wait for all of it.
                most = max(_PROMOTED_AT_A_TIME, 2 * wants.get(queue, 0))
                execute(self._promote, {"queue": queue, "now": now, "most": most})
                next_at = execute(self._queue_due, {"queue": queue})[0][0]
            if queue in wants and next_at is not None:
                due[queue] = next_at
        return due

    def _has_any(self, execute: Execute, queue: str) -> bool:
        return bool(
            execute(self._any_ungated, {"queue": queue})
            or execute(self._any_gated, {"queue": queue})
        )

    def _take_by_rank(
        self,
        execute: Execute,
        worker: str,
        queue: str,
        most: int,
        now: int,
        waits_s: list[float],
    ) -> tuple[Sequence[Sequence[Any]], bool]:
        """From a queue with gates: the best of both kinds, and whether there were more."""
        # (rank, seq, number of the gate in `gates`); one more than wanted, to know of it.
        best: list[tuple[int, int, int]] = [
            (rank, seq, -1)
            for rank, seq in execute(self._ungated, {"queue": queue, "most": most + 1})
        ]
        gates: list[tuple[Gate, Rates]] = []
        first = began = self._look_from.get(queue, "")
        wrapped = not began
        looked_at = 0
        everything = False
        while looked_at < _GATES_PER_CLAIM:
            names = [
                name
                for (name,) in execute(
                    self._gates, {"queue": queue, "first": first, "most": _GATES_AT_A_TIME}
                )
            ]
            round_ends = len(names) < _GATES_AT_A_TIME
            if wrapped and began:
                past = [name for name in names if name >= began]
                if past:  # all the way round
                    names = [name for name in names if name < began]
                    round_ends = True
            for name in names:
                looked_at += 1
                first = name + "\0"  # the very next name there could be
                self._consider(execute, queue, name, most, now, best, gates, waits_s)
            if round_ends:
                if wrapped:
                    everything = True
                    break
                wrapped, first = True, ""
            elif len(best) > most:
                break
        self._look_from[queue] = "" if everything else first
        if not everything and len(best) <= most:
            waits_s.append(_LOOK_AGAIN_S)
        chosen = best[:most]
        if not chosen:
            return [], False
        started: dict[int, int] = {}
        for _, _, number in chosen:
            started[number] = started.get(number, 0) + 1
        rows = execute(
            self._take_these,
            {"these": json.dumps([seq for _, seq, _ in chosen]), "worker": worker, "now": now},
        )
        for number, count in started.items():
            if number >= 0:
                gate, rates = gates[number]
                wait_s = self._remember(execute, "gate:" + gate.name, gate, rates, count, now)
                if wait_s is not None and execute(self._rule, {"queue": queue, "gate": gate.name}):
                    waits_s.append(wait_s)
        return rows, len(best) > most

    def _consider(
        self,
        execute: Execute,
        queue: str,
        name: str,
        most: int,
        now: int,
        best: list[tuple[int, int, int]],
        gates: list[tuple[Gate, Rates]],
        waits_s: list[float],
    ) -> None:
        """Put what one gate lets through among the best, which stay sorted and bounded."""
        behind = {"queue": queue, "gate": name}
        rule = execute(self._rule, behind)
        if not rule:
            return
        limit, rate, per_s = rule[0]
        gate = Gate(name, limit, rate, 1.0 if per_s is None else per_s)
        running = 0
        if limit is not None:
            running = execute(self._running_behind_gate, {"gate": name})[0][0]
        rates = self._rates(execute, "gate:" + name, gate)
        free, wait_s = room(gate, running, rates, now / 1e6)
        if wait_s is not None:
            waits_s.append(wait_s)
        if free <= 0:
            return
        worst = best[-1][0] if len(best) > most else _MOST
        found = execute(self._gated, {**behind, "worst": worst, "most": min(free, most + 1)})
        if found:
            gates.append((gate, rates))
            best.extend((rank, seq, len(gates) - 1) for rank, seq in found)
            best.sort()
            del best[most + 1 :]

    def _rates(self, execute: Execute, key: str, gate: Gate) -> Rates:
        if not has_rate(gate):
            return []
        rows = execute(self._starts, {"name": key})
        return decode_rates(rows[0][0]) if rows else []

    def _remember(
        self, execute: Execute, key: str, gate: Gate, rates: Rates, started: int, now: int
    ) -> float | None:
        """Write down what has started.

        Returns:
            Seconds until the rate allows one more, if it allows none now.
        """
        if not started or not has_rate(gate):
            return None
        rates = record(gate, rates, started, now / 1e6)
        execute(
            self._record,
            {
                "name": key,
                "starts": encode_rates(rates),
                "stale_at": now + int(2 * gate.per_s * 1_000_000),
            },
        )
        return room(gate, 0, rates, now / 1e6)[1]


def _by_rank(row: Sequence[Any]) -> tuple[int, int]:
    return row[0], row[1]
