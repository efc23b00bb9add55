"""Annotations with some of their parts taken out or replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ForwardRef, Literal, Optional, Union

import pytest
from pydantic import BaseModel, Field, PlainSerializer, RootModel, SerializeAsAny
from typing_extensions import TypeAliasType

from backstay.viewset.annotations import replaced, without_serializers


class Old(BaseModel):
    a: int


class New(BaseModel):
    b: int


class Olds(RootModel[list[Old]]):
    pass


Loud = PlainSerializer(str.upper)
Alias = TypeAliasType("Alias", list[Old])
Plain = TypeAliasType("Plain", list[int])
Tree = TypeAliasType("Tree", "dict[str, Tree]")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Old, New),
        (Old | None, Optional[New]),  # noqa: UP045  # what typing makes of it
        (list[Old], list[New]),
        (dict[str, list[Old | int]], dict[str, list[Union[New, int]]]),  # noqa: UP007  # as above
        (tuple[Old, ...], tuple[New, ...]),
        (Annotated[list[Old], Field(max_length=3)], Annotated[list[New], Field(max_length=3)]),
        (Olds, list[New]),
        (Alias, list[New]),
        (Literal["Old"], Literal["Old"]),
        (Callable[[Old], int], Callable[[Old], int]),
    ],
    ids=str,
)
def test_a_type_is_replaced_wherever_it_stands(before: Any, after: Any) -> None:
    assert str(replaced(before, {Old: New})) == str(after)


@pytest.mark.parametrize(
    "annotation",
    [int, list[int], int | None, Plain, Tree, RootModel[list[int]], Literal[1, "a"]],
    ids=str,
)
def test_where_nothing_is_found_an_annotation_stays_the_same_object(annotation: Any) -> None:
    assert replaced(annotation, {Old: New}) is annotation
    assert without_serializers(annotation) is annotation


def test_forward_references_can_come_in_place_of_types() -> None:
    class Holder(BaseModel):
        inner: replaced(list[Old | None], {Old: ForwardRef("Later")})  # type: ignore[valid-type]  # made at run time

    class Later(BaseModel):
        b: int

    Holder.model_rebuild(_types_namespace={"Later": Later})
    assert Holder.model_validate({"inner": [{"b": 1}, None]}).inner == [Later(b=1), None]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Annotated[str, Loud], str),
        (list[Annotated[str, Loud]], list[str]),
        (
            dict[str, Annotated[str, Field(min_length=1), Loud]] | None,
            Optional[dict[str, Annotated[str, Field(min_length=1)]]],  # noqa: UP045  # as above
        ),
        (SerializeAsAny[Old], Old),
    ],
    ids=str,
)
def test_serializers_are_taken_out_and_constraints_stay(before: Any, after: Any) -> None:
    assert str(without_serializers(before)) == str(after)


def test_of_a_fields_metadata_serializers_are_taken_out() -> None:
    positive = Field(gt=0)
    assert without_serializers([positive, Loud]) == [positive]


class Branch(RootModel["list[Branch | Old]"]):
    pass


def test_what_contains_itself_comes_to_an_end() -> None:
    assert str(replaced(Branch, {Old: New})) == str(list[Union[Branch, New]])  # noqa: UP007  # as above
