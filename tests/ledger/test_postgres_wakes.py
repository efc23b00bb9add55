"""Engines on PostgreSQL wake each other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from backstay.ledger import NewJob, State, Wake, WorkerRow, new_job_id
from backstay.ledger.postgres import PostgresLedger
from tests.ledger.databases import POSTGRES_URL, fresh_schema, need_postgres
from tests.support import async_test


@pytest.fixture
def schema() -> Iterator[str]:
    need_postgres()
    with fresh_schema() as (name, _):
        yield name


class Ears:
    """What an engine's listener has heard."""

    def __init__(self) -> None:
        self.heard: list[Wake] = []
        self._more = asyncio.Event()

    def __call__(self, wake: Wake) -> None:
        self.heard.append(wake)
        self._more.set()

    async def next(self) -> Wake:
        """The next wake that was not asked for yet."""
        while not self.heard:
            self._more.clear()
            await self._more.wait()
        return self.heard.pop(0)


async def listening(schema: str, ears: Ears, *, name: str = "backstay") -> PostgresLedger:
    """An engine whose listener hears others."""
    ledger = PostgresLedger(f"{POSTGRES_URL}?application_name={name}", schema=schema)
    ledger.on_wake(ears)
    await ledger.open()
    await ears.next()  # for what was said before it listened
    return ledger


@async_test
async def test_two_engines_wake_each_other(schema: str) -> None:
    first_ears, second_ears = Ears(), Ears()
    first = await listening(schema, first_ears)
    second = await listening(schema, second_ears)
    await first.insert([NewJob(new_job_id(), "t")])
    assert await second_ears.next() == Wake(enqueued=True, cancelled=False)
    await second.insert([NewJob(new_job_id(), "t")])
    assert await first_ears.next() == Wake(True, False)  # its own
    assert await first_ears.next() == Wake(True, False)
    await first.close()
    await second.close()


@async_test
async def test_a_wish_to_cancel_wakes_the_worker_of_another_engine(schema: str) -> None:
    ears = Ears()
    worker = await listening(schema, ears)
    other = PostgresLedger(POSTGRES_URL, schema=schema)
    await other.open()
    [job] = await other.insert([NewJob(new_job_id(), "t")])
    assert (await ears.next()).enqueued
    row = WorkerRow(id="w", host="h", pid=1, lease_s=30, concurrency=1, queues=("default",))
    await worker.register(row)
    await worker.claim("w", {"default": 1})
    assert await other.cancel(job.id, "no longer wanted") is State.RUNNING
    assert await ears.next() == Wake(enqueued=False, cancelled=True)
    assert await worker.cancel_requests("w") == [job.id]
    await other.close()
    await worker.close()


@async_test
async def test_a_wake_told_in_another_thread_is_heard_by_all(schema: str) -> None:
    ears, others = Ears(), Ears()
    ledger = await listening(schema, ears)
    other = await listening(schema, others)
    await asyncio.to_thread(ledger.tell, Wake(enqueued=True, cancelled=False))
    assert (await ears.next()).enqueued
    assert (await others.next()).enqueued
    await ledger.close()
    await other.close()


@async_test
async def test_what_is_said_in_a_burst_is_heard_at_least_once_after_its_end(schema: str) -> None:
    ears = Ears()
    other = await listening(schema, ears)
    ledger = PostgresLedger(POSTGRES_URL, schema=schema)
    await ledger.open()
    for _ in range(200):
        ledger.tell(Wake(enqueued=True, cancelled=False))
    ledger.tell(Wake(enqueued=False, cancelled=True))
    while not (await ears.next()).cancelled:
        pass
    assert len(ears.heard) <= 2
    await ledger.close()
    await other.close()


@async_test
async def test_listening_goes_on_after_its_connection_was_killed(schema: str) -> None:
    ears = Ears()
    listener = await listening(schema, ears, name=schema)
    other = PostgresLedger(POSTGRES_URL, schema=schema)
    await other.open()
    connection = await other._open.looking.connected()
    killed = await connection.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = $1 AND query LIKE 'LISTEN%'",
        schema,
    )
    assert len(killed) == 1
    assert await ears.next() == Wake(True, True)  # for what it may have missed
    await other.insert([NewJob(new_job_id(), "t")])
    assert await ears.next() == Wake(True, False)
    await other.close()
    await listener.close()


@async_test
async def test_a_closed_engine_says_and_hears_nothing(schema: str) -> None:
    ears = Ears()
    ledger = await listening(schema, ears)
    await ledger.close()
    ledger.tell(Wake(True, True))
    assert ears.heard == []
