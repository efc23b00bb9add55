"""From what a tool returns to what goes over the wire."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pydantic
import pytest
from fastapi import HTTPException
from pydantic import BaseModel, Field, RootModel
from typing_extensions import TypedDict

from backstay.errors import (
    BackstayError,
    BadWidget,
    ClientCannot,
    StateUnavailable,
    ValidationError,
)
from backstay.widgets import Image, Result, Text
from backstay.widgets.file_refusal import FileRefused
from backstay.widgets.output import Output, as_announced, failure, internal, plain_wire


class Model(BaseModel):
    total: int = Field(alias="theTotal")
    note: str | None = None


@dataclasses.dataclass
class Plain:
    total: int


class Typed(TypedDict):
    total: int


class Listing(RootModel[list[int]]): ...


class Unwritable:
    """Pydantic knows nothing of it."""


def wire(value: Any, output: Output | None = None, *, props: bool = False) -> dict[str, Any]:
    found = plain_wire(value, output, props=props)
    json.dumps(found, allow_nan=False)  # or no client could read it
    return found


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ({"a": 1}, {"a": 1}),
        (Model(theTotal=3), {"theTotal": 3, "note": None}),
        (Plain(3), {"total": 3}),
        ({"at": datetime(2027, 1, 1, tzinfo=UTC)}, {"at": "2027-01-01T00:00:00Z"}),
        ({"a": math.nan, "b": math.inf, "c": -math.inf}, {"a": None, "b": None, "c": None}),
        ({1: "one", "nested": [Plain(1), {2}]}, {"1": "one", "nested": [{"total": 1}, [2]]}),
    ],
)
@pytest.mark.parametrize("props", [True, False])
def test_data_is_both_structured_and_text(value: Any, data: dict[str, Any], props: bool) -> None:
    found = wire(value, props=props)
    assert found["structuredContent"] == data
    (part,) = found["content"]
    assert json.loads(part["text"]) == data


@pytest.mark.parametrize(
    ("value", "text"), [("hello", "hello"), (3, "3"), ([1, 2], "[1,2]"), (True, "true")]
)
def test_what_is_no_object_is_text_alone_where_no_face_waits(value: Any, text: str) -> None:
    assert wire(value) == {"content": [{"type": "text", "text": text}]}


@pytest.mark.parametrize("value", ["hello", 3, [1, 2]])
def test_a_face_gets_an_object_whatever_is_returned(value: Any) -> None:
    assert wire(value, props=True)["structuredContent"] == {"result": value}
    assert wire(None, props=True)["structuredContent"] == {}


def test_nothing_is_nothing() -> None:
    assert wire(None) == {"content": []}


def test_parts_are_content_and_no_data() -> None:
    assert wire([Text("a"), Image(b"x")]) == {
        "content": [
            {"type": "text", "text": "a"},
            {"type": "image", "data": "eA==", "mimeType": "image/png"},
        ]
    }


@pytest.mark.parametrize(
    "value", [b"bytes", bytearray(b"bytes"), object(), {"a": object()}, {"a": b"\xff"}]
)
def test_what_is_no_json_is_an_error(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        wire(value)


def test_bytes_say_what_to_return_instead() -> None:
    with pytest.raises(TypeError, match="return Image, Audio or Embedded, or encode them"):
        wire(b"x")


def test_a_result_says_more_and_its_meta_goes_into_meta_alone() -> None:
    found = wire(
        Result({"a": 1}, text="One.", parts=[Image(b"x")], meta={"secret": "for the face"})
    )
    assert found["structuredContent"] == {"a": 1}
    assert [part["type"] for part in found["content"]] == ["text", "image"]
    assert found["content"][0]["text"] == "One."
    assert found["_meta"] == {"secret": "for the face"}
    assert "for the face" not in json.dumps([found["content"], found["structuredContent"]])
    assert "isError" not in found


def test_a_result_that_is_an_error_need_not_be_what_was_announced() -> None:
    found = wire(Result(text="sold out", is_error=True), Output(Model, "t"))
    assert found == {"content": [{"type": "text", "text": "sold out"}], "isError": True}


# ------------------------------------------------------------------ what was announced


@pytest.mark.parametrize(
    ("kind", "value"),
    [(Plain, Plain(3)), (Plain, {"total": 3}), (Typed, {"total": 3}), (Plain, {"total": "3"})],
)
def test_what_was_announced_is_checked_and_written(kind: Any, value: Any) -> None:
    output = Output(kind, "t")
    assert output.schema["properties"]["total"]["type"] == "integer"
    assert wire(value, output)["structuredContent"] == {"total": 3}


@pytest.mark.parametrize(
    "value", [{"total": "many"}, {}, None, "text", 3, Text("text"), [Image(b"x")]]
)
def test_what_was_not_announced_is_the_programs_error(value: Any) -> None:
    with pytest.raises(pydantic.ValidationError):
        wire(value, Output(Plain, "t"))


def test_aliases_are_on_the_wire_as_in_the_schema() -> None:
    output = Output(Model, "t")
    found = wire(Model(theTotal=1), output)
    assert set(found["structuredContent"]) == set(output.schema["properties"])


def test_a_number_that_is_announced_travels_in_an_object() -> None:
    output = Output(list[Plain], "t", wrapped=True)
    assert output.schema["type"] == "object"
    assert "$defs" in output.schema
    assert wire([Plain(1)], output)["structuredContent"] == {"result": [{"total": 1}]}


@pytest.mark.parametrize("kind", [Listing, int, list[int]])
def test_what_is_no_object_cannot_be_an_output_schema(kind: Any) -> None:
    with pytest.raises(BadWidget, match=r"the output_schema of 'report' is .*which is no object"):
        Output(kind, "report")


@pytest.mark.parametrize("kind", [Unwritable, {"type": "object"}, "NoSuchName"])
def test_what_pydantic_does_not_know_cannot_be_an_output_schema(kind: Any) -> None:
    with pytest.raises(BadWidget, match="no JSON schema can be made of what 'report' returns"):
        Output(kind, "report")


def returns_model() -> Model: ...  # type: ignore[empty-body]  # only its annotation is read
def returns_typed() -> Typed: ...  # type: ignore[empty-body]  # only its annotation is read
def returns_plain() -> Plain: ...  # type: ignore[empty-body]  # only its annotation is read
def returns_int() -> int: ...  # type: ignore[empty-body]  # only its annotation is read
def returns_list() -> list[Plain]: ...  # type: ignore[empty-body]  # only its annotation is read
def returns_text() -> str: ...  # type: ignore[empty-body]  # only its annotation is read
def returns_dict() -> dict[str, Any]: ...  # type: ignore[empty-body]  # only its annotation is read
def returns_image() -> Image: ...  # type: ignore[empty-body]  # only its annotation is read
def returns_images() -> list[Image]: ...  # type: ignore[empty-body]  # only its annotation is read
def returns_result() -> Result: ...  # type: ignore[empty-body]  # only its annotation is read
def returns_nothing() -> None: ...
def returns_listing() -> Listing: ...  # type: ignore[empty-body]  # only its annotation is read
def returns_unwritable() -> list[Unwritable]: ...  # type: ignore[empty-body]  # only its annotation is read
def returns_unknown() -> NoSuchName: ...  # type: ignore[name-defined]  # noqa: F821  # as under TYPE_CHECKING


@pytest.mark.parametrize("function", [returns_model, returns_typed, returns_plain])
@pytest.mark.parametrize("plain", [True, False])
def test_an_annotation_of_fields_is_a_promise(function: Callable[..., Any], plain: bool) -> None:
    found = Output.announced_by(function, "t", plain=plain)
    assert found is not None
    assert found.schema["type"] == "object"


@pytest.mark.parametrize("function", [returns_int, returns_list])
def test_numbers_and_lists_are_promised_by_plain_tools_alone(
    function: Callable[..., Any],
) -> None:
    found = Output.announced_by(function, "t", plain=True)
    assert found is not None
    assert set(found.schema["properties"]) == {"result"}
    assert Output.announced_by(function, "t", plain=False) is None


@pytest.mark.parametrize(
    "function",
    [
        returns_text,
        returns_dict,
        returns_image,
        returns_images,
        returns_result,
        returns_nothing,
        returns_unknown,
        returns_listing,
        returns_unwritable,
    ],
)
def test_other_annotations_promise_nothing(function: Callable[..., Any]) -> None:
    assert Output.announced_by(function, "t", plain=True) is None


# ------------------------------------------------------------------ errors


class Odd(Exception):
    status_code = 404
    detail = ("not", "text")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("x"),
        HTTPException(500, "x"),
        HTTPException(399, "x"),
        Odd(),
        BackstayError("x"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_is_not_for_the_model_is_none(error: Exception) -> None:
    assert failure(error, "id") is None


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValidationError("too many", field="count"), "count: too many"),
        (ValidationError("too many"), "too many"),
        (HTTPException(404, "no such order"), "no such order"),
        (ClientCannot("ask in the inputs"), "ask in the inputs"),
        (FileRefused("it is a PDF; send a PNG"), "it is a PDF; send a PNG"),
        (StateUnavailable("redis"), f"{StateUnavailable.public_detail} (error_id: id)"),
    ],
)
def test_what_is_for_the_model_is_text_it_can_use(error: Exception, text: str) -> None:
    found = failure(error, "id")
    assert found is not None
    assert found["isError"] is True
    assert found["content"] == [{"type": "text", "text": text}]


def test_an_internal_error_tells_its_id_in_both_forms() -> None:
    found = internal("it broke", "internal_error", "abc")
    assert found["structuredContent"] == {
        "error": "internal_error",
        "message": "it broke",
        "error_id": "abc",
    }
    assert found["content"][0]["text"] == "it broke (error_id: abc)"


def test_an_error_never_has_structured_content_that_was_not_announced() -> None:
    """Clients of the TypeScript SDK would show their own complaint about it instead."""
    said = {"content": [], "structuredContent": {"error": "x"}, "isError": True, "_meta": {"a": 1}}
    assert as_announced(dict(said), None) == said
    assert as_announced(dict(said), Output(Shelf, "t")) == {
        "content": [],
        "isError": True,
        "_meta": {"a": 1, "backstay/error": {"error": "x"}},
    }
    well = {"content": [], "structuredContent": {"count": 1}}
    assert as_announced(dict(well), Output(Shelf, "t")) == well


class Shelf(BaseModel):
    count: int
