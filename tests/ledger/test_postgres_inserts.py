"""Writing jobs to PostgreSQL."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator

import asyncpg
import pytest

from backstay.errors import BadJob, LedgerUnavailable
from backstay.ledger import (
    JobFilter,
    State,
    UniqueKey,
)
from backstay.ledger.postgres import PostgresLedger
from tests.ledger.databases import POSTGRES_URL, fresh_schema, need_postgres
from tests.ledger.postgres_stage import job, opened
from tests.support import async_test


@pytest.fixture
def schema() -> Iterator[str]:
    need_postgres()
    with fresh_schema() as (name, _):
        yield name


@async_test
async def test_what_postgresql_cannot_store_is_a_bad_job(schema: str) -> None:
    async with opened(schema) as ledger:
        for bad in (job(args="\x00"), job(args="\ud800"), job(meta="\x00", delay_s=5)):
            with pytest.raises(BadJob, match="nothing was written"):
                await ledger.insert([bad])
        assert await ledger.find(JobFilter()) == []


@async_test
async def test_each_insert_is_there_once_though_connections_are_killed(schema: str) -> None:
    async with opened(schema, url=f"{POSTGRES_URL}?application_name={schema}") as ledger:
        killer = await asyncpg.connect(POSTGRES_URL)
        written: list[uuid.UUID] = []

        async def write(count: int) -> None:
            for number in range(count):
                new = job(delay_s=number % 3)  # both ways of writing
                while True:
                    try:
                        await ledger.insert([new])
                        break
                    except LedgerUnavailable:
                        await asyncio.sleep(0.001)
                written.append(new.id)

        writers = asyncio.gather(*(write(60) for _ in range(8)))
        kills = 0
        for progress in range(0, 480, 60):
            while len(written) <= progress:  # so that they get on, however slow the machine is
                await asyncio.sleep(0.001)
            kills += await killer.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE application_name = $1",
                schema,
            )
        await writers
        await killer.close()
        assert kills > 0
        rows = await ledger.find(JobFilter(), limit=1000)
        assert len(written) == 480
        assert sorted(row.id for row in rows) == sorted(written)


@async_test
async def test_deadlocks_among_writers_of_the_same_keys_do_not_reach_them(schema: str) -> None:
    async with opened(schema) as one, opened(schema) as other:
        keys = [UniqueKey(f"k{number}") for number in range(12)]

        async def write(ledger: PostgresLedger, order: int) -> int:
            inserted = await ledger.insert([job(unique=key) for key in keys[::order]])
            return sum(each.created for each in inserted)

        for _ in range(5):
            created = await asyncio.gather(write(one, 1), write(other, -1))
            assert sum(created) == 12
            for row in await one.find(JobFilter(states=frozenset({State.AVAILABLE}))):
                await one.cancel(row.id, "next round")
