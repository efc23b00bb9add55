"""Inputs described by a JSON schema of somebody's own."""

from __future__ import annotations

from typing import Any

import pytest

from backstay.errors import BadWidget
from backstay.widgets.problems import InvalidInputs
from backstay.widgets.raw_inputs import RawInputs

SCHEMA = {
    "type": "object",
    "properties": {
        "count": {"type": "integer", "minimum": 1},
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}},
    },
    "required": ["count"],
    "additionalProperties": False,
    "$defs": {"item": {"type": "object", "properties": {"name": {"type": "string"}}}},
}


def test_the_schema_is_told_as_it_is_written() -> None:
    assert RawInputs(SCHEMA, "t").schema == SCHEMA


def test_arguments_that_fit_are_plain_values() -> None:
    inputs = RawInputs(SCHEMA, "t")
    given = {"count": 1, "items": [{"name": "a"}]}
    assert inputs.validate(given) == given
    assert RawInputs({"type": "object"}, "t").validate(None) == {}


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (None, ""),
        ({}, ""),
        ({"count": 0}, "count"),
        ({"count": "1"}, "count"),
        ({"count": 1, "items": [{}, {"name": 3}]}, "items[1].name"),
        ({"count": 1, "more": 2}, ""),
    ],
)
def test_arguments_that_do_not_fit_are_told_where(arguments: Any, path: str) -> None:
    with pytest.raises(InvalidInputs) as caught:
        RawInputs(SCHEMA, "t").validate(arguments)
    assert caught.value.problems[0].path == path


def test_a_heap_of_problems_is_cut() -> None:
    schema = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(30)}}
    with pytest.raises(InvalidInputs) as caught:
        RawInputs(schema, "t").validate({f"p{n}": "x" * 0 or n for n in range(30)})
    assert len(caught.value.problems) == 10


def test_the_order_of_keys_does_not_matter_to_the_cache() -> None:
    inputs = RawInputs(SCHEMA, "t")
    assert inputs.cache_key({"a": 1, "b": 2}) == inputs.cache_key({"b": 2, "a": 1})
    assert inputs.cache_key({"a": 1}) != inputs.cache_key({"a": 2})


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({}, r"the input_schema of 't' has the type None; MCP wants \"object\""),
        ({"type": "array"}, r"has the type 'array'"),
        ({"type": "object", "properties": 3}, r"the input_schema of 't' is no JSON schema"),
        ({"type": "object", "required": "name"}, r"is no JSON schema"),
    ],
)
def test_what_is_no_schema_of_an_object_is_refused(schema: dict[str, Any], told: str) -> None:
    with pytest.raises(BadWidget, match=told):
        RawInputs(schema, "t")
