"""Commits and rollbacks of sessions against workers that claim at the same time."""

import asyncio
import random
import threading
from collections import Counter
from pathlib import Path

from sqlalchemy import text

from backstay.db import Database
from backstay.tasks import DurableScheduler, connect, task
from tests.chaos.databases import PostgresDatabase, SqliteDatabase
from tests.chaos.processes import PATIENCE_S, Fleet, wait_until

ORDERED = text("INSERT INTO orders (number) VALUES (:number)")


def test_jobs_of_committed_sessions_run_once_and_those_of_rolled_back_ones_never(
    database: SqliteDatabase | PostgresDatabase, tmp_path: Path, chance: random.Random, long: bool
) -> None:
    rounds = 400 if long else 30

    @task(name="pay")
    async def pay(number: int) -> None:
        """By this name the worker knows it."""

    seeds = [chance.random() for _ in range(6)]
    committed: list[int] = []
    engines = Database(database.url)

    async def in_async_sessions(durable: DurableScheduler, first: int, seed: float) -> None:
        dice = random.Random(seed)
        for number in range(first, first + rounds):
            async with engines.session() as session:
                if dice.random() < 0.5:  # before or after its first statement
                    await session.execute(ORDERED, {"number": number})
                    job = durable.on(session).schedule(pay, number)
                else:
                    job = durable.on(session).schedule(pay, number)
                    await session.execute(ORDERED, {"number": number})
                if dice.random() < 0.3:
                    await session.flush()
                await asyncio.sleep(dice.random() * 0.005)
                if dice.random() < 0.6:
                    await session.commit()
                    committed.append(number)
                    assert job.created
                elif dice.random() < 0.5:
                    await session.rollback()
                # else it is closed as it is

    async def enqueueing(durable: DurableScheduler, first: int, seed: float) -> None:
        dice = random.Random(seed)
        for number in range(first, first + rounds):
            async with engines.session() as session:
                # In the table at once, where a worker must not see it before the commit.
                await durable.on(session).enqueue(pay, number)
                await session.execute(ORDERED, {"number": number})
                await asyncio.sleep(dice.random() * 0.005)
                if dice.random() < 0.6:
                    await session.commit()
                    committed.append(number)

    async def run() -> None:
        async with asyncio.timeout(PATIENCE_S), connect(database.url) as durable:
            await asyncio.gather(
                in_async_sessions(durable, 0, seeds[0]),
                in_async_sessions(durable, 10_000, seeds[1]),
                enqueueing(durable, 20_000, seeds[2]),
                enqueueing(durable, 30_000, seeds[3]),
            )
        await engines.close()

    def in_sync_sessions(durable: DurableScheduler, first: int, seed: float) -> None:
        dice = random.Random(seed)
        for number in range(first, first + rounds):
            with engines.sync_session() as session:
                session.execute(ORDERED, {"number": number})
                durable.on(session).schedule(pay, number)
                if dice.random() < 0.6:
                    session.commit()
                    committed.append(number)

    def run_in_thread() -> None:
        with connect(database.url) as durable:
            in_sync_sessions(durable, 40_000, seeds[4])
            in_sync_sessions(durable, 50_000, seeds[5])

    with Fleet(database.url, tmp_path) as fleet:
        fleet.worker()
        fleet.worker()
        wait_until(
            lambda: len(database.workers()) == 2, "both workers, so that they claim meanwhile"
        )
        thread = threading.Thread(target=run_in_thread, daemon=True)
        thread.start()
        asyncio.run(run())
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        wait_until(lambda: database.unfinished() == 0, database.story)
        assert len(committed) > rounds
        assert database.numbers("orders") == sorted(committed)
        assert database.numbers("payments") == sorted(committed)
        assert Counter(row.number for row in database.jobs()) == Counter(committed)
        assert {(row.state, row.errors) for row in database.jobs()} == {("succeeded", ())}
        # Nobody began one that was rolled back.
        assert {int(number) for number, _, _ in fleet.journal.entries("pay")} == set(committed)
