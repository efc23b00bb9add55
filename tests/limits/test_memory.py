"""Memory forgets what no longer matters, and never has more keys than it was allowed."""

from backstay.limits.limit import read_limits
from backstay.limits.memory import MemoryCounts
from backstay.limits.port import Strategy
from backstay.testing import FakeClock
from tests.support import async_test

LIMITS = read_limits("2/minute")


@async_test
async def test_new_keys_push_out_those_that_are_over() -> None:
    clock = FakeClock()
    store = MemoryCounts(clock)
    for number in range(50):
        await store.hit(f"old{number}", LIMITS, 1, Strategy.MOVING)
    await clock.advance(121)
    for number in range(30):
        await store.hit(f"new{number}", LIMITS, 1, Strategy.MOVING)
    assert len(store) == 30


@async_test
async def test_a_flood_of_keys_does_not_free_the_one_that_is_refused() -> None:
    store = MemoryCounts(FakeClock(), max_keys=100)
    for number in range(1000):
        verdict = await store.hit("attacker", LIMITS, 1, Strategy.MOVING)
        assert verdict.allowed == (number < 2)
        await store.hit(f"other{number}", LIMITS, 1, Strategy.MOVING)
    assert len(store) == 100


@async_test
async def test_looking_makes_no_key() -> None:
    store = MemoryCounts(FakeClock())
    await store.check("k", LIMITS, 1, Strategy.MOVING)
    assert len(store) == 0


@async_test
async def test_what_is_refused_to_one_is_not_counted_for_the_other() -> None:
    store = MemoryCounts(FakeClock())
    limits = read_limits("2/minute;3/hour")
    for _ in range(10):
        await store.hit("k", limits, 1, Strategy.MOVING)
    assert [
        each.remaining for each in (await store.check("k", limits, 1, Strategy.MOVING)).counts
    ] == [
        0,
        1,
    ]
