"""Many processes on one database: each job and each tick once, whoever is quicker."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from backstay.app import Backstay
from backstay.jobs.definition import task
from backstay.jobs.heartbeat import Heartbeat
from backstay.jobs.part import DurablePart
from backstay.jobs.upkeep import Upkeep
from backstay.ledger.opening import new_ledger
from backstay.ledger.rows import JobFilter, Tick
from backstay.testing import FakeClock
from tests.chaos.databases import PostgresDatabase, SqliteDatabase
from tests.chaos.processes import PATIENCE_S, Customers, Fleet, wait_until


def test_six_processes_share_one_sqlite_file_and_run_two_thousand_jobs_once_each(
    sqlite: SqliteDatabase, tmp_path: Path
) -> None:
    with Fleet(sqlite.url, tmp_path, CONCURRENCY="10") as fleet:
        fleet.ready_web("--workers", "4")
        fleet.worker()
        fleet.worker()
        wait_until(lambda: len(sqlite.workers()) == 6, "six processes")
        paths = [
            *(f"/bulk/note?first={first}&count=100&pause_s=0.005" for first in range(0, 1500, 100)),
            *(f"/jobs/note/{number}" for number in range(1500, 1800)),
            *(f"/orders/{number}" for number in range(200)),
        ]
        with Customers(fleet.url, paths, count=8) as customers:
            customers.join()
        assert (customers.doubtful, len(customers.accepted)) == ([], len(paths))
        wait_until(lambda: sqlite.unfinished() == 0, sqlite.story)
        notes = fleet.journal.entries("note")
        assert Counter(int(words[0]) for words in notes) == Counter(range(1800))
        assert sqlite.numbers("payments") == sqlite.numbers("orders") == list(range(200))
        assert {(row.state, row.attempt, row.errors) for row in sqlite.jobs()} == {
            ("succeeded", 1, ())
        }
        assert len({words[-1] for words in fleet.journal.entries()}) == 6, "all had a share"


def test_four_processes_write_every_tick_once_though_one_of_them_is_killed(
    database: SqliteDatabase | PostgresDatabase, tmp_path: Path
) -> None:
    # A minute of theirs is a second of ours.
    start = datetime.now(UTC).replace(second=0, microsecond=0)

    async def begin() -> None:
        ledger = new_ledger(database.url)
        await ledger.open()
        await ledger.tick(Tick(name="tick", previous=None, at=start))
        await ledger.close()

    asyncio.run(begin())
    clock = {"SPEED": "60", "SPEED_FROM": str(start.timestamp()), "LEASE_S": "120"}
    with Fleet(database.url, tmp_path, **clock) as fleet:
        victim, *_ = [fleet.worker() for _ in range(4)]
        wait_until(lambda: len(database.workers()) == 4, "four workers")
        seen = len(fleet.journal.entries("tick"))
        wait_until(lambda: len(fleet.journal.entries("tick")) >= seen + 1, "a tick")
        victim.kill()
        later = len(fleet.journal.entries("tick"))
        wait_until(lambda: len(fleet.journal.entries("tick")) >= later + 2, "ticks without it")
        # Stopped, so that ticks and jobs can be compared.
        for program in fleet.programs:
            program.kill()
        ((last,),) = database.rows("SELECT last_tick FROM backstay_ticks WHERE name = 'tick'")
        if not isinstance(last, datetime):
            last = datetime.fromtimestamp(last / 1e6, UTC)
        assert len(database.jobs()) == (last - start) / timedelta(minutes=1)


def test_ten_upkeeps_at_the_same_moment_write_every_tick_once(
    database: SqliteDatabase | PostgresDatabase,
) -> None:
    @task(name="every_minute", cron="* * * * *", missed="all")
    async def every_minute() -> None: ...

    clock = FakeClock()

    async def run() -> int:
        parts = []
        for _ in range(10):
            app = Backstay(clock=clock)
            part = DurablePart(app, database=database.url)
            part.registry.add(every_minute)
            app.add(part)
            await part.open()
            await part.awake()
            parts.append(part)
        # Nobody is rescued here, so no heart is asked.
        upkeeps = [
            Upkeep(part, f"worker {number}", cast("Heartbeat", None), every_s=1)
            for number, part in enumerate(parts)
        ]
        await asyncio.gather(*(each.tick() for each in upkeeps))
        for _ in range(20):
            await clock.advance(60)
            await asyncio.gather(*(each.tick() for each in upkeeps))
        written = await parts[0].ledger.find(JobFilter(task="every_minute"), limit=1000)
        for part in parts:
            await part.close()
        return len(written)

    async def bounded() -> int:
        async with asyncio.timeout(PATIENCE_S):
            return await run()

    assert asyncio.run(bounded()) == 20
