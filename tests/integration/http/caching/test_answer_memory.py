"""Answers in memory."""

from __future__ import annotations

import asyncio

from backstay.integration.http.caching.answer_memory import AnswerMemory
from tests.integration.http.caching.test_answer_storage import ONE, keep
from tests.support import async_test


@async_test
async def test_the_size_is_that_of_what_is_there_whatever_comes_and_goes() -> None:
    memory = AnswerMemory(max_bytes=5 * ONE, max_answer_bytes=100)

    async def use(number: int) -> None:
        entry = await keep(memory, str(number % 7))
        await memory.get_entries(str(number % 5))
        if number % 3 == 0:
            await memory.remove_entry(entry.id)

    await asyncio.gather(*map(use, range(100)))
    assert memory.size_bytes == len(memory._kept) * ONE <= 5 * ONE
    await memory.close()
    assert (memory.size_bytes, memory._by_key) == (0, {})
