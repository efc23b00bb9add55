"""The stores that counts are kept in, one of each kind, empty."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from backstay.clock import Clock, SystemClock
from backstay.limits.opening import new_store
from backstay.limits.port import CountStore
from tests.db.places import at
from tests.jobs.desks import needs_postgres

__all__ = ["DATABASES", "EVERY_KIND", "REDIS_URL", "needs_redis", "redis_prefix", "store_of"]

REDIS_URL = os.environ.get("BACKSTAY_TEST_REDIS", "redis://127.0.0.1:6379/0")


def _redis_is_there() -> bool:
    try:
        redis.Redis.from_url(REDIS_URL, socket_connect_timeout=3).ping()
    except redis.RedisError:
        if os.environ.get("CI") == "true":
            raise
        return False
    return True


needs_redis = pytest.mark.skipif(not _redis_is_there(), reason=f"no Redis at {REDIS_URL}")

DATABASES: list[Any] = ["sqlite", pytest.param("postgresql", marks=needs_postgres)]
EVERY_KIND: list[Any] = ["memory", *DATABASES, pytest.param("redis", marks=needs_redis)]
"""For ``parametrize``."""


@asynccontextmanager
async def redis_prefix() -> AsyncIterator[str]:
    """A prefix of nobody else's; what begins with it is gone afterwards."""
    prefix = f"test_{uuid.uuid4().hex[:12]}"
    try:
        yield prefix
    finally:
        with redis.Redis.from_url(REDIS_URL) as client:
            for key in client.scan_iter(f"{prefix}:*"):
                client.delete(key)


@asynccontextmanager
async def store_of(
    kind: str, folder: Path, clock: Clock | None = None
) -> AsyncIterator[CountStore]:
    """An open store of that kind. Redis goes by its own clock."""
    time = SystemClock() if clock is None else clock
    if kind == "memory":
        yield new_store("memory", clock=time)
        return
    if kind == "redis":
        async with redis_prefix() as prefix:
            store = new_store(REDIS_URL, clock=time, key_prefix=prefix)
            try:
                yield store
            finally:
                await store.close()
        return
    with at(kind, folder) as url:
        store = new_store(url, clock=time)
        try:
            await asyncio.wait_for(store.open(), 20)
            yield store
        finally:
            await store.close()
