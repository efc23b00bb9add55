"""What clients may send, derived from the schema of what they are answered."""

from __future__ import annotations

import datetime as dt
import enum
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    RootModel,
    ValidationError,
    computed_field,
    field_serializer,
)
from pydantic.alias_generators import to_camel
from sqlalchemy import JSON, Computed, ForeignKey, Identity, Sequence, String, func
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    column_property,
    mapped_column,
    relationship,
    synonym,
)

from backstay.errors import BadViewSet
from backstay.viewset.inputs import Inputs
from backstay.viewset.schemas import derive_inputs


class Base(DeclarativeBase):
    pass


class Colour(enum.Enum):
    RED = "red"


class ShelfRow(Base):
    __tablename__ = "shelves"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(20))
    price: Mapped[int] = mapped_column()
    note: Mapped[str | None]
    colour: Mapped[Colour] = mapped_column(default=Colour.RED)
    made: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    twice: Mapped[int] = mapped_column(Computed("price * 2"))
    revision: Mapped[int] = mapped_column()
    secret: Mapped[str] = mapped_column(default="s")
    extra: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    title = synonym("name")
    half = column_property(price / 2)
    __mapper_args__ = {"version_id_col": revision}

    @hybrid_property
    def dear(self) -> bool:
        return self.price > 100

    @property
    def shout(self) -> str:
        return self.name.upper()


class Shelf(BaseModel):
    """A shelf, as it is sold."""

    id: int
    name: str = Field(min_length=1, max_length=20, description="Called.", examples=["Billy"])
    price: int = Field(ge=0)
    note: str | None = None
    colour: Colour = Colour.RED
    made: dt.datetime | None = None
    twice: int = 0
    revision: int = 0
    half: Decimal = Decimal(0)
    dear: bool = False
    shout: str = ""

    @computed_field
    def label(self) -> str:
        return f"{self.name} {self.price}"


def of(schema: type[BaseModel], db_model: type[Any] = ShelfRow, **options: Any) -> Inputs:
    return derive_inputs(db_model, schema, **options)


def models(inputs: Inputs) -> list[type[BaseModel]]:
    return [inputs.create, inputs.update, inputs.patch]


# ------------------------------------------------------------------ which fields


def test_what_clients_may_not_write_is_not_there() -> None:
    for model in models(of(Shelf)):
        assert list(model.model_fields) == ["name", "price", "note", "colour", "made"]


def test_what_clients_send_back_of_what_they_have_read_is_ignored() -> None:
    sent = {"id": 9, "name": "Billy", "price": 3, "twice": 6, "label": "x", "secret": "mine"}
    item = of(Shelf).create.model_validate(sent)
    assert item.model_fields_set == {"name", "price"}


def test_read_only_fields_are_named_by_the_view_set_or_by_the_schema() -> None:
    class Marked(BaseModel):
        name: str
        price: int = Field(0, json_schema_extra={"readOnly": True})
        label: str = Field(validation_alias="note")

    assert list(of(Marked, read_only=["name"]).create.model_fields) == ["label"]
    assert list(of(Marked, read_only=["note"]).create.model_fields) == ["name"]


def test_a_read_only_name_that_there_is_not_is_refused() -> None:
    with pytest.raises(BadViewSet, match="read_only names 'pirce', but neither Shelf has"):
        of(Shelf, read_only=["pirce"])


def test_a_frozen_field_is_sent_with_post_only() -> None:
    class Frozen(BaseModel):
        model_config = ConfigDict(frozen=True)

        name: str = Field(frozen=True)
        price: int

    create, update, patch = models(of(Frozen))
    assert list(create.model_fields) == ["name", "price"]
    assert list(update.model_fields) == list(patch.model_fields) == ["price"]


class Keyed(Base):
    __tablename__ = "keyed"
    sku: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]


class Pair(Base):
    __tablename__ = "pairs"
    left: Mapped[int] = mapped_column(primary_key=True)
    right: Mapped[int] = mapped_column(primary_key=True)


