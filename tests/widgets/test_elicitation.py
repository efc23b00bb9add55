"""Questions: from a model to what hosts can draw, and back."""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from backstay.errors import BadWidget, ValidationError
from backstay.widgets.elicitation import answer_model, question_schema


class Size(Enum):
    SMALL = "S"
    LARGE = "L"


class Order(BaseModel):
    name: str = Field(min_length=2, title="Your name")
    size: Size
    count: int = 1
    gift: bool = False
    note: str | None = None
    tastes: list[Literal["sweet", "sour"]] = []


class Nested(BaseModel):
    order: Order


class Listed(BaseModel):
    numbers: list[int]


class Either(BaseModel):
    either: int | list[str]


def test_a_flat_model_becomes_a_flat_schema() -> None:
    schema = question_schema(Order)
    assert set(schema) == {"type", "properties", "required"}
    assert schema["required"] == ["name", "size"]
    fields = schema["properties"]
    assert fields["name"] == {"minLength": 2, "title": "Your name", "type": "string"}
    assert fields["size"]["enum"] == ["S", "L"]
    assert fields["count"]["default"] == 1
    assert fields["note"]["type"] == "string"
    assert "anyOf" not in fields["note"]
    assert "default" not in fields["note"], "null is nothing people fill in"
    assert fields["tastes"]["items"]["enum"] == ["sweet", "sour"]
    assert "$defs" not in schema
    assert "$ref" not in str(schema)


def test_a_question_that_wants_a_yes_asks_for_no_fields() -> None:
    assert question_schema(None) == {"type": "object", "properties": {}}


def test_a_schema_of_ones_own_goes_out_as_it_is() -> None:
    own = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert question_schema(own) == own
    assert question_schema(own) is not own


@pytest.mark.parametrize(
    ("model", "field"), [(Nested, "order"), (Listed, "numbers"), (Either, "either")]
)
def test_what_no_host_can_draw_is_refused_with_its_name(model: type[BaseModel], field: str) -> None:
    with pytest.raises(
        BadWidget, match=rf"the field '{field}' of {model.__name__} cannot be asked"
    ):
        question_schema(model)


def test_an_answer_is_an_instance_of_the_model() -> None:
    found = answer_model(Order, {"name": "Ada", "size": "S"})
    assert found == Order(name="Ada", size=Size.SMALL)


@pytest.mark.parametrize("raw", [{}, {"name": "A", "size": "S"}, {"name": "Ada", "size": "XL"}])
def test_an_answer_that_does_not_fit_names_the_field(raw: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="the answer will not do") as caught:
        answer_model(Order, raw)
    assert caught.value.field in {"name", "size"}


@pytest.mark.parametrize("schema", [None, {"type": "object"}])
def test_without_a_model_there_is_no_instance(schema: Any) -> None:
    assert answer_model(schema, {"a": 1}) is None
