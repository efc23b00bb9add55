"""From what an app has to a store; and what cannot be one is told what could."""

import sys
from typing import Any

import cashews
import pytest
import redis
import redis.asyncio

from backstay.cache.cashews import CashewsStore
from backstay.cache.memory import MemoryStore
from backstay.cache.opening import store_of
from backstay.cache.port import CacheStore
from backstay.cache.redis import RedisStore
from backstay.cache.state_store import StateCacheStore
from backstay.clock import SystemClock
from backstay.errors import BadCache, MissingExtra


def opened(where: Any) -> CacheStore:
    return store_of(where, namespace="n", max_bytes=1000, clock=SystemClock())


def a_cashews_cache() -> cashews.Cache:
    cache = cashews.Cache()
    cache.setup("mem://")
    return cache


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        (None, MemoryStore),
        ("memory://", MemoryStore),
        ("sqlite:///cache.db", StateCacheStore),
        ("sqlite+aiosqlite:///cache.db", StateCacheStore),
        ("postgresql://user@host/name", StateCacheStore),
        ("postgres://user@host/name", StateCacheStore),
        ("redis://host/1", RedisStore),
        ("rediss://host", RedisStore),
        ("unix:///run/redis.sock", RedisStore),
    ],
    ids=str,
)
def test_an_address_says_what_kind_of_store(where: str | None, kind: type) -> None:
    assert type(opened(where)) is kind


def test_what_an_app_has_already_will_do() -> None:
    store = MemoryStore()
    assert opened(store) is store
    assert type(opened(redis.asyncio.from_url("redis://host"))) is RedisStore
    assert type(opened(a_cashews_cache())) is CashewsStore


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("ftp://host", "is no address of a cache; use"),
        ("memory", "is no address of a cache"),
        ("https://u:secret@host", r"u:\*\*\*@host"),
        (17, "17 of type int is no place for a cache; use"),
        ({}, "of type dict is no place for a cache"),
        ("redis://host:port", "is no address of a Redis"),
    ],
    ids=str,
)
def test_what_is_none_is_refused_with_what_could_be(where: object, why: str) -> None:
    with pytest.raises(BadCache, match=why):
        opened(where)


def test_the_client_that_blocks_is_refused() -> None:
    with redis.Redis() as client, pytest.raises(BadCache, match=r"use the one of redis\.asyncio"):
        opened(client)


def test_a_cluster_is_refused() -> None:
    with pytest.raises(BadCache, match="the cache needs a single Redis"):
        opened(redis.asyncio.RedisCluster.__new__(redis.asyncio.RedisCluster))


def test_cashews_without_setup_is_refused() -> None:
    with pytest.raises(BadCache, match=r"call cache\.setup"):
        opened(cashews.Cache())


def test_a_missing_driver_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    monkeypatch.delitem(sys.modules, "backstay.cache.redis")
    with pytest.raises(MissingExtra, match=r'pip install "backstay\[redis\]"'):
        opened("redis://host")
