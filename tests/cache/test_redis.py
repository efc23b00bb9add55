"""What is particular to Redis: outages, the app's own client, and one loop after another."""

import asyncio
import gc
import time
import warnings

import pytest
import redis
import redis.asyncio

from backstay.cache import Cache
from backstay.cache.redis import RedisStore
from backstay.errors import CacheError, CacheUnavailable
from tests.cache.fakes import Maker, filled
from tests.cache.stores import REDIS_URL, a_namespace, a_wire
from tests.state.stores import need_redis
from tests.support import async_test


@pytest.fixture(autouse=True)
def _redis() -> None:
    need_redis()


@async_test
async def test_a_redis_that_goes_away_is_nobodys_failure_and_comes_back() -> None:
    with a_namespace() as namespace:
        async with (
            a_wire() as wire,
            Cache(wire.url, namespace=namespace, op_timeout_s=5, retry_after_s=0.05) as cache,
        ):
            make = Maker()
            assert (await filled(cache, make, tags=["t"])).status == "MISS"
            assert (await filled(cache, make, tags=["t"])).status == "HIT"
            wire.break_off()
            assert (await filled(cache, make, tags=["t"])).status == "BYPASS"
            tried = wire.connections
            for _ in range(20):
                assert (await filled(cache, make, tags=["t"])).status == "BYPASS"
            assert wire.connections == tried, "the time of peace is not over"
            wire.down = False
            while (await filled(cache, make, tags=["t"])).status == "BYPASS":
                await asyncio.sleep(0.01)
            found = await filled(cache, make, tags=["t"])
            assert (found.value, found.status) == (b"1", "HIT")


@async_test
async def test_a_redis_that_does_not_answer_costs_its_time_once() -> None:
    with a_namespace() as namespace:
        async with (
            a_wire() as wire,
            Cache(wire.url, namespace=namespace, op_timeout_s=0.1, retry_after_s=60) as cache,
        ):
            wire.silent = True
            make = Maker()
            began = time.process_time()
            for _ in range(50):
                assert (await filled(cache, make)).status == "BYPASS"
            assert time.process_time() - began < 5, "no busy waiting"
            assert wire.connections == 1


@async_test
async def test_nobody_there_at_all_is_nobodys_failure() -> None:
    async with Cache("redis://127.0.0.1:1/0") as cache:
        assert (await filled(cache, Maker())).status == "BYPASS"
        await cache.invalidate("t")


@async_test
async def test_what_was_invalidated_during_an_outage_is_gone_after_it() -> None:
    with a_namespace() as namespace:
        options = {"namespace": namespace, "op_timeout_s": 5.0}
        async with (
            a_wire() as wire,
            Cache(wire.url, retry_after_s=0.02, **options) as here,  # type: ignore[arg-type]
            Cache(REDIS_URL, **options) as there,  # type: ignore[arg-type]  # one of each
        ):
            make = Maker()
            await filled(here, make, tags=["t"])
            wire.break_off()
            await here.invalidate("t")
            assert await there.lookup("k") is not None
            wire.down = False
            while await there.lookup("k") is not None:
                await asyncio.sleep(0.01)
            while (await filled(here, make, tags=["t"])).status == "BYPASS":
                await asyncio.sleep(0.01)
            assert (await there.lookup("k")) is not None, "a new one"


@async_test
async def test_a_server_that_was_restarted_is_noticed_without_a_miss() -> None:
    with a_namespace() as namespace:
        async with a_wire() as wire, Cache(wire.url, namespace=namespace, op_timeout_s=5) as cache:
            make = Maker()
            await filled(cache, make)
            wire.break_off()
            wire.down = False
            assert (await filled(cache, make)).status == "HIT"


