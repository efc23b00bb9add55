"""The stores that sharing is tested with, how each is made, and addresses of what is empty."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from backstay.integration.stability.shared.opening import new_store
from backstay.integration.stability.shared.port import SharedStore
from backstay.testing import FakeClock
from backstay.testing.integration_conformance import SharedStoreConformance
from tests.db.places import at
from tests.jobs.desks import needs_postgres
from tests.ledger.databases import quick_directory
from tests.state.stores import REDIS_URL, need_redis, new_prefix

__all__ = [
    "EVERY_PLACE",
    "EVERY_STORE",
    "OnMemory",
    "OnPostgres",
    "OnPostgresByPsycopg",
    "OnRedis",
    "OnSqlite",
    "REDIS_URL",
    "a_place",
]

EVERY_PLACE: list[Any] = [
    "sqlite",
    pytest.param("postgresql+asyncpg", marks=needs_postgres),
    "redis",
]
"""Those that processes can share, for ``parametrize``."""

EVERY_STORE: list[Any] = ["memory", *EVERY_PLACE]


@contextmanager
def a_place(kind: str) -> Iterator[tuple[str, str]]:
    """The address of a store, and a prefix for its names; nothing is there before or after."""
    with ExitStack() as stack:
        if kind == "memory":
            yield "memory", "backstay"
        elif kind == "redis":
            need_redis()
            prefix = new_prefix()
            yield REDIS_URL, prefix
            with redis.Redis.from_url(REDIS_URL) as client:
                for name in client.scan_iter(f"{prefix}*", count=1000):
                    client.delete(name)
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=quick_directory()))
            yield stack.enter_context(at(kind, Path(folder))), "backstay"


class OnPlace(SharedStoreConformance):
    """A place of its own for every test."""

    kind: str
    where: str
    prefix: str

    @pytest.fixture(autouse=True)
    def _place(self) -> Iterator[None]:
        with a_place(self.kind) as (self.where, self.prefix):
            yield

    def new_store(self, clock: FakeClock) -> SharedStore:
        return new_store(self.where, clock=clock, key_prefix=self.prefix)

    def same_store(self, store: SharedStore, clock: FakeClock) -> SharedStore | None:
        return None if self.kind == "memory" else self.new_store(clock)


class OnMemory(OnPlace):
    """This process's memory."""

    kind = "memory"


class OnSqlite(OnPlace):
    """A SQLite file."""

    kind = "sqlite"


@needs_postgres
class OnPostgres(OnPlace):
    """A schema of PostgreSQL's, by asyncpg."""

    kind = "postgresql+asyncpg"


class OnPostgresByPsycopg(OnPostgres):
    """The same by psycopg."""

    kind = "postgresql+psycopg"


class OnRedis(OnPlace):
    """Names of its own in Redis."""

    kind = "redis"
