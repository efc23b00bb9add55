"""Taking jobs in PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from backstay.errors import LedgerUnavailable
from backstay.ledger import (
    Claimed,
    Finish,
    Gate,
    QueueRow,
    State,
)
from backstay.ledger.postgres import PostgresLedger
from backstay.ledger.postgres_claims import CLAIM
from backstay.ledger.postgres_lane import connect
from tests.ledger.databases import POSTGRES_URL, fresh_schema, need_postgres
from tests.ledger.postgres_stage import WORKER, job, opened, success
from tests.support import async_test


@pytest.fixture
def schema() -> Iterator[str]:
    need_postgres()
    with fresh_schema() as (name, _):
        yield name


@async_test
async def test_engines_that_claim_at_once_never_get_the_same_job(schema: str) -> None:
    async with (
        opened(schema) as one,
        opened(schema) as two,
        opened(schema) as three,
        opened(schema) as four,
    ):
        inserted = await one.insert([job() for _ in range(400)])
        taken: list[uuid.UUID] = []

        async def work(ledger: PostgresLedger, name: str) -> None:
            while jobs := (await ledger.claim(name, {"default": 7})).jobs:
                taken.extend(each.id for each in jobs)
                assert await ledger.finish([success(each) for each in jobs]) == set()

        await asyncio.gather(work(one, "a"), work(two, "b"), work(three, "c"), work(four, "d"))
        assert sorted(taken) == sorted(each.id for each in inserted)


@async_test
async def test_what_a_claim_took_whose_answer_was_lost_is_given_back(schema: str) -> None:
    async with opened(schema) as ledger:
        [inserted] = await ledger.insert([job(max_attempts=2)])
        await ledger.claim("w", {"other": 1})  # so that the connection is there
        lane = ledger._open.claimer._lane
        before = await ledger.claim("v", {"default": 0})
        assert before.jobs == []
        connection = await lane.connected()
        fetch = connection.fetch

        class Deaf:
            """A connection that breaks when the server has done what it was told."""

            def __getattr__(self, name: str) -> Any:
                return getattr(connection, name)

            async def fetch(self, *args: Any) -> None:
                await fetch(*args)
                raise ConnectionResetError("while the answer was under way")

        lane._connection = Deaf()  # type: ignore[assignment]
        with pytest.raises(LedgerUnavailable, match="while the answer was under way"):
            await ledger.claim("w", {"default": 1})
        assert (await ledger.get([inserted.id]))[inserted.id].state is State.RUNNING
        [claimed] = (await ledger.claim("w", {"default": 1})).jobs
        assert (claimed.id, claimed.attempt) == (inserted.id, 1)


@async_test
async def test_a_claim_that_is_cancelled_takes_nothing_for_good(schema: str) -> None:
    async with opened(schema) as ledger:
        inserted = await ledger.insert([job() for _ in range(50)])
        for hops in range(12):
            claiming = asyncio.create_task(ledger.claim("w", {"default": 100}))
            for _ in range(hops):
                await asyncio.sleep(0)
            claiming.cancel()
            await asyncio.gather(claiming, return_exceptions=True)
            if not claiming.cancelled():
                await ledger.finish(
                    [
                        Finish(each.id, each.fence, State.AVAILABLE)
                        for each in claiming.result().jobs
                    ]
                )
        taken: list[Claimed] = []
        while len(taken) < 50:  # a statement under way may hold rows a moment longer
            taken += (await ledger.claim("w", {"default": 100})).jobs
        assert {each.id for each in taken} == {each.id for each in inserted}


@async_test
async def test_claiming_goes_by_indexes_however_long_the_history_is(schema: str) -> None:
    async with opened(schema) as ledger:
        looking = await ledger._open.looking.connected()
        for state, count in (("succeeded", 100_000), ("scheduled", 5_000)):
            await looking.execute(
                f"INSERT INTO {schema}.backstay_jobs (id, created_at, run_at, rank, max_attempts, "
                "state, task, queue, args, meta, finished_at) SELECT gen_random_uuid(), now(), "
                f"now() + interval '1 day', 0, 1, '{state}', 't', 'default', '{{}}', '{{}}', "
                f"CASE WHEN '{state}' = 'succeeded' THEN now() END "
                f"FROM generate_series(1, {count})"
            )
        await ledger.insert([job() for _ in range(20)])
        connection = await connect(ledger._address, timeout_s=5, command_timeout_s=10, fast=True)
        for analysed in (False, True):
            if analysed:
                await looking.execute(f"ANALYZE {schema}.backstay_jobs")
            [(text,)] = await connection.fetch(
                "EXPLAIN (ANALYZE, FORMAT JSON) " + ledger._open.tables[CLAIM],
                None, "w", 1, ["default"], [5], True,
            )  # fmt: skip
            nodes = list(_nodes(json.loads(text)[0]["Plan"]))
            scans = [
                node
                for node in nodes
                if node.get("Relation Name") == "backstay_jobs" and "Scan" in node["Node Type"]
            ]
            ways = {node["Node Type"] for node in scans}
            assert ways <= {"Index Scan", "Index Only Scan", "Tid Scan"}
            assert "backstay_jobs_available" in {node.get("Index Name") for node in scans}
            assert max(node["Actual Rows"] for node in scans) <= 6
            assert max(node.get("Rows Removed by Filter", 0) for node in nodes) <= 1
        await connection.close()


@async_test
async def test_a_damaged_rate_keeps_no_job_from_being_claimed(schema: str) -> None:
    connection = await asyncpg.connect(POSTGRES_URL)
    async with opened(schema) as ledger:
        await ledger.register(WORKER)
        await ledger.declare([QueueRow(name="default", rate=1)])
        for per_s in ("NaN", "Infinity", "-1", "1e300", "1e-320"):
            await ledger.insert([job(gate=Gate("g", rate=1)) for _ in range(2)])
            for table, column in (("jobs", "gate_per_s"), ("queues", "per_s")):
                await connection.execute(
                    f"UPDATE {schema}.backstay_{table} SET {column} = '{per_s}'"
                )
            assert len((await ledger.claim("w", {"default": 5})).jobs) == 2, per_s
    await connection.close()


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)
