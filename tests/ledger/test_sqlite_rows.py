"""Columns and values: exact both ways, and damage is shown rather than raised."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.errors import BadJob
from backstay.ledger import LIVE, State, new_job_id
from backstay.ledger.sqlite_rows import (
    BITS,
    claimed,
    from_us,
    job_row,
    states_bits,
    to_us,
    to_uuid,
    with_error,
)

ID = new_job_id()
GOOD: tuple[Any, ...] = (
    ID.bytes, "task", "queue", "running", 0, 1, 3, "{}", '{"a": 1}', 5_000_000, 6_000_000,
    None, None, None, "w", "key", None, "gate", 0, 0, '{"done": 1}', "null", '[{"type": "E"}]',
)  # fmt: skip


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_survive_to_the_microsecond(moment: datetime) -> None:
    assert from_us(to_us(moment)) == moment


def test_times_of_any_zone_are_the_same_moment() -> None:
    moment = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert from_us(to_us(moment)) == moment


@given(st.uuids())
def test_ids_survive_as_bytes(each: UUID) -> None:
    again = to_uuid(each.bytes)
    assert again == each
    assert hash(again) == hash(each)
    assert str(again) == str(each)
    assert again.is_safe is each.is_safe


def test_each_state_has_a_bit_of_its_own_and_they_never_change() -> None:
    assert [BITS[state] for state in State] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert states_bits(LIVE) == 31
    assert list(State) == [
        "waiting", "scheduled", "available", "running", "retrying",
        "succeeded", "discarded", "cancelled",
    ]  # fmt: skip


def test_a_good_row_is_read_whole() -> None:
    row = job_row(GOOD, 0)
    assert not row.corrupt
    assert row.id == ID
    assert row.meta == {"a": 1}
    assert row.progress == {"done": 1}
    assert (row.result, row.has_result) == (None, True)
    assert row.errors == ({"type": "E"},)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (3, "asleep"), (4, "high"), (7, "{"), (7, "[1]"), (7, b"\xff"), (8, "{"), (8, "7"),
        (9, "soon"), (10, 2**62), (20, "{"), (21, "{"), (22, "{"), (22, "{}"), (22, 7),
    ],
)  # fmt: skip
def test_a_damaged_row_is_read_as_far_as_it_can_be(column: int, value: Any) -> None:
    row = job_row((*GOOD[:column], value, *GOOD[column + 1 :]), 0)
    assert row.corrupt
    assert row.id == ID
    assert row.task == "task"


def test_a_key_whose_period_is_over_is_not_shown() -> None:
    row = (*GOOD[:16], 10, *GOOD[17:])
    assert job_row(row, 9).unique_key == "key"
    assert job_row(row, 10).unique_key is None


def test_a_damaged_job_can_still_be_handed_out() -> None:
    (job,) = claimed([(0, 1, ID.bytes, 1, 1, 3, "task", "queue", b"\xff{", None, "soon", None)])
    assert job.args == "\ufffd{"
    assert job.created_at == datetime(1970, 1, 1, tzinfo=UTC)


def test_the_latest_twenty_errors_are_kept() -> None:
    errors: str | None = None
    for number in range(25):
        errors = with_error(errors, json.dumps({"n": number}))
    assert [each["n"] for each in json.loads(errors or "")] == list(range(5, 25))


@pytest.mark.parametrize("known", [None, "", "{", "{}", "7"])
def test_an_unreadable_list_of_errors_is_begun_afresh(known: str | None) -> None:
    assert json.loads(with_error(known, '{"type": "E"}')) == [{"type": "E"}]


def test_an_error_that_is_no_object_becomes_one() -> None:
    assert json.loads(with_error(None, "boom")) == [{"type": "Error", "message": "boom"}]


@pytest.mark.parametrize(
    "moment",
    [datetime(2027, 1, 1), datetime.max.replace(tzinfo=timezone(-timedelta(hours=1)))],
)
def test_a_time_that_could_not_be_read_back_is_not_written(moment: datetime) -> None:
    with pytest.raises(BadJob):
        to_us(moment)
