"""Times are numbers of seconds or timedeltas, and nothing that makes no sense."""

from datetime import timedelta

import pytest

from backstay.cache.times import MAX_TTL_S, seconds_of
from backstay.errors import BadCache


def test_seconds_and_timedeltas_say_the_same() -> None:
    assert seconds_of(90, "ttl") == seconds_of(timedelta(minutes=1.5), "ttl") == 90.0


@pytest.mark.parametrize(
    "value",
    [0, -1, float("nan"), float("inf"), MAX_TTL_S * 2, 10**400, timedelta(0), timedelta.max],
    ids=repr,
)
def test_what_is_over_or_for_ever_is_refused(value: object) -> None:
    with pytest.raises(BadCache, match="ttl= is more than 0 seconds, and at most ten years"):
        seconds_of(value, "ttl")


@pytest.mark.parametrize("value", [None, "60", True, b"1", [1]], ids=repr)
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(BadCache, match="ttl= is a number of seconds or a timedelta; got"):
        seconds_of(value, "ttl")


def test_none_at_all_will_do_where_it_may() -> None:
    assert seconds_of(0, "stale", zero=True) == 0
    with pytest.raises(BadCache, match="stale= is 0 seconds or more"):
        seconds_of(-1, "stale", zero=True)
