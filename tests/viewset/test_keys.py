"""Primary keys as parts of addresses."""

import uuid
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from backstay.viewset.keys import Key


class Base(DeclarativeBase):
    pass


class Numbered(Base):
    __tablename__ = "numbered"
    number: Mapped[int] = mapped_column("no", primary_key=True)


class Known(Base):
    __tablename__ = "known"
    uid: Mapped[uuid.UUID] = mapped_column(primary_key=True)


class Line(Base):
    __tablename__ = "lines"
    order_id: Mapped[int] = mapped_column(primary_key=True)
    sku: Mapped[str] = mapped_column(String, primary_key=True)


def test_a_key_is_called_by_its_attribute_not_its_column() -> None:
    key = Key(Numbered)
    assert key.names == ("number",)
    assert not key.is_composite


def test_item_id_has_the_type_of_the_column() -> None:
    assert TypeAdapter(Key(Numbered).type).validate_strings("17") == 17
    assert Key(Known).type is uuid.UUID
    assert Key(Line).type is str


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1], ids=["above", "below"])
def test_numbers_beyond_64_bits_are_no_keys(number: int) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Key(Numbered).type).validate_python(number)


def test_a_composite_key_is_written_with_commas() -> None:
    key = Key(Line)
    assert key.read("17,teapot") == (17, "teapot")
    assert key.path_of(Line(order_id=17, sku="teapot")) == "17,teapot"
    assert key.of(Line(order_id=17, sku="teapot")) == (17, "teapot")
    assert str(key.is_("17,teapot")) == "lines.order_id = :order_id_1 AND lines.sku = :sku_1"


@pytest.mark.parametrize("item_id", ["17", "17,teapot,3", "x,teapot", "", "99999999999999999999,t"])
def test_what_can_be_no_key_of_a_row_is_looked_up_in_vain(item_id: Any) -> None:
    with pytest.raises(LookupError):
        Key(Line).read(item_id)


def test_a_simple_key_is_compared() -> None:
    assert str(Key(Numbered).is_(17)) == "numbered.no = :no_1"
    assert Key(Numbered).of(Numbered(number=3)) == 3
