"""What ``add_limits`` is given leads to a store, or to an error that says what would."""

from typing import Any

import pytest
import redis.asyncio
from limits.aio.storage import MemoryStorage
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from backstay.clock import SystemClock
from backstay.db import Database, MainDatabaseManager
from backstay.errors import BadLimit
from backstay.limits.database import DatabaseCounts
from backstay.limits.library import LibraryCounts
from backstay.limits.memory import MemoryCounts
from backstay.limits.opening import new_store

CLOCK = SystemClock()


@pytest.mark.parametrize(
    ("storage", "kind", "url"),
    [
        ("memory", MemoryCounts, "memory://"),
        ("memory://", MemoryCounts, "memory://"),
        ("redis://:secret@host:7000/3", LibraryCounts, "redis://host:7000/3"),
        ("unix:///run/redis.sock", LibraryCounts, "unix:///run/redis.sock"),
        (redis.asyncio.Redis(host="host"), LibraryCounts, "redis://host:6379/0"),
        (MemoryStorage(), LibraryCounts, "MemoryStorage"),
        ("sqlite:///x.db", DatabaseCounts, "sqlite:///x.db"),
        ("postgresql://me:secret@host/x", DatabaseCounts, "postgresql://me:***@host/x"),
        (make_url("sqlite:///x.db"), DatabaseCounts, "sqlite:///x.db"),
        (create_engine("sqlite:///x.db"), DatabaseCounts, "sqlite:///x.db"),
        (Database("sqlite:///x.db"), DatabaseCounts, "sqlite:///x.db"),
        (MainDatabaseManager("sqlite:///x.db"), DatabaseCounts, "sqlite:///x.db"),
    ],
    ids=lambda each: each if isinstance(each, str) else getattr(each, "__name__", "object"),
)
def test_a_place_leads_to_its_store(storage: Any, kind: type, url: str) -> None:
    store = new_store(storage, clock=CLOCK)
    assert isinstance(store, kind)
    assert store.url == url


def test_a_store_is_one() -> None:
    store = MemoryCounts(CLOCK)
    assert new_store(store, clock=CLOCK) is store


@pytest.mark.parametrize(
    "storage",
    [
        "",
        "etcd://:secret@host",
        "nowhere",
        "redis://host:port",
        "sqlite://",
        7,
        object(),
        create_engine,
        redis.Redis(),
    ],
    ids=lambda each: each if isinstance(each, str) else type(each).__name__,
)
def test_what_is_no_place_is_refused(storage: Any) -> None:
    with pytest.raises(BadLimit) as caught:
        new_store(storage, clock=CLOCK)
    assert "redis.asyncio" in str(caught.value)
    assert "secret" not in str(caught.value)
