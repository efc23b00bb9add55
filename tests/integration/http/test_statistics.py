"""How calls went lately is counted soundly, in bounded memory."""

import asyncio
import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest

from backstay.integration.http.statistics import SLOT_S, SLOTS, CallStatistics
from backstay.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def statistics(clock: FakeClock) -> Iterator[CallStatistics]:
    made = CallStatistics(clock)
    yield made
    json.dumps(made.snapshot("charge"), allow_nan=False)  # whatever a test did, it stays JSON


def record(statistics: CallStatistics, duration_s: float = 0.1, **more: Any) -> None:
    given = {"outcome": "ok", "status": 200, "attempts": 1, **more}
    statistics.record("charge", duration_s=duration_s, **given)


def advance(clock: FakeClock, delay_s: float) -> None:
    asyncio.run(clock.advance(delay_s))


def test_an_endpoint_that_was_never_called_has_no_calls(statistics: CallStatistics) -> None:
    found = statistics.snapshot("charge")
    assert found["window"] == {
        "calls": 0,
        "ok": 0,
        "failed": 0,
        "cancelled": 0,
        "attempts": 0,
        "error_rate": None,
        "p50_ms": None,
        "p95_ms": None,
        "p99_ms": None,
        "longest_ms": None,
    }
    assert found["last"] is None
    assert found["series"] == []
    assert found["total"]["statuses"] == {}


def test_calls_are_counted_by_how_they_ended(statistics: CallStatistics) -> None:
    record(statistics)
    record(statistics, outcome="failed", status=503, attempts=3)
    record(statistics, outcome="failed", status=None, attempts=0)
    record(statistics, outcome="cancelled", status=None)
    found = statistics.snapshot("charge")
    assert found["total"] == {
        "calls": 3,
        "ok": 1,
        "failed": 2,
        "cancelled": 1,
        "attempts": 5,
        "statuses": {"2xx": 1, "5xx": 1, "none": 2},
    }
    assert (found["window"]["calls"], found["window"]["error_rate"]) == (3, 0.6667)


def test_what_was_cancelled_is_no_latency_and_no_error(statistics: CallStatistics) -> None:
    record(statistics, 60.0, outcome="cancelled", status=None)
    window = statistics.snapshot("charge")["window"]
    assert (window["p50_ms"], window["longest_ms"], window["error_rate"]) == (None, None, None)


def test_the_call_that_ended_last_is_told(statistics: CallStatistics, clock: FakeClock) -> None:
    record(statistics)
    record(statistics, 1.2345, outcome="failed", status=500)
    advance(clock, 7)
    assert statistics.snapshot("charge")["last"] == {
        "outcome": "failed",
        "status": 500,
        "duration_ms": 1230.0,
        "ago_s": 7.0,
    }


def test_each_slot_has_its_own_counts(statistics: CallStatistics, clock: FakeClock) -> None:
    record(statistics, 0.1)
    advance(clock, SLOT_S * 2)
    record(statistics, 0.4, outcome="failed")
    first, second = statistics.snapshot("charge")["series"]
    assert (first["slot"], first["ok"], first["failed"]) == (0, 1, 0)
    assert (second["slot"], second["ok"], second["failed"]) == (2, 0, 1)
    assert second["p95_ms"] > first["p95_ms"]


def test_whoever_knows_the_earlier_slots_gets_the_later_ones_and_all_sums(
    statistics: CallStatistics, clock: FakeClock
) -> None:
    record(statistics)
    advance(clock, SLOT_S)
    record(statistics)
    found = statistics.snapshot("charge", since=1)
    assert [each["slot"] for each in found["series"]] == [1]
    assert found["window"]["calls"] == 2


def test_what_is_older_than_the_window_is_forgotten_but_in_the_totals(
    statistics: CallStatistics, clock: FakeClock
) -> None:
    record(statistics)
    advance(clock, SLOT_S * (SLOTS - 1))
    assert statistics.snapshot("charge")["window"]["calls"] == 1
    advance(clock, SLOT_S)
    found = statistics.snapshot("charge")
    assert (found["window"]["calls"], found["series"], found["total"]["calls"]) == (0, [], 1)


def test_memory_is_bounded_however_long_it_counts(
    statistics: CallStatistics, clock: FakeClock
) -> None:
    for _ in range(SLOTS * 3):
        record(statistics)
        advance(clock, SLOT_S)
    assert len(statistics._records["charge"].slots) == SLOTS


@pytest.mark.parametrize("seed", range(5))
def test_quantiles_are_less_than_a_tenth_off(statistics: CallStatistics, seed: int) -> None:
    random = Random(seed)
    durations = sorted(random.lognormvariate(-2, 1.5) for _ in range(2_000))
    for each in durations:
        record(statistics, each)
    window = statistics.snapshot("charge")["window"]
    for name, share in (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99)):
        exact = durations[math.ceil(share * len(durations)) - 1] * 1000
        assert abs(window[name] - exact) / exact < 0.1
    assert window["longest_ms"] == float(f"{durations[-1] * 1000:.3g}")


@pytest.mark.parametrize("duration_s", [-1.0, 0.0, 1e-9, 0.0001, 419.0, 1e9])
def test_the_shortest_and_the_longest_calls_have_a_place(
    statistics: CallStatistics, duration_s: float
) -> None:
    record(statistics, duration_s)
    assert statistics.snapshot("charge")["window"]["calls"] == 1


def test_a_quantile_is_never_above_the_longest_call(statistics: CallStatistics) -> None:
    record(statistics, 0.09)
    assert statistics.snapshot("charge")["window"]["p99_ms"] == 90.0


@pytest.mark.parametrize("status", [0, 99, 600, 999])
def test_a_status_that_is_none_breaks_nothing(statistics: CallStatistics, status: int) -> None:
    record(statistics, status=status)
    assert statistics.snapshot("charge")["total"]["statuses"] == {"none": 1}


def test_endpoints_are_counted_apart(statistics: CallStatistics) -> None:
    record(statistics)
    assert statistics.snapshot("refund")["total"]["calls"] == 0


def test_no_call_is_lost_between_threads(statistics: CallStatistics) -> None:
    def many(_: int) -> None:
        for _ in range(2_000):
            record(statistics)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(many, range(8)))
    found = statistics.snapshot("charge")
    assert found["total"]["calls"] == found["window"]["calls"] == 16_000
