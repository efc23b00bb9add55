"""Names as ways through classes and schemas."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
import sqlalchemy as sa
from pydantic import AliasChoices, BaseModel, Field
from sqlalchemy.ext.associationproxy import association_proxy
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, synonym

from backstay.errors import BadViewSet
from backstay.viewset.paths import plain_type, public_names, way_of


class Base(DeclarativeBase):
    pass


class Part(Base):
    __tablename__ = "parts"
    id: Mapped[int] = mapped_column(primary_key=True)
    whole_id: Mapped[int] = mapped_column(sa.ForeignKey("wholes.id"))
    name: Mapped[str]


class Whole(Base):
    __tablename__ = "wholes"
    id: Mapped[int] = mapped_column(primary_key=True)
    made_at: Mapped[int | None]
    odd__name: Mapped[str]
    hidden: Mapped[str]
    parts: Mapped[list[Part]] = relationship()
    names = association_proxy("parts", "name")
    other: Mapped[str] = synonym("hidden")

    @hybrid_property
    def twice(self) -> int:
        return self.id * 2


class PartOut(BaseModel):
    label: str = Field(validation_alias="name")


class WholeOut(BaseModel):
    id: int
    made_at: int | None = Field(None, alias="madeAt")
    ref: int = Field(validation_alias=AliasChoices("number", "id"))
    odd__name: str
    parts: list[PartOut] | None = None
    hidden: str = Field(exclude=True)


def way(name: str, **how: Any) -> Any:
    return way_of(Whole, WholeOut, name, option="filter_fields", **how)


@pytest.mark.parametrize(
    ("name", "key", "shown"),
    [
        ("id", "id", True),
        ("made_at", "made_at", True),
        ("madeAt", "made_at", True),
        ("ref", "id", True),
        ("odd__name", "odd__name", True),
        ("hidden", "hidden", False),
        ("other", "other", False),
        ("parts", "parts", True),
        ("parts.name", "name", True),
        ("parts__label", "name", True),
        ("parts.whole_id", "whole_id", False),
    ],
)
def test_a_name_leads_to_an_attribute_by_whatever_it_is_called(
    name: str, key: str, shown: bool
) -> None:
    found = way(name)
    assert found.attribute.key == key
    assert (found.field is not None) is shown
    assert found.name == name.replace(".", "__")


def test_only_plain_columns_that_say_so_are_never_null() -> None:
    assert not way("id").nullable
    assert way("madeAt").nullable
    assert way("twice").nullable
    assert way("parts.name").nullable


def test_ways_through_one_relation_may_share_its_rows() -> None:
    aliases: dict[tuple[str, ...], Any] = {}
    first, second = (way(each, aliases=aliases) for each in ("parts.name", "parts.id"))
    assert first.attribute.parent is second.attribute.parent
    assert list(aliases) == [("parts",)]
    assert way("parts.name").attribute.parent is not first.attribute.parent


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nothing", "Whole has no attribute 'nothing'; it has hidden, id, made_at"),
        ("parts.nothing", "Part has no attribute 'nothing'; it has id, name, whole_id"),
        ("id.name", "'id' is no relation of Whole's"),
        ("", "Whole has no attribute ''"),
        ("names", "an association proxy; name what it stands for, .* 'parts.name'"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(name: str, says: str) -> None:
    with pytest.raises(BadViewSet, match=says):
        way(name)


def test_public_names_are_all_that_a_client_may_take_for_a_field() -> None:
    assert public_names(WholeOut) == {
        "id", "made_at", "madeAt", "ref", "number", "odd__name", "parts", "hidden",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("annotation", "plain"),
    [
        (int, int),
        (int | None, int),
        (Annotated[int | None, Field(ge=1)], int),
        (Annotated[int, 1] | None, int),
        (Literal["a"] | None, Literal["a"]),
        (int | str, None),
    ],
    ids=str,
)
def test_a_type_without_none_and_constraints(annotation: Any, plain: Any) -> None:
    assert plain_type(annotation) == plain
