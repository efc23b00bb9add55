"""Statements of PostgreSQL's ledger that stand for themselves."""

# ruff: noqa: S608  # the pieces put together here are constants

from __future__ import annotations

__all__ = [
    "DECLARE",
    "DELETABLE",
    "DELETE",
    "FORGET_GATES",
    "FREE_KEYS",
    "ORPHANS",
    "PAUSE",
    "PROGRESS",
    "PRUNE",
    "REQUEUE",
    "RESUME",
    "TO_CANCEL",
    "UNSEEN",
    "WAITS",
    "WORKERS",
]

PROGRESS = """UPDATE {jobs} j SET progress = r.progress
FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS r(id, fence, progress)
WHERE j.id = r.id AND j.fence = r.fence AND j.state || '' = 'running'"""

UNSEEN = """DELETE FROM {workers}
WHERE beat_at + make_interval(secs => lease_s) < coalesce($1::timestamptz, clock_timestamp())"""
ORPHANS = """SELECT j.id, j.fence, j.attempt, j.max_attempts, j.task, j.queue, j.args, j.meta,
    j.worker, j.cancel_requested
FROM {jobs} j WHERE j.state = 'running'
AND NOT EXISTS (SELECT 1 FROM {workers} w WHERE w.id = j.worker)
ORDER BY j.id LIMIT $1"""

TO_CANCEL = """SELECT j.id FROM {jobs} j
WHERE j.state = 'running' AND j.cancel_requested AND j.worker = $1 ORDER BY j.id"""

FREE_KEYS = """UPDATE {jobs} SET unique_key = NULL
WHERE unique_key IS NOT NULL AND unique_key = ANY($2)
AND unique_until <= (SELECT coalesce($1::timestamptz, clock_timestamp()))"""
REQUEUE = """UPDATE {jobs} j SET state = 'available', attempt = 0, waiting_for = 0,
    rank = CAST(extract(epoch FROM n.t) * 1000000 AS bigint)
        - CAST(j.priority AS bigint) * 600000000,
    run_at = n.t, started_at = NULL, finished_at = NULL, expires_at = NULL, worker = NULL,
    cancel_requested = false, cancel_reason = NULL, result = NULL, progress = NULL,
    unique_key = CASE WHEN (j.unique_states & 4) <> 0
        AND (j.unique_until IS NULL OR j.unique_until > n.t) THEN j.unique_by END
FROM (SELECT coalesce($1::timestamptz, clock_timestamp()) AS t OFFSET 0) n
WHERE j.id = ANY($2) AND j.state IN ('discarded', 'cancelled')
AND (j.unique_by IS NULL OR NOT EXISTS (
    SELECT 1 FROM {jobs} h WHERE h.unique_key = j.unique_by AND h.id <> j.id))
RETURNING j.id"""

_GONE = """), gone AS (
    DELETE FROM {jobs} j USING old WHERE j.id = old.id RETURNING j.id
), loose AS (
    DELETE FROM {edges} e USING old WHERE e.child = old.id
)
SELECT count(*) FROM gone"""
# Found once for many: looking again after each portion would step over all that is dead by then.
DELETABLE = """SELECT j.id FROM {jobs} j
WHERE j.state IN ('succeeded', 'discarded', 'cancelled') AND j.finished_at <= $1 AND $where
LIMIT $2"""
DELETE = (
    """WITH old AS MATERIALIZED (
    SELECT j.id FROM {jobs} j
    WHERE j.state IN ('succeeded', 'discarded', 'cancelled') AND j.id = ANY($1::uuid[])
    ORDER BY j.id FOR UPDATE
"""
    + _GONE
)
PRUNE = (
    """WITH c AS MATERIALIZED (SELECT coalesce($1::timestamptz, clock_timestamp()) AS t),
own AS MATERIALIZED (
    SELECT id FROM {jobs} WHERE expires_at IS NOT NULL AND expires_at <= (SELECT t FROM c)
    AND state IN ('succeeded', 'discarded', 'cancelled')
    ORDER BY expires_at LIMIT $3 FOR UPDATE SKIP LOCKED
), general AS MATERIALIZED (
    SELECT id FROM {jobs} WHERE state IN ('succeeded', 'cancelled') AND expires_at IS NULL
    AND finished_at <= (SELECT t FROM c) - make_interval(secs => $2::float8)
    ORDER BY finished_at LIMIT $3 FOR UPDATE SKIP LOCKED
), old AS MATERIALIZED (
    SELECT id FROM (SELECT id FROM own UNION ALL SELECT id FROM general) o LIMIT $3
"""
    + _GONE
)
FORGET_GATES = """DELETE FROM {gates} WHERE name = ANY(ARRAY(
    SELECT g.name FROM {gates} g
    WHERE coalesce(g.forget_at, '-infinity')
        < (SELECT coalesce($1::timestamptz, clock_timestamp()))
    LIMIT 1000 FOR UPDATE SKIP LOCKED))"""

