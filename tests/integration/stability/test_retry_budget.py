"""Retries are a share of calls, on the average."""

from hypothesis import given
from hypothesis import strategies as st

from backstay.integration.stability.retry_budget import RetryBudget


def test_it_begins_with_ten_and_gets_one_a_second() -> None:
    budget = RetryBudget(0.2)
    assert [budget.take(0) for _ in range(11)] == [True] * 10 + [False]
    assert not budget.take(0.9)
    assert budget.take(1)
    assert not budget.is_idle(5)
    assert budget.is_idle(100)


def test_calls_bring_their_share() -> None:
    budget = RetryBudget(0.5)
    while budget.take(0):
        pass
    for _ in range(4):
        budget.count_call(0)
    assert [budget.take(0) for _ in range(3)] == [True, True, False]


def test_without_a_share_there_is_no_bound() -> None:
    budget = RetryBudget(None)
    assert all(budget.take(0) for _ in range(1000))


@given(st.lists(st.tuples(st.floats(0, 2), st.booleans()), max_size=200), st.floats(0, 1))
def test_there_are_never_more_than_it_says(steps: list[tuple[float, bool]], share: float) -> None:
    budget = RetryBudget(share)
    now, calls, retries = 0.0, 0, 0
    for pause_s, is_call in steps:
        now += pause_s
        if is_call:
            budget.count_call(now)
            calls += 1
        else:
            retries += budget.take(now)
        assert retries <= 10 + share * calls + now + 1e-6


def test_how_many_are_left_can_be_shown() -> None:
    budget = RetryBudget(0.5)
    for _ in range(4):
        assert budget.take(0)
    assert budget.left(0) == 6
    assert budget.left(2) == 8
    assert RetryBudget(None).left(0) is None


def test_time_that_passed_while_it_was_full_brings_nothing() -> None:
    budget = RetryBudget(0.5)
    budget.count_call(0)
    budget.count_call(100)
    for _ in range(10):
        assert budget.take(100)
    assert not budget.take(100)
