"""From an output schema to what is selected, and back to the JSON that FastAPI itself would send."""

from __future__ import annotations

import datetime as dt
import enum
import json
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    ValidationInfo,
    computed_field,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from sqlalchemy import JSON, DateTime, Enum, ForeignKey, Numeric, create_engine, select
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    column_property,
    mapped_column,
    relationship,
    selectinload,
    synonym,
)

from backstay.errors import BadViewSet
from backstay.viewset.projection import Projection, Unfit, value_of
from tests.viewset.shelves import STORES, Store, opened


class Base(DeclarativeBase):
    pass


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class MakerRow(Base):
    __tablename__ = "makers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class CupRow(Base):
    __tablename__ = "cups"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    note: Mapped[str | None]
    price: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    weight: Mapped[float | None]
    rush: Mapped[bool] = mapped_column(default=False)
    colour: Mapped[Colour] = mapped_column(Enum(Colour), default=Colour.RED)
    placed: Mapped[dt.datetime | None] = mapped_column(DateTime(timezone=True))
    day: Mapped[dt.date | None]
    hour: Mapped[dt.time | None]
    span: Mapped[dt.timedelta | None]
    token: Mapped[uuid.UUID | None]
    facts: Mapped[Any] = mapped_column(JSON)
    data: Mapped[bytes | None]
    secret: Mapped[str] = mapped_column(default="s3cret")
    maker_id: Mapped[int | None] = mapped_column(ForeignKey("makers.id"))
    maker: Mapped[MakerRow | None] = relationship()
    title = synonym("name")
    twice = column_property(id * 2)

    @property
    def shout(self) -> str:
        return self.name.upper()


