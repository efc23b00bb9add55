"""A text says how often, and what could never work is refused where it is written."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.errors import BadLimit
from backstay.limits import read_limits
from backstay.limits.limit import Limit, as_text


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("10/minute", [Limit(10, 60)]),
        ("100 per 2 hours", [Limit(100, 7200)]),
        ("100/hour;10/minute", [Limit(10, 60), Limit(100, 3600)]),
        ("1/second, 5 per minute | 6/DAY", [Limit(1, 1), Limit(5, 60), Limit(6, 86400)]),
        ("7/month", [Limit(7, 30 * 86400)]),
    ],
)
def test_limits_are_read_with_the_shortest_window_first(text: str, limits: list[Limit]) -> None:
    assert list(read_limits(text)) == limits


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no limit"),
        ("ten/minute", "is no limit"),
        ("10/fortnight", "is no limit"),
        ("10/minute;", "is no limit"),
        ("-1/minute", "is no limit"),
        ("\u0661/minute", "is no limit"),
        ("10/minute\n;x", "is no limit"),
        ("0/minute", "at least 1"),
        ("10/0minute;1/hour", "nobody ever reaches"),
        ("10000000000000/minute", "at most"),
        ("1/2 years", "a year is the most"),
        ("10/minute;20/60 seconds", "says twice"),
        ("10/minute;10/hour", "nobody ever reaches 10/minute"),
        (None, "of NoneType"),
        (10, "of int"),
    ],
)
def test_what_could_never_work_is_refused(text: Any, says: str) -> None:
    with pytest.raises(BadLimit) as caught:
        read_limits(text)
    assert says in str(caught.value)


def test_windows_have_words() -> None:
    assert [Limit(1, each).window for each in (1, 60, 90, 7200, 86400)] == [
        "second",
        "minute",
        "90-seconds",
        "2-hours",
        "day",
    ]


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 360 * 86400)), min_size=1))
def test_any_limits_are_written_in_a_way_that_can_be_read(pairs: list[tuple[int, int]]) -> None:
    amounts = sorted({amount for amount, _ in pairs})
    windows = sorted({window for _, window in pairs})
    limits = tuple(Limit(*each) for each in zip(amounts, windows, strict=False))
    assert read_limits(as_text(limits).replace("-", " ")) == limits


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert read_limits(text)
    except BadLimit:
        pass
