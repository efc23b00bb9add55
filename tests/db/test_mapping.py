"""Facts about mapped classes."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import JSON, Identity, Integer, String, TypeDecorator, event, types
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, mapped_column
from sqlalchemy.types import UserDefinedType

from backstay.db.mapping import (
    SQL_TO_PYTHON_TYPE,
    fixed_names,
    generates_key,
    get_pk,
    has_say,
    key_names,
    key_of,
    key_where,
    mapper_of,
    pk_attributes,
    python_type_of,
    read_key,
    settable_names,
)
from tests.db.warehouse import (
    Book,
    Car,
    Counted,
    Kind,
    Line,
    Order,
    Shelf,
    Slot,
    Vehicle,
)


def test_a_class_an_alias_and_a_mapper_have_a_mapper_and_nothing_else_has() -> None:
    assert mapper_of(Order) is mapper_of(aliased(Order)) is mapper_of(mapper_of(Order))
    for other in (5, "orders", int, Order.__table__, None):
        with pytest.raises(TypeError, match="is no mapped class"):
            mapper_of(other)


def test_the_primary_key_is_found_whatever_its_columns_are_called() -> None:
    class Base(DeclarativeBase):
        pass

    class Odd(Base):
        __tablename__ = "odd"
        number: Mapped[int] = mapped_column("id", primary_key=True)

    assert get_pk(Odd) is Odd.number
    assert key_names(Slot) == ("order_id", "position")
    assert pk_attributes(Slot) == (Slot.order_id, Slot.position)
    assert key_names(Car) == ("id",)
    assert key_of(Slot(order_id=1, position=2)) == (1, 2)
    assert key_of(Odd(number=3)) == (3,)
    with pytest.raises(ValueError, match="order_id, position: no single column"):
        get_pk(Slot)


def test_texts_of_addresses_become_what_the_key_is() -> None:
    key = uuid.uuid4()
    assert read_key(Order, "17") == read_key(Order, 17) == (17,)
    assert read_key(Shelf, str(key)) == read_key(Shelf, key) == (key,)
    assert read_key(Slot, ("1", 2)) == read_key(Slot, [1, "2"]) == (1, 2)
    assert read_key(Book, "12") == ("12",)
    for model, text in (
        (Order, "x"),
        (Order, ""),
        (Shelf, "17"),
        (Order, 2**63),
        (Order, "9" * 20),
    ):
        with pytest.raises(LookupError):
            read_key(model, text)


@pytest.mark.parametrize("item_id", [1, (1,), (1, 2, 3), ()], ids=repr)
def test_a_key_of_several_columns_is_a_tuple_of_as_many_values(item_id: object) -> None:
    with pytest.raises(ValueError, match=r"has 2 column\(s\), order_id, position; got"):
        read_key(Slot, item_id)


def test_the_condition_names_every_column_of_the_key() -> None:
    found = str(key_where(Slot, (1, 2)).compile(compile_kwargs={"literal_binds": True}))
    assert found == "slots.order_id = 1 AND slots.position = 2"


def test_keys_are_generated_by_counting_or_by_a_default_and_natural_ones_are_not() -> None:
    def generated(model: type[Any], *given: str) -> bool:
        return generates_key(mapper_of(model), given=frozenset(given))

    class Base(DeclarativeBase):
        pass

    class Counting(Base):
        __tablename__ = "counting"
        id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)

    assert all(map(generated, (Order, Shelf, Car, Counting)))
    assert not generated(Book)
    assert not generated(Slot)
    assert not generated(Order, "id")


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (Order.number, str),
        (Order.id, int),
        (Order.kind, Kind),
        (Order.price, Decimal),
        (Order.made_at, datetime),
        (Order.extra, Any),
        (Shelf.id, uuid.UUID),
        (Order.__table__.c.note, str),
        (types.Double(), float),
        (types.ARRAY(String), list),
        (types.NullType(), Any),
    ],
    ids=str,
)
def test_columns_have_python_types(column: Any, expected: Any) -> None:
    assert python_type_of(column) is expected


def test_types_of_ones_own_may_make_anything_of_what_they_are_made_of() -> None:
    class Lower(TypeDecorator[str]):
        impl = String

    class Nobody(UserDefinedType[Any]):
        pass

    class Silent(types.Integer):
        @property
        def python_type(self) -> type[Any]:
            raise NotImplementedError

    assert python_type_of(Lower()) is Any
    assert python_type_of(Nobody()) is Any
    assert python_type_of(Silent()) is int
    assert python_type_of(JSON()) is Any


def test_every_plain_type_of_sqlalchemys_has_the_python_type_it_says_itself() -> None:
    assert all(known().python_type is kind for known, kind in SQL_TO_PYTHON_TYPE.items())


def test_what_can_be_set_is_columns_synonyms_composites_and_hybrids_with_setters() -> None:
    assert settable_names(mapper_of(Order)) == {
        "customer_id",
        "extra",
        "id",
        "kind",
        "loud_note",
        "made_at",
        "note",
        "number",
        "price",
        "reference",
    }
    assert {"place", "x", "y", "doors"} <= settable_names(mapper_of(Car))
    assert "length" not in settable_names(mapper_of(Counted))


def test_what_the_database_or_sqlalchemy_writes_is_fixed() -> None:
    assert fixed_names(mapper_of(Line)) == {"id", "doubled"}
    assert fixed_names(mapper_of(Slot)) == {"order_id", "position"}
    assert fixed_names(mapper_of(Car)) == fixed_names(mapper_of(Vehicle)) == {"id", "type"}
    assert fixed_names(mapper_of(Counted)) == {"id", "length", "version"}


def test_a_class_that_counts_validates_listens_or_inherits_has_a_say() -> None:
    class Base(DeclarativeBase):
        pass

    class Listening(Base):
        __tablename__ = "listening"
        id: Mapped[int] = mapped_column(primary_key=True)

    assert not has_say(mapper_of(Order))
    assert not has_say(mapper_of(Listening))
    event.listen(Listening, "before_update", lambda *_: None)
    assert has_say(mapper_of(Listening))
    assert all(has_say(mapper_of(model)) for model in (Counted, Vehicle, Car))
