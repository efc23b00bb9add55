"""Headers say what the draft says they say."""

from datetime import UTC, datetime

from backstay.limits.answer_headers import Policy, legacy_headers, retry_after_s
from backstay.limits.limit import read_limits
from backstay.limits.port import Count, Verdict


def test_one_limit_goes_by_its_name() -> None:
    limits = read_limits("10/minute")
    policy = Policy("default", limits)
    assert policy.policy == '"default";q=10;w=60'
    assert policy.standing([Count(limits[0], 9, 59.1)]) == '"default";r=9;t=60'
    assert policy.standing([Count(limits[0], 10, 0.0)]) == '"default";r=10'


def test_several_limits_are_told_apart_by_their_windows() -> None:
    limits = read_limits("10/minute;100/2 hours")
    policy = Policy("login", limits)
    counts = [Count(limits[0], 0, 3.0), Count(limits[1], 90, 7000.5)]
    assert policy.headers(counts) == [
        (b"ratelimit-policy", b'"login-minute";q=10;w=60, "login-2-hours";q=100;w=7200'),
        (b"ratelimit", b'"login-minute";r=0;t=3, "login-2-hours";r=90;t=7001'),
    ]


def test_the_old_headers_are_about_the_limit_that_has_least_left() -> None:
    minute, hour = read_limits("10/minute;100/hour")
    verdict = Verdict(True, (Count(minute, 9, 60.0), Count(hour, 2, 1800.5)))
    now = datetime(2027, 1, 1, tzinfo=UTC)
    assert legacy_headers(verdict, now) == {
        "x-ratelimit-limit": "100",
        "x-ratelimit-remaining": "2",
        "x-ratelimit-reset": str(int(now.timestamp()) + 1801),
    }


def test_nobody_is_told_to_come_too_early() -> None:
    assert retry_after_s(Verdict(False, (), 0.0)) == 1
    assert retry_after_s(Verdict(False, (), 1.001)) == 2
