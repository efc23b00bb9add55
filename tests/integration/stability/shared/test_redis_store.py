"""What is particular to Redis: its clock, its expiry, connections that break, a server that dies."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from redis.asyncio import Redis

from backstay.errors import BadIntegration
from backstay.integration.stability.shared import open_shared_states
from backstay.integration.stability.shared.port import ANY_EPOCH, Pace, StoreUnavailable
from backstay.integration.stability.shared.redis_store import RedisStore
from tests.chaos.processes import free_port, wait_until
from tests.integration.stability.shared.shared_stores import REDIS_URL, a_place
from tests.integration.stability.shared.wire import a_wire
from tests.support import async_test

NAME = b"a name of ours.."


@pytest.fixture
def prefix() -> Iterator[str]:
    with a_place("redis") as (_, prefix):
        yield prefix


@async_test
async def test_redis_goes_by_its_own_clock(prefix: str) -> None:
    store = RedisStore(REDIS_URL, prefix=prefix)
    opened = await store.trip(NAME, epoch=ANY_EPOCH, reset_s=60)
    with redis.Redis.from_url(REDIS_URL) as client:
        seconds, micros = client.time()
    assert 0 <= seconds * 1_000_000 + micros - opened.epoch < 20_000_000
    assert opened.opens_in_s == 60
    await store.close()


@async_test
async def test_nothing_stays_there_for_ever(prefix: str) -> None:
    store = RedisStore(REDIS_URL, prefix=prefix)
    await store.trip(NAME, epoch=ANY_EPOCH, reset_s=1)
    await store.lease(b"x" * 16, lease_s=5)
    await store.take(NAME, Pace(1, 1), count=1, max_wait_s=0)
    with redis.Redis.from_url(REDIS_URL) as client:
        ends = sorted(client.pttl(name) for name in client.scan_iter(f"{prefix}*"))
    assert len(ends) == 3
    assert 0 < ends[0] <= 61_000
    assert 86_000_000 < ends[1] <= ends[2] <= 86_401_000
    await store.close()


@pytest.mark.parametrize("decode", [True, False], ids=["text", "bytes"])
@async_test
async def test_a_client_of_the_apps_does_whatever_it_makes_of_answers(
    prefix: str, decode: bool
) -> None:
    client = Redis.from_url(REDIS_URL, decode_responses=decode)
    store = RedisStore(client, prefix=prefix)
    opened = await store.trip(NAME, epoch=ANY_EPOCH, reset_s=60)
    assert await store.look([NAME, bytes(16)]) != [opened, opened]
    assert (await store.take(NAME, Pace(1, 3), count=9, max_wait_s=0)).count == 3
    await store.close()
    assert await client.ping()
    await client.aclose()


def test_one_event_loop_after_another_may_use_it(prefix: str) -> None:
    # In a process of its own: nobody can close the sockets of loops that are closed.
    program = f"""
import asyncio
from tests.integration.stability.shared.test_redis_store import NAME, REDIS_URL, Pace, RedisStore

store = RedisStore(REDIS_URL, prefix={prefix!r})

async def take():
    print((await store.take(NAME, Pace(0.001, 2), count=1, max_wait_s=0)).count)

for _ in range(3):
    asyncio.run(take())
asyncio.run(store.close())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.split()) == (0, ["1", "1", "0"]), done.stderr


@async_test
async def test_a_name_that_is_taken_is_out_of_reach(prefix: str) -> None:
    with redis.Redis.from_url(REDIS_URL) as client:
        client.set(f"{prefix}:circuit:{NAME.hex()}", "somebody else's")
    store = RedisStore(REDIS_URL, prefix=prefix)
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        await store.look([NAME])
    await store.close()


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(BadIntegration, match="no address of a Redis"):
        RedisStore("redis://host:port")


@async_test
async def test_connections_that_are_cut_are_made_again_unseen(prefix: str) -> None:
    parts = urlsplit(REDIS_URL)
    async with a_wire(parts.hostname or "", parts.port or 6379) as wire:
        store = RedisStore(f"redis://127.0.0.1:{wire.port}{parts.path}", prefix=prefix)
        takes = [store.take(NAME, Pace(0.001, 50), count=1, max_wait_s=0) for _ in range(12)]
        assert sum(each.count for each in await asyncio.gather(*takes)) == 12
        assert wire.connections > 1
        for _ in range(3):
            wire.cut()
            assert (await store.take(NAME, Pace(0.001, 50), count=1, max_wait_s=0)).count == 1
        wire.is_out = True
        wire.cut()
        with pytest.raises(StoreUnavailable, match="out of reach"):
            await store.look([NAME])
        await store.close()


@async_test
async def test_a_line_that_goes_dead_costs_the_time_out_and_comes_back(prefix: str) -> None:
    parts = urlsplit(REDIS_URL)
    async with a_wire(parts.hostname or "", parts.port or 6379) as wire:
        url = f"redis://127.0.0.1:{wire.port}{parts.path}"
        states = open_shared_states(url, key_prefix=prefix, timeout_s=5)
        await states.open()
        assert (await states.lease(NAME)).granted
        states._patience._timeout_s = 0.05
        wire.is_dead = True
        for _ in range(4):
            with pytest.raises(StoreUnavailable):
                await states.lease(NAME)
        assert states.is_alone
        wire.is_dead = False
        states._patience._timeout_s = 5
        while states.is_alone:
            try:
                assert not (await states.lease(NAME)).granted
            except StoreUnavailable:
                await asyncio.sleep(0.05)
        await states.close()


@contextmanager
def a_server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server was found")
    options = ["--port", str(port), "--save", "", "--dir", str(folder), "--bind", "127.0.0.1"]
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)

    def answers() -> bool:
        try:
            with redis.Redis(port=port) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    try:
        wait_until(answers, "a private Redis to answer")
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_redis_that_is_killed_and_started_again_is_joined_again(tmp_path: Path) -> None:
    port = free_port()

    async def until_it_answers() -> int:
        while True:
            try:
                [found] = await states.ask(lambda: states.store.look([NAME]))
            except StoreUnavailable:
                await asyncio.sleep(0.05)
            else:
                return found.epoch

    with asyncio.Runner() as runner:
        with a_server(tmp_path, port):
            states = open_shared_states(f"redis://127.0.0.1:{port}/0", timeout_s=5)
            opened = runner.run(states.trip(NAME, epoch=ANY_EPOCH, reset_s=60))
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                runner.run(states.lease(NAME))
        assert states.is_alone
        with a_server(tmp_path, port):
            assert runner.run(until_it_answers()) == 0, "it has forgotten everything"
            again = runner.run(states.trip(NAME, epoch=opened.epoch, reset_s=60))
            assert again.epoch > opened.epoch
            runner.run(states.close())
