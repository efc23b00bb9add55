"""Answers are read by their status: 2xx as the success side, errors as their models, or not at all."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator
from datetime import date
from typing import Any, Optional, Union

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from backstay.errors import BadAnswer, BadIntegration, UpstreamBusy, UpstreamError
from backstay.integration.http.answer_rules import AnswerRules


class Text(BaseModel):
    text: str = ""  # everything has a default: any object would do


class Day(BaseModel):
    day: date


class SchemaError:
    class http400(BaseModel):
        error: str

    class http4xx(BaseModel):
        reason: str

    class Broken(BaseModel):
        trace: str


http400, http4xx, Broken = SchemaError.http400, SchemaError.http4xx, SchemaError.Broken


def rules(annotation: Any, **options: Any) -> AnswerRules:
    return AnswerRules("Names.get", annotation, SchemaError, **options)


def answered(status: int, body: Any = None, **options: Any) -> httpx.Response:
    if body is not None:
        options["json"] = body
    return httpx.Response(status, request=httpx.Request("GET", "http://x/"), **options)


@pytest.mark.parametrize(
    ("annotation", "body", "found"),
    [
        (Text, {"text": "a"}, Text(text="a")),
        (list[Text], [{"text": "a"}], [Text(text="a")]),
        (dict[str, Text], {"x": {"text": "a"}}, {"x": Text(text="a")}),
        (Text | http400, {"text": "a"}, Text(text="a")),
        (Union[Text, http400], {"text": "a"}, Text(text="a")),  # noqa: UP007
        (Optional[Day], None, None),  # noqa: UP045
        (list[Text] | http400, [], []),
        (Day | Text, {"day": "2027-01-02"}, Day(day=date(2027, 1, 2))),
        (Any, {"whatever": [1]}, {"whatever": [1]}),
        (int, 3, 3),
        (None, None, None),
    ],
    ids=[
        "model",
        "list",
        "dict",
        "union",
        "typing",
        "optional",
        "list-or-error",
        "two",
        "any",
        "int",
        "none",
    ],
)
def test_a_good_answer_is_read_as_the_success_side(annotation: Any, body: Any, found: Any) -> None:
    content = answered(200, body) if body is not None else answered(200, content=b"")
    assert rules(annotation).read(content) == found
    assert rules(annotation).read(body, answered(200), 200) == found


@pytest.mark.parametrize("returned", [{"text": "a"}, {}, None, Text(), [], "text"])
def test_an_error_is_read_as_its_model_whatever_the_method_returned(returned: Any) -> None:
    answer = answered(400, {"error": "no"})
    assert rules(Text | http400).read(returned, answer, 400) == http400(error="no")


def test_the_order_of_the_union_means_nothing() -> None:
    for annotation in (http400 | Text, Text | http400):
        assert rules(annotation).read(answered(200, {"text": "a"})) == Text(text="a")
        assert rules(annotation).read(answered(400, {"error": "a"})) == http400(error="a")


def test_a_model_for_all_of_4xx_stands_behind_those_for_one() -> None:
    both = rules(Text | http400 | http4xx)
    assert both.read(answered(400, {"error": "a"})) == http400(error="a")
    assert both.read(answered(404, {"reason": "a"})) == http4xx(reason="a")


def test_a_model_with_another_name_stands_behind_all_of_them() -> None:
    assert rules(Text | Broken).read(answered(500, {"trace": "a"})) == Broken(trace="a")


def test_an_error_that_the_annotation_does_not_name_is_raised_with_its_model() -> None:
    with pytest.raises(UpstreamError, match=r"Names\.get answered 400") as raised:
        rules(Text).read(answered(400, {"error": "no"}))
    assert (raised.value.answered, raised.value.error) == (400, http400(error="no"))
    assert raised.value.status == 502


def test_an_error_that_nobody_declared_is_raised_with_what_it_says() -> None:
    with pytest.raises(UpstreamError, match="500") as raised:
        rules(Text | http400).read({"text": "a"}, answered(500, content=b"oh no"), 500)
    assert (raised.value.error, raised.value.body) == (None, "oh no")


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_a_503_here_with_the_time_it_asks_for(status: int) -> None:
    with pytest.raises(UpstreamBusy) as raised:
        rules(Day).read(answered(status, {}, headers={"Retry-After": "7"}))
    assert (raised.value.status, raised.value.retry_after_s) == (503, 7)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (500, r"answered 500, for which no SchemaError is declared: 'oh no'"),
        (429, r"answered 429 with what is not its http4xx: 'oh no'"),
    ],
    ids=["undeclared", "declared"],
)
def test_what_could_not_be_read_is_told_as_it_is(status: int, told: str) -> None:
    for annotation in (Day, Day | http400 | http4xx):
        with pytest.raises(UpstreamError, match=told):
            rules(annotation).read(answered(status, content=b"oh no"))


def test_errors_are_raised_where_that_is_wanted() -> None:
    with pytest.raises(UpstreamError) as raised:
        rules(Text | http400, raise_errors=True).read(answered(400, {"error": "no"}))
    assert raised.value.error == http400(error="no")


def test_a_status_that_the_method_deals_with_is_its_own_business() -> None:
    assert rules(Day | None, handled=frozenset({404})).read(None, answered(404), 404) is None


def test_an_answer_of_another_shape_names_endpoint_status_and_field_and_no_value() -> None:
    with pytest.raises(BadAnswer) as raised:
        rules(list[Day]).read(answered(200, [{"day": "2027-01-02"}, {"day": "s3cret"}]))
    assert raised.value.fields == ("1.day",)
    assert (raised.value.endpoint, raised.value.answered) == ("Names.get", 200)
    assert "Names.get answered 200" in str(raised.value)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("status", [200, 400])
def test_neither_does_a_traceback_show_the_value(status: int) -> None:
    answer = answered(status, {"day": "s3cret", "error": ["s3cret"]})
    with pytest.raises(BadAnswer) as raised:
        rules(Day | http400).read(answer)
    assert "s3cret" not in "".join(traceback.format_exception(raised.value))
    assert raised.value.__context__ is None
    cause = raised.value.__cause__
    assert isinstance(cause, ValidationError)
    assert cause.errors()[0]["loc"] == (raised.value.fields[0],)


@pytest.mark.parametrize("body", [b"<html>", b"{", b"\xff", b"", b"nul", b"[1"])
def test_what_is_no_json_is_an_error_and_never_a_default(body: bytes) -> None:
    answer = answered(200, content=body, headers={"content-type": "application/json"})
    with pytest.raises(BadAnswer, match="200"):
        rules(Text).read(answer)


def test_an_error_of_another_shape_than_its_model_is_no_default_either() -> None:
    with pytest.raises(BadAnswer, match=r"http400: error") as raised:
        rules(Text | http400).read(answered(400, {"fault": 1}))
    assert raised.value.answered == 400


def test_models_that_the_method_made_itself_are_passed_on() -> None:
    assert rules(Text | http400).read(Text(text="a"), None, 200) == Text(text="a")
    assert rules(Text | http400).read(http400(error="a"), None, 200) == http400(error="a")


def test_where_nobody_knows_the_status_what_fits_the_success_side_is_one() -> None:
    assert rules(Day | http400).read({"day": "2027-01-02"}) == Day(day=date(2027, 1, 2))
    assert rules(Day | http400).read({"error": "no"}) == http400(error="no")
    with pytest.raises(BadAnswer, match="gave what is not what it declares"):
        rules(Day | http400).read({"other": 1})


def test_texts_bytes_and_responses_may_be_wanted_as_they_are() -> None:
    answer = answered(200, content=b"a,b\n")
    assert rules(bytes).read(answer) == b"a,b\n"
    assert rules(str).read(answer) == "a,b\n"
    assert rules(httpx.Response).read(answer) is answer
    assert rules(Any).read(answered(200, text="hello")) == "hello"
    error = answered(500)
    assert rules(httpx.Response).read(error) is error


def test_one_that_yields_is_read_item_by_item() -> None:
    assert rules(AsyncIterator[Day]).read({"day": "2027-01-02"}) == Day(day=date(2027, 1, 2))


def test_an_endpoint_that_can_only_fail_is_refused() -> None:
    with pytest.raises(BadIntegration, match="errors alone"):
        rules(http400 | http4xx)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_the_answer_is_it_is_read_or_an_error_of_ours(body: Any) -> None:
    for annotation in (Day, list[Day] | http400, dict[str, Day]):
        try:
            found = rules(annotation).read(body, None, 200)
        except BadAnswer:
            continue
        assert found in ([], {}) or isinstance(found, list | dict)
