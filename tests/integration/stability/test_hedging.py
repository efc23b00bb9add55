"""There are no more copies than the budget allows, whatever happens."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from backstay.integration.stability.hedging import Hedging

SHARE = 0.25


def test_when_a_copy_is_worth_it_is_learned_of_the_calls() -> None:
    hedging = Hedging(SHARE)
    for number in range(100):
        assert (hedging.count_call(0) is None) == (number < 20)
        hedging.took(number, 0)
    assert hedging.count_call(0) == hedging.delay_s() == 94


def test_or_it_is_as_was_said() -> None:
    hedging = Hedging(SHARE, 3)
    assert hedging.count_call(0) == hedging.delay_s() == 3


def test_after_ten_minutes_nothing_is_known() -> None:
    hedging = Hedging(SHARE)
    assert hedging.is_idle(0)
    for _ in range(20):
        hedging.count_call(0)
        hedging.took(1, 0)
    assert [hedging.take(0) for _ in range(11)] == [True] * 10 + [False]
    assert not hedging.is_idle(599)
    assert hedging.is_idle(600)
    assert hedging.count_call(600) is None
    assert (hedging.calls, hedging.copies, hedging.left(600)) == (1, 0, 10)


def test_no_budget_is_no_bound() -> None:
    hedging = Hedging(None, 1)
    assert all(hedging.take(0) for _ in range(1000))
    assert hedging.left(0) is None


class Budgets(RuleBasedStateMachine):
    """Compared with sums: copies among any calls are a share of those calls, and ten."""

    def __init__(self) -> None:
        super().__init__()
        self.hedging = Hedging(SHARE, 1)
        self.now = 0.0
        self.left = 10.0
        self.events: list[bool] = []

    @rule(seconds=st.floats(0, 300))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.hedging.count_call(self.now)  # or ten minutes might pass
        self.events.append(False)
        self.left = min(10, self.left + SHARE)

    @rule(calls=st.integers(1, 20))
    def call(self, calls: int) -> None:
        for _ in range(calls):
            self.hedging.count_call(self.now)
            self.events.append(False)
            self.left = min(10, self.left + SHARE)

    @rule(copies=st.integers(1, 15))
    def copy(self, copies: int) -> None:
        for _ in range(copies):
            may = self.left >= 1
            assert self.hedging.take(self.now) is may
            if may:
                self.left -= 1
                self.events.append(True)

    @invariant()
    def there_are_never_too_many(self) -> None:
        assert self.hedging.left(self.now) == pytest.approx(self.left)
        worst = since = 0.0
        for is_copy in self.events:
            since = max(0.0, since + (1 if is_copy else -SHARE))
            worst = max(worst, since)
        assert worst <= 10 + 1e-6


TestBudgets = Budgets.TestCase
TestBudgets.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