class Wide(BaseModel):
    """Columns of every kind, as they are."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    note: str | None
    price: Decimal | None
    weight: float | None
    rush: bool
    colour: Colour
    placed: dt.datetime | None
    day: dt.date | None
    hour: dt.time | None
    span: dt.timedelta | None
    token: uuid.UUID | None
    facts: Any
    data: bytes | None
    twice: int


class Short(BaseModel):
    """What the short way is for."""

    model_config = ConfigDict(from_attributes=True, alias_generator=to_camel, populate_by_name=True)

    id: int
    name: str = Field(serialization_alias="theName")
    note: str | None
    price: Decimal | None
    rush: bool
    placed: dt.datetime | None
    token: uuid.UUID | None
    maker_id: int | None


class Own(BaseModel):
    """A schema with a say in everything."""

    model_config = ConfigDict(from_attributes=True, populate_by_name=True, use_enum_values=True)

    id: int
    called: str = Field(validation_alias=AliasChoices("title", "name"))
    price: Decimal | None = Field(alias="cost")
    colour: Colour
    rush: bool = Field(exclude=True)
    elsewhere: str = "nowhere"

    @field_validator("called")
    @classmethod
    def loud(cls, value: str) -> str:
        return value.upper()

    @field_serializer("price")
    def in_words(self, value: Decimal | None) -> str:
        return "priceless" if value is None else f"{value} EUR"

    @computed_field
    def label(self) -> str:
        return f"{self.called}{'!' if self.rush else ''}"

    @model_validator(mode="after")
    def check(self) -> Own:
        return self


class Maker(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    name: str


class Deep(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    shout: str
    maker: Maker | None


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with opened(request.param, tmp_path, Base) as found:
        yield found


texts = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00"),
    max_size=12,
)
facts = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
moments = st.datetimes(dt.datetime(1971, 1, 1), dt.datetime(2200, 1, 1))
cups = st.builds(
    CupRow,
    name=texts,
    note=st.none() | texts,
    price=st.none() | st.decimals(0, 10**7, places=2),
    weight=st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32),
    rush=st.booleans(),
    colour=st.sampled_from(Colour),
    placed=st.none() | moments.map(lambda each: each.replace(tzinfo=dt.UTC)),
    day=st.none() | st.dates(),
    hour=st.none() | st.times(),
    span=st.none() | st.timedeltas(dt.timedelta(0), dt.timedelta(days=900)),
    token=st.none() | st.uuids(),
    facts=facts,
    data=st.none() | texts.map(str.encode),
    maker=st.none() | st.builds(MakerRow, name=texts),
)


def from_fastapi(schema: Any, items: list[Any]) -> Any:
    app = FastAPI()

    @app.get("/", response_model=list[schema])
    async def show() -> Any:
        return items

    return TestClient(app).get("/").json()


@pytest.mark.parametrize("schema", [Wide, Short, Own, Deep], ids=lambda each: each.__name__)
@settings(max_examples=8, suppress_health_check=list(HealthCheck), deadline=None)
@given(rows=st.lists(cups, min_size=1, max_size=3))
def test_what_is_answered_is_what_fastapi_would_answer(
    store: Store, schema: type[BaseModel], rows: list[CupRow]
) -> None:
    projection = Projection(CupRow, schema)
    with Session(store.filler, expire_on_commit=False) as session:
        session.add_all(rows)
        session.commit()
        ids = [each.id for each in rows]
    with Session(store.filler) as session:
        wanted = select(CupRow).where(CupRow.id.in_(ids)).order_by(CupRow.id)
        objects = list(session.scalars(wanted.options(selectinload(CupRow.maker))))
        expected = from_fastapi(schema, objects)
        answers = [projection.dump_objects(objects)]
        if projection.plain:
            selected = select(*projection.columns).where(CupRow.id.in_(ids)).order_by(CupRow.id)
            found = store.rows(selected)
            answers.append(projection.dump_rows(found))
            answers.append(b"[" + b",".join(map(projection.dump_row, found)) + b"]")
        answers.append(b"[" + b",".join(map(projection.dump_object, objects)) + b"]")
    assert [json.loads(each) for each in answers] == [expected] * len(answers)


# ------------------------------------------------------------------ what is selected


def names(projection: Projection) -> list[str | None]:
    return [each.key for each in projection.columns]


def test_a_plain_schema_selects_its_columns_and_no_others() -> None:
    projection = Projection(CupRow, Wide)
    assert projection.plain
    assert names(projection) == list(Wide.model_fields)
    statement = str(select(*projection.columns))
    assert "secret" not in statement
    assert "maker_id" not in statement


def test_columns_are_labelled_as_the_schema_reads_them() -> None:
    projection = Projection(CupRow, Own)
    assert names(projection) == ["id", "title", "price", "colour", "rush"]
    assert "cups.name AS title" in str(select(*projection.columns))


class Related(BaseModel):
    maker: Maker | None


class Proper(BaseModel):
    shout: str


class Part(BaseModel):
    width: int = Field(validation_alias=AliasPath("facts", "width"))


class Through(BaseModel):
    made_by: str = Field(validation_alias=AliasPath("maker", "name"))


class WholeObject(BaseModel):
    id: int

    @model_validator(mode="before")
    @classmethod
    def look(cls, value: Any) -> Any:
        return value


@pytest.mark.parametrize(
    "schema", [Related, Proper, Part, Through, WholeObject], ids=lambda each: each.__name__
)
def test_what_is_more_than_columns_is_read_from_objects(schema: type[BaseModel]) -> None:
    projection = Projection(CupRow, schema)
    assert not projection.plain
    assert projection.columns == ()
    assert projection.options


class Animal(Base):
    __tablename__ = "animals"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column()
    __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "animal"}


def test_of_a_class_with_subclasses_objects_are_read() -> None:
    class Some(BaseModel):
        kind: str

    assert not Projection(Animal, Some).plain


T = TypeVar("T")


class Generically(BaseModel, Generic[T]):
    name: T


def test_generic_schemas_are_schemas_too() -> None:
    assert names(Projection(CupRow, Generically[str])) == ["name"]


class Forward(BaseModel):
    name: Later


Later = str


def test_a_schema_that_was_not_complete_when_it_was_written_is_completed() -> None:
    assert Projection(CupRow, Forward).plain


# ------------------------------------------------------------------ what cannot be


class Nowhere(BaseModel):
    nowhere: int


class ByAlias(BaseModel):
    name: str = Field(alias="theName")


class Rooted(RootModel[list[int]]):
    pass


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (Nowhere, "has the field 'nowhere', but CupRow has no such attribute; give the field a"),
        (ByAlias, "the field is read by its alias, 'theName'; say populate_by_name=True"),
        (Rooted, "is Rooted, a RootModel, which has no fields"),
        (dict, "is a pydantic model's class; got <class 'dict'>"),
        (Wide.model_construct(), "is a pydantic model's class; got Wide"),
    ],
    ids=["nowhere", "alias", "root", "dict", "object"],
)
def test_what_cannot_be_is_refused_with_a_remedy(schema: Any, message: str) -> None:
    with pytest.raises(BadViewSet, match=message):
        Projection(CupRow, schema)


# ------------------------------------------------------------------ what does not fit


class Dear(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str

    @field_validator("name")
    @classmethod
    def short(cls, value: str) -> str:
        if len(value) > 3:
            raise ValueError("too long")
        return value


@pytest.mark.parametrize(
    "dump",
    [
        lambda projection, row: projection.dump_row(row),
        lambda projection, row: projection.dump_rows([row]),
        lambda projection, row: projection.dump_object(CupRow(id=1, name="long one")),
        lambda projection, row: projection.models([row]),
    ],
    ids=["row", "rows", "object", "models"],
)
def test_what_does_not_fit_the_schema_is_said_without_the_value(dump: Callable[..., Any]) -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(CupRow(name="long one", facts=None))
        session.flush()
        projection = Projection(CupRow, Dear)
        row = session.execute(select(*projection.columns)).one()
        with pytest.raises(
            Unfit, match=r"Dear does not take 1 of .*name: Value error, too long"
        ) as e:
            dump(projection, row)
    engine.dispose()
    assert "long one" not in str(e.value)
    assert [(each["loc"][-1], each["type"]) for each in e.value.errors] == [("name", "value_error")]
    assert "long one" not in str(e.value.errors)


def test_a_value_of_another_type_than_its_column_is_the_long_ways_business() -> None:
    class Named(BaseModel):
        id: int
        note: str | None

    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    projection = Projection(CupRow, Named)
    with engine.begin() as connection:
        insert = "INSERT INTO cups (name, rush, colour, facts, secret, note) VALUES "
        connection.exec_driver_sql(f"{insert} ('a', 0, 'RED', '1', '', x'6162')")
        (row,) = connection.execute(select(*projection.columns)).all()
    engine.dispose()
    assert row.note == b"ab"
    assert projection.dump_row(row) == b'{"id":1,"note":"ab"}'


def test_rows_may_have_more_behind_the_schemas_columns() -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(CupRow(name="cup", facts=None))
        session.flush()
        for schema, called in ((Short, "theName"), (Wide, "name"), (Own, "called")):
            projection = Projection(CupRow, schema)
            rows: Any = session.execute(select(*projection.columns, CupRow.secret)).all()
            dumped = projection.dump_rows(rows)
            assert b"s3cret" not in dumped
            assert f'"{called}"'.encode() in dumped
            assert len(projection.models(rows)) == 1
    engine.dispose()


# ------------------------------------------------------------------ facts


class Compares(BaseModel):
    id: int
    name: str

    @field_validator("name")
    @classmethod
    def look(cls, value: str, info: ValidationInfo) -> str:
        return value


@pytest.mark.parametrize(
    ("schema", "judges"),
    [(Wide, False), (Dear, False), (Own, True), (Compares, True)],
    ids=lambda each: getattr(each, "__name__", str(each)),
)
def test_whether_values_may_be_refused_together_is_known(
    schema: type[BaseModel], judges: bool
) -> None:
    assert Projection(CupRow, schema).judges is judges


def test_fields_are_known_by_what_clients_send_them_as() -> None:
    assert Projection(CupRow, Own).fields == {
        "id": "id",
        "title": "title",
        "name": "title",
        "price": "cost",
        "colour": "colour",
        "rush": "rush",
    }
    assert "secret" not in Projection(CupRow, Wide).fields


def test_a_value_is_found_in_rows_and_objects() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        row = connection.exec_driver_sql("SELECT 3 AS count").one()
    engine.dispose()
    assert value_of(row, "count") == 3
    assert value_of(CupRow(name="cup"), "name") == "cup"
