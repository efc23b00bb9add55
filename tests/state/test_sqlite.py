"""What is particular to the store in a SQLite file: locks, files that go away, the short way."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from backstay.errors import StateUnavailable
from backstay.state import State
from backstay.state.sqlite import SqliteStore
from backstay.testing import FakeClock
from tests.support import async_test


@asynccontextmanager
async def a_store(directory: Path, query: str = "", **options: Any) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(f"sqlite:///{directory}/x.db{query}", **options)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@async_test
async def test_expiry_is_exact_to_the_microsecond_and_outlives_the_process(tmp_path: Path) -> None:
    clock = FakeClock()
    async with a_store(tmp_path, clock=clock) as store:
        await store.write(b"s", b"k", "1", 1.5)
    await clock.advance(1.499999)
    async with a_store(tmp_path, clock=clock) as store:
        assert await store.read(b"s", b"k") == "1"
        await clock.advance(0.000001)
        assert await store.read(b"s", b"k") is None


@async_test
async def test_writers_wait_for_somebody_else_s_lock_and_readers_do_not(tmp_path: Path) -> None:
    async with a_store(tmp_path) as store:
        await store.write(b"s", b"k", "1", None)
        with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            changes = [
                asyncio.create_task(each)
                for each in (
                    store.write(b"s", b"k", "2", None),
                    store.add(b"s", b"n", 1, None),
                    store.add(b"s", b"n", 1, None),
                    store.remove(b"s", b"gone"),
                )
            ]
            await asyncio.sleep(0)
            assert await store.read(b"s", b"k") == "1"
            assert not any(change.done() for change in changes)
            other.execute("COMMIT")
        assert await asyncio.gather(*changes) == [None, 1, 2, False]
        assert await store.read(b"s", b"k") == "2"


@async_test
async def test_a_lock_that_is_never_let_go_of_ends_in_an_error_that_says_so(tmp_path: Path) -> None:
    async with a_store(tmp_path, patience_s=0.05) as store:
        with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StateUnavailable, match="kept it locked for 0.05 s") as caught:
                await store.write(b"s", b"k", "1", None)
            assert "ledger" not in str(caught.value)
            assert str(store.path) in str(caught.value)
        await store.write(b"s", b"k", "2", None)
        assert await store.read(b"s", b"k") == "2"


@async_test
async def test_a_file_that_was_deleted_is_missed_at_once(tmp_path: Path) -> None:
    async with a_store(tmp_path) as store:
        await store.write(b"s", b"k", "1", None)
        os.unlink(store.path)
        for call in (store.read(b"s", b"k"), store.write(b"s", b"k", "2", None)):
            with pytest.raises(StateUnavailable, match="has been deleted since it was opened"):
                await call


@async_test
async def test_a_table_that_was_dropped_is_missed(tmp_path: Path) -> None:
    async with a_store(tmp_path) as store:
        with closing(sqlite3.connect(store.path)) as other:
            other.execute("DROP TABLE backstay_state")
        for call in (store.read(b"s", b"k"), store.add(b"s", b"k", 1, None)):
            with pytest.raises(StateUnavailable, match="lost its tables"):
                await call


@async_test
async def test_what_fails_in_the_middle_leaves_nothing_half_done(tmp_path: Path) -> None:
    async with a_store(tmp_path) as store:
        await store.write(b"s", b"k", "1", None)
        with closing(sqlite3.connect(store.path)) as other:
            other.execute(
                "CREATE TRIGGER no BEFORE DELETE ON backstay_state "
                "WHEN old.key = x'6b' BEGIN SELECT raise(ABORT, 'no'); END"
            )
        await store.write(b"s", b"a", "2", None)
        with pytest.raises(StateUnavailable, match="nothing was changed"):
            await store.clear(b"s")
        assert await store.keys(b"s", b"") == [b"a", b"k"]
        with pytest.raises(StateUnavailable):
            await store.remove(b"s", b"k")
        await store.write(b"s", b"k", "3", None)
        assert await store.read(b"s", b"k") == "3"


@async_test
async def test_large_values_and_waiting_ones_share_commits_in_the_thread(tmp_path: Path) -> None:
    async with a_store(tmp_path, "?synchronous=full") as store:
        state = State(store, "s")
        await asyncio.gather(*(state.set(f"k{number}", number) for number in range(200)))
        assert store._writer is not None
        assert store._writer.commits < 20
        assert len(await state.keys()) == 200


@async_test
async def test_full_waits_for_the_disk_and_normal_does_not(tmp_path: Path) -> None:
    for query, level in (("", 1), ("?synchronous=full", 2), ("?synchronous=normal", 1)):
        async with a_store(tmp_path, query) as store:
            assert store._writing is not None
            assert store._writing.ready().execute("PRAGMA synchronous").fetchone() == (level,)
            await State(store, "s").incr("k")
            assert await State(store, "s").incr("j", 0.5) > 0


@async_test
async def test_a_cancelled_call_does_not_hold_up_the_next(tmp_path: Path) -> None:
    async with a_store(tmp_path) as store:
        with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = asyncio.create_task(store.write(b"s", b"k", "1", None))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            other.execute("COMMIT")
        await store.write(b"s", b"k", "2", None)
        assert await store.read(b"s", b"k") == "2"


@async_test
async def test_a_fork_is_told_to_open_the_file_itself(tmp_path: Path) -> None:
    async with a_store(tmp_path) as store:
        writer = store._writer
        assert writer is not None
        writer._pid += 1  # as a fork would find it
        try:
            for call in (store.read(b"s", b"k"), store.write(b"s", b"k", "1", None)):
                with pytest.raises(StateUnavailable, match="does not survive a fork"):
                    await call
        finally:
            writer._pid -= 1
