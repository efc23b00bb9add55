"""A moving window never has too much in it, and forgets what has left."""

from hypothesis import given
from hypothesis import strategies as st

from backstay.limits.limit import Limit
from backstay.limits.log import Log

STEPS = st.lists(st.tuples(st.floats(0, 40), st.integers(1, 4)), max_size=80)


@given(steps=STEPS, amount=st.integers(1, 12))
def test_no_window_ever_has_more_than_the_amount_and_nobody_waits_longer_than_told(
    steps: list[tuple[float, int]], amount: int
) -> None:
    limit = Limit(amount, 60)
    log = Log(limit)
    now = 0.0
    counted: list[tuple[float, int]] = []
    for passed_s, cost in steps:
        now += passed_s
        fits = log.fits(cost, now)
        inside = sum(each for at, each in counted if at > now - 60)
        surely_inside = sum(each for at, each in counted if at > now - 60 - 0.06)
        assert fits or surely_inside + cost > amount, "refused without need"
        if fits:
            assert inside + cost <= amount
            log.add(cost, now)
            counted.append((now, cost))
            assert log.count(now).remaining >= amount - surely_inside - cost
        elif cost <= amount:
            wait_s = log.wait_s(cost, now)
            assert 0 < wait_s <= 60.061
            now += wait_s + 1e-9
            assert log.fits(cost, now)
        else:
            assert log.wait_s(cost, now) == 60


def test_a_thousand_entries_are_enough_for_any_amount() -> None:
    log = Log(Limit(10**6, 60))
    now = 0.0
    for _ in range(20_000):
        now += 0.004
        log.fits(1, now)
        log.add(1, now)
    assert len(log) <= 1001


def test_nobody_is_told_about_grains() -> None:
    log = Log(Limit(2, 60))
    log.add(1, 0.01)
    assert log.count(0.01).reset_s == 60
    assert log.wait_s(2, 0.01) > 60
