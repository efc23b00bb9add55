"""What pydantic models read from objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Generic, Literal, Optional, TypeVar, Union

import pytest
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from typing_extensions import TypeAliasType

from backstay.db.schemas import field_paths, nested_schemas, paths_of, reads_freely

T = TypeVar("T")


class A(BaseModel):
    x: int


class B(BaseModel):
    y: int


class Box(BaseModel, Generic[T]):
    inside: T


class As(RootModel[list[A]]):
    pass


Named = TypeAliasType("Named", list[A])


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (A, [A]),
        (list[A], [A]),
        (Optional[A], [A]),  # noqa: UP045 # both ways of writing it
        (A | None, [A]),
        (Union[A, B], [A, B]),  # noqa: UP007 # as above
        (Annotated[list[A], BeforeValidator(list)], [A]),
        (list[Annotated[A | B, Field(union_mode="smart")]], [A, B]),
        (dict[str, A], [A]),
        (Mapping[str, Sequence[A]], [A]),
        (tuple[A, ...], [A]),
        (set[A], [A]),
        (frozenset[A] | None, [A]),
        (As, [A]),
        (Box[A], [Box[A]]),
        (Named, [A]),
        (list[Named | B], [B, A]),
        (list[int], []),
        (Any, []),
        (Literal["a"], []),
        (int, []),
        (list, []),
    ],
    ids=str,
)
def test_models_are_found_in_whatever_they_are_wrapped(
    annotation: Any, expected: list[Any]
) -> None:
    assert nested_schemas(annotation) == expected


def test_fields_are_read_by_their_names_or_by_their_aliases() -> None:
    class Read(BaseModel):
        plain: int
        alias: int = Field(alias="one")
        validation: int = Field(validation_alias="two", serialization_alias="no")
        out_only: int = Field(serialization_alias="no")
        choices: int = Field(validation_alias=AliasChoices("a", AliasPath("b", "c", 0)))

    assert [path for path, _ in field_paths(Read)] == [
        ("plain",),
        ("one",),
        ("two",),
        ("out_only",),
        ("a",),
        ("b", "c", 0),
    ]


def test_both_are_read_where_the_configuration_says_so() -> None:
    class Both(BaseModel):
        model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)
        first_name: int

    class ByName(BaseModel):
        model_config = ConfigDict(validate_by_name=True, validate_by_alias=False)
        name: int = Field(alias="other")

    assert paths_of(Both, "first_name") == [("firstName",), ("first_name",)]
    assert paths_of(ByName, "name") == [("name",)]


def test_paths_are_those_that_pydantic_itself_follows() -> None:
    class Inner:
        c = (7,)

    class Obj:
        one, b, first_name, name = 1, Inner(), 3, 4

    class Read(BaseModel):
        model_config = ConfigDict(from_attributes=True, populate_by_name=True)
        alias: int = Field(alias="one")
        choices: int = Field(validation_alias=AliasChoices("a", AliasPath("b", "c", 0)))
        name: int = Field(alias="missing")

    assert Read.model_validate(Obj()).model_dump() == {"alias": 1, "choices": 7, "name": 4}


class Node(BaseModel):
    below: list[Late] = []


class Late(BaseModel):
    nodes: list[Node]


def test_models_that_name_later_ones_are_completed_first() -> None:
    assert not Node.__pydantic_complete__
    ((_, annotation),) = field_paths(Node)
    assert nested_schemas(annotation) == [Late]


def test_a_validator_that_gets_the_whole_object_may_read_anything() -> None:
    class Before(BaseModel):
        @model_validator(mode="before")
        @classmethod
        def look(cls, value: Any) -> Any:
            return value

    class Around(BaseModel):
        @model_validator(mode="wrap")
        @classmethod
        def look(cls, value: Any, handler: Any) -> Any:
            return handler(value)

    class After(BaseModel):
        x: int

        @field_validator("x", mode="before")
        @classmethod
        def field_only(cls, value: Any) -> Any:
            return value

        @model_validator(mode="after")
        def look(self) -> After:
            return self

    assert [reads_freely(each) for each in (Before, Around, After)] == [True, True, False]
