"""What is particular to SQLite and PostgreSQL: bytes in their texts, and files that are locked."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from backstay.cache import Cache
from backstay.cache.state_store import StateCacheStore
from backstay.errors import BadState, CacheUnavailable
from backstay.testing import FakeClock
from tests.cache.fakes import Maker, filled
from tests.support import async_test


@async_test
async def test_the_cache_has_a_table_of_its_own(tmp_path: Path) -> None:
    async with Cache(f"sqlite:///{tmp_path}/app.db", namespace="shop", op_timeout_s=10) as cache:
        await filled(cache, Maker(), tags=["t"])
    with closing(sqlite3.connect(tmp_path / "app.db")) as outside:
        rows = outside.execute(
            "SELECT scope, key FROM backstay_cache_state ORDER BY key"
        ).fetchall()
    assert rows == [(b"cache:shop", b"shop:k:k"), (b"cache:shop", b"shop:t:t")]


@async_test
async def test_what_others_wrote_there_is_nothing(tmp_path: Path) -> None:
    store = StateCacheStore(f"sqlite:///{tmp_path}/c.db", namespace="n")
    await store.open()
    await store._store.write(b"cache:n", b"n:k:k", '"not base 64!"', None)
    assert await store.get_many(["n:k:k"]) == [None]
    await store.close()


@async_test
async def test_a_file_that_somebody_has_locked_is_done_without(tmp_path: Path) -> None:
    async with Cache(f"sqlite:///{tmp_path}/c.db", op_timeout_s=0.5, retry_after_s=0.01) as cache:
        make = Maker()
        with closing(sqlite3.connect(tmp_path / "c.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert (await filled(cache, make)).status == "BYPASS"
            other.execute("ROLLBACK")
        while (await filled(cache, make)).status == "BYPASS":
            await asyncio.sleep(0.01)
        assert (await filled(cache, make)).status == "HIT"


@async_test
async def test_a_place_that_is_none_is_done_without() -> None:
    async with Cache("sqlite:////no/such/directory/c.db") as cache:
        assert (await filled(cache, Maker())).status == "BYPASS"
    async with Cache("postgresql://postgres@127.0.0.1:1/test", op_timeout_s=5) as cache:
        assert (await filled(cache, Maker())).status == "BYPASS"


@async_test
async def test_closed_it_says_so(tmp_path: Path) -> None:
    store = StateCacheStore(f"sqlite:///{tmp_path}/c.db", namespace="n")
    await store.open()
    await store.close()
    with pytest.raises(CacheUnavailable, match="not open"):
        await store.get_many(["k"])


@async_test
async def test_what_expired_is_swept(tmp_path: Path) -> None:
    clock = FakeClock()
    store = StateCacheStore(f"sqlite:///{tmp_path}/c.db", namespace="n", clock=clock)
    await store.open()
    await store.set("n:k:k", b"1", 10)
    await clock.advance(60)
    with closing(sqlite3.connect(tmp_path / "c.db")) as outside:
        while outside.execute("SELECT count(*) FROM backstay_cache_state").fetchone() != (0,):
            await asyncio.sleep(0.001)
    await store.close()


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(BadState):
        StateCacheStore("ftp://x", namespace="n")


def test_one_file_serves_one_event_loop_after_another(tmp_path: Path) -> None:
    cache = Cache(f"sqlite:///{tmp_path}/c.db", op_timeout_s=10)
    make = Maker()

    async def run(close: bool = False) -> str:
        found = await filled(cache, make)
        if close:
            await cache.close()
        return found.status

    assert [asyncio.run(run()), asyncio.run(run()), asyncio.run(run(True))] == [
        "MISS",
        "HIT",
        "HIT",
    ]