PAUSE = """INSERT INTO {queues} AS q (name, paused_at)
VALUES ($2, coalesce($1::timestamptz, clock_timestamp()))
ON CONFLICT (name) DO UPDATE SET paused_at = coalesce(q.paused_at, excluded.paused_at)"""
# A row that was made by pausing alone has nothing more to say.
RESUME = """WITH undeclared AS (DELETE FROM {queues} WHERE name = $1 AND NOT declared)
UPDATE {queues} SET paused_at = NULL WHERE name = $1 AND declared"""
DECLARE = """INSERT INTO {queues} (name, max_running, rate, per_s, declared)
SELECT r.*, true FROM unnest($1::text[], $2::integer[], $3::integer[], $4::float8[]) r
ON CONFLICT (name) DO UPDATE SET max_running = excluded.max_running, rate = excluded.rate,
    per_s = excluded.per_s, declared = true"""

WORKERS = """SELECT w.*,
    (SELECT count(*) FROM {jobs} j WHERE j.state = 'running' AND j.worker = w.id) AS running,
    greatest(0, CAST(extract(epoch FROM
        coalesce($1::timestamptz, clock_timestamp()) - w.beat_at) AS float8)) AS seen_s_ago
FROM {workers} w ORDER BY w.started_at, w.id"""


def _waits(queues: str, first: str) -> str:
    """Since when the first of each queue could have been started; one step for each queue.

    Args:
        queues: where the queues are looked up.
        first: a microsecond for ``q.queue``.
    """
    return f"""SELECT q.queue, f.us FROM (
    WITH RECURSIVE q AS (
        (SELECT queue FROM {{jobs}} WHERE {queues} ORDER BY queue LIMIT 1)
        UNION ALL
        SELECT n.queue FROM q CROSS JOIN LATERAL (
            SELECT queue FROM {{jobs}} WHERE {queues} AND queue > q.queue
            ORDER BY queue LIMIT 1) n
    ) SELECT queue FROM q) q CROSS JOIN LATERAL ({first}) f"""


_PLAIN = "state = 'available' AND gate IS NULL"
_UNLIKE = "state = 'available' AND (priority <> 0 OR gate IS NOT NULL)"
_DUE = "state IN ('scheduled', 'retrying')"
_SINCE = "rank + CAST(priority AS bigint) * 600000000"
# Those of an ordinary kind wait in the order in which they came: only jobs of higher priority can
# be in front of them.
WAITS = f"""WITH c AS MATERIALIZED (SELECT coalesce($1::timestamptz, clock_timestamp()) AS t)
SELECT w.queue, greatest(0, (SELECT extract(epoch FROM t) FROM c) - min(w.us) / 1000000.0)::float8
FROM ({
    _waits(
        _PLAIN,
        f"SELECT rank AS us FROM {{jobs}} WHERE {_PLAIN} AND queue = q.queue AND priority = 0 "
        "ORDER BY rank LIMIT 1",
    )
}
UNION ALL {
    _waits(
        _UNLIKE,
        f"SELECT {_SINCE} AS us FROM {{jobs}} WHERE {_UNLIKE} AND queue = q.queue "
        f"ORDER BY {_SINCE} LIMIT 1",
    )
}
UNION ALL {
    _waits(
        _DUE,
        "SELECT CAST(extract(epoch FROM run_at) * 1000000 AS bigint) AS us FROM {jobs} "
        f"WHERE {_DUE} AND queue = q.queue AND run_at <= (SELECT t FROM c) ORDER BY run_at LIMIT 1",
    )
}) w GROUP BY w.queue ORDER BY w.queue"""
