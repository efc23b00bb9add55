"""What an endpoint answers is described, or it is said why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from backstay.integration.page.answer_schema import schema_of


class Item(BaseModel):
    name: str
    parts: list[Item] = []


class Odd(BaseModel):
    name: str
    call: Callable[[int], int]


class Broken(BaseModel):
    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        raise RuntimeError("no schema\nand more")


class Unreadable:
    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        raise RuntimeError("not today")


class Awkward(BaseModel):
    limit: float = float("nan")
    other: object = object()


@pytest.mark.parametrize(
    ("annotation", "fits", "fits_not"),
    [
        (Item, {"name": "a", "parts": [{"name": "b"}]}, {"parts": []}),
        (list[Item], [{"name": "a"}], {"name": "a"}),
        (dict[str, Item], {"x": {"name": "a"}}, {"x": 1}),
        (Item | None, None, 1),
        (int, 1, "1"),
        (Any, "anything", ...),
    ],
    ids=str,
)
def test_the_schema_says_what_fits(annotation: Any, fits: Any, fits_not: Any) -> None:
    schema = schema_of(annotation)
    jsonschema.validate(fits, schema)
    if fits_not is not ...:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(fits_not, schema)


def test_of_a_field_that_has_no_schema_it_is_said_and_the_others_are_described() -> None:
    schema = schema_of(Odd)
    assert schema["properties"]["name"] == {"title": "Name", "type": "string"}
    assert "CallableSchema" in schema["properties"]["call"]["x-not-described"]


def test_a_model_that_fails_is_not_described_and_it_is_said_why() -> None:
    assert schema_of(Broken) == {"x-not-described": "RuntimeError: no schema"}
    assert schema_of(Unreadable) == {"x-not-described": "RuntimeError: not today"}


def test_what_is_no_json_in_a_schema_does_not_reach_it() -> None:
    json.dumps(schema_of(Awkward), allow_nan=False)
