"""All processes together are throttled, exactly, and each alone while the store is away."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from backstay.errors import ThrottlingError
from backstay.integration import sp
from backstay.integration.stability.pattern import patterns_of
from backstay.integration.stability.shared import SharedStates
from backstay.testing import FakeClock
from tests.integration.stability.shared.several import MoodyStore, until
from tests.support import async_test

Ask = Callable[..., Awaitable[None]]


def processes(
    count: int, rate: float = 10, **options: Any
) -> tuple[FakeClock, MoodyStore, list[Ask], list[float]]:
    """So many, each with a throttle; and the times of calls that passed."""
    clock = FakeClock()
    store = MoodyStore(clock)
    passed: list[float] = []

    def one() -> Ask:
        states = SharedStates(store, clock=clock, timeout_s=0.05)

        @sp.Throttling(rate, shared=states, clock=clock, **options)
        async def ask() -> None:
            passed.append(clock.monotonic())

        return ask

    return clock, store, [one() for _ in range(count)], passed


async def refusals(calls: list[Awaitable[None]]) -> list[ThrottlingError]:
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert all(each is None or isinstance(each, ThrottlingError) for each in ends), ends
    return [each for each in ends if isinstance(each, ThrottlingError)]


@async_test
async def test_processes_share_one_burst_and_one_rate() -> None:
    clock, _, asks, passed = processes(3, 10, burst=7)
    refused = await refusals([ask() for ask in asks for _ in range(10)])
    assert (len(passed), len(refused)) == (7, 23)
    assert {each.retry_after_s for each in refused} == {1}
    await clock.advance(0.5)
    await refusals([ask() for ask in asks for _ in range(10)])
    assert len(passed) == 12


@async_test
async def test_who_waits_goes_in_the_order_of_all_processes() -> None:
    clock, _, asks, passed = processes(2, 10, burst=2, max_wait=1)
    calls = [asyncio.create_task(refusals([ask()])) for _ in range(8) for ask in asks]
    await until(lambda: len(passed) + len(clock.waiting) + sum(map(asyncio.Task.done, calls)) >= 18)
    await clock.advance(5)
    assert sum([len(await each) for each in calls]) == 4
    assert passed == pytest.approx([0, 0, *(0.1 * number for number in range(1, 11))])


@async_test
async def test_calls_that_come_together_ask_once() -> None:
    _, store, [ask], passed = processes(1, 1000, burst=500)
    await asyncio.gather(*(ask() for _ in range(400)))
    assert len(passed) == 400
    assert store.asked.count("take") <= 2


@async_test
async def test_a_refusal_is_remembered_for_as_long_as_it_holds_and_a_second_at_most() -> None:
    clock, store, [first, second], passed = processes(2, 0.1, burst=1)
    await first()
    assert len(await refusals([second()])) == 1
    asked = len(store.asked)
    for _ in range(10):
        assert len(await refusals([second()])) == 1
    assert len(store.asked) == asked
    store.forget()
    await clock.advance(0.9)
    assert len(await refusals([second()])) == 1
    await clock.advance(0.1)
    await second()
    assert passed == [0, 1.0]
    clock, store, [ask], passed = processes(1, 10, burst=1)
    await ask()
    await refusals([ask()])
    await clock.advance(0.1)
    await ask()
    assert len(passed) == 2


@async_test
async def test_a_call_that_is_cancelled_while_it_waits_gives_its_place_back() -> None:
    clock, store, [first, second], passed = processes(2, 1, burst=1, max_wait=1)
    await first()
    waiting = asyncio.create_task(first())
    await clock.until_waiting()
    assert len(await refusals([second()])) == 1
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await until(lambda: "give_back" in store.asked)
    await clock.advance(1)
    await second()
    assert len(passed) == 2


@async_test
async def test_a_call_that_is_cancelled_while_asking_gives_its_place_back() -> None:
    _, store, [first, second], passed = processes(2, 1, burst=1)
    store.gates["take"] = asyncio.Event()
    asking = asyncio.create_task(first())
    await until(lambda: store.begun)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    store.gates["take"].set()
    await until(lambda: "give_back" in store.asked)
    await second()
    assert len(passed) == 1


@pytest.mark.parametrize("mood", ["fails", "breaks", "hangs"])
@async_test
async def test_without_a_store_each_process_counts_by_itself(mood: str) -> None:
    clock, store, asks, passed = processes(3, 10, burst=5)
    store.mood = mood  # type: ignore[assignment]  # one of them
    for ask in asks:
        assert len(await refusals([ask() for _ in range(20)])) == 15
    assert len(passed) == 15
    store.mood = "answers"
    await clock.advance(10)
    passed.clear()
    for ask in asks:
        await refusals([ask() for _ in range(20)])
    assert len(passed) == 5


@async_test
async def test_a_store_that_comes_and_goes_gives_no_new_burst_each_time() -> None:
    clock, store, [ask], passed = processes(1, 1, burst=5)
    for _ in range(5):
        store.mood = "fails"
        await refusals([ask() for _ in range(20)])
        store.mood = "answers"
        await clock.advance(0.01)
        await refusals([ask() for _ in range(20)])
    assert len(passed) <= 10


@async_test
async def test_people_see_that_it_is_shared() -> None:
    _, store, [ask], _ = processes(1, 2, burst=3)
    await ask()
    [applied] = patterns_of(ask)
    assert applied.options == {
        "calls_per_second": 2,
        "burst": 3,
        "max_wait_s": 0.0,
        "shared": True,
    }
    [found] = applied.live()
    assert (found["shared"], found["alone"]) == (True, False)
    store.mood = "fails"
    for _ in range(3):
        await refusals([ask()])
    assert applied.live()[0]["alone"] is True
