"""What a column can be compared with: types that pydantic checks and every driver takes.

Whatever passes them never fails in a driver or a database, so a filter is answered with rows or
with 422, and never with 500.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args, get_origin
from uuid import UUID

import sqlalchemy as sa
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError
from sqlalchemy import ColumnElement
from sqlalchemy.types import TypeEngine

from backstay.viewset.paths import plain_type

__all__ = ["Form", "MAX_TEXT", "Operand", "is_single", "operand_of", "parameter", "without_nul"]

MAX_TEXT = 1000
"""Characters of a text that is compared with."""

_MAX_EXPONENT = 300
_LEAST_SINGLE, _GREATEST_SINGLE = 1e-37, 1e38


class Form(enum.Enum):
    """How a value is sent, where the column's own type will not do."""

    OWN = "as the column's type"
    BIG = "as a number of 8 bytes"
    EXACT = "as a decimal number of any precision"
    DOUBLE = "as a float of 8 bytes"
    SINGLE = "as a float of 4 bytes"


def _own(_: Any) -> Form:
    return Form.OWN


@dataclass(frozen=True, slots=True)
class Operand:
    """What one column is compared with.

    Attributes:
        type: for pydantic; values arrive as text.
        is_text: whether parts of it can be looked for.
        is_ordered: whether it can be greater or less.
        convert: makes what is sent of what pydantic has made; ``None``: it is that.
        form: how a value is sent.
    """

    type: Any
    is_text: bool = False
    is_ordered: bool = True
    convert: Callable[[Any], Any] | None = None
    form: Callable[[Any], Form] = _own

    def value(self, value: Any) -> Any:
        """What is sent."""
        return value if self.convert is None else self.convert(value)


def parameter(
    name: str, form: Form, column_type: TypeEngine[Any], *, several: bool = False
) -> ColumnElement[Any]:
    """The place of a value in a statement.

    Args:
        name: the parameter's.
        form: how it is sent.
        column_type: of the column that it is compared with.
        several: whether it is a list of values, for ``in_``.
    """
    if form is Form.SINGLE:
        return sa.cast(sa.bindparam(name, type_=sa.Double()), sa.REAL())
    sent_as: dict[Form, TypeEngine[Any]] = {
        Form.BIG: sa.BigInteger(),
        Form.EXACT: sa.Numeric(),
        Form.DOUBLE: sa.Double(),
    }
    return sa.bindparam(name, type_=sent_as.get(form, column_type), expanding=several)


def without_nul(text: str) -> str:
    """A text that PostgreSQL can hold.

    Raises:
        PydanticCustomError: it contains U+0000.
    """
    if "\0" in text:
        raise PydanticCustomError("nul_character", "Text cannot contain the character U+0000")
    return text


def operand_of(column_type: TypeEngine[Any], annotation: Any) -> Operand | None:
    """What a column can be compared with.

    The column decides what values are; the schema may narrow them to some of these (by an Enum
    or a Literal).

    Args:
        column_type: SQLAlchemy's.
        annotation: of the schema's field, ``None`` if there is none.

    Returns:
        ``None`` if its values cannot be written in a query string, as those of JSON columns.
    """
    if isinstance(column_type, sa.Enum):
        return _of_enum(column_type)
    if isinstance(column_type, sa.Uuid):
        as_text = None if column_type.as_uuid else str
        return Operand(UUID, convert=as_text)
    if isinstance(column_type, sa.JSON | sa.ARRAY | sa.LargeBinary):
        return None
    wanted = plain_type(annotation)
    if isinstance(column_type, sa.types.TypeDecorator) and not isinstance(column_type, sa.Interval):
        found = _of_decorated(column_type, wanted)
        # What it makes of a value is its own business, so it has to be asked every time.
        is_text = isinstance(column_type.impl_instance, sa.String)
        return found and replace(found, form=_own, is_text=found.is_text and is_text)
    try:
        python_type = column_type.python_type
    except NotImplementedError:
        python_type = wanted
    return _narrowed(wanted, python_type) or _of_type(column_type, python_type)


def _of_decorated(column_type: sa.types.TypeDecorator[Any], wanted: Any) -> Operand | None:
    """A type of the app's own: the schema knows what its values are, or else what is below it."""
    if wanted is datetime:  # those that there are want to be told the zone
        return Operand(Annotated[datetime, AfterValidator(_aware)])
    if wanted is None:
        return operand_of(column_type.impl_instance, None)
    return _of_type(column_type, wanted)


