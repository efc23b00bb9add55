"""What no engine could keep is refused by rules that every engine shares."""

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from backstay.errors import BadJob
from backstay.ledger import Finish, Gate, NewJob, QueueRow, State, Tick, UniqueKey, new_job_id
from backstay.ledger.bounds import (
    MOST_S,
    check_finishes,
    check_jobs,
    check_queues,
    check_seconds,
    check_tick,
    check_time,
)

NOW = datetime(2027, 1, 1, tzinfo=UTC)
NO_SECONDS: list[Any] = [math.nan, math.inf, -math.inf, -1, -1e-9, MOST_S * 2, 1e300, "1", None, []]


def job(**rest: Any) -> NewJob:
    return NewJob(new_job_id(), rest.pop("task", "t"), **rest)


@pytest.mark.parametrize("value", NO_SECONDS)
def test_what_is_no_number_of_seconds_is_refused(value: Any) -> None:
    with pytest.raises(BadJob, match="keep_s is a number of seconds"):
        check_seconds(value, "keep_s")


@pytest.mark.parametrize("value", [0, 0.0, -0.0, 1, 0.5, MOST_S])
def test_seconds_are_seconds(value: float) -> None:
    check_seconds(value, "keep_s")


def test_the_longest_time_leaves_the_calendar_of_no_sensible_clock() -> None:
    assert (datetime(6000, 1, 1) + timedelta(seconds=MOST_S)).year < 9999


@pytest.mark.parametrize(
    "value",
    [
        datetime(2027, 1, 1),
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
        NOW.date(),
        NOW.isoformat(),
        NOW.timestamp(),
    ],
)
def test_what_is_no_moment_that_all_agree_on_is_refused(value: Any) -> None:
    with pytest.raises(BadJob, match="run_at is"):
        check_time(value, "run_at")


@pytest.mark.parametrize("value", [NOW, datetime.max.replace(tzinfo=UTC)])
def test_a_moment_is_a_moment(value: datetime) -> None:
    check_time(value, "run_at")


ODD: list[dict[str, Any]] = [
    *({"delay_s": each} for each in NO_SECONDS),
    *({"keep_s": each} for each in NO_SECONDS if each is not None),
    *({"unique": UniqueKey("k", period_s=each)} for each in NO_SECONDS if each is not None),
    *({"gate": Gate("g", rate=1, per_s=each)} for each in (*NO_SECONDS, 0.0)),
    *({name: each} for name in ("task", "args", "queue", "meta") for each in (None, b"{}", 1)),
    *({name: each} for name in ("priority", "max_attempts") for each in (None, 1.0, "1", 2**31)),
    *({"gate": Gate("g", limit=each)} for each in (1.0, "1", 2**31)),  # type: ignore[arg-type]
    *({"gate": Gate("g", rate=each)} for each in (1.0, "1", 2**31)),  # type: ignore[arg-type]
    {"gate": Gate(b"g")},  # type: ignore[arg-type]
    {"unique": UniqueKey(5)},  # type: ignore[arg-type]
    {"unique": UniqueKey("k", states=frozenset({"done"}))},  # type: ignore[arg-type]
    {"run_at": datetime(2027, 1, 1)},
    {"after": ("x",)},
    {"after": (UUID(int=7),), "on_parent_failure": "shrug"},
]


@pytest.mark.parametrize("fields", ODD, ids=str)
def test_a_job_that_cannot_be_written_is_refused_wherever_it_comes_from(
    fields: dict[str, Any],
) -> None:
    odd = job(**fields)
    with pytest.raises(BadJob, match=r"; got "):
        check_jobs([job(), odd])
    with pytest.raises(BadJob):
        check_finishes([Finish(new_job_id(), 1, State.SUCCEEDED, then=(odd,))])
    with pytest.raises(BadJob):
        check_tick(Tick(name="n", previous=None, at=NOW, jobs=(odd,)))


@pytest.mark.parametrize(
    ("fields", "plain"),
    [
        ({}, True),
        ({"priority": -3, "max_attempts": 5, "queue": "q", "meta": '{"a": 1}'}, True),
        ({"keep_s": 5}, True),
        ({"task": type("Name", (str,), {})("t"), "priority": True}, True),
        ({"delay_s": 1}, False),
        ({"run_at": NOW}, False),
        ({"gate": Gate("", limit=0, rate=0)}, False),
        ({"unique": UniqueKey("", states=frozenset(), period_s=0)}, False),
        ({"after": (new_job_id(),)}, False),
    ],
)
def test_whether_jobs_are_plain_is_learnt_by_the_way(fields: dict[str, Any], plain: bool) -> None:
    given = job(**fields)
    assert given.plain is plain
    assert check_jobs([given]) is plain
    assert check_jobs([job(), given, job()]) is plain
    assert check_jobs([])


@pytest.mark.parametrize(
    "fields",
    [
        *({"delay_s": each} for each in NO_SECONDS),
        *({"keep_s": each} for each in NO_SECONDS if each is not None),
        *({"state": each} for each in (State.RUNNING, State.WAITING, "succeeded", "done", None)),
        {"result": b"1"},
        {"error": {}},
    ],
    ids=str,
)
def test_an_end_that_cannot_be_written_is_refused(fields: dict[str, Any]) -> None:
    good = Finish(new_job_id(), 1, State.SUCCEEDED, result="1", error="{}", keep_s=0, delay_s=1)
    check_finishes([good])
    end = Finish(new_job_id(), 1, **({"state": State.RETRYING} | fields))
    with pytest.raises(BadJob):
        check_finishes([good, end])


@pytest.mark.parametrize("state", sorted(set(State) - {State.RUNNING, State.WAITING}))
def test_a_claim_ends_in_every_other_state(state: State) -> None:
    check_finishes([Finish(new_job_id(), 1, state)])


def test_a_tick_has_times_that_all_agree_on() -> None:
    naive = NOW.replace(tzinfo=None)
    check_tick(Tick(name="n", previous=NOW, at=NOW))
    for tick in (Tick(name="n", previous=naive, at=NOW), Tick(name="n", previous=None, at=naive)):
        with pytest.raises(BadJob, match="with a time zone"):
            check_tick(tick)


def test_a_queue_has_limits_that_can_be_counted() -> None:
    check_queues([QueueRow(name="q"), QueueRow(name="q", limit=0, rate=5, per_s=60)])
    odd: list[dict[str, Any]] = [{"per_s": 0}, {"per_s": math.nan}, {"limit": 1.5}, {"name": None}]
    for fields in odd:
        with pytest.raises(BadJob, match="QueueRow"):
            check_queues([QueueRow(**({"name": "q"} | fields))])
