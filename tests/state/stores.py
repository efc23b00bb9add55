"""The stores that the state's tests run on, and how each is made, shared and damaged."""

from __future__ import annotations

import asyncio
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis

from backstay.state import StateStore, new_store
from backstay.testing import FakeClock
from backstay.testing.state_conformance import StateConformance
from tests.ledger.databases import POSTGRES_URL, need_postgres, quick_directory

__all__ = [
    "OnMemory",
    "OnPostgres",
    "OnRedis",
    "OnSqlite",
    "REDIS_URL",
    "any_url",
    "let_redis_age",
    "need_redis",
    "new_prefix",
    "tidy_postgres",
    "tidy_redis",
]

REDIS_URL = os.environ.get("BACKSTAY_TEST_REDIS", "redis://127.0.0.1:6379/0")


class OnMemory(StateConformance):
    """``memory://``: one process, gone when it is closed."""

    def new_store(self, clock: FakeClock) -> StateStore:
        return new_store("memory://", clock=clock)


class OnSqlite(StateConformance):
    """A file of its own for every test."""

    directory: Path

    @pytest.fixture(autouse=True)
    def _directory(self) -> Iterator[None]:
        with tempfile.TemporaryDirectory(dir=quick_directory()) as directory:
            self.directory = Path(directory)
            yield

    def new_store(self, clock: FakeClock) -> StateStore:
        return new_store(f"sqlite:///{self.directory}/state.db", clock=clock)

    def same_store(self, store: StateStore, clock: FakeClock) -> StateStore:
        return new_store(store.url, clock=clock)


class OnPostgres(StateConformance):
    """A table of its own for every test, going by the test's clock."""

    prefix: str

    @pytest.fixture(autouse=True)
    def _prefix(self) -> Iterator[None]:
        need_postgres()
        self.prefix = new_prefix()
        yield
        tidy_postgres(self.prefix)

    def new_store(self, clock: FakeClock) -> StateStore:
        return new_store(POSTGRES_URL, clock=clock, prefix=self.prefix)

    def same_store(self, store: StateStore, clock: FakeClock) -> StateStore:
        return self.new_store(clock)

    async def cut_connections(self, store: StateStore) -> bool:
        def cut() -> None:
            with psycopg.connect(POSTGRES_URL, autocommit=True) as connection:
                # Those that have touched this test's table, whoever else is testing here.
                cut = connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'backstay' AND query LIKE %s",
                    [f"%{self.prefix}%"],
                ).fetchall()
                assert cut, "there was nothing to cut"

        await asyncio.to_thread(cut)
        return True


class OnRedis(StateConformance):
    """Names of its own for every test. Redis goes by its own clock alone."""

    prefix: str
    # Less than any machine could lose between two lines of a test.
    slack_s = 100.0

    @pytest.fixture(autouse=True)
    def _prefix(self) -> Iterator[None]:
        need_redis()
        self.prefix = new_prefix()
        yield
        tidy_redis(self.prefix)

    def new_store(self, clock: FakeClock) -> StateStore:
        return new_store(_named(REDIS_URL, self.prefix), clock=clock, prefix=self.prefix)

    def same_store(self, store: StateStore, clock: FakeClock) -> StateStore:
        return self.new_store(clock)

    async def pass_time(self, store: StateStore, clock: FakeClock, seconds: float) -> None:
        let_redis_age(self.prefix, seconds)

    async def cut_connections(self, store: StateStore) -> bool:
        with redis.Redis.from_url(REDIS_URL) as client:
            ours = [each["id"] for each in client.client_list() if each["name"] == self.prefix]
            assert ours, "there was nothing to cut"
            for each in ours:
                client.execute_command("CLIENT", "KILL", "ID", each)
        return True


def _named(url: str, name: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}client_name={name}"


def let_redis_age(prefix: str, seconds: float) -> None:
    """Time cannot be moved, so every end is: it comes nearer by so much."""
    with redis.Redis.from_url(REDIS_URL) as client:
        for name in client.scan_iter(f"{prefix}state:*", count=1000):
            left = client.pttl(name)
            if left >= 0:
                client.pexpire(name, left - round(seconds * 1000))
        due = f"{prefix}state-expiries"
        for member, score in client.zrange(due, 0, -1, withscores=True):
            client.zadd(due, {member: score - round(seconds * 1000)})


def new_prefix() -> str:
    """In front of names that no other test has."""
    return f"t{uuid.uuid4().hex[:20]}_"


def tidy_postgres(prefix: str) -> None:
    """Drop what a test has made."""
    with psycopg.connect(POSTGRES_URL, autocommit=True) as connection:
        for table in ("state", "state_meta"):
            connection.execute(f"DROP TABLE IF EXISTS {prefix}{table}")


def tidy_redis(prefix: str) -> None:
    """The same."""
    with redis.Redis.from_url(REDIS_URL) as client:
        for name in client.scan_iter(f"{prefix}*", count=1000):
            client.delete(name)


def need_redis() -> None:
    """Skip the test if no Redis answers; in CI that is a failure."""
    try:
        with redis.Redis.from_url(REDIS_URL, socket_connect_timeout=3) as client:
            client.ping()
    except redis.RedisError as error:
        why = f"no Redis at {REDIS_URL}; name one with BACKSTAY_TEST_REDIS: {error}"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)


@contextmanager
def any_url(kind: str) -> Iterator[tuple[str, str]]:
    """The address of a store, and a prefix for its names."""
    prefix = new_prefix()
    if kind == "memory":
        yield "memory://", prefix
    elif kind == "sqlite":
        with tempfile.TemporaryDirectory(dir=quick_directory()) as directory:
            yield f"sqlite:///{directory}/state.db", prefix
    elif kind == "postgres":
        need_postgres()
        try:
            yield POSTGRES_URL, prefix
        finally:
            tidy_postgres(prefix)
    else:
        need_redis()
        try:
            yield REDIS_URL, prefix
        finally:
            tidy_redis(prefix)
