"""Ids are in the order of time, and moments come back as they went."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.errors import BadEvents
from backstay.events.event import (
    Event,
    as_utc,
    earliest_id,
    microseconds_of,
    moment_of,
    new_event_id,
)

moments = st.datetimes(
    min_value=datetime(1970, 1, 1), max_value=datetime(2300, 1, 1), timezones=st.just(UTC)
)


@given(moments, moments)
def test_ids_sort_by_the_moment_they_are_of(one: datetime, other: datetime) -> None:
    if one < other:
        assert new_event_id(one) < new_event_id(other)
        assert new_event_id(one) < earliest_id(other) <= new_event_id(other)


@given(moments)
def test_an_id_is_a_uuid_of_version_seven(at: datetime) -> None:
    made = new_event_id(at)
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert made.int >> 80 == int(
        (at - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1)
    )
    assert made != new_event_id(at)


@given(moments, st.integers(0, 2**22 - 2))
def test_of_two_at_the_same_moment_the_one_seen_later_is_later(at: datetime, number: int) -> None:
    assert new_event_id(at, number) < new_event_id(at, number + 1)
    assert new_event_id(at, number + 2**22).version == 7


@given(moments)
def test_a_moment_comes_back_to_the_microsecond(at: datetime) -> None:
    assert moment_of(microseconds_of(at)) == at


def test_what_was_before_1970_is_at_its_beginning() -> None:
    assert microseconds_of(datetime(1960, 1, 1, tzinfo=UTC)) == 0
    assert new_event_id(datetime(1960, 1, 1, tzinfo=UTC)).int >> 80 == 0


def test_a_moment_of_any_zone_is_taken_as_utc() -> None:
    at = datetime(2027, 1, 1, 3, tzinfo=timezone(timedelta(hours=3)))
    assert as_utc(at, "since") == datetime(2027, 1, 1, tzinfo=UTC)
    assert as_utc(at, "since").tzinfo is UTC


@pytest.mark.parametrize("wrong", [datetime(2027, 1, 1), "yesterday", None, 7])
def test_a_moment_without_a_zone_is_refused(wrong: object) -> None:
    with pytest.raises(BadEvents, match="since= is a datetime with a zone"):
        as_utc(wrong, "since")  # type: ignore[arg-type]  # that is the test


@pytest.mark.parametrize(
    ("outcome", "status", "failed"),
    [("ok", 200, False), ("ok", 404, False), ("ok", 500, True), ("failed", None, True)],
)
def test_an_event_failed_if_it_says_so_or_was_answered_with_500(
    outcome: str, status: int | None, failed: bool
) -> None:
    event = Event(
        "1", "request", "GET", None, datetime(2027, 1, 1, tzinfo=UTC), 1.0, outcome, status
    )
    assert event.failed is failed
