"""The stores that the cache's tests run on, and how each is made, shared and aged."""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cashews
import pytest
import redis
import redis.asyncio

from backstay.cache.cashews import CashewsStore
from backstay.cache.memory import MemoryStore
from backstay.cache.port import CacheStore
from backstay.cache.redis import RedisStore
from backstay.cache.state_store import StateCacheStore
from backstay.testing import FakeClock
from backstay.testing.cache_conformance import CacheConformance
from tests.ledger.databases import POSTGRES_URL, need_postgres, quick_directory
from tests.state.stores import REDIS_URL, need_redis, new_prefix, tidy_postgres

__all__ = [
    "OnCashews",
    "OnMemory",
    "OnPostgres",
    "OnRedis",
    "OnRedisClient",
    "OnSqlite",
    "REDIS_URL",
    "Wire",
    "a_namespace",
    "a_wire",
    "tidy_redis",
]


class OnMemory(CacheConformance):
    """This process's memory."""

    def new_store(self, clock: FakeClock, namespace: str) -> CacheStore:
        return MemoryStore(clock=clock)


class OnSqlite(CacheConformance):
    """A file of its own for every test."""

    directory: Path

    @pytest.fixture(autouse=True)
    def _directory(self) -> Iterator[None]:
        with tempfile.TemporaryDirectory(dir=quick_directory()) as directory:
            self.directory = Path(directory)
            yield

    def new_store(self, clock: FakeClock, namespace: str) -> CacheStore:
        url = f"sqlite:///{self.directory}/cache.db"
        return StateCacheStore(url, namespace=namespace, clock=clock)

    def same_store(self, store: CacheStore, clock: FakeClock, namespace: str) -> CacheStore:
        return StateCacheStore(store.url, namespace=namespace, clock=clock)


class OnPostgres(CacheConformance):
    """A table of its own for every test, going by the test's clock."""

    prefix: str

    @pytest.fixture(autouse=True)
    def _prefix(self) -> Iterator[None]:
        need_postgres()
        self.prefix = new_prefix()
        yield
        tidy_postgres(self.prefix)

    def new_store(self, clock: FakeClock, namespace: str) -> CacheStore:
        return StateCacheStore(POSTGRES_URL, namespace=namespace, clock=clock, prefix=self.prefix)

    def same_store(self, store: CacheStore, clock: FakeClock, namespace: str) -> CacheStore:
        return self.new_store(clock, namespace)


class OnRedis(CacheConformance):
    """Names of its own for every test. Redis goes by its own clock alone."""

    # Less than any machine could lose between two lines of a test.
    slack_s = 100.0

    @pytest.fixture(autouse=True)
    def _namespace(self) -> Iterator[None]:
        need_redis()
        with a_namespace() as namespace:
            self.namespace = namespace
            yield

    def new_store(self, clock: FakeClock, namespace: str) -> CacheStore:
        return RedisStore(REDIS_URL, namespace=namespace)

    def same_store(self, store: CacheStore, clock: FakeClock, namespace: str) -> CacheStore:
        return self.new_store(clock, namespace)

    async def pass_time(self, store: CacheStore, clock: FakeClock, seconds: float) -> None:
        """Time cannot be moved, so every end is: it comes nearer by so much."""
        with redis.Redis.from_url(REDIS_URL) as client:
            for name in client.scan_iter(f"{self.namespace}*", count=1000):
                left = client.pttl(name)
                client.pexpire(name, left - round(seconds * 1000))


class OnRedisClient(OnRedis):
    """The app's own client, which gives texts."""

    decode_responses = True
    _clients: list[redis.asyncio.Redis]

    @pytest.fixture(autouse=True)
    def _no_clients(self) -> None:
        self._clients = []

    def new_store(self, clock: FakeClock, namespace: str) -> CacheStore:
        client = redis.asyncio.from_url(REDIS_URL, decode_responses=self.decode_responses)
        self._clients.append(client)
        store = RedisStore(client, namespace=namespace)
        return _Closing(store, client)


class OnCashews(CacheConformance):
    """cashews in memory, which goes by the machine's clock."""

    slack_s = 100.0
    _cache: Any

    def new_store(self, clock: FakeClock, namespace: str) -> CacheStore:
        self._cache = cashews.Cache()
        self._cache.setup("mem://", size=100_000, check_interval=0)
        return CashewsStore(self._cache, namespace=namespace)

    def same_store(self, store: CacheStore, clock: FakeClock, namespace: str) -> CacheStore:
        return CashewsStore(self._cache, namespace=namespace)

    async def pass_time(self, store: CacheStore, clock: FakeClock, seconds: float) -> None:
        [backend] = self._cache._backends.values()
        for key, (end, value) in list(backend.store.items()):
            backend.store[key] = end - seconds, value


class _Closing:
    """A store over a client that the app would close."""

    def __init__(self, store: RedisStore, client: redis.asyncio.Redis) -> None:
        self._store = store
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def close(self) -> None:
        await self._store.close()
        await self._client.aclose()


class a_namespace:  # reads as a context manager
    """A namespace of Redis that nobody else has, tidied up at the end."""

    def __enter__(self) -> str:
        self.name = f"t{uuid.uuid4().hex[:20]}"
        return self.name

    def __exit__(self, *_: object) -> None:
        tidy_redis(self.name)


def tidy_redis(prefix: str) -> None:
    """Delete what a test has left."""
    with redis.Redis.from_url(REDIS_URL) as client:
        for name in client.scan_iter(f"{prefix}*", count=1000):
            client.delete(name)


class Wire:
    """Stands between a client and Redis: it can be down, and silent, and it counts.

    Attributes:
        url: where to find it.
        down: connections are refused at once, and those there are broken off.
        silent: requests are read and never answered.
        connections: how many were made.
    """

    def __init__(self) -> None:
        self.url = ""
        self.silent = False
        self.down = False
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.down:
            writer.transport.abort()
            return
        where = urlsplit(REDIS_URL)
        there, to_redis = await asyncio.open_connection(where.hostname, where.port or 6379)
        self._writers += [writer, to_redis]
        back = asyncio.create_task(_pump(there, writer))
        try:
            while request := await reader.read(65536):
                if not self.silent:
                    to_redis.write(request)
        except ConnectionError:
            pass
        finally:
            back.cancel()
            writer.close()
            to_redis.close()

    def break_off(self) -> None:
        """Nobody is served any more, until ``down`` is ``False`` again."""
        self.down = True
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while answer := await reader.read(65536):
            writer.write(answer)
    except ConnectionError:
        pass


@asynccontextmanager
async def a_wire() -> AsyncIterator[Wire]:
    need_redis()
    wire = Wire()
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}{urlsplit(REDIS_URL).path}"
    try:
        yield wire
    finally:
        server.close()
        wire.break_off()
        for _ in range(3):
            await asyncio.sleep(0)
