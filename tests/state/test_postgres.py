"""What is particular to the store in PostgreSQL: whose clock counts, and lost connections."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from backstay.clock import SystemClock
from backstay.errors import StateMismatch, StateUnavailable
from backstay.state import State
from backstay.state.postgres import PostgresStore
from tests.ledger.databases import POSTGRES_URL, need_postgres
from tests.state.stores import new_prefix, tidy_postgres
from tests.support import async_test


@pytest.fixture
def prefix() -> Iterator[str]:
    need_postgres()
    prefix = new_prefix()
    yield prefix
    tidy_postgres(prefix)


@asynccontextmanager
async def a_store(prefix: str, **options: Any) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(POSTGRES_URL, prefix=prefix, **options)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def execute(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(POSTGRES_URL, autocommit=True) as connection:
        cursor = connection.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []


@pytest.mark.parametrize("clock", [None, SystemClock()])
@async_test
async def test_the_server_s_clock_counts(prefix: str, clock: SystemClock | None) -> None:
    """An end is the server's now and the time to live; then the server's now is all that counts."""
    async with a_store(prefix, clock=clock) as store:
        [[before]] = execute("SELECT now()")
        await store.write(b"s", b"k", "1", 1000)
        [[end, after]] = execute(f"SELECT expires_at, now() FROM {prefix}state")
        assert before <= end - timedelta(seconds=1000) <= after
        execute(f"UPDATE {prefix}state SET expires_at = now() + interval '1 hour'")
        assert await store.read(b"s", b"k") == "1"
        execute(f"UPDATE {prefix}state SET expires_at = now()")
        assert await store.read(b"s", b"k") is None
        assert await store.sweep(10) == 1


@async_test
async def test_a_change_cut_off_in_the_middle_says_that_nobody_knows(prefix: str) -> None:
    async with a_store(prefix) as store:
        state = State(store, "s")
        await state.set("k", 1)
        with psycopg.connect(POSTGRES_URL) as other:
            other.execute(f"SELECT 1 FROM {prefix}state FOR UPDATE")
            change = asyncio.create_task(state.incr("k"))
            await until_blocked(prefix)
            cut_blocked(prefix)
            with pytest.raises(StateUnavailable, match="whether the change was made is not known"):
                await change
        assert await state.get("k") == 1
        assert await state.incr("k") == 2


@async_test
async def test_a_set_cut_off_in_the_middle_is_done_again(prefix: str) -> None:
    async with a_store(prefix) as store:
        state = State(store, "s")
        await state.set("k", 1)
        with psycopg.connect(POSTGRES_URL) as other:
            other.execute(f"SELECT 1 FROM {prefix}state FOR UPDATE")
            change = asyncio.create_task(state.set("k", 2))
            await until_blocked(prefix)
            cut_blocked(prefix)
        await change
        assert await state.get("k") == 2


BLOCKED = (
    "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s AND pid <> "
    "pg_backend_pid()"
)


async def until_blocked(prefix: str) -> None:
    while not await asyncio.to_thread(execute, f"SELECT pid {BLOCKED}", f"%{prefix}%"):
        await asyncio.sleep(0.01)


def cut_blocked(prefix: str) -> None:
    assert execute(f"SELECT pg_terminate_backend(pid) {BLOCKED}", f"%{prefix}%")


@async_test
async def test_a_cancelled_call_gives_its_connection_back(prefix: str) -> None:
    async with a_store(prefix, connections=1) as store:
        state = State(store, "s")
        await state.set("k", 1)
        with psycopg.connect(POSTGRES_URL) as other:
            other.execute(f"SELECT 1 FROM {prefix}state FOR UPDATE")
            change = asyncio.create_task(state.incr("k"))
            await until_blocked(prefix)
            change.cancel()
            await asyncio.gather(change, return_exceptions=True)
            assert await state.get("k") == 1


@async_test
async def test_a_statement_that_takes_too_long_is_given_up(prefix: str) -> None:
    async with a_store(prefix, patience_s=0.5) as store:
        await store.write(b"s", b"k", "1", None)
        with psycopg.connect(POSTGRES_URL) as other:
            other.execute(f"SELECT 1 FROM {prefix}state FOR UPDATE")
            with pytest.raises(StateUnavailable, match="no answer in time.*is not known"):
                await store.add(b"s", b"k", 1, None)
            assert await store.read(b"s", b"k") == "1", "others go on meanwhile"


@async_test
async def test_a_table_that_was_dropped_is_missed(prefix: str) -> None:
    async with a_store(prefix) as store:
        tidy_postgres(prefix)
        with pytest.raises(StateMismatch, match="the state's tables at .* are not what they were"):
            await store.read(b"s", b"k")


@async_test
async def test_few_at_a_time_use_few_connections_and_many_no_more_than_allowed(prefix: str) -> None:
    async with a_store(prefix, connections=3) as store:
        state = State(store, "s")
        for number in range(5):
            await state.set("k", number)
        assert sum(lane._connection is not None for lane in store._lanes) == 1
        await asyncio.gather(*(state.incr(f"k{number}") for number in range(30)))
        assert sum(lane._connection is not None for lane in store._lanes) == 3


@async_test
async def test_expired_ones_are_found_by_an_index(prefix: str) -> None:
    async with a_store(prefix) as store:
        await store.write(b"s", b"k", "1", 1000)
        with psycopg.connect(POSTGRES_URL) as connection:
            connection.execute("SET enable_seqscan = off")
            plan = connection.execute(
                f"EXPLAIN SELECT ctid FROM {prefix}state WHERE expires_at <= "
                "coalesce(NULL::timestamptz, now()) ORDER BY expires_at LIMIT 10"
            ).fetchall()
        assert any("state_expiring" in line for (line,) in plan), plan
