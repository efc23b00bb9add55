"""Quantiles are read from the histogram, exact to the bucket."""

from bisect import bisect_left
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.errors import BadEvents
from backstay.events.minute import BOUNDS_MS, Minute

AT = datetime(2027, 1, 1, tzinfo=UTC)


def minute_of(durations_ms: list[float]) -> Minute:
    histogram = [0] * (len(BOUNDS_MS) + 1)
    for each in durations_ms:
        histogram[bisect_left(BOUNDS_MS, each)] += 1
    return Minute(
        AT,
        "request",
        "GET",
        count=len(durations_ms),
        total_ms=sum(durations_ms),
        max_ms=max(durations_ms, default=0.0),
        histogram=tuple(histogram),
    )


def test_a_minute_in_which_nothing_happened_has_no_mean_and_no_quantiles() -> None:
    assert Minute(AT, "request", "GET").quantile(0.5) is None
    assert Minute(AT, "request", "GET").mean_ms is None


def test_the_mean_is_that_of_all() -> None:
    assert minute_of([10, 20, 30]).mean_ms == 20


durations = st.lists(
    st.floats(min_value=0.001, max_value=200_000, allow_nan=False), min_size=1, max_size=50
)


@given(durations, st.floats(min_value=0, max_value=1))
def test_a_quantile_is_in_the_bucket_of_the_true_one(values: list[float], fraction: float) -> None:
    minute = minute_of(values)
    found = minute.quantile(fraction)
    assert found is not None
    rank = max(1, -int(-fraction * len(values) // 1))
    true = sorted(values)[rank - 1]
    bucket = bisect_left(BOUNDS_MS, true)
    lower = BOUNDS_MS[bucket - 1] if bucket else 0.0
    upper = BOUNDS_MS[bucket] if bucket < len(BOUNDS_MS) else minute.max_ms
    assert lower - 1e-6 <= found <= upper + 1e-6
    assert found <= minute.max_ms + 1e-6


@given(durations, st.floats(min_value=0, max_value=1), st.floats(min_value=0, max_value=1))
def test_a_larger_part_does_not_take_less(values: list[float], one: float, other: float) -> None:
    minute = minute_of(values)
    low, high = sorted((one, other))
    lower, upper = minute.quantile(low), minute.quantile(high)
    assert lower is not None
    assert upper is not None
    assert lower <= upper + 1e-9


def test_what_is_longer_than_all_bounds_is_between_the_last_one_and_the_longest() -> None:
    assert minute_of([70_000, 90_000]).quantile(1) == 90_000
    assert minute_of([70_000, 90_000]).quantile(0.5) == 75_000


@pytest.mark.parametrize("wrong", [-0.1, 1.1, 95])
def test_a_part_is_between_nothing_and_all(wrong: float) -> None:
    with pytest.raises(BadEvents, match=r"between 0 and 1, such as 0\.95"):
        minute_of([1]).quantile(wrong)
