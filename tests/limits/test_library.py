"""Redis, through the library: shared by processes, and no harm when it hangs."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import signal
import socket
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from fastapi import Depends, FastAPI
from limits.aio.storage import MemoryStorage

from backstay.clock import SystemClock
from backstay.errors import LimitsUnavailable
from backstay.limits import add_limits, rate_limit, read_limits
from backstay.limits.library import LibraryCounts
from backstay.limits.opening import new_store
from backstay.limits.port import Strategy
from backstay.testing import running
from tests.limits.stores import REDIS_URL, needs_redis, redis_prefix
from tests.support import async_test

LIMITS = read_limits("5/day")


@contextmanager
def own_redis(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server of the test's own, on a Unix socket."""
    path = folder / "redis.sock"
    server = subprocess.Popen(
        ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", folder],
        stdout=subprocess.PIPE,
    )
    try:
        assert server.stdout is not None
        for line in server.stdout:
            if b"eady to accept connections" in line:
                break
        yield f"unix://{path}", server
    finally:
        server.send_signal(signal.SIGCONT)
        server.kill()
        server.communicate()


needs_a_server = pytest.mark.skipif(
    shutil.which("redis-server") is None and os.environ.get("CI") != "true",
    reason="no redis-server to start",
)


@needs_redis
@async_test
async def test_processes_share_the_counts() -> None:
    async with redis_prefix() as prefix:
        stores = [new_store(REDIS_URL, clock=SystemClock(), key_prefix=prefix) for _ in range(3)]
        verdicts = await asyncio.gather(
            *(each.hit("k", LIMITS, 1, Strategy.MOVING) for each in stores for _ in range(10))
        )
        assert sum(each.allowed for each in verdicts) == 5
        for each in stores:
            await each.close()


@needs_redis
@async_test
async def test_nobodys_address_can_be_read_in_it() -> None:
    async with redis_prefix() as prefix:
        store = new_store(REDIS_URL, clock=SystemClock(), key_prefix=prefix)
        await store.hit("route|user:alice", LIMITS, 1, Strategy.FIXED)
        await store.close()
        with redis.Redis.from_url(REDIS_URL) as client:
            [key] = client.scan_iter(f"{prefix}:*")
            assert b"alice" not in key


@needs_redis
@pytest.mark.parametrize("decode_responses", [False, True])
@async_test
async def test_a_client_of_ones_own_is_used_and_left_open(decode_responses: bool) -> None:
    async with redis_prefix() as prefix:
        client = redis.asyncio.Redis.from_url(REDIS_URL, decode_responses=decode_responses)
        store = new_store(client, clock=SystemClock(), key_prefix=prefix)
        for strategy in Strategy:
            verdict = await store.hit("k", LIMITS, 2, strategy)
            assert (verdict.allowed, verdict.remaining) == (True, 3)
        await store.close()
        assert await client.ping()
        await client.aclose()


@needs_redis
def test_a_client_is_used_in_one_event_loop_after_another() -> None:
    with warnings.catch_warnings():
        # The client's own connections: whoever made it does not close it between the loops.
        warnings.simplefilter("ignore", ResourceWarning)
        client = redis.asyncio.from_url(REDIS_URL)
        store = new_store(client, clock=SystemClock(), key_prefix="test_loops")

        async def hit() -> bool:
            limits = read_limits("1000/second")
            return (await store.hit("k", limits, 1, Strategy.MOVING)).allowed

        assert [asyncio.run(hit()) for _ in range(3)] == [True, True, True]
        client.connection_pool.reset()  # type: ignore[no-untyped-call]  # redis's own is not typed
        gc.collect()


@async_test
async def test_any_storage_of_the_librarys_will_do() -> None:
    store = LibraryCounts(MemoryStorage(), url="memory", clock=SystemClock())
    await store.open()
    for strategy in Strategy:
        verdicts = [await store.hit("k", LIMITS, 1, strategy) for _ in range(7)]
        assert [each.allowed for each in verdicts] == [True] * 5 + [False] * 2
        assert [each.remaining for each in verdicts] == [4, 3, 2, 1, 0, 0, 0]
    assert await store.prune(10) == 0


@async_test
async def test_a_closed_port_is_out_of_reach() -> None:
    store = new_store("redis://:secret@127.0.0.1:1/0", clock=SystemClock())
    for call in (
        store.open(),
        store.hit("k", LIMITS, 1, Strategy.MOVING),
        store.check("k", LIMITS, 1, Strategy.MOVING),
        store.clear("k", LIMITS, Strategy.MOVING),
    ):
        with pytest.raises(LimitsUnavailable, match=r"127\.0\.0\.1:1") as caught:
            await call
        assert "secret" not in str(caught.value)


@needs_a_server
@pytest.mark.parametrize(
    ("fail", "expected"), [("open", [200] * 5 + [429] * 95), ("closed", [503] * 100)]
)
@async_test
async def test_a_redis_that_hangs_does_not_hang_the_service(
    fail: str, expected: list[int], tmp_path: Path
) -> None:
    with own_redis(tmp_path) as (url, server):
        app = FastAPI()
        part = add_limits(app, url, fail=fail, timeout_s=0.5)  # type: ignore[arg-type]  # it is one of both

        @app.get("/", dependencies=[Depends(rate_limit("5/day"))])
        async def index() -> str:
            return "here"

        async with running(app) as client:
            first = await client.get("/")
            assert (first.status_code, first.headers["ratelimit"]) == (200, '"default";r=4;t=86400')
            server.send_signal(signal.SIGSTOP)
            answers = await asyncio.gather(*(client.get("/") for _ in range(50)))
            answers += [await client.get("/") for _ in range(50)]
            assert sorted(each.status_code for each in answers) == expected
            assert all(("ratelimit" in each.headers) == (fail == "open") for each in answers)
            server.send_signal(signal.SIGCONT)
            part.limiter._patience._down_until = 0.0  # a second later
            again = await client.get("/")
            assert again.status_code in {200, 429}
            assert "ratelimit" in again.headers


@async_test
async def test_what_takes_everything_and_answers_nothing_does_not_hang_the_service() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hole:
        host, port = hole.getsockname()
        app = FastAPI()
        add_limits(app, f"postgresql://nobody@{host}:{port}/x", timeout_s=0.05)

        @app.get("/", dependencies=[Depends(rate_limit("3/hour;5/day"))])
        async def index() -> str:
            return "here"

        async with running(app) as client:
            answers = [await client.get("/") for _ in range(20)]
            assert [each.status_code for each in answers] == [200] * 3 + [429] * 17
