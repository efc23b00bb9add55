"""From an output schema to columns, and from rows to the JSON that FastAPI would send."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, RootModel, computed_field, field_serializer
from sqlalchemy import JSON, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from backstay.errors import BadViewSet
from backstay.viewset.projection import Projection, value_of
from tests.viewset.stage import Order, OrderRow, Thing, ThingRow


class Base(DeclarativeBase):
    pass


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class OddRow(Base):
    __tablename__ = "odd"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str | None]
    number: Mapped[float]
    exact: Mapped[decimal.Decimal]
    at: Mapped[dt.datetime]
    day: Mapped[dt.date | None]
    uid: Mapped[uuid.UUID]
    colour: Mapped[Colour]
    extra: Mapped[Any] = mapped_column(JSON)
    count: Mapped[bool]
    secret: Mapped[str] = mapped_column(default="hush")

    @property
    def loud(self) -> str:
        return (self.text or "").upper()


class Odd(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    text: str | None
    number: float
    exact: decimal.Decimal
    at: dt.datetime
    day: dt.date | None
    uid: uuid.UUID
    colour: Colour
    extra: Any
    is_counted: bool = Field(validation_alias="count", serialization_alias="isCounted")

    @field_serializer("number")
    def _rounded(self, value: float) -> str:
        return f"{value:.3f}"

    @computed_field
    def shout(self) -> str:
        return (self.text or "").upper()


class Loud(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    loud: str


def test_columns_that_the_schema_does_not_have_are_not_selected() -> None:
    projection = Projection(ThingRow, Thing)
    assert projection.plain
    sql = str(select(*projection.columns))
    assert "secret" not in sql
    assert [each.key for each in projection.columns] == ["id", "name", "price"]


def test_relations_and_properties_need_objects() -> None:
    assert not Projection(OrderRow, Order).plain
    assert not Projection(OddRow, Loud).plain
    assert Projection(OddRow, Loud).columns == ()


def test_a_column_is_selected_by_the_name_that_the_schema_reads() -> None:
    projection = Projection(OddRow, Odd)
    assert projection.columns[-1].key == "count"
    assert projection.fields["count"] == "isCounted"


def test_a_field_that_comes_from_nowhere_is_refused() -> None:
    class Wrong(BaseModel):
        id: int
        surname: str

    with pytest.raises(BadViewSet, match="has the field 'surname', but ThingRow has no such"):
        Projection(ThingRow, Wrong)


@pytest.mark.parametrize("schema", [RootModel[list[int]], dict, Thing(id=1, name="x")], ids=str)
def test_what_is_no_model_with_fields_is_refused(schema: Any) -> None:
    with pytest.raises(BadViewSet, match="pydantic_model is"):
        Projection(ThingRow, schema)


ROWS = st.builds(
    dict,
    text=st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    number=st.floats(allow_nan=False, allow_infinity=False),
    exact=st.decimals(-1000, 1000, places=4),
    at=st.datetimes(),
    day=st.none() | st.dates(),
    uid=st.uuids(),
    colour=st.sampled_from(Colour),
    extra=st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text('ab\u20ac\\" '),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text("kq"), inner, max_size=3)
        ),
        max_leaves=5,
    ),
    count=st.booleans(),
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(ROWS, max_size=4))
@pytest.mark.filterwarnings("ignore:Dialect sqlite.pysqlite does .not. support Decimal")
def test_rows_give_the_bytes_that_fastapi_sends_for_objects(
    rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("odd")
    engine = create_engine(f"sqlite:///{folder}/odd.db")
    Base.metadata.create_all(engine)
    projection = Projection(OddRow, Odd)
    app = FastAPI()
    with Session(engine) as session:
        session.add_all(OddRow(**row) for row in rows)
        session.commit()
        objects = session.scalars(select(OddRow).order_by(OddRow.id)).all()
        found = session.execute(
            select(*projection.columns, OddRow.secret).order_by(OddRow.id)
        ).all()

        @app.get("/odd", response_model=list[Odd])
        def odd() -> Any:
            return objects

        expected = TestClient(app).get("/odd").content
        assert projection.dump_rows(found) == expected
        assert projection.dump_objects(objects) == expected
        for row, obj in zip(found, objects, strict=True):
            assert projection.dump_row(row) == projection.dump_object(obj)
            assert value_of(row, "count") == value_of(obj, "count") == obj.count
    engine.dispose()
