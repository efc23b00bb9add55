"""A schema's configuration, as far as it is about what clients send."""

from __future__ import annotations

import enum
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, computed_field
from pydantic.alias_generators import to_camel
from sqlalchemy import Enum, Integer, String

from backstay.viewset.configuration import config_of, names_of


class State(enum.Enum):
    NEW = "new"


class Item(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="allow",
        from_attributes=True,
        frozen=True,
        populate_by_name=True,
        serialize_by_alias=True,
        str_strip_whitespace=True,
        title="An item",
        use_enum_values=True,
        json_schema_extra={
            "examples": [{"id": 1, "fullName": "cup", "size": 3}, "none"],
            "example": {"id": 1, "fullName": "cup"},
            "x-order": 1,
        },
    )

    id: int
    full_name: str
    place: str = Field("", serialization_alias="where")

    @computed_field(alias="size")
    def length(self) -> int:
        return len(self.full_name)


KEPT = frozenset({"full_name", "place"})


def test_what_is_about_values_stays_and_what_is_about_answers_goes() -> None:
    found = config_of(Item, KEPT, [String()])
    assert found.keys() == {
        *("alias_generator", "extra", "json_schema_extra", "populate_by_name"),
        *("str_strip_whitespace", "use_enum_values"),
    }


def test_what_nobody_has_named_is_never_taken() -> None:
    assert config_of(Item, KEPT, [])["extra"] == "ignore"


@pytest.mark.parametrize(
    ("types", "values"),
    [([Integer()], True), ([Enum(State)], False), ([Enum("new", "old")], True)],
    ids=["no_enum", "members", "texts"],
)
def test_columns_of_members_are_given_members(types: list[Any], values: bool) -> None:
    assert ("use_enum_values" in config_of(Item, KEPT, types)) is values


def test_examples_are_without_what_clients_do_not_write() -> None:
    assert config_of(Item, KEPT, [])["json_schema_extra"] == {
        "examples": [{"fullName": "cup"}, "none"],
        "example": {"fullName": "cup"},
        "x-order": 1,
    }


def test_a_function_that_extends_the_schema_of_answers_is_left_out() -> None:
    class Extended(BaseModel):
        model_config = ConfigDict(json_schema_extra=lambda schema: schema.clear())

    assert config_of(Extended, (), []) == {}


def test_a_field_is_known_by_all_of_its_names() -> None:
    assert names_of(Item, without={"full_name"}) == {"id", "length", "place", "size", "where"}
