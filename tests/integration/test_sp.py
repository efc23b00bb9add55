"""The patterns together, in every order."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from backstay.errors import IntegrationError
from backstay.integration import sp
from backstay.testing import FakeClock
from tests.support import async_test


def patterns(clock: FakeClock) -> list[Callable[[Any], Any]]:
    """All of them, in the recommended order; nothing waits by the clock."""
    return [
        sp.RetryPattern(3, 0, clock=clock),
        sp.CircuitBreaker(fail_threshold=5, clock=clock),
        sp.Throttling(600, clock=clock),
        sp.Bulkhead(20, max_queue=400, clock=clock),
        sp.Timeout(clock=clock),
    ]


@async_test
async def test_a_thousand_calls_through_all_of_them_are_all_accounted_for() -> None:
    clock = FakeClock()
    made = Counter[str]()

    async def ask(number: int) -> str:
        made["calls"] += 1
        await asyncio.sleep(0)
        if number % 7 == 0:
            made["failures"] += 1
            raise OSError
        made["answers"] += 1
        return "answer"

    for each in reversed(patterns(clock)):
        ask = each(ask)
    ask = sp.Fallback(lambda number, error: type(error).__name__)(ask)

    async def driven() -> list[str]:
        return await asyncio.gather(*(ask(number) for number in range(1000)))

    whole = asyncio.create_task(driven())
    while not whole.done():
        await asyncio.sleep(0)
        await clock.advance(0)  # pauses of no length at all, and no time
    ends = Counter(await whole)
    assert sum(ends.values()) == 1000
    assert ends["answer"] == made["answers"]
    assert made["calls"] == made["answers"] + made["failures"] <= 600
    assert set(ends) <= {"answer", "MaxRetriesExceededError", "ThrottlingError", "BulkheadFull"}


@pytest.mark.parametrize("order", list(itertools.permutations(range(5)))[::7], ids=str)
@async_test
async def test_any_order_works_and_stops_calling_who_fails(order: tuple[int, ...]) -> None:
    clock = FakeClock()
    calls = 0

    async def ask() -> str:
        nonlocal calls
        calls += 1
        if calls <= 50:
            raise OSError
        return "answer"

    all_of_them = patterns(clock)
    for place in order:
        ask = all_of_them[place](ask)

    async def one() -> str:
        call = asyncio.create_task(ask())
        while not call.done():
            await asyncio.sleep(0)
            if 0 in clock.waiting:
                await clock.advance(0)
        return await call

    for _ in range(30):
        with pytest.raises((OSError, IntegrationError)):
            await one()
    assert calls <= 15, "five failures, each of them three attempts at most"
    calls = 50
    await clock.advance(10)
    assert await one() == "answer"
