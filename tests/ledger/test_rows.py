"""The values of the ledger mean what they say."""

import json
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from backstay.ledger import (
    FINISHED,
    LIVE,
    Finish,
    Gate,
    JobFilter,
    JobRow,
    NewJob,
    QueueRow,
    State,
    Tick,
    UniqueKey,
    WorkerRow,
    new_job_id,
)

NOW = datetime(2027, 1, 1, tzinfo=UTC)


def row(**rest: Any) -> JobRow:
    given: dict[str, Any] = {
        "id": new_job_id(),
        "task": "t",
        "queue": "default",
        "state": State.AVAILABLE,
        "priority": 0,
        "attempt": 0,
        "max_attempts": 1,
        "args": "{}",
        "meta": {},
        "created_at": NOW,
        "run_at": NOW,
    }
    return JobRow(**given | rest)


def test_every_state_is_either_live_or_finished() -> None:
    assert frozenset(State) == LIVE | FINISHED
    assert not LIVE & FINISHED


def test_states_are_their_names_in_databases_and_answers() -> None:
    assert [str(each) for each in State] == [
        "waiting", "scheduled", "available", "running", "retrying",
        "succeeded", "discarded", "cancelled",
    ]  # fmt: skip
    assert json.dumps(State.RUNNING) == '"running"'
    assert State("running") is State.RUNNING


@pytest.mark.parametrize("state", State)
def test_a_row_is_finished_when_its_state_is(state: State) -> None:
    assert row(state=state).finished is (state in FINISHED)


def test_a_rows_error_is_the_latest() -> None:
    assert row().error is None
    assert row(errors=({"n": 1}, {"n": 2})).error == {"n": 2}


@pytest.mark.parametrize(
    ("options", "plain"),
    [
        ({}, True),
        ({"priority": 5, "queue": "mail", "keep_s": 1.0, "max_attempts": 3}, True),
        ({"delay_s": -1.0}, True),
        ({"delay_s": 0.1}, False),
        ({"run_at": NOW}, False),
        ({"unique": UniqueKey("k")}, False),
        ({"gate": Gate("g")}, False),
        ({"after": (UUID(int=1),)}, False),
    ],
)
def test_a_job_is_plain_if_one_row_is_all_it_needs(options: dict[str, Any], plain: bool) -> None:
    assert NewJob(new_job_id(), "t", **options).plain is plain


def test_a_key_is_held_by_the_living_unless_said_otherwise() -> None:
    assert UniqueKey("k").states == LIVE
    assert UniqueKey("k").period_s is None


def test_a_failed_attempt_carries_its_error_as_json() -> None:
    then = (NewJob(new_job_id(), "alert"),)
    finish = Finish.failed(
        UUID(int=1), 2, State.RETRYING, {"type": "E", "message": "é"}, delay_s=3.0, then=then
    )
    assert (finish.id, finish.fence, finish.state) == (UUID(int=1), 2, State.RETRYING)
    assert (finish.delay_s, finish.give_back, finish.then) == (3.0, False, then)
    assert finish.error is not None
    assert json.loads(finish.error) == {"type": "E", "message": "é"}
    assert finish.result is None
    assert Finish.failed(UUID(int=1), 2, State.AVAILABLE, {}, give_back=True).give_back


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (UniqueKey("k"), "key"),
        (Gate("g"), "name"),
        (JobFilter(), "task"),
        (QueueRow(name="q"), "name"),
        (Tick(name="n", previous=None, at=NOW), "at"),
        (
            WorkerRow(id="w", host="h", pid=1, lease_s=30, concurrency=1, queues=("default",)),
            "id",
        ),
        (row(), "state"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_was_read_or_agreed_upon_does_not_change(value: Any, name: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, "other")


def test_an_empty_filter_names_nothing() -> None:
    empty = JobFilter()
    assert {getattr(empty, name) for name in JobFilter.__slots__} == {None}
