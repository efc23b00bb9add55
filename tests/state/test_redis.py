"""What is particular to the store in Redis: connections that break, and what stands in its way."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from backstay.errors import StateMismatch, StateUnavailable
from backstay.state import State
from backstay.state.redis import RedisStore
from tests.state.stores import REDIS_URL, need_redis, new_prefix, tidy_redis
from tests.support import async_test


@pytest.fixture
def prefix() -> Iterator[str]:
    need_redis()
    prefix = new_prefix()
    yield prefix
    tidy_redis(prefix)


class Wire:
    """Stands between the store and Redis, and cuts answers off.

    Attributes:
        cuts: how many requests that hold ``marked`` still get no answer, but reach Redis.
        passed: how many such requests reached Redis.
    """

    def __init__(self) -> None:
        self.cuts = 0
        self.passed = 0
        self.marked = b"EVALSHA"
        self.url = ""
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        where = urlsplit(REDIS_URL)
        there, to_redis = await asyncio.open_connection(where.hostname, where.port or 6379)
        self._writers += [writer, to_redis]
        try:
            while request := await reader.read(65536):
                to_redis.write(request)
                answer = await there.read(65536)
                if self.marked in request:
                    self.passed += 1
                    if self.cuts:
                        self.cuts -= 1
                        return
                writer.write(answer)
        except ConnectionError:
            pass
        finally:
            writer.close()
            to_redis.close()

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def a_wire() -> AsyncIterator[Wire]:
    wire = Wire()
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}{urlsplit(REDIS_URL).path}"
    try:
        yield wire
    finally:
        server.close()
        wire.close()
        await asyncio.sleep(0)


@asynccontextmanager
async def a_state(prefix: str, url: str = REDIS_URL, **options: Any) -> AsyncIterator[State]:
    store = RedisStore(url, prefix=prefix, **options)
    await store.open()
    try:
        yield State(store, "s")
    finally:
        await store.close()


@async_test
async def test_an_increment_without_an_answer_is_not_done_twice(prefix: str) -> None:
    async with a_wire() as wire, a_state(prefix, wire.url) as state:
        assert await state.incr("k") == 1
        wire.cuts, wire.passed = 1, 0
        with pytest.raises(StateUnavailable, match="is not known"):
            await state.incr("k")
        assert wire.passed == 1
        assert await state.get("k") == 2, "this one had been made"
        assert await state.incr("k") == 3


@async_test
async def test_a_set_without_an_answer_is_done_again(prefix: str) -> None:
    async with a_wire() as wire, a_state(prefix, wire.url) as state:
        await state.set("k", 1)
        wire.cuts, wire.passed = 1, 0
        await state.set("k", 2)
        assert wire.passed == 2
        wire.cuts, wire.marked = 1, b"GET"
        assert await state.get("k") == 2


@async_test
async def test_an_outage_is_said_and_over_when_it_is_over(prefix: str) -> None:
    async with a_wire() as wire, a_state(prefix, wire.url) as state:
        await state.set("k", 1)
        wire.cuts = 2
        with pytest.raises(StateUnavailable, match="does not answer"):
            await state.set("k", 2)
        await state.set("k", 3)
        assert await state.get("k") == 3


@async_test
async def test_what_stands_in_its_way_is_named(prefix: str) -> None:
    with redis.Redis.from_url(REDIS_URL) as client:
        client.hset(f"{prefix}state:1:sk", "a", "1")
    async with a_state(prefix) as state:
        with pytest.raises(StateMismatch, match="taken by something else.*table_prefix="):
            await state.get("k")


@async_test
async def test_a_script_that_redis_does_not_know_is_sent(prefix: str) -> None:
    """As after SCRIPT FLUSH or a restart, which would disturb others here."""
    async with a_state(prefix) as state:
        script = state._store._scripts["add"]  # type: ignore[attr-defined]  # a RedisStore
        script.script += f" -- {prefix}"
        script.sha = hashlib.sha1(script.script.encode()).hexdigest()
        assert await state.incr("k") == 1
        assert await state.incr("k") == 2


@async_test
async def test_more_calls_than_connections_wait_their_turn(prefix: str) -> None:
    async with a_state(prefix, connections=2) as state:
        await asyncio.gather(*(state.incr("k") for _ in range(100)))
        assert await state.get("k") == 100


@async_test
async def test_a_cancelled_call_leaves_no_answer_to_the_next(prefix: str) -> None:
    async with a_state(prefix, connections=1) as state:
        await state.set("a", "a")
        await state.set("b", "b")
        for _ in range(20):
            call = asyncio.create_task(state.get("a"))
            for _ in range(3):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            assert await state.get("b") == "b"
