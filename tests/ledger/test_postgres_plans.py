"""Jobs that join other people's transactions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from backstay.ledger import (
    Claimed,
    Finish,
    Gate,
    Inserted,
    JobFilter,
    NewJob,
    State,
    UniqueKey,
    new_job_id,
)
from backstay.ledger.postgres import PostgresLedger
from tests.ledger.databases import POSTGRES_URL, fresh_schema, need_postgres
from tests.ledger.postgres_stage import job, joined, opened
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
async def test_jobs_join_transactions_of_psycopg(schema: str, engine: sqlalchemy.Engine) -> None:
    async with opened(schema) as ledger:
        with engine.connect() as connection, joined(connection) as execute:
            _write_and_end_everything(ledger, execute, *(await _claimed(ledger)))
            connection.rollback()
            assert await ledger.find(JobFilter(task="joined")) == []
            _write_and_end_everything(ledger, execute, *(await _claimed(ledger)))
            connection.commit()
        await _everything_is_there(ledger)


@async_test
async def test_jobs_join_transactions_of_asyncpg(schema: str) -> None:
    engine = create_async_engine(POSTGRES_URL.replace("postgresql:", "postgresql+asyncpg:", 1))
    async with opened(schema) as ledger:
        claims = await _claimed(ledger), await _claimed(ledger)
        async with engine.connect() as connection:

            def write(plain: sqlalchemy.Connection, claim: tuple[Claimed, Claimed]) -> None:
                with joined(plain) as execute:
                    _write_and_end_everything(ledger, execute, *claim)

            await connection.run_sync(write, claims[0])
            await connection.rollback()
            assert await ledger.find(JobFilter(task="joined")) == []
            await connection.run_sync(write, claims[1])
            await connection.commit()
        await _everything_is_there(ledger)
    await engine.dispose()


async def _claimed(ledger: PostgresLedger) -> tuple[Claimed, Claimed]:
    await ledger.insert([job(), job()])
    one, other = (await ledger.claim("w", {"default": 2})).jobs
    return one, other


def _write_and_end_everything(
    ledger: PostgresLedger, execute: Any, one: Claimed, other: Claimed
) -> None:
    parent = NewJob(new_job_id(), "joined", queue="joined", args='{"text": "é 🦄 %s :x"}')
    jobs = [
        parent,
        NewJob(new_job_id(), "joined", queue="joined", after=(parent.id, one.id)),
        NewJob(new_job_id(), "joined", queue="joined", delay_s=60, unique=UniqueKey("k")),
        NewJob(new_job_id(), "joined", queue="joined", gate=Gate("g", 1, 2, 3.5), keep_s=2.5),
    ]
    assert all(each.created for each in ledger.insert_through(execute, jobs))
    taken = ledger.insert_through(execute, [NewJob(new_job_id(), "joined", unique=UniqueKey("k"))])
    assert taken == [Inserted(jobs[2].id, False)]
    then = (NewJob(new_job_id(), "joined", queue="joined"),)
    end = Finish(one.id, one.fence, State.SUCCEEDED, result='{"n": 1}', then=then)
    assert ledger.finish_through(execute, end)
    assert not ledger.finish_through(execute, end)
    retry = Finish(other.id, other.fence, State.RETRYING, delay_s=60, error='{"type": "E"}')
    assert ledger.finish_through(execute, retry)


async def _everything_is_there(ledger: PostgresLedger) -> None:
    rows = await ledger.find(JobFilter(task="joined"))
    states = sorted(str(row.state) for row in rows)
    assert states == ["available", "available", "available", "scheduled", "waiting"]
    [ended] = await ledger.find(JobFilter(states=frozenset({State.SUCCEEDED})))
    assert ended.result == {"n": 1}
    [retried] = await ledger.find(JobFilter(states=frozenset({State.RETRYING})))
    assert retried.errors == ({"type": "E"},)
