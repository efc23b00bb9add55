"""The arithmetic of limits: never more than allowed, and never stuck."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backstay.ledger import Gate
from backstay.ledger.gates import Rates, decode_rates, encode_rates, has_rate, record, room

START_S = 1_800_000_000.0
steps = st.lists(
    st.tuples(st.floats(0, 3, allow_nan=False), st.integers(1, 6)), min_size=1, max_size=60
)


def starts_of(gate: Gate, moves: list[tuple[float, int]]) -> list[float]:
    """When jobs started, if workers came by after each pause and wanted so many."""
    rates: Rates = []
    starts: list[float] = []
    now_s = START_S
    for pause, wanted in moves:
        now_s += pause * gate.per_s / 2
        free, _ = room(gate, 0, rates, now_s)
        taken = min(free, wanted)
        rates = decode_rates(encode_rates(record(gate, rates, taken, now_s)))
        starts += [now_s] * taken
    return starts


def test_a_gate_without_limits_has_room_for_any_number() -> None:
    free, wait_s = room(Gate("g"), 10**6, [], START_S)
    assert free >= 10**6
    assert wait_s is None


@pytest.mark.parametrize(("running", "free"), [(0, 3), (2, 1), (3, 0), (9, 0)])
def test_a_limit_leaves_what_is_not_running(running: int, free: int) -> None:
    assert room(Gate("g", limit=3), running, [], START_S) == (free, None)


def test_the_tighter_of_limit_and_rate_counts() -> None:
    gate = Gate("g", limit=2, rate=5, per_s=10)
    assert room(gate, 0, [], START_S) == (2, None)
    rates = record(gate, [], 4, START_S)
    assert room(gate, 0, rates, START_S) == (1, None)
    assert room(gate, 2, rates, START_S) == (0, None)


def test_a_used_up_rate_says_how_long_to_wait() -> None:
    gate = Gate("g", rate=2, per_s=10)
    free, wait_s = room(gate, 0, record(gate, [], 2, START_S), START_S)
    assert free == 0
    assert wait_s == pytest.approx(10.5)


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(1, 5), st.floats(0.1, 1000))
def test_no_window_sees_more_starts_than_the_rate(
    moves: list[tuple[float, int]], rate: int, per_s: float
) -> None:
    starts = starts_of(Gate("g", rate=rate, per_s=per_s), moves)
    for first in starts:
        # A window begins at a start without loss of generality. Its end is open, and the times
        # of today have no more than about a microsecond of precision.
        window = [each for each in starts if first <= each < first + per_s - 2e-6]
        assert len(window) <= rate


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(1, 5), st.floats(0.1, 1000))
def test_after_the_wait_there_is_room(
    moves: list[tuple[float, int]], rate: int, per_s: float
) -> None:
    gate = Gate("g", rate=rate, per_s=per_s)
    rates: Rates = []
    now_s = START_S
    for pause, wanted in moves:
        now_s += pause * per_s / 2
        free, wait_s = room(gate, 0, rates, now_s)
        if free:
            assert wait_s is None
        else:
            assert wait_s is not None
            assert 0 <= wait_s <= per_s * 1.05 + 1e-5
            now_s += wait_s + 1e-5
            free, _ = room(gate, 0, rates, now_s)
            assert free >= 1
        rates = record(gate, rates, min(free, wanted), now_s)


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(1, 5))
def test_what_no_window_sees_is_forgotten(moves: list[tuple[float, int]], rate: int) -> None:
    gate = Gate("g", rate=rate, per_s=10)
    rates: Rates = []
    now_s = START_S
    for pause, wanted in moves:
        now_s += pause * 5
        free, _ = room(gate, 0, rates, now_s)
        rates = record(gate, rates, min(free, wanted), now_s)
        assert len(rates) <= 22
        assert sum(count for _, count in rates) <= rate
        assert rates == sorted(rates)


def test_a_patient_worker_gets_the_whole_rate() -> None:
    gate = Gate("g", rate=10, per_s=10)
    starts = starts_of(gate, [(0.02, 1)] * 1000)
    lost_slots = math.ceil(100 / 10.5)
    assert len(starts) >= 10 * lost_slots - 10


def test_a_clock_that_went_back_a_little_does_not_exceed_the_rate() -> None:
    gate = Gate("g", rate=2, per_s=10)
    rates = record(gate, [], 2, START_S)
    assert room(gate, 0, rates, START_S - 3)[0] == 0
    rates = record(gate, record(gate, [], 1, START_S), 1, START_S - 3)
    assert room(gate, 0, rates, START_S)[0] == 0


def test_a_clock_that_went_back_far_does_not_close_the_gate_for_long() -> None:
    gate = Gate("g", rate=2, per_s=10)
    now_s = START_S - 86_400
    rates = record(gate, [], 2, START_S)
    for _ in range(30):
        now_s += 1
        free, _ = room(gate, 0, rates, now_s)
        if free:
            return
    pytest.fail("a rate remembered starts that are a day ahead")


def test_nothing_is_remembered_of_what_has_no_rate_or_did_not_start() -> None:
    assert record(Gate("g", limit=1), [], 5, START_S) == []
    assert record(Gate("g", rate=1), [(1, 1)], 0, START_S) == [(1, 1)]


@pytest.mark.parametrize("text", [None, "", "[]", "{", "[1]", "null", '"x"', "[[1]]", '[["a", 1]]'])
def test_an_unreadable_memory_is_an_empty_one(text: str | None) -> None:
    assert decode_rates(text) == []


@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(1, 10**6))))
def test_a_memory_survives_its_column(rates: Rates) -> None:
    assert decode_rates(encode_rates(rates)) == rates


@pytest.mark.parametrize(
    "per_s", [0.0, -1.0, math.nan, math.inf, 1e300, 5e-324, "soon", None, b"1"]
)
def test_a_rate_over_a_time_that_makes_no_sense_limits_nothing(per_s: Any) -> None:
    gate = Gate("g", limit=3, rate=1, per_s=per_s)
    assert not has_rate(gate)
    assert room(gate, 1, [(1, 5)], START_S) == (2, None)
    assert record(gate, [(1, 5)], 2, START_S) == [(1, 5)]


def test_damaged_numbers_limit_nothing() -> None:
    broken: Any = "many"
    assert room(Gate("g", limit=broken, rate=broken), 1, [], START_S) == (10**9, None)
    assert record(Gate("g", rate=broken), [], 1, START_S) == []
    assert has_rate(Gate("g", rate=1, per_s=60))
    assert not has_rate(Gate("g"))
