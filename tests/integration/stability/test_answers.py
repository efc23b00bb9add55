"""Answers of every client are understood."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.errors import CircuitBreakerError
from backstay.integration.answers import retry_after_s, status_of

NOW = datetime(2027, 1, 1, tzinfo=UTC)


class Answer:
    def __init__(self, **members: Any) -> None:
        self.__dict__.update(members)


class Failed(Exception):
    def __init__(self, **members: Any) -> None:
        self.__dict__.update(members)


def test_a_status_is_found_in_answers_and_errors() -> None:
    assert status_of(Answer(status_code=503)) == 503
    assert status_of(Answer(status=503)) == 503
    assert status_of(Failed(response=Answer(status_code=404))) == 404
    assert status_of(Answer(status="done")) is None
    assert status_of(None) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("Fri, 01 Jan 2027 00:01:00 GMT", 60),
        ("Fri, 01 Jan 2027 00:01:00", 60),
        ("Thu, 31 Dec 2026 23:00:00 GMT", 0),
        ("soon", None),
        ("-1", None),
        ("", None),
        ("1e9", None),
        ("٣", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    error = Failed(response=Answer(headers={"Retry-After": value}))
    assert retry_after_s(error, NOW) == seconds
    assert retry_after_s(Failed(headers={"retry-after": value}), NOW) == seconds


@given(st.text() | st.from_regex(r"\w{3}, \d+ \w{3} \d+ [\d:]+ \S*"))
def test_whatever_others_send_is_a_time_or_nothing(value: str) -> None:
    seconds = retry_after_s(Failed(headers={"Retry-After": value}), NOW)
    assert seconds is None or seconds >= 0


def test_errors_of_ours_say_it_themselves() -> None:
    assert retry_after_s(CircuitBreakerError("x", retry_after_s=7), NOW) == 7
    assert retry_after_s(OSError(), NOW) is None
    assert retry_after_s(Failed(retry_after_s=float("nan")), NOW) is None
