"""Two counts tell what a window of any age holds, nearly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.limits.buckets import Buckets
from backstay.limits.limit import Limit
from backstay.limits.port import Strategy

LIMIT = Limit(10, 60)


def test_the_last_window_counts_for_as_much_of_it_as_is_in_sight() -> None:
    found = Buckets(LIMIT, Strategy.SLIDING, number=5, hits=8).at(6 * 60 + 15)
    assert (found.number, found.hits, found.before) == (6, 0, 8)
    assert found.count(6 * 60 + 15).remaining == 4  # three quarters of 8 are still to be seen
    assert found.fits(4, 6 * 60 + 15)
    assert not found.fits(5, 6 * 60 + 15)


def test_a_fixed_window_knows_nothing_of_the_last_one() -> None:
    found = Buckets(LIMIT, Strategy.FIXED, number=5, hits=10)
    assert found.wait_s(1, 5 * 60 + 20) == pytest.approx(40)
    assert found.at(6 * 60).count(6 * 60).remaining == 10


def test_what_is_two_windows_ago_is_forgotten() -> None:
    found = Buckets(LIMIT, Strategy.SLIDING, number=5, hits=10, before=10).at(7 * 60)
    assert (found.hits, found.before) == (0, 0)


def test_a_clock_that_is_behind_sees_what_others_have_counted() -> None:
    found = Buckets(LIMIT, Strategy.SLIDING, number=5, hits=3, before=7).at(4 * 60 + 59)
    assert found.count(4 * 60 + 59).remaining == 0


def test_what_is_more_than_the_amount_never_fits() -> None:
    assert Buckets(LIMIT, Strategy.SLIDING).wait_s(11, 0.0) == 60


@given(
    strategy=st.sampled_from([Strategy.SLIDING, Strategy.FIXED]),
    hits=st.integers(0, 10),
    before=st.integers(0, 10),
    elapsed_s=st.floats(0, 59.99),
    cost=st.integers(1, 10),
)
def test_what_has_to_wait_fits_after_waiting_and_not_much_earlier(
    strategy: Strategy, hits: int, before: int, elapsed_s: float, cost: int
) -> None:
    now = 600 + elapsed_s
    found = Buckets(LIMIT, strategy, 10, hits, before)
    wait_s = found.wait_s(cost, now)
    assert found.fits(cost, now) == (wait_s < 1e-6)
    later = now + wait_s + 1e-6
    assert found.at(later).fits(cost, later)
    if wait_s > 0.01:
        earlier = now + wait_s - 0.01
        assert not found.at(earlier).fits(cost, earlier)
