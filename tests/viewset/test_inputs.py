"""What clients have sent, by the attributes it is written to."""

from __future__ import annotations

import datetime as dt
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import JSON, ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from backstay.viewset.inputs import Inputs
from backstay.viewset.schemas import derive_inputs
from backstay.viewset.validators import Input


class Base(DeclarativeBase):
    pass


class BoxRow(Base):
    __tablename__ = "boxes"
    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str]
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
    marks: Mapped[list[Any]] = mapped_column(JSON)
    things: Mapped[list[ThingRow]] = relationship(cascade="all, delete-orphan")


class ThingRow(Base):
    __tablename__ = "things"
    id: Mapped[int] = mapped_column(primary_key=True)
    box_id: Mapped[int] = mapped_column(ForeignKey("boxes.id"))
    name: Mapped[str]
    pieces: Mapped[int]


class Facts(BaseModel):
    since: dt.date


class Thing(BaseModel):
    id: int
    name: str
    pieces: int = 7


class Box(BaseModel):
    id: int
    text: str = Field(validation_alias="label")
    facts: Facts
    marks: list[Facts] = []
    things: list[Thing] = []


def inputs() -> Inputs:
    return derive_inputs(BoxRow, Box, deep=True)


SENT = {"label": "a", "facts": {"since": "2024-01-01"}, "marks": [{"since": "2024-01-02"}]}


def test_values_have_the_names_of_attributes() -> None:
    item = inputs().create.model_validate(SENT)
    assert inputs().attributes == {"text": "label"}
    assert inputs().values(item).keys() == {"label", "facts", "marks", "things"}


def test_models_in_json_columns_are_what_json_can_hold() -> None:
    values = inputs().values(inputs().create.model_validate(SENT))
    assert values["facts"] == {"since": "2024-01-01"}
    assert values["marks"] == [{"since": "2024-01-02"}]


def test_nested_rows_stay_models_that_know_what_was_sent() -> None:
    sent = {**SENT, "things": [{"id": 1}, {"name": "cup"}]}
    values = inputs().values(inputs().create.model_validate(sent))
    named, new = values["things"]
    assert isinstance(named, Input)
    assert named.model_dump() == {"id": 1}
    assert new.model_dump(exclude_unset=True) == {"name": "cup", "pieces": 7}


def test_of_a_change_only_what_was_sent_is_there() -> None:
    item = inputs().patch.model_validate({"label": "b"})
    assert inputs().values(item, sent_only=True) == {"label": "b"}


def test_models_of_ones_own_are_read_by_their_fields_and_nothing_else() -> None:
    class Own(BaseModel):
        model_config = ConfigDict(extra="allow")

        label: str
        facts: dict[str, Facts]
        password: str = Field("", exclude=True)

    item = Own.model_validate(
        {"label": "a", "id": 7, "facts": {"x": {"since": "2024-01-01"}}, "password": "p"}
    )
    assert inputs().values(item) == {
        "label": "a",
        "facts": {"x": {"since": "2024-01-01"}},
        "password": "p",
    }
