"""So many calls a second and no more, in the order they came."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backstay.integration.stability.token_bucket import Place, TokenBucket


def test_a_burst_of_ten_passes_at_ten_a_second() -> None:
    bucket = TokenBucket(10, 10)
    assert [bucket.take(0).granted for _ in range(11)] == [True] * 10 + [False]
    assert bucket.take(0).wait_s == pytest.approx(0.1)
    assert bucket.take(0.1).granted
    assert not bucket.is_idle(1)
    assert bucket.is_idle(1.2)


def test_who_waits_has_a_place_in_the_order() -> None:
    bucket = TokenBucket(1, 1)
    assert [bucket.take(0, 2).wait_s for _ in range(3)] == [0, 1, 2]
    assert not bucket.take(0, 2).granted


def test_the_last_place_can_be_given_back_and_no_other() -> None:
    bucket = TokenBucket(1, 1)
    _, second, third = (bucket.take(0, 5) for _ in range(3))
    bucket.give_back(second)
    assert bucket.take(0, 5).wait_s == 3
    bucket = TokenBucket(1, 1)
    _, second, third = (bucket.take(0, 5) for _ in range(3))
    bucket.give_back(third)
    assert bucket.take(0, 5).wait_s == 2


def test_it_says_when_there_is_one_more() -> None:
    bucket = TokenBucket(4, 2)
    assert bucket.next_in_s(0) == 0
    bucket.take(0)
    assert bucket.next_in_s(0) == 0
    bucket.take(0)
    assert bucket.next_in_s(0) == 0.25
    assert bucket.next_in_s(0.2) == pytest.approx(0.05)
    assert bucket.next_in_s(9) == 0


class Buckets(RuleBasedStateMachine):
    """Whatever happens, no stretch of time has more calls than it may."""

    RATE, BURST = 4.0, 3

    def __init__(self) -> None:
        super().__init__()
        self.bucket = TokenBucket(self.RATE, self.BURST)
        self.now = 0.0
        self.calls: list[tuple[float, Place]] = []

    @rule(seconds=st.floats(0, 2))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(patience=st.sampled_from([0.0, 0.3, 1.0]))
    def call(self, patience: float) -> None:
        place = self.bucket.take(self.now, patience)
        if place.granted:
            assert place.wait_s <= patience + 1e-9
            self.calls.append((self.now + place.wait_s, place))
        else:
            assert place.wait_s > patience

    @precondition(lambda self: self.calls and self.calls[-1][0] > self.now)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        waiting = [each for each in self.calls if each[0] > self.now]
        gone = data.draw(st.sampled_from(waiting))
        self.calls.remove(gone)
        self.bucket.give_back(gone[1])

    @invariant()
    def there_are_never_too_many(self) -> None:
        times = [at for at, _ in self.calls]
        assert times == sorted(times)
        for first, begin in enumerate(times):
            for last in range(first, len(times)):
                may_be = self.BURST + self.RATE * (times[last] - begin)
                assert last - first + 1 <= may_be + 1e-6


TestBuckets = Buckets.TestCase
TestBuckets.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
