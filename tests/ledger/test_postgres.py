"""The engine for PostgreSQL as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from backstay.errors import LedgerUnavailable
from backstay.ledger import (
    Inserted,
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
async def test_an_engine_that_is_not_open_says_so() -> None:
    ledger = PostgresLedger("postgresql://db/shop")
    with pytest.raises(LedgerUnavailable, match="await open"):
        await ledger.insert([job()])


@async_test
async def test_insert_now_works_in_threads_and_refuses_the_loops_own(schema: str) -> None:
    async with opened(schema) as ledger:
        jobs = [job() for _ in range(8)]
        results = await asyncio.gather(
            *(asyncio.to_thread(ledger.insert_now, [each]) for each in jobs)
        )
        assert results == [[Inserted(each.id, True)] for each in jobs]
        with pytest.raises(RuntimeError, match="await insert"):
            ledger.insert_now([job()])


@async_test
async def test_insert_now_works_in_another_event_loop(schema: str) -> None:
    async with opened(schema) as ledger:
        new = job()

        async def elsewhere() -> list[Inserted]:
            return ledger.insert_now([new])

        assert await asyncio.to_thread(asyncio.run, elsewhere()) == [Inserted(new.id, True)]


def test_insert_now_without_the_loop_it_was_opened_in_is_refused() -> None:
    need_postgres()
    with fresh_schema() as (schema, _), asyncio.Runner() as runner:
        ledger = PostgresLedger(POSTGRES_URL, schema=schema)
        runner.run(ledger.open())
        caught: list[BaseException] = []

        def write() -> None:
            try:
                ledger.insert_now([job()])
            except LedgerUnavailable as error:
                caught.append(error)

        runner.run(asyncio.sleep(0))
        import threading

        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
        assert "does not run" in str(caught[0])
        runner.run(ledger.close())
