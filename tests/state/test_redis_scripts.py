"""What the scripts leave in Redis: values that expire by themselves, and no names without them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis

from backstay.state import State
from backstay.state.redis import RedisStore
from tests.state.stores import REDIS_URL, let_redis_age, need_redis, new_prefix, tidy_redis
from tests.support import async_test


@pytest.fixture
def prefix() -> Iterator[str]:
    need_redis()
    prefix = new_prefix()
    yield prefix
    tidy_redis(prefix)


@asynccontextmanager
async def a_state(prefix: str) -> AsyncIterator[State]:
    store = RedisStore(REDIS_URL, prefix=prefix)
    await store.open()
    try:
        yield State(store, "s")
    finally:
        await store.close()


def in_redis(prefix: str) -> dict[str, Any]:
    """Everything there is: texts, sets, and the members of the sorted set."""
    found: dict[str, Any] = {}
    with redis.Redis.from_url(REDIS_URL, decode_responses=True) as client:
        for name in client.scan_iter(f"{prefix}*", count=1000):
            kind = client.type(name)
            short = name.removeprefix(prefix)
            if kind == "string":
                found[short] = client.get(name)
            elif kind == "set":
                found[short] = client.smembers(name)
            else:
                found[short] = set(client.zrange(name, 0, -1))
    return found


def ttl_ms(prefix: str, name: str) -> int:
    with redis.Redis.from_url(REDIS_URL) as client:
        return int(client.pttl(prefix + name))


@async_test
async def test_a_value_is_a_text_beside_the_names_it_is_found_by(prefix: str) -> None:
    async with a_state(prefix) as state:
        await state.set("k", {"a": 1}, ttl=1000)
        await state.set("j", 2)
    assert in_redis(prefix) == {
        "state:1:sk": '{"a":1}',
        "state:1:sj": "2",
        "state-keys:s": {"k", "j"},
        "state-expiries": {"1:sk"},
    }


@async_test
async def test_redis_itself_is_told_when_a_value_ends(prefix: str) -> None:
    async with a_state(prefix) as state:
        for change in (
            state.set("k", 1, ttl=1000),
            state.incr("k", ttl=1000),
            state.incr("k", 0.5, ttl=1000),
            state.update("k", lambda value: value, ttl=1000),
        ):
            await change
            assert 990_000 < ttl_ms(prefix, "state:1:sk") <= 1_000_000
        for keeping in (state.update("k", lambda _: 1), state.incr("k"), state.incr("k", 0.5)):
            await keeping
            assert 990_000 < ttl_ms(prefix, "state:1:sk") <= 1_000_000
        await state.update("k", lambda value: value, ttl=None)
        assert ttl_ms(prefix, "state:1:sk") == -1


@async_test
async def test_less_than_a_millisecond_is_one(prefix: str) -> None:
    async with a_state(prefix) as state:
        await state.set("k", 1, ttl=1e-9)
        while await state.get("k") is not None:
            pass
        await state.set("k", 1, ttl=50_000.0001)
        assert 49_000_000 < ttl_ms(prefix, "state:1:sk") <= 50_000_001


@async_test
async def test_whatever_takes_a_value_away_takes_its_names_too(prefix: str) -> None:
    async with a_state(prefix) as state:
        for key in ("a", "b", "c"):
            await state.set(key, 1, ttl=1000)
        await state.delete("a")
        assert in_redis(prefix)["state-keys:s"] == {"b", "c"}
        assert in_redis(prefix)["state-expiries"] == {"1:sb", "1:sc"}
        await state.clear()
        assert in_redis(prefix) == {}


@async_test
async def test_sweeping_leaves_no_name_of_what_redis_let_expire(prefix: str) -> None:
    async with a_state(prefix) as state:
        await state.set("k", 1, ttl=1000)
        await state.scope("1:s").set("k:\x00", 1, ttl=1000)
        let_redis_age(prefix, 1001)
        assert "state-expiries" in in_redis(prefix)
        assert await state._store.sweep(10) == 2
        assert in_redis(prefix) == {}


@async_test
async def test_a_value_that_got_more_time_is_not_swept_at_its_old_end(prefix: str) -> None:
    async with a_state(prefix) as state:
        await state.set("k", 1, ttl=1000)
        await state.set("k", 2, ttl=5000)
        await state.set("j", 1, ttl=1000)
        await state.set("j", 2)
        let_redis_age(prefix, 1001)
        assert await state._store.sweep(10) == 0
        assert await state.keys() == ["j", "k"]
