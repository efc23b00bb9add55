"""What a store answers."""

from backstay.limits.limit import Limit
from backstay.limits.port import Count, Verdict

A, B = Limit(10, 60), Limit(20, 3600)


def test_what_remains_is_what_the_tightest_limit_leaves() -> None:
    verdict = Verdict(True, (Count(A, 4, 1.0), Count(B, 3, 1.0)))
    assert verdict.remaining == 3


def test_a_verdict_is_the_stores_unless_it_says_otherwise() -> None:
    assert not Verdict(True, (Count(A, 4, 1.0),)).alone
