"""What is particular to memory: threads, and what is given out."""

import asyncio
import threading
from dataclasses import FrozenInstanceError, replace

import pytest

from backstay.auth.memory_store import MemoryAuthStore
from backstay.auth.port import Turn
from tests.auth.test_rotation import RECORD, START
from tests.support import async_test


def test_threads_may_use_it_at_once() -> None:
    store = MemoryAuthStore()
    asyncio.run(store.add_refresh(RECORD))
    turns: list[Turn] = []
    begin = threading.Barrier(8)

    async def exchange(number: int) -> None:
        new = replace(RECORD, digest=b"%d" % number)
        turns.append((await store.rotate_refresh(RECORD.digest, new, now=START)).turn)

    def work(number: int) -> None:
        begin.wait()
        asyncio.run(exchange(number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(turns) == [Turn.DONE, *[Turn.REUSED] * 7]


@async_test
async def test_what_is_given_out_cannot_be_changed_from_outside() -> None:
    store = MemoryAuthStore()
    await store.add_refresh(RECORD)
    found = await store.find_refresh(RECORD.digest)
    with pytest.raises(FrozenInstanceError):
        found.subject = "eve"  # type: ignore[misc, union-attr]  # what is tried


@async_test
async def test_two_stores_know_nothing_of_each_other() -> None:
    await MemoryAuthStore().add_refresh(RECORD)
    assert await MemoryAuthStore().find_refresh(RECORD.digest) is None