@async_test
async def test_the_apps_own_client_stays_open_and_goes_on_giving_what_it_gave() -> None:
    with a_namespace() as namespace:
        client = redis.asyncio.from_url(REDIS_URL, decode_responses=True)
        async with Cache(client, namespace=namespace) as cache:
            await filled(cache, Maker())
        await client.set(f"{namespace}:x", "text")
        assert await client.get(f"{namespace}:x") == "text"
        await client.aclose()


def test_a_client_of_a_module_serves_one_event_loop_after_another() -> None:
    with a_namespace() as namespace, warnings.catch_warnings():
        # The client's own connections: whoever made it does not close it between the loops.
        warnings.simplefilter("ignore", ResourceWarning)
        client = redis.asyncio.from_url(REDIS_URL)
        cache = Cache(client, namespace=namespace, op_timeout_s=5)
        make = Maker()

        async def run() -> str:
            return (await filled(cache, make)).status

        assert [asyncio.run(run()) for _ in range(3)] == ["MISS", "HIT", "HIT"]
        client.connection_pool.reset()
        gc.collect()


def test_an_address_serves_one_event_loop_after_another() -> None:
    with a_namespace() as namespace:
        cache = Cache(REDIS_URL, namespace=namespace, op_timeout_s=5)
        make = Maker()

        async def run() -> str:
            found = await filled(cache, make)
            await cache.close()
            return found.status

        assert [asyncio.run(run()) for _ in range(3)] == ["MISS", "HIT", "HIT"]


@async_test
async def test_what_redis_refuses_is_no_outage() -> None:
    with a_namespace() as namespace:
        store = RedisStore(REDIS_URL, namespace=namespace)
        await store.open()
        with pytest.raises(CacheError, match="refused") as refused:
            await store._do(lambda: store._opened().execute_command("INCR"))
        assert not isinstance(refused.value, CacheUnavailable)
        await store.close()
        with pytest.raises(CacheUnavailable, match="not open"):
            await store.get_many(["k"])


@async_test
async def test_a_cancelled_question_leaves_its_answer_to_nobody() -> None:
    with a_namespace() as namespace:
        store = RedisStore(REDIS_URL, namespace=namespace)
        await store.open()
        await store.set(f"{namespace}:a", b"a", 100)
        await store.set(f"{namespace}:b", b"b", 100)
        for turns in range(20):
            call = asyncio.create_task(store.get_many([f"{namespace}:a"]))
            for _ in range(turns % 7):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            assert await store.get_many([f"{namespace}:b"]) == [b"b"]
        await store.close()


@async_test
async def test_a_redis_that_keeps_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_namespace() as namespace:
        store = RedisStore(REDIS_URL, namespace=namespace)
        await store.open()
        monkeypatch.setattr("backstay.cache.redis._ms", lambda ttl_s: 1)
        keys = [f"{namespace}:{number}" for number in range(3000)]
        with pytest.raises(CacheError, match="keeps nothing"):
            await store.settle(keys, bytes(1000), 1)
        await store.close()


@async_test
async def test_other_peoples_values_are_no_entries() -> None:
    with a_namespace() as namespace:
        async with Cache(REDIS_URL, namespace=namespace, op_timeout_s=5) as cache:
            with redis.Redis.from_url(REDIS_URL) as client:
                client.set(f"{namespace}:k:k", "somebody else's")
                client.hset(f"{namespace}:k:hash", "a", "b")
            assert (await filled(cache, Maker())).status == "MISS"
            assert await cache.lookup("hash") is None
            assert (await filled(cache, Maker(), key="hash")).status == "MISS"


@async_test
async def test_where_it_is_can_be_shown() -> None:
    for client, url in (
        (redis.asyncio.Redis(host="h", port=1, db=2, password="secret"), "redis://h:1/2"),
        (redis.asyncio.Redis(unix_socket_path="/run/r.sock"), "unix:///run/r.sock"),
    ):
        assert RedisStore(client, namespace="n").url == url
    assert RedisStore("redis://:secret@h", namespace="n").url == "redis://:***@h"
