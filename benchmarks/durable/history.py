"""Fills our table with a past: ``python -m benchmarks.durable.history FINISHED SCHEDULED``.

One finished and one scheduled job are written by the ledger itself; SQL then copies these rows,
each with an id and times of its own. So the copies look as the ledger's do, whatever its columns.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import sys
import time
from collections.abc import Sequence

import asyncpg

from backstay.ledger import Finish, NewJob, State, WorkerRow, new_job_id, new_ledger
from benchmarks.durable.side import url_from_environment

__all__ = ["TASK", "main"]

TASK = "benchmarks.history"
QUEUE = "default"
FAR_S = 30 * 86_400.0
_TABLE = "backstay_jobs"


async def templates(url: str) -> None:
    """One finished job and one that is scheduled far ahead."""
    ledger = new_ledger(url)
    await ledger.open()
    worker = WorkerRow(
        id="history", host="bench", pid=0, lease_s=60.0, concurrency=1, queues=(QUEUE,)
    )
    await ledger.register(worker)
    done, later = new_job_id(), new_job_id()
    await ledger.insert([NewJob(id=done, task=TASK, queue=QUEUE, args='{"argument":1.0}')])
    [claim] = (await ledger.claim(worker.id, {QUEUE: 1})).jobs
    await ledger.finish([Finish(claim.id, claim.fence, State.SUCCEEDED)])
    await ledger.insert(
        [NewJob(id=later, task=TASK, queue=QUEUE, args='{"argument":1.0}', delay_s=FAR_S)]
    )
    await ledger.unregister(worker.id)
    await ledger.close()


def statement(
    columns: Sequence[str], state: State, fresh_id: str, shifted: str, series: str
) -> str:
    """Copies the only row of a state, once for each row of ``series``, the oldest first.

    Args:
        columns: all that are copied.
        state: of the row.
        fresh_id: makes an id.
        shifted: a time of the row, ``{}``, some tenths of a second earlier.
        series: a table expression with a column ``n``.
    """
    values = [
        fresh_id
        if each == "id"
        else shifted.format(f"job.{each}")
        if each.endswith("_at")
        else f"job.{each}"
        for each in columns
    ]
    # MATERIALIZED: the row is looked up once, not among its copies.
    return (
        f"WITH job AS MATERIALIZED (SELECT * FROM {_TABLE} "
        f"WHERE task = '{TASK}' AND state = '{state}' LIMIT 1) "
        f"INSERT INTO {_TABLE} ({', '.join(columns)}) "
        f"SELECT {', '.join(values)} FROM job, {series}"
    )


def fill_sqlite(url: str, finished: int, scheduled: int) -> None:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    start_ms = time.time_ns() // 1_000_000

    def id_(tenths: int) -> bytes:
        """As the ledger's: they grow with time."""
        head = (start_ms - tenths * 100).to_bytes(6)
        return head + b"\x70" + os.urandom(1) + b"\x80" + os.urandom(7)

    connection.create_function("id_", 1, id_)
    found = connection.execute(f"PRAGMA table_info({_TABLE})")
    columns = [row[1] for row in found if row[1] != "seq"]  # the integer key makes itself
    connection.execute("BEGIN IMMEDIATE")
    for state, count in ((State.SUCCEEDED, finished), (State.SCHEDULED, scheduled)):
        earlier = f"({count} - n)"
        series = (
            "(WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers "
            f"WHERE n < {count - 1}) SELECT n FROM numbers)"
        )
        shifted = "{} - " + f"{earlier} * 100000"
        connection.execute(statement(columns, state, f"id_({earlier})", shifted, series))
    connection.execute("COMMIT")
    connection.execute("ANALYZE")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    os.sync()  # or what follows would wait for these pages, and look slow because of them


async def fill_postgres(url: str, finished: int, scheduled: int) -> None:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 "
        "AND NOT attisdropped ORDER BY attnum",
        _TABLE,
    )
    columns = [row[0] for row in rows]
    for state, count in ((State.SUCCEEDED, finished), (State.SCHEDULED, scheduled)):
        earlier = f"({count} - n)"
        ms = f"(extract(epoch FROM now()) * 1000)::bigint - {earlier} * 100"
        fresh_id = (
            f"(lpad(to_hex({ms}), 12, '0') || '7000' || '8' "
            "|| substr(md5(random()::text), 1, 15))::uuid"
        )
        shifted = "{} - " + f"{earlier} * interval '0.1 second'"
        series = f"generate_series(1, {count - 1}) AS series (n)"
        await connection.execute(statement(columns, state, fresh_id, shifted, series))
    await connection.execute(f"VACUUM ANALYZE {_TABLE}")
    with contextlib.suppress(asyncpg.InsufficientPrivilegeError):
        await connection.execute("CHECKPOINT")  # for the same reason as os.sync() above
    await connection.close()


def main(url: str, finished: int, scheduled: int) -> dict[str, int]:
    """Write the past; how many rows there are by now."""
    asyncio.run(templates(url))
    if url.startswith("sqlite:///"):
        fill_sqlite(url, finished, scheduled)
    else:
        asyncio.run(fill_postgres(url, finished, scheduled))
    return {str(state): count for state, count in asyncio.run(counts(url)).items()}


async def counts(url: str) -> dict[State, int]:
    """How many jobs the ledger itself sees."""
    ledger = new_ledger(url)
    await ledger.open()
    found: dict[State, int] = {}
    for each in await ledger.counts():
        found[each.state] = found.get(each.state, 0) + each.jobs
    await ledger.close()
    return found


if __name__ == "__main__":
    print(json.dumps(main(url_from_environment(), int(sys.argv[1]), int(sys.argv[2]))))
