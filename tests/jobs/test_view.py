"""How a job looks from outside."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.jobs.view import FailureView, JobPage, JobView, ProgressView, masked, masked_args
from backstay.ledger import State
from tests.cli.shelf import a_job

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.text(st.characters(categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(anything)
def test_whatever_a_row_holds_can_be_encoded(value: object) -> None:
    shown = json.dumps(masked(value), allow_nan=False, ensure_ascii=False)
    shown.encode("utf-8")


@given(anything)
def test_a_view_of_whatever_a_row_holds_can_be_encoded(value: object) -> None:
    row = a_job(
        progress={"done": value, "total": value, "message": value, "at": value},
        result=value,
        has_result=True,
        args=json.dumps(value),
        meta={"correlation_id": value},
        errors=(
            {"type": value, "message": value, "attempt": value, "at": value, "traceback": value},
        ),
    )
    JobView.of(row, args=True, result=True, traceback=True, history=True).model_dump_json()
    json.dumps(
        JobView.of(row, args=True, result=True, traceback=True).model_dump(mode="json"),
        allow_nan=False,
    )


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "api_key",
        "API-KEY",
        "apiKey",
        "access_token",
        "accessToken",
        "Authorization",
        "client_secret",
        "card_number",
        "cardNumber",
        "cvc",
        "pin",
        "session-cookie",
        "passwd",
    ],
)
def test_values_with_a_telling_name_are_masked(name: str) -> None:
    assert masked({name: "hush", "nested": [{name: {"deep": 1}}]}) == {
        name: "***",
        "nested": [{name: "***"}],
    }


@pytest.mark.parametrize("name", ["order_id", "tokens_used", "secretary", "pinned", "keyboard"])
def test_values_with_another_name_are_shown(name: str) -> None:
    assert masked({name: 1}) == {name: 1}


def test_nothing_is_not_masked() -> None:
    assert masked({"password": None}) == {"password": None}


def test_sealed_values_are_masked_wherever_they_are() -> None:
    assert masked({"card": {"$sealed": "AbC"}, "all": [{"$sealed": "x"}]}) == {
        "card": "***",
        "all": ["***"],
    }


def test_numbers_that_json_has_not_are_text() -> None:
    assert masked([math.nan, math.inf, 1.5]) == ["nan", "inf", 1.5]


def test_what_is_nested_too_deep_is_cut() -> None:
    value: object = "bottom"
    for _ in range(200):
        value = [value]
    assert "bottom" not in json.dumps(masked(value))


def test_arguments_that_cannot_be_read_are_said_to_be_so() -> None:
    assert masked_args("{not json") == "unreadable, 9 bytes"
    assert masked_args("[" * 100_000) == "unreadable, 100000 bytes"
    assert masked_args('{"a": 1}') == {"a": 1}


def test_nothing_is_shown_that_was_not_asked_for() -> None:
    row = a_job(
        result={"sum": 3},
        has_result=True,
        args='{"order_id": 17}',
        errors=({"type": "E", "message": "m", "traceback": "File secret.py"},) * 2,
    )
    view = JobView.of(row)
    assert (view.args, view.result, view.has_result, view.errors) == (None, None, True, None)
    assert view.error is not None
    assert view.error.traceback is None
    everything = JobView.of(row, args=True, result=True, traceback=True, history=True)
    assert (everything.args, everything.result) == ({"order_id": 17}, {"sum": 3})
    assert everything.errors is not None
    assert [each.traceback for each in everything.errors] == ["File secret.py"] * 2


def test_a_view_says_whether_the_job_has_finished() -> None:
    row = a_job()
    for state in State:
        assert JobView.of(replace(row, state=state)).finished == (
            state in {State.SUCCEEDED, State.DISCARDED, State.CANCELLED}
        )


def test_progress_has_a_fraction_where_it_can() -> None:
    half = ProgressView.of({"done": 2, "total": 4})
    assert half is not None
    assert half.fraction == 0.5
    for progress in (
        {"done": 2},
        {"done": 2, "total": 0},
        {"total": 3},
        {"done": True, "total": 1},
    ):
        view = ProgressView.of(progress)
        assert view is not None
        assert view.fraction is None
    assert ProgressView.of(None) is None


def test_failures_are_read_as_far_as_they_can_be() -> None:
    whole = FailureView.of(
        {"type": "E", "message": "m", "attempt": 2, "at": "2027-01-01T00:00:00+00:00"}
    )
    assert (whole.type, whole.message, whole.attempt) == ("E", "m", 2)
    assert whole.at is not None
    partly = FailureView.of({"attempt": "two", "at": "yesterday"})
    assert (partly.type, partly.message, partly.attempt, partly.at) == ("Unknown", "", None, None)


def test_views_survive_the_way_through_json() -> None:
    page = JobPage(jobs=[JobView.of(a_job())], next=a_job().id)
    assert JobPage.model_validate_json(page.model_dump_json()) == page
