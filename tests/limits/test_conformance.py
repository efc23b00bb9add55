"""Every store counts exactly, however many ask at once."""

import asyncio
from pathlib import Path

import pytest

from backstay.limits.limit import read_limits
from backstay.limits.port import Strategy
from backstay.testing import FakeClock
from tests.limits.stores import DATABASES, EVERY_KIND, store_of
from tests.support import async_test

TIMELESS = ["memory", *DATABASES]
"""Those whose clock is the test's."""

every_store = pytest.mark.parametrize("kind", EVERY_KIND)
every_strategy = pytest.mark.parametrize("strategy", list(Strategy))


@every_store
@every_strategy
@async_test
async def test_of_two_hundred_at_once_exactly_fifty_pass(
    kind: str, strategy: Strategy, tmp_path: Path
) -> None:
    limits = read_limits("50/day")
    async with store_of(kind, tmp_path) as store:
        verdicts = await asyncio.gather(*(store.hit("k", limits, 1, strategy) for _ in range(200)))
        assert sum(each.allowed for each in verdicts) == 50
        refused = next(each for each in verdicts if not each.allowed)
        assert refused.remaining == 0
        assert refused.retry_after_s > 0
        assert not (await store.check("k", limits, 1, strategy)).allowed
        assert (await store.check("another", limits, 50, strategy)).allowed


@every_store
@async_test
async def test_of_two_hundred_at_once_exactly_fifty_pass_under_the_tighter_of_two_limits(
    kind: str, tmp_path: Path
) -> None:
    limits = read_limits("50/hour;60/day")
    async with store_of(kind, tmp_path) as store:
        verdicts = await asyncio.gather(
            *(store.hit("k", limits, 1, Strategy.SLIDING) for _ in range(200))
        )
        assert sum(each.allowed for each in verdicts) == 50
        [hour, day] = (await store.check("k", limits, 1, Strategy.SLIDING)).counts
        # What the one refused, the other has not counted: all of them, or none.
        assert (hour.remaining, day.remaining) == (0, 10)


@every_store
@every_strategy
@async_test
async def test_what_does_not_fit_is_not_counted(
    kind: str, strategy: Strategy, tmp_path: Path
) -> None:
    limits = read_limits("10/day")
    async with store_of(kind, tmp_path) as store:
        assert (await store.hit("k", limits, 8, strategy)).remaining == 2
        refused = await store.hit("k", limits, 3, strategy)
        assert (refused.allowed, refused.remaining) == (False, 2)
        assert (await store.hit("k", limits, 2, strategy)).allowed
        never = await store.hit("k", limits, 11, strategy)
        assert (never.allowed, never.retry_after_s) == (False, 86400)


@every_store
@every_strategy
@async_test
async def test_looking_does_not_count(kind: str, strategy: Strategy, tmp_path: Path) -> None:
    limits = read_limits("2/day")
    async with store_of(kind, tmp_path) as store:
        for _ in range(5):
            seen = await store.check("k", limits, 1, strategy)
            assert (seen.allowed, seen.remaining) == (True, 2)
        assert seen.counts[0].reset_s == 0
        await store.hit("k", limits, 1, strategy)
        assert (await store.check("k", limits, 0, strategy)).remaining == 1


@every_store
@every_strategy
@async_test
async def test_what_was_counted_can_be_forgotten(
    kind: str, strategy: Strategy, tmp_path: Path
) -> None:
    limits = read_limits("2/hour;3/day")
    async with store_of(kind, tmp_path) as store:
        assert (await store.hit("k", limits, 2, strategy)).allowed
        await store.hit("other", limits, 2, strategy)
        await store.clear("k", limits, strategy)
        assert (await store.hit("k", limits, 2, strategy)).allowed
        assert not (await store.hit("other", limits, 2, strategy)).allowed


