"""What a schema needs is loaded, by one query a relation, and nothing is loaded later."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from sqlalchemy import ForeignKey, select
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import (
    DeclarativeBase,
    DynamicMapped,
    Mapped,
    WriteOnlyMapped,
    aliased,
    mapped_column,
    relationship,
)

from backstay.db.database import Database
from backstay.db.loading import MAX_DEPTH, lacks, load_options, loading_of, together
from backstay.db.nested import create_nested
from tests.db.places import EVERY_KIND
from tests.db.warehouse import (
    Car,
    Counted,
    Customer,
    Kind,
    Line,
    Node,
    Order,
    Shelf,
    Tag,
    Vehicle,
    statements_of,
    warehouse,
)
from tests.support import async_test


class Schema(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class ProfileOut(Schema):
    bio: str | None


class CustomerOut(Schema):
    name: str
    profile: ProfileOut | None


class TagOut(Schema):
    name: str


class NoteOut(Schema):
    text: str


class LineOut(Schema):
    product: str
    notes: list[NoteOut]


class OrderOut(Schema):
    number: str
    customer: CustomerOut | None
    lines: list[LineOut]
    tags: Annotated[list[TagOut], Field(max_length=9)]


class OrderFlat(Schema):
    number: str


class NodeOut(Schema):
    name: str
    children: list[NodeOut]


@asynccontextmanager
async def orders(kind: str, folder: Path, number: int = 3) -> AsyncIterator[Database]:
    async with warehouse(kind, folder) as database:
        async with database.session() as session:
            for index in range(number):
                await create_nested(
                    session,
                    Order,
                    {
                        "number": str(index),
                        "note": "quiet",
                        "customer": {"name": f"c{index}", "profile": {"bio": "b"}, "secret": "s"},
                        "lines": [{"product": "x", "notes": [{"text": "n"}] * 2}] * 2,
                        "tags": [{"name": f"{index}-{each}"} for each in range(2)],
                    },
                )
            await session.commit()
        yield database


async def found(session: AsyncSession, schema: Any, model: Any = Order) -> list[Any]:
    query = select(model).options(*load_options(model, schema)).order_by(model.id)
    return list((await session.scalars(query)).all())


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("number", [1, 30])
@async_test
async def test_each_relation_is_one_query_however_many_rows_there_are(
    kind: str, number: int, tmp_path: Path
) -> None:
    async with orders(kind, tmp_path, number) as database, database.session() as session:
        with statements_of(session) as sent:
            objects = await found(session, OrderOut)
            shown = [OrderOut.model_validate(each).model_dump() for each in objects]
        assert len(sent) == 6  # orders, and customers, profiles, lines, notes, tags
        assert len(shown) == number
        assert shown[0]["customer"] == {"name": "c0", "profile": {"bio": "b"}}
        assert shown[0]["lines"] == [{"product": "x", "notes": [{"text": "n"}] * 2}] * 2
        assert "secret" not in " ".join(sent)
        assert "note" not in sent[0]


@async_test
async def test_what_was_not_asked_for_raises_instead_of_asking_the_database(tmp_path: Path) -> None:
    async with orders("sqlite", tmp_path) as database, database.session() as session:
        (order, *_) = await found(session, OrderFlat)
        with statements_of(session) as sent:
            for name in ("note", "lines", "customer"):
                with pytest.raises(InvalidRequestError, match="is not available"):
                    getattr(order, name)
        assert sent == []


@async_test
async def test_the_way_back_to_a_parent_that_is_at_hand_is_open(tmp_path: Path) -> None:
    async with orders("sqlite", tmp_path) as database, database.session() as session:
        (order, *_) = (await session.scalars(select(Order).options(*load_options(Order)))).all()
        assert order.lines[0].order is order


@async_test
async def test_without_a_schema_all_relations_are_loaded_and_never_back(tmp_path: Path) -> None:
    async with orders("sqlite", tmp_path) as database, database.session() as session:
        with statements_of(session) as sent:
            (order, *_) = await found(session, None)
            assert order.customer.profile.bio == "b"
            assert [each.text for each in order.lines[0].notes] == ["n", "n"]
            assert len(order.tags) == 2
        assert len(sent) == 7  # slots too
        tree = loading_of(Order).tree
        assert tree == {
            "customer": {"profile": {}},
            "lines": {"notes": {}},
            "tags": {},
            "slots": {},
        }
        assert loading_of(Node).tree == {}


@pytest.mark.parametrize("depth", [0, 3, MAX_DEPTH, MAX_DEPTH + 1])
@async_test
async def test_a_schema_that_contains_itself_is_followed_as_deep_as_the_data(
    depth: int, tmp_path: Path
) -> None:
    async with warehouse("sqlite", tmp_path) as database, database.session() as session:
        root = Node(name=str(depth))
        for level in range(depth - 1, -1, -1):
            root = Node(name=str(level), children=[root, Node(name="leaf")])
        session.add(root)
        await session.commit()
        session.expunge_all()
        query = select(Node).where(Node.id == root.id).options(*load_options(Node, NodeOut))
        with statements_of(session) as sent:
            node = (await session.scalars(query)).one()
        assert len(sent) == 1 + min(depth, MAX_DEPTH) + 1
        if depth <= MAX_DEPTH:
            shown: Any = NodeOut.model_validate(node).model_dump()
            for level in range(depth):
                assert (shown["name"], len(shown["children"])) == (str(level), 2)
                shown = shown["children"][0]
        else:
            with pytest.raises(ValidationError, match="is not available"):
                NodeOut.model_validate(node)


class Twice(Schema):
    name: str
    children: list[Twice]
    parent: Twice | None


def test_a_schema_that_contains_itself_twice_is_bounded_all_the_same() -> None:
    def places(tree: dict[str, Any]) -> int:
        return sum(1 + places(inner) for inner in tree.values())

    assert 100 <= places(loading_of(Node, Twice).tree) <= 300


class Aliases(Schema):
    title: str = Field(validation_alias="number")
    remark: str = Field(validation_alias=AliasChoices("missing", "note"))
    buyer: str = Field(validation_alias=AliasPath("customer", "name"))
    first: str = Field(validation_alias=AliasPath("lines", 0, "product"))
    reference: str


@async_test
async def test_aliases_paths_and_synonyms_are_followed(tmp_path: Path) -> None:
    async with orders("sqlite", tmp_path, 1) as database, database.session() as session:
        with statements_of(session) as sent:
            (order,) = await found(session, Aliases)
            shown = Aliases.model_validate(order)
        assert shown.model_dump() == {
            "title": "0",
            "remark": "quiet",
            "buyer": "c0",
            "first": "x",
            "reference": "0",
        }
        assert len(sent) == 3
        assert "secret" not in " ".join(sent)


class Computing(Schema):
    loud_note: str
    tag_names: set[str]


class Shouting(Schema):
    shout: str
    orders: list[OrderFlat]


@async_test
async def test_properties_hybrids_and_proxies_have_all_they_may_read(tmp_path: Path) -> None:
    async with orders("sqlite", tmp_path, 1) as database, database.session() as session:
        with statements_of(session) as sent:
            (order,) = await found(session, Computing)
            assert Computing.model_validate(order).loud_note == "QUIET"
            assert Computing.model_validate(order).tag_names == {"0-0", "0-1"}
            (customer,) = await found(session, Shouting, Customer)
            assert Shouting.model_validate(customer).shout == "c0!"
        assert len(sent) == 4


@async_test
async def test_columns_of_every_kind_are_loaded(tmp_path: Path) -> None:
    class CountedOut(Schema):
        blob: str | None
        length: int

    class VehicleOut(Schema):
        place: Any

    async with warehouse("sqlite", tmp_path) as database, database.session() as session:
        data = {"name": "abc", "blob": "big", "vehicles": [{"type": "car", "name": "x", "x": 4}]}
        await create_nested(session, Counted, data)
        await session.commit()
        session.expunge_all()
        (counted,) = await found(session, CountedOut, Counted)
        assert CountedOut.model_validate(counted).model_dump() == {"blob": "big", "length": 3}
        assert counted.version == 1
        (car,) = await found(session, VehicleOut, Vehicle)
        assert type(car) is Car
        assert VehicleOut.model_validate(car).place.x == 4


@async_test
async def test_a_relation_whose_field_is_no_schema_has_all_of_its_columns(tmp_path: Path) -> None:
    class Loose(Schema):
        lines: list[Any]
        customer: object

    async with orders("sqlite", tmp_path, 1) as database, database.session() as session:
        (order,) = await found(session, Loose)
        assert Loose.model_validate(order).lines[0].quantity == 1
        assert order.customer.secret == "s"


@async_test
async def test_a_validator_of_the_whole_object_may_read_all_of_its_columns(tmp_path: Path) -> None:
    class Whole(Schema):
        number: str

        @model_validator(mode="before")
        @classmethod
        def look(cls, value: Any) -> Any:
            return {"number": f"{value.number}-{value.note}-{value.kind.name}"}

    async with orders("sqlite", tmp_path, 1) as database, database.session() as session:
        (order,) = await found(session, Whole)
        assert Whole.model_validate(order).number == f"0-quiet-{Kind.PLAIN.name}"


@async_test
async def test_dicts_of_objects_are_loaded(tmp_path: Path) -> None:
    class VisitOut(Schema):
        name: str

    class ShelfOut(Schema):
        visits: dict[str, VisitOut]

    async with warehouse("sqlite", tmp_path) as database, database.session() as session:
        visits = {name: Shelf.visits.prop.mapper.class_(name=name) for name in "ab"}
        session.add(Shelf(name="s", visits=visits))
        await session.commit()
        session.expunge_all()
        (shelf,) = await found(session, ShelfOut, Shelf)
        assert set(ShelfOut.model_validate(shelf).visits) == {"a", "b"}
        assert not lacks(shelf, {"visits": {}})


@async_test
async def test_an_object_that_the_session_has_already_gets_what_it_lacks(tmp_path: Path) -> None:
    async with orders("sqlite", tmp_path, 1) as database, database.session() as session:
        (flat,) = await found(session, OrderFlat)
        tree = loading_of(Order, OrderOut).tree
        assert lacks(flat, tree)
        (deep,) = await found(session, OrderOut)
        assert deep is flat
        assert not lacks(deep, tree)
        assert deep.lines[0].notes[0].text == "n"


@async_test
async def test_aliases_of_classes_have_options_too(tmp_path: Path) -> None:
    async with orders("sqlite", tmp_path) as database, database.session() as session:
        other = aliased(Order)
        query = select(other).where(other.number == "1").options(*load_options(other, OrderOut))
        order = (await session.scalars(query)).one()
        assert OrderOut.model_validate(order).number == "1"


def test_columns_that_are_not_in_the_schema_are_not_even_named() -> None:
    query = select(Customer).options(*load_options(Customer, TagOut))
    assert str(query).replace("\n", "") == "SELECT customers.id, customers.name FROM customers"
    whole = str(select(Customer).options(*load_options(Customer, TagOut, narrow=False)))
    assert "customers.secret" in whole


def test_the_columns_that_lead_to_relations_are_loaded_with_them() -> None:
    class Led(Schema):
        customer: CustomerOut

    assert "orders.customer_id" in str(select(Order).options(*load_options(Order, Led)))


def test_options_are_worked_out_once_and_go_with_their_schema() -> None:
    class Gone(Schema):
        name: str

    assert load_options(Tag, Gone) is load_options(Tag, Gone)
    assert load_options(Tag, Gone) is not load_options(Tag, Gone, narrow=False)
    assert load_options(Tag) is load_options(Tag)
    gone = weakref.ref(Gone)
    del Gone
    gc.collect()
    assert gone() is None


def test_a_relation_that_cannot_be_loaded_with_its_object_is_refused() -> None:
    class Base(DeclarativeBase):
        pass

    class Child(Base):
        __tablename__ = "child"
        id: Mapped[int] = mapped_column(primary_key=True)
        parent_id: Mapped[int] = mapped_column(ForeignKey("parent.id"))

    class Parent(Base):
        __tablename__ = "parent"
        id: Mapped[int] = mapped_column(primary_key=True)
        children: DynamicMapped[Child] = relationship()
        others: WriteOnlyMapped[Child] = relationship(overlaps="children", passive_deletes=True)

    class Dynamic(Schema):
        children: list[Any]

    class WriteOnly(Schema):
        others: list[Any]

    for schema, how in ((Dynamic, "dynamic"), (WriteOnly, "write_only")):
        with pytest.raises(ValueError, match=f"is declared lazy='{how}'"):
            load_options(Parent, schema)
    assert loading_of(Parent).tree == {}


@async_test
async def test_what_a_class_loads_eagerly_itself_is_there_for_its_properties(
    tmp_path: Path,
) -> None:
    class Base(DeclarativeBase):
        pass

    class Piece(Base):
        __tablename__ = "piece"
        id: Mapped[int] = mapped_column(primary_key=True)
        whole_id: Mapped[int] = mapped_column(ForeignKey("whole.id"))
        price: Mapped[Decimal]

    class Whole(Base):
        __tablename__ = "whole"
        id: Mapped[int] = mapped_column(primary_key=True)
        pieces: Mapped[list[Piece]] = relationship(lazy="joined")

        @property
        def total(self) -> Decimal:
            return sum((each.price for each in self.pieces), Decimal(0))

    class Total(Schema):
        total: Decimal

    class Id(Schema):
        id: int

    database = Database(f"sqlite:///{tmp_path / 'w.db'}")
    Base.metadata.create_all(database.engine)
    async with database.session() as session:
        session.add(Whole(pieces=[Piece(price=Decimal(2)), Piece(price=Decimal(3))]))
        await session.commit()
        session.expunge_all()
        (whole,) = await found(session, Id, Whole)
        assert "pieces" not in vars(whole)
        (whole,) = await found(session, Total, Whole)
        assert Total.model_validate(whole).total == 5
    await database.close()


def test_lines_have_no_relation_that_a_schema_does_not_name() -> None:
    assert loading_of(Line, NoteOut).tree == {}
    assert loading_of(Order, OrderOut).tree == {
        "customer": {"profile": {}},
        "lines": {"notes": {}},
        "tags": {},
    }


@async_test
async def test_two_ways_of_loading_can_be_had_together(tmp_path: Path) -> None:
    class Tags(Schema):
        tags: list[TagOut]

    both = together(loading_of(Order, Tags, narrow=False), loading_of(Order, OrderOut))
    assert both.tree == loading_of(Order, OrderOut).tree
    async with orders("sqlite", tmp_path, 1) as database, database.session() as session:
        order = (await session.scalars(select(Order).options(*both.options))).one()
        assert not lacks(order, both.tree)
