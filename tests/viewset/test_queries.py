"""Query strings: read in one pass, refused with a reason, and told to OpenAPI."""

from __future__ import annotations

import enum
from typing import Annotated, Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from backstay.errors import BadViewSet
from backstay.viewset.queries import ListQuery, QueryParameter, refused, split_list


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


NUMBER = QueryParameter(
    name="number",
    type=Annotated[int, Field(ge=0)],
    description="How many.",
    default=7,
    examples=(3, "x", -1),
)
COLOURS = QueryParameter(name="colour__in", type=Colour, at_most=3, is_filter=True)
TEXT = QueryParameter(name="text", type=str)
SPELLED = QueryParameter(name="text__eq", type=str, same_as="text")
QUERY = ListQuery([NUMBER, COLOURS, TEXT, SPELLED], refuse=["price", "text"], also=["tenant__id"])


def written(values: list[str]) -> str:
    quoted = [
        '"' + each.replace('"', '""') + '"' if "," in each or each.startswith('"') else each
        for each in values
    ]
    return ",".join(quoted)


@given(st.lists(st.text(alphabet='a,"b ', max_size=5), min_size=1, max_size=6))
def test_a_list_that_is_written_with_quotes_is_read_again(values: list[str]) -> None:
    assert split_list(written(values)) == values


@given(st.text(alphabet='a,"b', max_size=12))
def test_every_text_is_some_list(text: str) -> None:
    values = split_list(text)
    assert values
    if '"' not in text:
        assert ",".join(values) == text


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", [""]),
        (",", ["", ""]),
        ("a,b", ["a", "b"]),
        ('"a,b",c', ["a,b", "c"]),
        ('"say ""hi""",x', ['say "hi"', "x"]),
        ('""', [""]),
        ('"a,b', ['"a', "b"]),
        ('"a"b,c', ['"a"b', "c"]),
        ('5" pipe,c', ['5" pipe', "c"]),
        ('"a",', ["a", ""]),
    ],
)
def test_quotes_protect_commas_and_mean_themselves_elsewhere(text: str, values: list[str]) -> None:
    assert split_list(text) == values


def test_what_is_not_sent_has_its_default_or_no_value() -> None:
    assert QUERY.read(b"") == {"number": 7}
    assert QUERY.read(b"&&utm_source=x&=&number=3") == {"number": 3}


def test_a_default_is_never_shared_between_requests() -> None:
    QUERY.read(b"")["number"] = 8
    assert QUERY.read(b"") == {"number": 7}


def test_values_are_what_pydantic_makes_of_them() -> None:
    read = QUERY.read(b"colour__in=red,blue&colour__in=red&text=%C3%A4+b")
    assert read == {"number": 7, "colour__in": [Colour.RED, Colour.BLUE, Colour.RED], "text": "ä b"}
    assert QUERY.read(b"text__eq=a")["text"] == "a"


@pytest.mark.parametrize(
    ("query", "where", "kind"),
    [
        ("number=x", ("query", "number"), "int_parsing"),
        ("number=-1", ("query", "number"), "greater_than_equal"),
        ("number=", ("query", "number"), "int_parsing"),
        ("number=1&number=1", ("query", "number"), "sent_twice"),
        ("text=a&text__eq=a", ("query", "text"), "sent_twice"),
        ("colour__in=red,green", ("query", "colour__in", 1), "enum"),
        ("colour__in=red,red&colour__in=red,red", ("query", "colour__in"), "too_long"),
        ("price=1", ("query", "price"), "unknown_filter"),
        ("price.x=1", ("query", "price.x"), "unknown_filter"),
        ("anything__at=1", ("query", "anything__at"), "unknown_filter"),
        ("a=1&" * 2001, ("query",), "too_many_parts"),
    ],
)
def test_what_cannot_be_is_refused(query: str, where: tuple[Any, ...], kind: str) -> None:
    with pytest.raises(RequestValidationError) as caught:
        QUERY.read(query.encode())
    (error,) = caught.value.errors()
    assert (error["loc"], error["type"]) == (where, kind)


def test_what_somebody_else_reads_is_left_to_them() -> None:
    assert QUERY.read(b"tenant__id=3") == {"number": 7}


def test_two_parameters_of_one_name_are_refused_at_start_up() -> None:
    with pytest.raises(BadViewSet, match="two query parameters of one list are called 'text'"):
        ListQuery([TEXT, TEXT])


def test_openapi_is_told_without_references() -> None:
    told = QUERY.openapi()
    assert told[0] == {
        "name": "number",
        "in": "query",
        "required": False,
        "description": "How many.",
        "schema": {"type": "integer", "minimum": 0, "examples": [3], "default": 7},
    }
    assert told[1] == {
        "name": "colour__in",
        "in": "query",
        "required": False,
        "schema": {
            "type": "array",
            "items": {"type": "string", "enum": ["red", "blue"], "title": "Colour"},
            "maxItems": 3,
        },
        "style": "form",
        "explode": False,
    }
    assert [each["name"] for each in told] == ["number", "colour__in", "text"]


def served() -> FastAPI:
    app = FastAPI()

    @app.get("/things/{key}", openapi_extra={"parameters": QUERY.openapi()})
    async def things(key: int, request: Request, tenant: Annotated[str, Query()] = "") -> str:
        return repr((key, tenant, QUERY.read(request.scope["query_string"])))

    return app


def test_a_route_documents_these_parameters_beside_its_own() -> None:
    operation = served().openapi()["paths"]["/things/{key}"]["get"]
    names = [(each["in"], each["name"]) for each in operation["parameters"]]
    assert names == [
        ("path", "key"),
        ("query", "tenant"),
        ("query", "number"),
        ("query", "colour__in"),
        ("query", "text"),
    ]


@given(st.binary(max_size=60) | st.text(alphabet='number=&colour__in,"%0aF', max_size=60))
def test_no_query_string_makes_anything_but_values_or_a_refusal(query: bytes | str) -> None:
    raw = query if isinstance(query, bytes) else quote(query, safe='=&,%"').encode()
    try:
        values = QUERY.read(raw)
    except RequestValidationError:
        return
    assert "number" in values


def test_refusals_are_answered_like_fastapis_own() -> None:
    with TestClient(served()) as client:
        assert client.get("/things/1?number=2&tenant=x").json() == "(1, 'x', {'number': 2})"
        answer = client.get("/things/1?number=x&colour__in=green&price=1&a__b=2")
        assert answer.status_code == 422
        found = {(each["loc"][1], each["type"]) for each in answer.json()["detail"]}
        assert found == {
            ("number", "int_parsing"),
            ("colour__in", "enum"),
            ("price", "unknown_filter"),
            ("a__b", "unknown_filter"),
        }


def test_a_refusal_may_be_about_all_of_it() -> None:
    assert refused(None, "kind", "Why.").errors() == [
        {"type": "kind", "loc": ("query",), "msg": "Why.", "input": None}
    ]
