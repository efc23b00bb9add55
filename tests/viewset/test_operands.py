"""What columns are compared with."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import pytest
import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import create_engine
from sqlalchemy.dialects import postgresql

from backstay.viewset.operands import Form, is_single, operand_of, parameter


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Word(enum.StrEnum):
    YES = "yes"


class Colon(sa.types.TypeDecorator[str]):
    impl = sa.String
    cache_ok = True


def read(column_type: Any, text: str, annotation: Any = None) -> Any:
    operand = operand_of(column_type, annotation)
    assert operand is not None
    return operand.value(TypeAdapter(operand.type).validate_strings(text))


@pytest.mark.parametrize(
    ("column_type", "annotation", "text", "value"),
    [
        (sa.Integer(), None, "12", 12),
        (sa.Integer(), Literal[1, 2], "2", 2),
        (sa.Integer(), Size, "2", 2),
        (sa.String(), Word, "yes", "yes"),
        (sa.String(), Word | None, "yes", "yes"),
        (sa.String(), int, "x", "x"),
        (sa.Numeric(), float, "1.10", Decimal("1.10")),
        (sa.Numeric(asdecimal=False), None, "1.5", 1.5),
        (sa.Float(), Decimal, "1.5", 1.5),
        (sa.Boolean(), Literal[True], "true", True),
        (sa.Enum(Word), None, "yes", Word.YES),
        (sa.Enum("a", "b"), None, "a", "a"),
        (sa.Uuid(), None, str(UUID(int=1)), UUID(int=1)),
        (sa.Uuid(as_uuid=False), str, str(UUID(int=1)), str(UUID(int=1))),
        (Colon(), None, "x", "x"),
    ],
    ids=str,
)
def test_the_column_says_what_values_are_and_the_schema_which_of_them(
    column_type: Any, annotation: Any, text: str, value: Any
) -> None:
    found = read(column_type, text, annotation)
    assert found == value
    assert type(found) is type(value) or isinstance(value, enum.Enum)


@pytest.mark.parametrize(
    ("column_type", "annotation", "text"),
    [
        (sa.Integer(), Literal[1, 2], "3"),
        (sa.Integer(), Size, "3"),
        (sa.String(), Word, "no"),
        (sa.Enum("a", "b"), None, "c"),
        (sa.Boolean(), Literal[True], "false"),
    ],
    ids=str,
)
def test_what_the_schema_does_not_have_is_refused(
    column_type: Any, annotation: Any, text: str
) -> None:
    with pytest.raises(ValidationError):
        read(column_type, text, annotation)


@pytest.mark.parametrize(
    "column_type",
    [sa.JSON(), sa.ARRAY(sa.Integer), sa.LargeBinary(), postgresql.JSONB(), postgresql.INT4RANGE()],
    ids=str,
)
def test_values_that_no_query_string_can_say_have_no_operand(column_type: Any) -> None:
    assert operand_of(column_type, None) is None


@pytest.mark.parametrize(
    ("column_type", "value", "form"),
    [
        (sa.Integer(), 5, Form.OWN),
        (sa.Integer(), 2**31 - 1, Form.OWN),
        (sa.Integer(), 2**31, Form.BIG),
        (sa.Integer(), -(2**31) - 1, Form.BIG),
        (sa.SmallInteger(), 2**15, Form.BIG),
        (sa.SmallInteger(), 2**15 - 1, Form.OWN),
        (sa.BigInteger(), 2**40, Form.BIG),
        (sa.Numeric(3, 1), Decimal("0.001"), Form.EXACT),
        (sa.Float(), 0.5, Form.OWN),
        (sa.REAL(), 0.0, Form.SINGLE),
        (sa.REAL(), 0.5, Form.SINGLE),
        (sa.REAL(), 1e39, Form.DOUBLE),
        (sa.REAL(), 1e-40, Form.DOUBLE),
        (sa.String(), "a", Form.OWN),
    ],
    ids=str,
)
def test_a_value_is_sent_in_a_form_that_it_fits_into(
    column_type: Any, value: Any, form: Form
) -> None:
    operand = operand_of(column_type, None)
    assert operand is not None
    assert operand.form(value) is form


def test_a_form_is_a_type_or_a_cast() -> None:
    def shown(form: Form) -> str:
        found = parameter("p", form, sa.Integer())
        return str(found.compile(create_engine("postgresql+asyncpg://")))

    assert shown(Form.OWN) == "$1::INTEGER"
    assert shown(Form.BIG) == "$1::BIGINT"
    assert shown(Form.EXACT) == "$1::NUMERIC"
    assert shown(Form.SINGLE).startswith("CAST($1")


class Cents(sa.types.TypeDecorator[Decimal]):
    """An amount that is stored as a whole number."""

    impl = sa.Integer
    cache_ok = True


class Utc(sa.types.TypeDecorator[datetime]):
    impl = sa.DateTime
    cache_ok = True


class Sealed(sa.types.TypeDecorator[str]):
    impl = sa.LargeBinary
    cache_ok = True


def test_types_of_the_apps_own_are_given_what_the_schema_says() -> None:
    amount = operand_of(Cents(), Decimal)
    assert amount is not None
    assert amount.form(Decimal("0.1")) is Form.OWN
    assert read(Cents(), "0.10", Decimal) == Decimal("0.10")
    assert read(Cents(), "10") == 10
    assert read(Utc(), "2024-01-01T00:00", datetime) == datetime(2024, 1, 1, tzinfo=UTC)
    sealed = operand_of(Sealed(), str)
    assert sealed is not None
    assert not sealed.is_text
    assert operand_of(Sealed(), None) is None
    assert operand_of(Cents(), dict) is None


@pytest.mark.parametrize(
    ("column_type", "single"),
    [
        (sa.REAL(), True),
        (sa.Float(24), True),
        (sa.Float(53), False),
        (sa.Float(), False),
        (sa.Double(), False),
        (sa.Numeric(), False),
        (sa.Integer(), False),
    ],
    ids=str,
)
def test_which_numbers_have_four_bytes(column_type: Any, single: bool) -> None:
    assert is_single(column_type) is single