class Counted(Base):
    __tablename__ = "counted"
    id: Mapped[int] = mapped_column(Sequence("numbers"), primary_key=True)


class Identified(Base):
    __tablename__ = "identified"
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)


class Made(Base):
    __tablename__ = "made"
    id: Mapped[str] = mapped_column(primary_key=True, default="x")


class MadeThere(Base):
    __tablename__ = "made_there"
    id: Mapped[str] = mapped_column(primary_key=True, server_default="x")


class KeyedSchema(BaseModel):
    sku: str
    name: str


class PairSchema(BaseModel):
    left: int
    right: int


class IdSchema(BaseModel):
    id: str


@pytest.mark.parametrize(
    ("db_model", "schema", "written"),
    [
        (Keyed, KeyedSchema, ["sku", "name"]),
        (Pair, PairSchema, ["left", "right"]),
        (Counted, IdSchema, []),
        (Identified, IdSchema, []),
        (Made, IdSchema, []),
        (MadeThere, IdSchema, []),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_only_a_natural_key_is_written_and_never_changed(
    db_model: type[Any], schema: type[BaseModel], written: list[str]
) -> None:
    create, update, patch = models(of(schema, db_model))
    assert list(create.model_fields) == written
    keys = {"sku", "left", "right", "id"}
    assert keys.isdisjoint(update.model_fields)
    assert keys.isdisjoint(patch.model_fields)


def test_a_part_of_an_attribute_is_not_written_in_its_place() -> None:
    class Reaching(BaseModel):
        name: str
        width: int = Field(validation_alias=AliasPath("extra", "width"))

    assert list(of(Reaching).create.model_fields) == ["name"]


def test_a_synonym_is_written_under_its_own_name() -> None:
    class Titled(BaseModel):
        title: str

    inputs = of(Titled)
    assert list(inputs.create.model_fields) == ["title"]
    assert inputs.attributes == {"title": "name"}


# ------------------------------------------------------------------ how fields are


def test_a_field_keeps_what_it_says_of_its_values() -> None:
    properties = of(Shelf).create.model_json_schema()["properties"]
    assert properties["name"] == {
        "description": "Called.",
        "examples": ["Billy"],
        "maxLength": 20,
        "minLength": 1,
        "title": "Name",
        "type": "string",
    }
    assert of(Shelf).create.model_json_schema()["required"] == ["name", "price"]
    assert of(Shelf).create.__doc__ == "A shelf, as it is sold."


def test_what_was_not_sent_in_a_patch_is_not_invented_and_null_needs_the_schemas_consent() -> None:
    patch = of(Shelf).patch
    assert patch.model_validate({"note": None}).model_dump(exclude_unset=True) == {"note": None}
    assert "required" not in patch.model_json_schema()
    assert all("default" not in each for each in patch.model_json_schema()["properties"].values())
    for wrong in ({"name": None}, {"name": ""}, {"price": -1}, {"colour": None}):
        with pytest.raises(ValidationError):
            patch.model_validate(wrong)


def test_in_a_patch_defaults_are_not_validated_even_if_the_schema_says_so() -> None:
    class Strict(BaseModel):
        model_config = ConfigDict(validate_default=True)

        name: str
        price: int = Field(default_factory=lambda: 3)

    assert of(Strict).patch.model_validate({"name": "a"}).model_fields_set == {"name"}
    assert of(Strict).create.model_validate({"name": "a"}).model_dump()["price"] == 3


class Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")

    id: int
    name: str = Field(alias="theName")
    price: int = Field(validation_alias=AliasChoices("price", "cost"))
    made: dt.datetime | None = None

    @computed_field
    def priceTwice(self) -> int:
        return self.price * 2


def test_aliases_and_what_is_forbidden_stay() -> None:
    create = of(Camel).create
    item = create.model_validate({"theName": "a", "cost": 3})
    assert (item.name, item.price) == ("a", 3)  # type: ignore[attr-defined]  # derived
    with pytest.raises(ValidationError, match="extra_forbidden"):
        create.model_validate({"theName": "a", "cost": 3, "bogus": 1})


def test_where_others_are_forbidden_what_was_read_can_be_sent_back() -> None:
    read = Camel(id=1, theName="a", price=3).model_dump(by_alias=True)
    assert of(Camel).create.model_validate(read).model_fields_set == {"name", "price", "made"}


def test_what_nobody_has_named_is_not_taken_though_the_schema_takes_anything() -> None:
    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")

        name: str

    for model in models(of(Open)):
        assert model.model_validate({"name": "a", "id": 9, "secret": "x"}).model_dump() == {
            "name": "a"
        }


class Shown(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True, populate_by_name=True)

    name: Annotated[str, PlainSerializer(str.upper)] = Field(alias="theName")
    price: int = Field(0, exclude=True)
    note: list[Annotated[str, PlainSerializer(str.upper)]] | None = None

    @field_serializer("price")
    def in_words(self, value: int) -> str:
        return f"{value} cents"


def test_how_values_are_shown_does_not_touch_what_is_written() -> None:
    item = of(Shown).create.model_validate({"theName": "a", "price": 3, "note": ["b"]})
    assert item.model_dump() == {"name": "a", "price": 3, "note": ["b"]}


T = TypeVar("T")


class Generically(BaseModel, Generic[T]):
    name: T


class Inheriting(Shelf):
    title: str = ""


def test_generic_and_inheriting_schemas_are_schemas_too() -> None:
    assert of(Generically[str]).create.__name__ == "Generically_strCreate"
    assert list(of(Inheriting).create.model_fields)[-1] == "title"


class _Later(BaseModel):
    name: Text


Text = Annotated[str, Field(min_length=1)]


def test_a_schema_that_was_not_complete_when_it_was_written_is_completed() -> None:
    with pytest.raises(ValidationError):
        of(_Later).create.model_validate({"name": ""})


# ------------------------------------------------------------------ names


def test_models_are_called_as_the_schema_with_the_verb() -> None:
    assert [each.__name__ for each in models(of(Shelf))] == [
        "ShelfCreate",
        "ShelfUpdate",
        "ShelfPatch",
    ]
    assert of(Shelf).create.__module__ == Shelf.__module__


def test_the_same_question_has_the_same_answer_and_another_one_another_name() -> None:
    class Twice(BaseModel):
        name: str
        price: int

    assert of(Twice) is of(Twice, read_only=[])
    assert of(Twice, read_only=["price"]).create.__name__ == "TwiceCreate2"
    app = FastAPI()
    first, second = of(Twice).create, of(Twice, read_only=["price"]).create

    async def take(item: Any) -> None:
        pass

    for path, model in (("/a", first), ("/b", second)):
        take.__annotations__ = {"item": model}
        app.post(path)(take)
    assert {"TwiceCreate", "TwiceCreate2"} <= app.openapi()["components"]["schemas"].keys()


# ------------------------------------------------------------------ nested


class OrderRow(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(default="nobody")
    note: Mapped[str] = mapped_column(default="")
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("orders.id"))
    parent: Mapped[OrderRow | None] = relationship(
        remote_side="OrderRow.id", back_populates="parts"
    )
    parts: Mapped[list[OrderRow]] = relationship(
        back_populates="parent", cascade="all, delete-orphan"
    )
    lines: Mapped[list[LineRow]] = relationship(
        back_populates="order", cascade="all, delete-orphan"
    )
    seen: Mapped[list[LineRow]] = relationship(viewonly=True)


class LineRow(Base):
    __tablename__ = "order_lines"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    sku: Mapped[str]
    pieces: Mapped[int]
    order: Mapped[OrderRow] = relationship(back_populates="lines")


class Line(BaseModel):
    id: int
    order_id: int
    sku: str
    pieces: int = 1


class Lines(RootModel[list[Line]]):
    pass


class Order(BaseModel):
    id: int
    owner: str = ""
    note: str = ""
    lines: list[Line] = []
    seen: list[Line] = []
    parts: list[Order] = []


def test_nested_schemas_are_written_only_if_that_is_asked_for() -> None:
    assert list(of(Order, OrderRow).create.model_fields) == ["owner", "note"]
    deep = of(Order, OrderRow, deep=True).create
    assert list(deep.model_fields) == ["owner", "note", "lines", "parts"]


def test_an_owned_child_says_its_key_or_is_whole_and_never_its_parent() -> None:
    patch = of(Order, OrderRow, deep=True).patch
    definitions = patch.model_json_schema()["$defs"]
    assert list(definitions["LineNested"]["properties"]) == ["id", "sku", "pieces"]
    item = patch.model_validate({"lines": [{"id": 3}, {"sku": "cup"}, {"sku": "pot", "pieces": 2}]})
    assert item.model_dump(exclude_unset=True) == {
        "lines": [{"id": 3}, {"sku": "cup", "pieces": 1}, {"sku": "pot", "pieces": 2}]
    }
    with pytest.raises(ValidationError, match="Fields required: sku"):
        patch.model_validate({"lines": [{"pieces": 2}]})
    with pytest.raises(ValidationError):
        patch.model_validate({"lines": [{"id": 3, "sku": None}]})


def test_a_schema_that_contains_itself_is_derived_once() -> None:
    create = of(Order, OrderRow, deep=True).create
    item = create.model_validate(
        {"parts": [{"note": "a", "parts": [{"note": "b", "lines": [{"sku": "cup"}]}]}]}
    )
    assert item.model_dump(exclude_unset=True) == {
        "parts": [
            {
                "owner": "",
                "note": "a",
                "lines": [],
                "parts": [
                    {
                        "owner": "",
                        "note": "b",
                        "lines": [{"sku": "cup", "pieces": 1}],
                        "parts": [],
                    }
                ],
            }
        ]
    }


def test_what_is_read_only_is_so_wherever_the_class_is_nested() -> None:
    create = of(Order, OrderRow, deep=True, read_only=["owner"]).create
    sent = {"owner": "me", "parts": [{"note": "a", "owner": "me"}]}
    item = create.model_validate(sent)
    assert "owner" not in str(item.model_dump())


class Rooted(BaseModel):
    lines: Lines
    best: Annotated[list[Line] | None, Field(validation_alias="lines")] = None


def test_root_models_and_annotations_are_looked_into() -> None:
    create = of(Rooted, OrderRow, deep=True).create
    item = create.model_validate({"lines": [{"sku": "cup"}]})
    assert item.model_dump()["lines"] == [{"sku": "cup", "pieces": 1}]


# ------------------------------------------------------------------ whatever is sent

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
bodies = st.dictionaries(
    st.sampled_from([*Shelf.model_fields, "secret", "extra", "title", "label"]), json_values
)


@given(body=bodies)
def test_whatever_is_sent_nothing_else_than_the_fields_is_taken(body: dict[str, Any]) -> None:
    for model in models(of(Shelf)):
        try:
            item = model.model_validate(body)
        except ValidationError:
            continue
        assert of(Shelf).values(item).keys() <= {"name", "price", "note", "colour", "made"}
        assert item.model_fields_set <= body.keys()


@given(
    name=st.text(min_size=1, max_size=20),
    price=st.integers(0, 2**31),
    note=st.none() | st.text(max_size=9),
    sent=st.sets(st.sampled_from(["name", "price", "note"])),
)
def test_a_patch_takes_what_the_schema_takes_part_by_part(
    name: str, price: int, note: str | None, sent: set[str]
) -> None:
    whole = {"name": name, "price": price, "note": note}
    part = {key: value for key, value in whole.items() if key in sent}
    assert of(Shelf).patch.model_validate(part).model_dump(exclude_unset=True) == part
