"""Times and durations as people read and write them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.cli.times import ago, parse_duration, span

NOW = datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("2h", 7200),
        ("7d", 604800),
        ("1w", 604800),
        ("1h30m", 5400),
        ("0s", 0),
        ("1.5h", 5400),
        (" 1 H ", 3600),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "7", "d", "7 days", "-1h", "1e9s", "nan s", "1..5h", "5m5", "9" * 13 + "s"],
)
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="write 90s, 15m, 2h, 7d"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0, "0 s"),
        (0.04, "0 s"),
        (0.25, "0.2 s"),
        (1, "1 s"),
        (59.9, "59 s"),
        (60, "1 m"),
        (3599, "59 m"),
        (3600, "1 h"),
        (86400, "1 d"),
        (86400 * 800, "2 y"),
    ],
)
def test_spans_have_one_unit(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_times_are_told_from_now() -> None:
    assert ago(NOW - timedelta(minutes=3), NOW) == "3 m ago"
    assert ago(NOW + timedelta(minutes=5), NOW) == "in 5 m"
    assert ago(NOW, NOW) == "now"
    assert ago(None, NOW) == "-"


@given(st.integers(0, 10_000), st.sampled_from("smhdw"))
def test_a_number_and_a_unit_is_always_read(number: int, unit: str) -> None:
    assert parse_duration(f"{number}{unit}") >= number
