"""The short way from rows to JSON, which answers what the long one would."""

from __future__ import annotations

import datetime as dt
import enum
import json
import uuid
from decimal import Decimal
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    StringConstraints,
    TypeAdapter,
    computed_field,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema
from sqlalchemy import Computed, Numeric, TypeDecorator, Uuid
from sqlalchemy.dialects.postgresql import INTERVAL
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column

from backstay.db.mapping import mapper_of
from backstay.viewset.shortcut import Shortcut


class Base(DeclarativeBase):
    pass


class Spoken(TypeDecorator[str]):
    impl = Uuid
    cache_ok = True


class Colour(enum.Enum):
    RED = "red"


class Row(Base):
    __tablename__ = "rows"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    note: Mapped[str | None]
    rush: Mapped[bool] = mapped_column()
    weight: Mapped[float]
    price: Mapped[Decimal]
    rounded: Mapped[float] = mapped_column(Numeric(asdecimal=False))
    placed: Mapped[dt.datetime]
    day: Mapped[dt.date]
    hour: Mapped[dt.time]
    span: Mapped[dt.timedelta | None] = mapped_column(INTERVAL)
    token: Mapped[uuid.UUID]
    data: Mapped[bytes]
    colour: Mapped[Colour]
    spoken: Mapped[str] = mapped_column(Spoken())
    twice: Mapped[int] = mapped_column(Computed("id * 2"))
    double = column_property(id * 2)


def shortcut(schema: type[BaseModel]) -> Shortcut | None:
    columns = {each.key: each.columns[0] for each in mapper_of(Row).column_attrs}
    return Shortcut.of(schema, columns, {name: name for name in schema.model_fields})


class Everything(BaseModel):
    model_config = ConfigDict(from_attributes=True, populate_by_name=True, title="Everything")

    id: int = Field(ge=0)
    name: str = Field(min_length=1, max_length=9, pattern="a", alias="theName")
    note: str | None
    rush: bool
    weight: float
    price: Decimal = Field(max_digits=9, serialization_alias="cost")
    rounded: float
    placed: dt.datetime = Field(description="When.")
    day: dt.date
    hour: dt.time
    span: dt.timedelta | None
    token: uuid.UUID
    data: bytes
    twice: int


class Loose(BaseModel):
    """The same without constraints."""

    id: int
    name: str = Field(alias="theName")
    note: str | None
    rush: bool
    weight: float
    price: Decimal = Field(serialization_alias="cost")
    rounded: float
    placed: dt.datetime
    day: dt.date
    hour: dt.time
    span: dt.timedelta | None
    token: uuid.UUID
    data: bytes
    twice: int


zones = st.sampled_from([None, dt.UTC, dt.timezone(dt.timedelta(hours=5, minutes=45))])
whatever = st.fixed_dictionaries(
    {
        "id": st.integers(-(2**70), 2**70),
        "theName": st.text(st.characters(codec=None), max_size=9),
        "note": st.none() | st.text(max_size=9),
        "rush": st.booleans(),
        "weight": st.floats(),
        "price": st.decimals(allow_nan=False, allow_infinity=False),
        "rounded": st.floats(),
        "placed": st.datetimes(timezones=zones),
        "day": st.dates(),
        "hour": st.times(timezones=zones),
        "span": st.none() | st.timedeltas(),
        "token": st.uuids(),
        "data": st.binary(max_size=9),
        "twice": st.integers(),
    }
)


SENT = [info.alias or name for name, info in Everything.model_fields.items()]


def values_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in SENT)


def the_long_way(schema: type[BaseModel], rows: list[dict[str, Any]]) -> bytes:
    adapter: TypeAdapter[Any] = TypeAdapter(list[schema])  # type: ignore[valid-type]  # known at run time only
    return adapter.dump_json(adapter.validate_python(rows), by_alias=True)


@given(rows=st.lists(whatever, max_size=3))
def test_it_answers_what_the_long_way_answers(rows: list[dict[str, Any]]) -> None:
    short = shortcut(Everything)
    assert short is not None
    found = short.dump_rows([values_of(each) for each in rows])
    if found is None:  # text that is no Unicode, bytes that are no text
        with pytest.raises(ValueError, match=r"unicode|utf-8|surrogate"):
            the_long_way(Loose, rows)
        return
    assert found == the_long_way(Loose, rows)
    for row, one in zip(rows, json.loads(found), strict=True):
        dumped = short.dump_row(values_of(row))
        assert dumped is not None
        assert json.loads(dumped) == one


