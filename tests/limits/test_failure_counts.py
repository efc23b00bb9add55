"""Failures are counted by all processes together, or whoever counts them hears that they are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from backstay.auth.auth_throttle import FailureCounter
from backstay.errors import LimitsUnavailable
from backstay.limits import Limiter
from backstay.limits.failure_counts import FailureCounts
from backstay.limits.limiter import Fail
from backstay.testing import FakeClock
from tests.limits.stores import EVERY_KIND, store_of
from tests.limits.test_limiter import Elsewhere
from tests.support import async_test

KEY = "client:" + "0123456789" * 4


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_there_is_room_until_all_together_have_failed_so_often(
    kind: str, tmp_path: Path
) -> None:
    async with store_of(kind, tmp_path) as store:
        limiters = [Limiter(store, clock=FakeClock(), timeout_s=20) for _ in range(2)]
        one, other = (FailureCounts(each, "logins") for each in limiters)
        for each in (one, other, one):
            assert await one.peek(KEY, 3, 600) == 0
            assert await other.peek(KEY, 3, 600) == 0
            await each.hit(KEY, 3, 600)
        for each in (one, other):
            assert 0 < await each.peek(KEY, 3, 600) <= 1200
            assert await each.peek(KEY[::-1], 3, 600) == 0
        await one.hit(KEY, 3, 600)
        assert 0 < await other.peek(KEY, 3, 600) <= 1200
        assert await FailureCounts(limiters[0], "something else").peek(KEY, 3, 600) == 0


@async_test
async def test_a_failure_counts_for_so_many_seconds() -> None:
    clock = FakeClock()
    counts: FailureCounter = FailureCounts(Limiter(Elsewhere(clock), clock=clock), "logins")
    await counts.hit(KEY, 1, 60)
    await clock.advance(59.99)
    assert 0 < await counts.peek(KEY, 1, 60) < 1
    await clock.advance(0.1)
    assert await counts.peek(KEY, 1, 60) == 0


@pytest.mark.parametrize("fail", ["open", "closed"])
@async_test
async def test_nobody_takes_a_store_that_is_away_for_an_empty_one(fail: Fail) -> None:
    clock = FakeClock()
    store = Elsewhere(clock)
    store.error = LimitsUnavailable("away")
    counts = FailureCounts(Limiter(store, clock=clock, fail=fail), "logins")
    with pytest.raises(LimitsUnavailable):
        await counts.hit(KEY, 1, 60)
    with pytest.raises(LimitsUnavailable):
        await counts.peek(KEY, 1, 60)
