"""Looking at jobs in PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from backstay.ledger import JobFilter, State, new_job_id
from backstay.ledger.postgres_views import conditions, job_row

AT = datetime(2027, 1, 1, tzinfo=UTC)


def row(**rest: Any) -> dict[str, Any]:
    fields = dict.fromkeys(
        (
            "started_at",
            "finished_at",
            "expires_at",
            "worker",
            "unique_key",
            "gate",
            "progress",
            "result",
            "errors",
        )
    )
    return {
        **fields,
        "id": UUID(int=1),
        "task": "t",
        "queue": "default",
        "state": "available",
        "priority": 0,
        "attempt": 0,
        "max_attempts": 1,
        "args": "{}",
        "meta": "{}",
        "created_at": AT,
        "run_at": AT,
        "cancel_requested": False,
        "waiting_for": 0,
        **rest,
    }


def test_a_row_that_is_whole_is_not_corrupt() -> None:
    found = job_row(row(result="null", errors=['{"type": "E"}'], progress='{"done": 1}'))
    assert not found.corrupt
    assert (found.result, found.has_result) == (None, True)
    assert (found.progress, found.errors) == ({"done": 1}, ({"type": "E"},))


def test_what_can_be_read_of_a_broken_row_is_there() -> None:
    for broken in ({"args": "{"}, {"meta": "[]"}, {"result": "nul"}, {"errors": ["1", "{}"]}):
        found = job_row(row(**broken))
        assert found.corrupt
        assert (found.id, found.state) == (UUID(int=1), State.AVAILABLE)
    assert found.errors == ({},)


def test_an_empty_filter_is_no_condition() -> None:
    values: list[Any] = []
    assert conditions(JobFilter(), None, values) == "true"
    assert values == []


def test_no_states_match_nothing() -> None:
    assert conditions(JobFilter(states=frozenset()), None, []) == "true AND false"


def test_values_are_parameters_and_never_part_of_the_statement() -> None:
    values: list[Any] = ["first"]
    nasty = "'; DROP TABLE x; --"
    found = conditions(
        JobFilter(ids=(new_job_id(),), task=nasty, queue=nasty, text=nasty, older_than_s=5),
        AT,
        values,
    )
    assert "DROP" not in found
    assert len(values) == 7
    assert "$7" in found
