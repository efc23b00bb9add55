"""Hearts that beat in PostgreSQL."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from backstay.errors import LedgerUnavailable
from backstay.ledger import Beat, WorkerRow
from backstay.ledger.postgres import PostgresLedger
from tests.ledger.databases import POSTGRES_URL, fresh_schema, need_postgres
from tests.support import PATIENCE_S, async_test

WORKER = WorkerRow(id="w", host="h", pid=1, lease_s=30, concurrency=1, queues=("default",))


@pytest.fixture
def schema() -> Iterator[str]:
    need_postgres()
    with fresh_schema() as (name, _):
        yield name


@async_test
async def test_it_beats_while_the_event_loop_is_blocked(schema: str) -> None:
    ledger = PostgresLedger(POSTGRES_URL, schema=schema)
    await ledger.open()
    await ledger.register(WORKER)
    heart = ledger.heart(WORKER)
    beats: list[Beat] = []
    thread = threading.Thread(target=lambda: (beats.append(heart.beat()), heart.close()))
    thread.start()
    thread.join(PATIENCE_S)  # blocks this loop
    assert beats == [Beat(known=True, cancelled=())]
    await ledger.close()


@async_test
async def test_it_beats_again_after_its_connection_was_killed(schema: str) -> None:
    ledger = PostgresLedger(f"{POSTGRES_URL}?application_name={schema}", schema=schema)
    await ledger.open()
    await ledger.register(WORKER)
    heart = ledger.heart(WORKER)
    assert (await asyncio.to_thread(heart.beat)).known
    other = PostgresLedger(POSTGRES_URL, schema=schema)
    await other.open()
    connection = await other._open.looking.connected()
    killed = await connection.fetchval(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1",
        schema,
    )
    assert killed >= 2
    beat = None
    for _ in range(2):  # the first one may find out
        try:
            beat = await asyncio.to_thread(heart.beat)
            break
        except LedgerUnavailable:
            continue
    assert beat is not None
    assert beat.known
    await asyncio.to_thread(heart.close)
    await other.close()
    await ledger.close()


@async_test
async def test_a_worker_that_was_forgotten_is_registered_afresh(schema: str) -> None:
    ledger = PostgresLedger(POSTGRES_URL, schema=schema)
    await ledger.open()
    heart = ledger.heart(WORKER)
    assert await asyncio.to_thread(heart.beat) == Beat(known=False, cancelled=())
    assert await asyncio.to_thread(heart.beat) == Beat(known=True, cancelled=())
    assert [worker.id for worker in await ledger.workers()] == ["w"]
    await asyncio.to_thread(heart.close)
    assert [worker.id for worker in await ledger.workers()] == ["w"]
    await ledger.close()


@async_test
async def test_it_says_so_when_nobody_answers(schema: str) -> None:
    ledger = PostgresLedger(POSTGRES_URL, schema=schema)
    await ledger.open()
    silent = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    from backstay.ledger.postgres_address import Address
    from backstay.ledger.postgres_heart import PostgresHeart

    address = Address.of(f"postgresql://postgres@127.0.0.1:{port}/test")
    heart = PostgresHeart(address, ledger._open.tables, WORKER, None)
    with pytest.raises(LedgerUnavailable, match=f"127.0.0.1:{port}/test"):
        await asyncio.to_thread(heart.beat)
    await asyncio.to_thread(heart.close)
    silent.close()
    await silent.wait_closed()
    await ledger.close()