def _of_type(column_type: TypeEngine[Any], found: Any) -> Operand | None:
    if found is bool:
        return Operand(bool, is_ordered=False)
    if found is int:
        return Operand(
            Annotated[int, Field(ge=-(2**63), le=2**63 - 1)], form=_form_of_int(column_type)
        )
    if found is float:
        finite = Annotated[float, Field(allow_inf_nan=False)]
        return Operand(finite, form=_form_of_float(column_type))
    if found is Decimal:
        # The column's own type would round it to the column's precision, or fail.
        return Operand(
            Annotated[Decimal, AfterValidator(_moderate)],
            form=lambda _: Form.EXACT,
        )
    if found is str:
        text = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(without_nul)]
        return Operand(text, is_text=True)
    if found is datetime:
        zoned = bool(getattr(column_type, "timezone", False))
        return Operand(Annotated[datetime, AfterValidator(_aware if zoned else _naive)])
    if found is time:
        zoned = bool(getattr(column_type, "timezone", False))
        return Operand(time if zoned else Annotated[time, AfterValidator(_zoneless)])
    if found is timedelta:
        # SQLite keeps an interval as a moment after 1970, which has to be within the calendar.
        bounds = Field(ge=timedelta(days=-700_000), le=timedelta(days=2_900_000))
        return Operand(Annotated[timedelta, bounds])
    if found in {date, UUID}:
        return Operand(found)
    if isinstance(found, type) and issubclass(found, enum.Enum):
        return Operand(found, is_ordered=False)
    return None


def _of_enum(column_type: sa.Enum) -> Operand:
    if column_type.enum_class is not None:
        return Operand(column_type.enum_class, is_ordered=False)
    return Operand(Literal[tuple(column_type.enums)], is_ordered=False)


def _narrowed(annotation: Any, found: Any) -> Operand | None:
    """An Enum or Literal of the schema whose values are the column's."""
    if get_origin(annotation) is Literal:
        table = {str(each): each for each in get_args(annotation)}
        if all(type(each) is found for each in table.values()):
            chosen = annotation
            if found is int:  # pydantic does not look for a number in a text here
                chosen = Annotated[chosen, BeforeValidator(lambda text: table.get(text, text))]
            return Operand(chosen, is_text=found is str, is_ordered=found is not bool)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        if annotation is found:
            return None
        if all(isinstance(each.value, found) for each in annotation):
            return Operand(annotation, is_ordered=False, convert=lambda each: each.value)
    return None


def _form_of_int(column_type: TypeEngine[Any]) -> Callable[[Any], Form]:
    # Drivers of PostgreSQL refuse to send a value that is too big for the column's type; compared
    # as a big one it is simply greater or less than all there are.
    bound = 2**15 if isinstance(column_type, sa.SmallInteger) else 2**31
    return lambda value: Form.OWN if -bound <= value < bound else Form.BIG


def is_single(column_type: TypeEngine[Any]) -> bool:
    """Whether a column's numbers have 4 bytes, so that 0.1 of 8 bytes is not equal to its 0.1."""
    if isinstance(column_type, sa.Double):
        return False
    precision = column_type.precision if isinstance(column_type, sa.Float) else None
    return isinstance(column_type, sa.REAL) or (precision is not None and precision <= 24)


def _form_of_float(column_type: TypeEngine[Any]) -> Callable[[Any], Form]:
    fits = Form.SINGLE if is_single(column_type) else Form.OWN

    def form(value: float) -> Form:
        # Sent as 4 bytes, what does not fit into them is an error.
        return fits if not value or _LEAST_SINGLE < abs(value) < _GREATEST_SINGLE else Form.DOUBLE

    return form


def _moderate(value: Decimal) -> Decimal:
    adjusted = abs(value.adjusted()) if value else 0
    if adjusted > _MAX_EXPONENT or len(value.as_tuple().digits) > MAX_TEXT:
        raise PydanticCustomError("decimal_size", "The number is too big, too small or too long")
    return value


def _aware(value: datetime) -> datetime:
    """In UTC, which a time without a zone is taken for.

    SQLite keeps no zones, so times in others would be compared by what the clock shows.
    """
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("datetime_range", "The time is outside of the calendar") from None


def _naive(value: datetime) -> datetime:
    return _aware(value).replace(tzinfo=None)


def _zoneless(value: time) -> time:
    if value.tzinfo is not None:
        raise PydanticCustomError("time_zone", "The time must not have a zone")
    return value