@every_store
@async_test
async def test_other_limits_and_other_strategies_have_other_counts(
    kind: str, tmp_path: Path
) -> None:
    async with store_of(kind, tmp_path) as store:
        assert (await store.hit("k", read_limits("1/day"), 1, Strategy.SLIDING)).allowed
        assert (await store.hit("k", read_limits("2/day"), 2, Strategy.SLIDING)).allowed
        assert (await store.hit("k", read_limits("1/hour"), 1, Strategy.SLIDING)).allowed
        assert (await store.hit("k", read_limits("1/day"), 1, Strategy.FIXED)).allowed
        assert (await store.hit("k", read_limits("1/day"), 1, Strategy.MOVING)).allowed


@every_store
@pytest.mark.parametrize("key", ["", "a" * 10_000, "\ud800", "\x00", "'; DROP TABLE x; --", "{}/:"])
@async_test
async def test_any_text_is_a_key(kind: str, key: str, tmp_path: Path) -> None:
    limits = read_limits("1/day")
    async with store_of(kind, tmp_path) as store:
        assert (await store.hit(key, limits, 1, Strategy.MOVING)).allowed
        assert not (await store.hit(key, limits, 1, Strategy.MOVING)).allowed


@pytest.mark.parametrize("kind", TIMELESS)
@every_strategy
@async_test
async def test_whoever_comes_when_he_was_told_to_is_let_in(
    kind: str, strategy: Strategy, tmp_path: Path
) -> None:
    clock = FakeClock()
    limits = read_limits("5/minute;12/hour")
    async with store_of(kind, tmp_path, clock) as store:
        passed = 0
        for _ in range(60):
            verdict = await store.hit("k", limits, 1, strategy)
            passed += verdict.allowed
            if not verdict.allowed:
                assert verdict.retry_after_s > 0
                if verdict.retry_after_s > 2:
                    await clock.advance(verdict.retry_after_s - 1.5)
                    assert not (await store.hit("k", limits, 1, strategy)).allowed
                    await clock.advance(1.501)
                else:
                    await clock.advance(verdict.retry_after_s + 0.001)
                assert (await store.hit("k", limits, 1, strategy)).allowed
                passed += 1
        assert passed >= 30


@pytest.mark.parametrize("kind", TIMELESS)
@async_test
async def test_a_window_moves_on(kind: str, tmp_path: Path) -> None:
    clock = FakeClock()
    limits = read_limits("4/minute")
    async with store_of(kind, tmp_path, clock) as store:
        for _ in range(4):
            assert (await store.hit("k", limits, 1, Strategy.FIXED)).allowed
            assert (await store.hit("k", limits, 1, Strategy.SLIDING)).allowed
        await clock.advance(60)
        # A fixed window starts at zero; a sliding one still sees all of the last one, then half.
        assert (await store.check("k", limits, 4, Strategy.FIXED)).allowed
        assert (await store.check("k", limits, 1, Strategy.SLIDING)).remaining == 0
        await clock.advance(30)
        assert (await store.check("k", limits, 1, Strategy.SLIDING)).remaining == 2
        await clock.advance(30)
        assert (await store.check("k", limits, 1, Strategy.SLIDING)).remaining == 4


@pytest.mark.parametrize("kind", TIMELESS)
@async_test
async def test_counts_that_no_longer_matter_are_removed(kind: str, tmp_path: Path) -> None:
    clock = FakeClock()
    short, long = read_limits("4/minute"), read_limits("4/day")
    async with store_of(kind, tmp_path, clock) as store:
        for number in range(7):
            await store.hit(f"k{number}", short, 1, Strategy.MOVING)
        await store.hit("long", long, 4, Strategy.MOVING)
        assert await store.prune(100) == 0
        await clock.advance(121)
        assert await store.prune(5) == 5
        assert await store.prune(5) == 2
        assert await store.prune(5) == 0
        assert not (await store.check("long", long, 1, Strategy.MOVING)).allowed
