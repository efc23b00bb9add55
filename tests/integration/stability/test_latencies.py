"""The last lengths of time, in order."""

import math
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from backstay.integration.stability.latencies import Latencies


def test_too_few_say_nothing() -> None:
    latencies = Latencies()
    for _ in range(19):
        latencies.add(1)
    assert latencies.percentile(0.95) is None
    latencies.add(1)
    assert latencies.percentile(0.95) == 1


def test_the_oldest_are_forgotten() -> None:
    latencies = Latencies()
    for each in (*[9.0] * 200, *[1.0] * 200):
        latencies.add(each)
    assert latencies.percentile(1) == 1


@given(st.lists(st.floats(0, 100), min_size=20, max_size=450), st.floats(0.01, 1))
def test_a_percentile_is_that_of_the_last_two_hundred(times: list[float], share: float) -> None:
    latencies = Latencies()
    for each in times:
        latencies.add(each)
    last = sorted(deque(times, 200))
    assert latencies.percentile(share) == last[math.ceil(share * len(last)) - 1]