numbers: list[Any] = [True, 1, 1.5, "1", b"1", Decimal(1), dt.date(2024, 1, 1), None, [1]]
kinds: list[Any] = [int, str, float, bool, Decimal, bytes, dt.date, dt.datetime, dt.time, uuid.UUID]


@pytest.mark.parametrize("kind", kinds, ids=lambda each: each.__name__)
@pytest.mark.parametrize("value", numbers, ids=repr)
def test_a_value_of_another_type_goes_the_long_way_or_makes_no_difference(
    kind: Any, value: Any
) -> None:
    fields: dict[str, Any] = {"x": kind | None}
    found = Shortcut(fields).dump_row((value,))
    if found is not None:
        adapter: TypeAdapter[Any] = TypeAdapter(kind | None)
        assert json.loads(found)["x"] == json.loads(
            adapter.dump_json(adapter.validate_python(value))
        )


def test_more_values_behind_the_fields_are_left_out() -> None:
    short = Shortcut({"a": int})
    assert short.dump_rows([(1, 2), (3, 4)]) == b'[{"a":1},{"a":3}]'
    assert short.dump_row((1, 2)) == b'{"a":1}'


class Validated(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def upper(cls, value: str) -> str:
        return value.upper()


class Checked(BaseModel):
    name: str

    @model_validator(mode="after")
    def check(self) -> Checked:
        return self


class Written(BaseModel):
    name: str

    @field_serializer("name")
    def upper(self, value: str) -> str:
        return value.upper()


class Whole(BaseModel):
    name: str

    @model_serializer
    def upper(self) -> dict[str, str]:
        return {"name": self.name.upper()}


class Computing(BaseModel):
    name: str

    @computed_field
    def upper(self) -> str:
        return self.name.upper()


class AfterInit(BaseModel):
    name: str

    def model_post_init(self, context: Any) -> None:
        self.name = self.name.upper()


class Initialised(BaseModel):
    name: str

    def __init__(self, **values: Any) -> None:
        super().__init__(name="x")


class OwnCore(BaseModel):
    name: str

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler(source)


class Stripping(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True)
    name: str


class Extra(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str


class Annotates(BaseModel):
    name: Annotated[str, AfterValidator(str.upper)]


class AnnotatesMore(BaseModel):
    name: Annotated[str, StringConstraints(to_upper=True)]


class AnnotatesOutput(BaseModel):
    name: Annotated[str, PlainSerializer(str.upper)]


class Excluding(BaseModel):
    name: str = Field(exclude=True)


class Stringent(BaseModel):
    note: str  # the column may be NULL


class OtherType(BaseModel):
    rush: int


class Membered(BaseModel):
    colour: Colour


class OfOnesOwn(BaseModel):
    spoken: str


class OfNoColumn(BaseModel):
    double: int


class Either(BaseModel):
    name: str | int


class TwoOfOneName(BaseModel):
    name: str
    note: str | None = Field(serialization_alias="name")


@pytest.mark.parametrize(
    "schema",
    [
        *(Validated, Checked, Written, Whole, Computing, AfterInit, Initialised, OwnCore),
        *(Stripping, Extra, Annotates, AnnotatesMore, AnnotatesOutput, Excluding, Stringent),
        *(OtherType, Membered, OfOnesOwn, OfNoColumn, Either, TwoOfOneName),
    ],
    ids=lambda each: each.__name__,
)
def test_a_schema_that_has_a_say_has_none(schema: type[BaseModel]) -> None:
    assert shortcut(schema) is None


def test_a_schema_with_fields_from_nowhere_has_none() -> None:
    class More(BaseModel):
        name: str
        extra: str = "x"

    columns = {each.key: each.columns[0] for each in mapper_of(Row).column_attrs}
    assert Shortcut.of(More, columns, {"name": "name"}) is None


def test_a_schema_that_inherits_from_one_with_a_say_has_none() -> None:
    class Below(Initialised):
        pass

    assert shortcut(Below) is None
