"""What is worked out from a view set's class once."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import DateTime, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, validates

from backstay.errors import ItemNotFound, VersionMismatch, VersionRequired
from backstay.viewset import FullViewSet
from backstay.viewset.plan import Plan
from tests.viewset.stage import Order, OrderRow, Thing, ThingRow


class Base(DeclarativeBase):
    pass


class WatchfulRow(Base):
    __tablename__ = "watchful"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]

    @validates("name")
    def _tidied(self, _: str, value: str) -> str:
        return value.strip()


class OwnInitRow(Base):
    __tablename__ = "own_init"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]

    def __init__(self, **values: Any) -> None:
        super().__init__(**{**values, "name": values["name"].upper()})


class DatedRow(Base):
    __tablename__ = "dated"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    changed_at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True))
    gone: Mapped[bool] = mapped_column(default=False)


class Named(BaseModel):
    id: int
    name: str


def plan_of(model: type[Any], schema: type[BaseModel], **options: Any) -> Plan:
    return Plan(
        type("Views", (FullViewSet,), {"db_model": model, "pydantic_model": schema, **options})()
    )


def test_a_class_that_makes_something_of_its_values_is_asked() -> None:
    assert plan_of(ThingRow, Thing).writes_alone
    assert not plan_of(OwnInitRow, Named).writes_alone
    assert plan_of(WatchfulRow, Named).has_say


def test_who_begins_to_listen_later_is_heard() -> None:
    plan = plan_of(ThingRow, Thing)
    assert not plan.has_say

    def note(*_: Any) -> None: ...

    event.listen(ThingRow, "before_update", note)
    try:
        assert plan.has_say
    finally:
        event.remove(ThingRow, "before_update", note)
    assert not plan.has_say


def test_nested_items_are_never_written_by_one_statement() -> None:
    assert not plan_of(OrderRow, Order, deep_schema=True).writes_alone
    assert not plan_of(OrderRow, Order).deletes_alone


def test_a_null_that_nobody_has_sent_leaves_the_value_to_the_column() -> None:
    class Loose(BaseModel):
        name: str
        price: int | None = None

    plan = plan_of(ThingRow, Thing, create_model=Loose)
    assert plan.attributes_of(Loose(name="cup")) == {"name": "cup"}
    assert plan.attributes_of(Loose(name="cup", price=None)) == {"name": "cup", "price": None}


def test_a_change_is_what_was_sent() -> None:
    plan = plan_of(ThingRow, Thing)
    item = plan.inputs.patch.model_validate({"price": 2})
    assert plan.sent_attributes_of(item) == {"price": 2}


def test_a_mark_of_deletion_is_of_the_columns_kind() -> None:
    assert plan_of(DatedRow, Named, soft_delete="gone").deletion_mark() == {"gone": True}
    mark = plan_of(ThingRow, Thing, soft_delete="deleted_at").deletion_mark()["deleted_at"]
    assert mark.tzinfo is None
    aware = plan_of(DatedRow, Named, soft_delete="changed_at").deletion_mark()["changed_at"]
    assert aware.tzinfo is dt.UTC


def test_a_version_that_is_meant_has_to_be_the_one_there_is() -> None:
    plan = plan_of(ThingRow, Thing, version_field="version", require_if_match=True)
    plan.require_match(ThingRow(version=3), '"3"')
    with pytest.raises(VersionMismatch, match='its version is "3", not "2"'):
        plan.require_match(ThingRow(version=3), '"2"')
    with pytest.raises(VersionRequired, match="If-Match"):
        plan.require_match_said(None)


def test_what_can_be_no_key_is_not_found() -> None:
    class Pair(Base):
        __tablename__ = "pairs"
        a: Mapped[int] = mapped_column(primary_key=True)
        b: Mapped[int] = mapped_column(primary_key=True)

    class Shown(BaseModel):
        a: int
        b: int

    with pytest.raises(ItemNotFound):
        plan_of(Pair, Shown).one("1")


def test_the_key_and_the_version_are_selected_though_the_schema_does_not_show_them() -> None:
    class Bare(BaseModel):
        name: str

    plan = plan_of(ThingRow, Bare, version_field="version")
    assert [each.key for each in plan.columns] == ["name", "id", "version"]
