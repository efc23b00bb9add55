"""A limiter is no worse off for a store that is slow, broken or not there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest

from backstay.errors import BadLimit, LimitsUnavailable
from backstay.limits import Limiter, read_limits
from backstay.limits.limit import Limit
from backstay.limits.memory import MemoryCounts
from backstay.limits.port import Strategy, Verdict
from backstay.testing import FakeClock
from tests.support import async_test

LIMITS = read_limits("5/minute")


class Elsewhere(MemoryCounts):
    """A store that is somewhere else: it can be slow, or away, and knows how often it was asked.

    Attributes:
        asked: costs of all hits, and 0 for looking.
        gate: what it waits for before it answers.
        error: what it raises instead.
    """

    is_local = False
    url = "elsewhere://"

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.asked: list[int] = []
        self.gate: asyncio.Event | None = None
        self.error: Exception | None = None
        self.given_up = 0

    async def open(self) -> None:
        await self._come(0)

    async def hit(
        self, key: str, limits: Sequence[Limit], cost: int, strategy: Strategy
    ) -> Verdict:
        await self._come(cost)
        return await super().hit(key, limits, cost, strategy)

    async def check(
        self, key: str, limits: Sequence[Limit], cost: int, strategy: Strategy
    ) -> Verdict:
        await self._come(0)
        return await super().check(key, limits, cost, strategy)

    async def _come(self, cost: int) -> None:
        self.asked.append(cost)
        if self.gate is not None:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.given_up += 1
                # As drivers do that have to say goodbye to a server which does not answer.
                await self.gate.wait()
        if self.error is not None:
            raise self.error
        await asyncio.sleep(0)


def made(**options: object) -> tuple[FakeClock, Elsewhere, Limiter]:
    clock = FakeClock()
    store = Elsewhere(clock)
    return clock, store, Limiter(store, clock=clock, **{"timeout_s": 10.0, **options})  # type: ignore[arg-type]  # the options are the test's


@async_test
async def test_hits_of_one_key_that_come_at_once_go_to_the_store_together() -> None:
    _, store, limiter = made()
    verdicts = await asyncio.gather(
        *(limiter.hit("k", read_limits("500/minute")) for _ in range(500))
    )
    assert all(each.allowed for each in verdicts)
    assert sum(store.asked) == 500
    assert len(store.asked) == 1


@async_test
async def test_as_many_of_them_pass_as_there_is_room_for() -> None:
    _, store, limiter = made()
    verdicts = await asyncio.gather(*(limiter.hit("k", LIMITS) for _ in range(1000)))
    assert [each.allowed for each in verdicts] == [True] * 5 + [False] * 995
    assert verdicts[-1].retry_after_s == pytest.approx(60)
    assert store.asked == [1000, 5, 995, 1]


@async_test
async def test_each_is_told_about_what_it_costs_itself() -> None:
    _, _, limiter = made()
    verdicts = await asyncio.gather(
        *(limiter.hit("k", LIMITS, cost=cost) for cost in (2, 2, 2, 1, 1))
    )
    assert [each.allowed for each in verdicts] == [True, True, False, True, False]


@async_test
async def test_keys_do_not_wait_for_each_other() -> None:
    _, store, limiter = made()
    store.gate = asyncio.Event()
    waiting = [asyncio.create_task(limiter.hit(key, LIMITS)) for key in "abc"]
    while len(store.asked) < 3:
        await asyncio.sleep(0)
    store.gate.set()
    assert all(each.allowed for each in await asyncio.gather(*waiting))


@async_test
async def test_a_refusal_is_remembered_while_it_holds_but_not_long() -> None:
    clock, store, limiter = made()
    await limiter.hit("k", LIMITS, cost=5)
    first = await limiter.hit("k", LIMITS)
    asked = len(store.asked)
    await clock.advance(0.5)
    again = await limiter.hit("k", LIMITS)
    assert (first.allowed, again.allowed) == (False, False)
    assert again.retry_after_s == pytest.approx(first.retry_after_s - 0.5)
    assert again.counts[0].reset_s == pytest.approx(first.counts[0].reset_s - 0.5)
    assert len(store.asked) == asked
    await clock.advance(0.5)
    assert not (await limiter.hit("k", LIMITS)).allowed
    assert len(store.asked) == asked + 1, "it may have been cleared elsewhere"
    await limiter.clear("k", LIMITS)
    assert (await limiter.hit("k", LIMITS)).allowed


@async_test
async def test_a_refusal_says_nothing_about_what_costs_less() -> None:
    _, _, limiter = made()
    await limiter.hit("k", LIMITS, cost=3)
    assert not (await limiter.hit("k", LIMITS, cost=3)).allowed
    assert (await limiter.hit("k", LIMITS, cost=2)).allowed


@async_test
async def test_a_store_that_hangs_is_given_up_in_time_and_then_left_alone_for_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, store, limiter = made(timeout_s=0.01)
    store.gate = asyncio.Event()
    with caplog.at_level(logging.WARNING, "backstay.limits"):
        for number in range(20):
            verdict = await limiter.hit(f"k{number}", LIMITS)
            assert (verdict.allowed, verdict.alone) == (True, True)
    assert len(store.asked) == 3
    assert store.given_up >= 2
    assert len(caplog.records) == 1
    assert "have not answered within 0.01 s" in caplog.text
    # A second later one request finds out that it is still away, and the others do not wait.
    await clock.advance(1.0)
    await asyncio.gather(*(limiter.hit(f"n{number}", LIMITS) for number in range(20)))
    assert len(store.asked) == 4
    store.gate.set()
    await clock.advance(1.0)
    assert not (await limiter.hit("k", LIMITS)).alone
    assert not (await limiter.hit("other", LIMITS)).alone
    await clock.advance(60)
    store.error = OSError("gone again")
    with caplog.at_level(logging.WARNING, "backstay.limits"):
        await limiter.hit("k", LIMITS)
    assert len(caplog.records) == 2, "one warning a minute"
    await limiter.close()


@async_test
async def test_a_single_failure_does_not_switch_limits_off() -> None:
    _, store, limiter = made()
    store.error = LimitsUnavailable("once")
    assert (await limiter.hit("k", LIMITS)).alone
    store.error = None
    assert not (await limiter.hit("k", LIMITS)).alone


@pytest.mark.parametrize("strategy", list(Strategy))
@async_test
async def test_open_means_that_this_process_counts_while_the_store_is_away(
    strategy: Strategy,
) -> None:
    clock, store, limiter = made()
    store.error = OSError("away")
    verdicts = await asyncio.gather(
        *(limiter.hit("k", LIMITS, strategy=strategy) for _ in range(50))
    )
    assert [each.allowed for each in verdicts] == [True] * 5 + [False] * 45
    assert all(each.alone for each in verdicts)
    assert verdicts[-1].retry_after_s > 0
    assert not (await limiter.check("k", LIMITS, strategy=strategy)).allowed
    assert (await limiter.hit("another", LIMITS, strategy=strategy)).allowed
    await clock.advance(120)
    assert (await limiter.hit("k", LIMITS, strategy=strategy)).allowed


@async_test
async def test_a_store_that_comes_and_goes_gives_nobody_a_new_start_each_time() -> None:
    clock, store, limiter = made()
    passed = 0
    for number in range(40):
        store.error = OSError("away") if number % 2 else None
        passed += (await limiter.hit("k", LIMITS)).allowed
        await clock.advance(1.0)  # the store is not left alone, and no refusal remembered
    assert passed == 10, "five that the store has counted, and five of this process"


@async_test
async def test_what_this_process_has_counted_is_cleared_and_removed_with_the_rest() -> None:
    clock, store, limiter = made()
    store.error = OSError("away")
    await limiter.hit("k", LIMITS, cost=5)
    await limiter.clear("k", LIMITS)
    assert (await limiter.hit("k", LIMITS)).remaining == 4
    await clock.advance(120)
    assert await limiter.prune(10) == 0
    assert len(limiter._own_counts) == 0


@pytest.mark.parametrize("error", [LimitsUnavailable("away"), OSError("away"), KeyError("a bug")])
@async_test
async def test_closed_means_that_nothing_passes_while_nobody_can_count(error: Exception) -> None:
    _, store, limiter = made(fail="closed")
    store.error = error
    with pytest.raises(LimitsUnavailable):
        await limiter.hit("k", LIMITS)
    with pytest.raises(LimitsUnavailable):
        await limiter.check("k", LIMITS)
    assert (await limiter.hit("k", LIMITS, fail="open")).allowed


@async_test
async def test_what_is_wrong_with_the_store_itself_is_said() -> None:
    _, store, limiter = made()
    store.error = BadLimit("these tables are not ours")
    for _ in range(5):
        with pytest.raises(BadLimit, match="not ours"):
            await limiter.hit("k", LIMITS)


@async_test
async def test_a_limit_may_be_closed_where_the_others_are_open() -> None:
    _, store, limiter = made()
    store.error = OSError("away")
    with pytest.raises(LimitsUnavailable):
        await limiter.hit("k", LIMITS, fail="closed")


@async_test
async def test_whoever_waits_in_line_hears_of_the_failure_too() -> None:
    _, store, limiter = made(fail="closed")
    store.error = OSError("away")
    outcomes = await asyncio.gather(
        *(limiter.hit("k", LIMITS) for _ in range(10)), return_exceptions=True
    )
    assert all(isinstance(each, LimitsUnavailable) for each in outcomes)


@async_test
async def test_a_client_that_leaves_does_not_take_the_others_along() -> None:
    _, store, limiter = made()
    store.gate = asyncio.Event()
    waiting = [asyncio.create_task(limiter.hit("k", LIMITS)) for _ in range(4)]
    while not store.asked:
        await asyncio.sleep(0)
    waiting[0].cancel()
    store.gate.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert [each.allowed for each in outcomes[1:] if isinstance(each, Verdict)] == [True] * 3


@async_test
async def test_closing_leaves_nothing_running() -> None:
    _, store, limiter = made()
    store.gate = asyncio.Event()
    waiting = asyncio.create_task(limiter.hit("k", LIMITS))
    while not store.asked:
        await asyncio.sleep(0)
    closing = asyncio.create_task(limiter.close())
    while not store.given_up:
        await asyncio.sleep(0)
    store.gate.set()
    await closing
    assert (await waiting).alone
    assert len(asyncio.all_tasks()) == 1


@async_test
async def test_an_app_starts_without_its_store_but_not_with_somebody_elses_tables() -> None:
    _, store, limiter = made()
    store.error = OSError("away")
    await limiter.open()
    store.error = BadLimit("not ours")
    with pytest.raises(BadLimit, match="not ours"):
        await limiter.open()


@async_test
async def test_a_cost_of_nothing_is_not_counted() -> None:
    _, store, limiter = made()
    assert (await limiter.hit("k", LIMITS, cost=0)).remaining == 5
    assert store.asked == [0]


@async_test
async def test_memory_is_asked_without_further_ado() -> None:
    clock = FakeClock()
    limiter = Limiter(MemoryCounts(clock), clock=clock)
    verdicts = [await limiter.hit("k", LIMITS) for _ in range(6)]
    assert [each.allowed for each in verdicts] == [True] * 5 + [False]
    assert (await limiter.check("k", LIMITS)).remaining == 0
    assert len(asyncio.all_tasks()) == 1


def test_open_and_closed_is_all_that_can_be() -> None:
    with pytest.raises(BadLimit, match="fail='half'"):
        Limiter(MemoryCounts(FakeClock()), clock=FakeClock(), fail="half")  # type: ignore[arg-type]  # that is the point
