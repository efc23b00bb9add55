"""``add_cache(app)`` switches the cache on, where it was said."""

from pathlib import Path

import pytest
from fastapi import FastAPI

from backstay.cache import Cache, MemoryStore, add_cache
from backstay.errors import AlreadyInstalled, BadCache
from backstay.testing import FakeClock, running
from backstay.web import install
from tests.support import async_test


def test_without_a_word_it_is_in_memory() -> None:
    assert add_cache(FastAPI()).url == "memory://"


def test_a_setting_says_where(tmp_path: Path) -> None:
    app = FastAPI()
    install(app, settings={"BACKSTAY_CACHE": f"sqlite:///{tmp_path}/cache.db"})
    assert add_cache(app).url == f"sqlite:///{tmp_path}/cache.db"


def test_a_cache_of_ones_own_is_used_as_it_is() -> None:
    cache = Cache(MemoryStore(), namespace="mine")
    assert add_cache(FastAPI(), cache) is cache


@async_test
async def test_it_goes_by_the_apps_clock() -> None:
    app, clock = FastAPI(), FakeClock()
    install(app, clock=clock)
    cache = add_cache(app, default_ttl=10)
    async with running(app):
        await cache.set("k", 1)
        await clock.advance(9)
        assert await cache.get("k") == 1
        await clock.advance(1)
        assert await cache.get("k") is None


def test_twice_is_refused() -> None:
    app = FastAPI()
    add_cache(app)
    with pytest.raises(AlreadyInstalled, match="'cache' is switched on for this app already"):
        add_cache(app)


def test_nonsense_is_refused_where_it_was_said() -> None:
    with pytest.raises(BadCache, match="is no address of a cache"):
        add_cache(FastAPI(), "ftp://somewhere")
