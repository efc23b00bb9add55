"""Calls go through as fast as they may, wait as long as they want to, or are refused."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from backstay.errors import BadIntegration, ThrottlingError
from backstay.integration import sp
from backstay.testing import FakeClock
from tests.support import async_test


@async_test
async def test_a_burst_of_ten_passes_at_ten_a_second() -> None:
    ask = sp.Throttling(10, clock=FakeClock())(asyncio.sleep)
    ends = await asyncio.gather(*(ask(0, "answer") for _ in range(12)), return_exceptions=True)
    assert ends.count("answer") == 10
    refused = [each for each in ends if isinstance(each, ThrottlingError)]
    assert [(each.status, each.retry_after_s) for each in refused] == [(503, 1)] * 2


@async_test
async def test_who_is_patient_waits_for_its_turn() -> None:
    clock = FakeClock()
    ask = sp.Throttling(2, burst=1, max_wait=1, clock=clock)(asyncio.sleep)
    calls = [asyncio.create_task(ask(0, number)) for number in range(4)]
    await clock.until_waiting(2)
    assert clock.waiting == [0.5, 1]
    await clock.advance(0.5)
    assert [each.done() for each in calls] == [True, True, False, True]
    await clock.advance(0.5)
    assert [await each for each in calls[:3]] == [0, 1, 2]
    with pytest.raises(ThrottlingError):
        await calls[3]


@async_test
async def test_who_leaves_the_queue_gives_its_place_back() -> None:
    clock = FakeClock()
    ask = sp.Throttling(1, max_wait=1, clock=clock)(asyncio.sleep)
    await ask(0)
    waiting = asyncio.create_task(ask(0))
    await clock.until_waiting()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    again = asyncio.create_task(ask(0, "answer"))
    await clock.until_waiting()
    await clock.advance(1)
    assert await again == "answer"


def test_of_a_thousand_calls_in_threads_as_many_pass_as_may() -> None:
    ask = sp.Throttling(100, clock=FakeClock())(lambda: 1)

    def one(_: int) -> int:
        try:
            return ask()
        except ThrottlingError:
            return 0

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(one, range(1000))) == 100


def test_threads_wait_as_they_are_told_to() -> None:
    pauses: list[float] = []
    ask = sp.Throttling(1, max_wait=5, clock=FakeClock(), sleep=pauses.append)(lambda: 1)
    for _ in range(3):
        ask()
    assert pauses == [1, 2]


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), True, "10"], ids=str)
def test_rates_that_could_never_work_are_refused(rate: Any) -> None:
    with pytest.raises(BadIntegration):
        sp.Throttling(rate)
