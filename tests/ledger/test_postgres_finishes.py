"""Ending claims in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy

from backstay.errors import LedgerUnavailable
from backstay.ledger import (
    Claimed,
    State,
)
from backstay.ledger.postgres import PostgresLedger
from tests.ledger.databases import POSTGRES_URL, fresh_schema, need_postgres
from tests.ledger.postgres_stage import job, joined, opened, success
from tests.support import async_test


@pytest.fixture
def schema() -> Iterator[str]:
    need_postgres()
    with fresh_schema() as (name, _):
        yield name


@pytest.fixture
def engine() -> Iterator[sqlalchemy.Engine]:
    need_postgres()
    engine = sqlalchemy.create_engine(POSTGRES_URL.replace("postgresql:", "postgresql+psycopg:", 1))
    yield engine
    engine.dispose()


@async_test
async def test_an_end_whose_answer_was_lost_is_not_taken_for_a_stale_one(schema: str) -> None:
    async with opened(schema) as ledger:
        await ledger.insert([job()])
        [claimed] = (await ledger.claim("w", {"default": 1})).jobs
        lane = ledger._open.finisher._lane
        run, runs = lane.run, 0

        async def deaf(work: Any, **options: Any) -> Any:
            nonlocal runs
            result = await run(work, **options)
            runs += 1
            if runs == 1:
                options["uncertain"]()
                raise LedgerUnavailable("while the answer was under way")
            return result

        lane.run = deaf  # type: ignore[method-assign]
        assert await ledger.finish([success(claimed)]) == set()
        assert await ledger.finish([success(claimed)]) == {claimed.id}


@async_test
async def test_a_child_is_not_missed_by_a_parent_that_ends_meanwhile(
    schema: str, engine: sqlalchemy.Engine
) -> None:
    async with opened(schema) as ledger:
        parent, _ = await _claimed(ledger)
        child = job(queue="later", after=(parent.id,))
        with engine.connect() as connection, joined(connection) as execute:
            ledger.insert_through(execute, [child])
            ending = asyncio.create_task(ledger.finish([success(parent)]))
            watcher = await ledger._open.looking.connected()
            while not await watcher.fetchval(
                "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                "AND query LIKE $1)",
                f"%{schema}%state = 'succeeded'%",
            ):
                await asyncio.sleep(0.005)
            connection.commit()
        assert await ending == set()
        assert (await ledger.get([child.id]))[child.id].state is State.AVAILABLE


async def _claimed(ledger: PostgresLedger) -> tuple[Claimed, Claimed]:
    await ledger.insert([job(), job()])
    one, other = (await ledger.claim("w", {"default": 2})).jobs
    return one, other
