"""What the disk and the server allow, with nothing of ours in between.

``python -m benchmarks.durable.limits SECONDS FOLDER POSTGRES_URL [single]``: each item for so many
seconds, or only the single rows of the server, or without a URL of the file.
Rows have a payload of a hundred bytes and stand in an index of what is due, the least a queue
needs.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

import asyncpg

__all__ = ["main"]

PAYLOAD = b"x" * 100
BATCH = 1_000
CLAIM = 100
_SQLITE = (
    (
        "CREATE TABLE job (id INTEGER PRIMARY KEY, state INTEGER NOT NULL DEFAULT 0, "
        "due REAL NOT NULL, payload BLOB)"
    ),
    "CREATE INDEX due ON job (due, id) WHERE state = 0",
)
_SQLITE_INSERT = "INSERT INTO job (due, payload) VALUES (?, ?)"
_SQLITE_CLAIM = (
    "UPDATE job SET state = 1 WHERE id IN (SELECT id FROM job WHERE state = 0 AND due <= ? "
    f"ORDER BY due, id LIMIT {CLAIM}) RETURNING id, payload"
)
_POSTGRES = (
    "CREATE TABLE job (id bigserial PRIMARY KEY, due float8 NOT NULL, payload bytea)",
    "CREATE INDEX ON job (due, id)",
)
_POSTGRES_INSERT = "INSERT INTO job (due, payload) VALUES ($1, $2)"
_POSTGRES_TAKE = (
    "DELETE FROM job WHERE id = ANY(ARRAY(SELECT id FROM job WHERE due <= 1e9 "
    f"ORDER BY due, id LIMIT {CLAIM} FOR UPDATE SKIP LOCKED)) RETURNING id, payload"
)


def _rate(seconds: float, step: Callable[[int], int]) -> float:
    start = time.perf_counter()
    number = rows = 0
    while (elapsed := time.perf_counter() - start) < seconds:
        done = step(number)
        if not done:
            break
        number, rows = number + 1, rows + done
    return rows / max(elapsed, 1e-9)


def sync_us(seconds: float, folder: Path) -> float:
    """Microseconds of ``fdatasync`` after 4 KiB were appended."""
    took: list[float] = []
    file = os.open(folder / "synced", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    end = time.perf_counter() + seconds
    while not took or time.perf_counter() < end:
        start = time.perf_counter()
        os.write(file, b"x" * 4096)
        os.fdatasync(file)
        took.append(time.perf_counter() - start)
    os.close(file)
    return median(took) * 1e6


def sqlite(seconds: float, folder: Path, *, only_single: bool = False) -> dict[str, float]:
    """WAL, ``synchronous=FULL``, one connection in one thread."""
    for name in ("limit.db", "limit.db-wal", "limit.db-shm"):
        (folder / name).unlink(missing_ok=True)
    connection = sqlite3.connect(folder / "limit.db", isolation_level=None)
    execute = connection.execute
    execute("PRAGMA journal_mode = WAL")
    execute("PRAGMA synchronous = FULL")
    for statement in _SQLITE:
        execute(statement)

    def one(number: int) -> int:
        execute(_SQLITE_INSERT, (float(number), PAYLOAD))
        return 1

    def many(number: int) -> int:
        execute("BEGIN IMMEDIATE")
        connection.executemany(_SQLITE_INSERT, [(float(number), PAYLOAD)] * BATCH)
        execute("COMMIT")
        return BATCH

    def take(number: int) -> int:
        """Claim a batch, then delete it, two commits: the least a durable queue can do."""
        taken = [row[0] for row in execute(_SQLITE_CLAIM, (1e9,)).fetchall()]
        execute("BEGIN IMMEDIATE")
        connection.executemany("DELETE FROM job WHERE id = ?", [(id_,) for id_ in taken])
        execute("COMMIT")
        return len(taken)

    figures = {"sqlite3 single": _rate(seconds, one)}
    if not only_single:
        figures["sqlite3 bulk"] = _rate(seconds, many)
        figures["sqlite3 take"] = _rate(seconds, take)
    connection.close()
    return figures


async def postgres(seconds: float, url: str, *, only_single: bool = False) -> dict[str, float]:
    """asyncpg, prepared statements, one connection."""

    async def rate(step: Callable[[], Awaitable[int]]) -> float:
        start = time.perf_counter()
        rows = 0
        while (elapsed := time.perf_counter() - start) < seconds:
            done = await step()
            if not done:
                break
            rows += done
        return rows / max(elapsed, 1e-9)

    connection = await asyncpg.connect(url)
    try:
        await connection.execute("DROP TABLE IF EXISTS job")
        for statement in _POSTGRES:
            await connection.execute(statement)
        insert = await connection.prepare(_POSTGRES_INSERT)
        claim = await connection.prepare(_POSTGRES_TAKE)
        trip = await connection.prepare("SELECT 1")
        rows = [(1.0, PAYLOAD)] * BATCH

        async def one() -> int:
            await insert.fetch(1.0, PAYLOAD)
            return 1

        async def many() -> int:
            await connection.copy_records_to_table("job", records=rows, columns=("due", "payload"))
            return BATCH

        async def take() -> int:
            return len(await claim.fetch())

        async def trips() -> int:
            await trip.fetchval()
            return 1

        figures = {"asyncpg single": await rate(one)}
        if not only_single:
            figures["asyncpg bulk"] = await rate(many)
            figures["asyncpg take"] = await rate(take)
            figures["asyncpg round trip"] = await rate(trips)
        return figures
    finally:
        await connection.execute("DROP TABLE IF EXISTS job")
        await connection.close()


def main(seconds: float, folder: Path, url: str) -> dict[str, float]:
    """All of them, one after the other."""
    figures = {"fdatasync us": sync_us(seconds / 2, folder), **sqlite(seconds, folder)}
    if url:
        figures |= asyncio.run(postgres(seconds, url))
    return figures


def single(seconds: float, folder: Path, url: str) -> dict[str, float]:
    """Single rows only, of one of the two."""
    if url:
        figures = asyncio.run(postgres(seconds, url, only_single=True))
        return {"raw": figures["asyncpg single"]}
    return {"raw": sqlite(seconds, folder, only_single=True)["sqlite3 single"]}


if __name__ == "__main__":
    measure = single if "single" in sys.argv[4:] else main
    print(json.dumps(measure(float(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])))
