"""Questions are bounded, and what could never work is refused."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.dialects import postgresql, sqlite

from backstay.errors import BadCursor, BadEvents
from backstay.events.questions import (
    MAX_LIMIT,
    EventFilter,
    event_of,
    minutes_between,
    select_events,
    select_sums,
)

AT = datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("limit", [0, -1, MAX_LIMIT + 1, True, 1.5, "5", None])
def test_pages_are_bounded(limit: Any) -> None:
    with pytest.raises(BadEvents, match=f"limit= is between 1 and {MAX_LIMIT}"):
        select_events(EventFilter(), limit=limit, before=None)


@pytest.mark.parametrize("before", ["", "x", "' OR 1=1 --", 7, b"abc"])
def test_what_is_no_cursor_is_refused(before: Any) -> None:
    with pytest.raises(BadCursor, match="before= is the id of an event"):
        select_events(EventFilter(), limit=1, before=before)


@pytest.mark.parametrize("dialect", [sqlite, postgresql], ids=["sqlite", "postgresql"])
def test_nothing_that_is_asked_for_gets_into_the_statement_itself(dialect: Any) -> None:
    evil = "'; DROP TABLE backstay_events; --"
    which = EventFilter(
        kind=evil, name=evil, correlation_id=evil, outcome=evil, search=evil, since=AT, until=AT
    )
    statement = select_events(which, limit=5, before=str(UUID(int=7)))
    assert "DROP" not in str(statement.compile(dialect=dialect.dialect()))
    assert "LIMIT" in str(statement.compile(dialect=dialect.dialect()))
    sums = select_sums(1, 5, kind=evil, name=evil, step=7)
    assert "DROP" not in str(sums.compile(dialect=dialect.dialect()))


def test_the_text_that_is_searched_is_bounded_and_has_no_wildcards() -> None:
    statement = select_events(EventFilter(search="100%_\0" + "x" * 5_000), limit=1, before=None)
    values = {str(each) for each in statement.compile().params.values()}
    (searched,) = {each for each in values if "100" in each}
    assert searched.startswith("100/%/_")
    assert len(searched) < 210


def test_times_are_widened_to_whole_minutes() -> None:
    since = datetime(2027, 1, 1, 0, 0, 59, tzinfo=UTC)
    until = datetime(2027, 1, 1, 0, 2, 1, tzinfo=UTC)
    first, end = minutes_between(since, until)
    assert end - first == 3
    assert minutes_between(AT, AT)[0] == minutes_between(AT, AT)[1]


def test_times_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(BadEvents, match="since= comes before until="):
        minutes_between(AT, datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(BadEvents, match="until= is a datetime with a zone"):
        minutes_between(AT, datetime(2027, 1, 1))


class Row:
    id = UUID(int=7)
    kind = name = "x"
    correlation_id = error = status = None
    started_us = 1_500
    duration_us = 2_500
    outcome = "ok"

    def __init__(self, facts: str) -> None:
        self.facts = facts


@pytest.mark.parametrize("facts", ["[1]", "", "{", "7"])
def test_facts_that_somebody_else_has_spoilt_are_none(facts: str) -> None:
    event = event_of(Row(facts))  # type: ignore[arg-type]  # as much of a row as it reads
    assert event.facts == {}
    assert event.duration_ms == 2.5
    assert event.started_at == datetime(1970, 1, 1, 0, 0, 0, 1_500, tzinfo=UTC)
