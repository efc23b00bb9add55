"""Reading and writing one object, deep if asked."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ForeignKey, event, func, inspect, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    mapped_column,
    relationship,
)

from backstay.db.database import Database
from backstay.db.orm import (
    SQL_TO_PYTHON_TYPE,
    BaseOrm,
    OrmAsync,
    OrmAsyncItem,
    deep_instance,
    get_pk,
)
from backstay.db.refusals import BadNested, ChangedMeanwhile, ForeignChild, UnknownRelated
from tests.db.places import EVERY_KIND
from tests.db.warehouse import (
    Car,
    Counted,
    Customer,
    Line,
    Member,
    Node,
    Note,
    Order,
    Profile,
    Shelf,
    Slot,
    Tag,
    Vehicle,
    statements_of,
    warehouse,
)
from tests.support import async_test


class Schema(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class LineOut(Schema):
    id: int
    product: str
    doubled: int


class OrderOut(Schema):
    id: int
    number: str | None
    lines: list[LineOut]


@asynccontextmanager
async def desk(
    kind: str, folder: Path, *, commit: bool = True, **options: Any
) -> AsyncIterator[OrmAsync]:
    async with warehouse(kind, folder) as database, database.session(**options) as session:
        yield OrmAsync(session, commit=commit)


async def outside(orm: BaseOrm, query: Any) -> list[Any]:
    """What others see: what is committed."""
    engine: Any = orm.asession.bind
    async with engine.connect() as connection:
        return [tuple(row) if len(row) > 1 else row[0] for row in await connection.execute(query)]


FULL: dict[str, Any] = {
    "number": "A1",
    "customer": {"name": "Ann"},
    "lines": [{"product": "tea", "notes": [{"text": "hot"}]}, {"product": "cup"}],
    "tags": [{"name": "red"}],
    "slots": [{"position": 1}],
}


def test_the_names_of_the_older_library_are_there() -> None:
    assert issubclass(OrmAsync, OrmAsyncItem)
    assert issubclass(OrmAsyncItem, BaseOrm)
    assert get_pk(Order) is Order.id
    assert SQL_TO_PYTHON_TYPE[type(Order.id.type)] is int
    assert deep_instance(Tag, {"name": "red"}).name == "red"


# ---------------------------------------------------------------------- reading


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_an_object_is_found_by_its_key_of_any_kind(kind: str, tmp_path: Path) -> None:
    async with desk(kind, tmp_path) as orm:
        order = await orm.create_nested(Order, FULL)
        shelf = await orm.create_item(Shelf(name="s"))
        assert await orm.get_item(Order, order.id) is order
        assert await orm.get_item(Order, str(order.id)) is order
        assert await orm.get_item(Shelf, str(shelf.id)) is shelf
        assert await orm.get_item(Slot, (order.id, 1)) is order.slots[0]
        for model, key in ((Order, 0), (Order, "x"), (Shelf, uuid.uuid4()), (Slot, (0, 1))):
            assert await orm.get_item(model, key) is None
        with pytest.raises(ValueError, match="give a tuple"):
            await orm.get_item(Slot, 1)


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_a_deep_read_is_ready_to_be_shown(kind: str, tmp_path: Path) -> None:
    async with desk(kind, tmp_path) as orm:
        made = await orm.create_nested(Order, FULL)
        orm.asession.expunge_all()
        with statements_of(orm.asession) as sent:
            order = await orm.get_item(Order, made.id, schema=OrderOut)
            assert OrderOut.model_validate(order).lines[1].product == "cup"
        assert len(sent) == 2
        deep = await orm.get_item(Order, made.id, deep=True)
        assert deep is not None
        assert (deep.lines[0].notes[0].text, len(deep.tags)) == ("hot", 1)


# ---------------------------------------------------------------------- creating


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_what_the_database_fills_in_is_there_without_another_query(
    kind: str, tmp_path: Path
) -> None:
    async with desk(kind, tmp_path) as orm:
        with statements_of(orm.asession) as sent:
            order = await orm.create_item(Order(number="A1"))
            assert order.id
            assert order.made_at
            assert order.note is None
        assert len(sent) == 1
        assert not orm.asession.in_transaction()
        assert await outside(orm, select(Order.number)) == ["A1"]


@async_test
async def test_what_a_class_does_not_have_returned_is_loaded_by_one_query(tmp_path: Path) -> None:
    class Base(DeclarativeBase):
        pass

    class Lazy(Base):
        __tablename__ = "lazy"
        id: Mapped[int] = mapped_column(primary_key=True)
        one: Mapped[int] = mapped_column(server_default="1")
        two: Mapped[int] = mapped_column(server_default="2", onupdate=func.length("four"))
        __mapper_args__ = {"eager_defaults": False}

    event.listen(Lazy, "before_update", lambda *_: None)  # so that it is updated as an object
    database = Database(f"sqlite:///{tmp_path / 'lazy.db'}")
    Base.metadata.create_all(database.engine)
    async with database.session() as session:
        orm = OrmAsync(session)
        with statements_of(session) as sent:
            made = await orm.create_item(Lazy())
            assert (made.one, made.two) == (1, 2)
        assert len(sent) == 2
        changed = await orm.update_item(Lazy, made.id, {"one": 3})
        assert changed is not None
        assert (changed.one, changed.two) == (3, 4)
    await database.close()


@pytest.mark.parametrize("expire", [False, True], ids=["kept", "expired"])
@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_objects_can_be_read_after_every_write_though_the_session_expires_them(
    kind: str, expire: bool, tmp_path: Path
) -> None:
    async with desk(kind, tmp_path, expire_on_commit=expire) as orm:
        tag = await orm.create_item(Tag(name="blue"))
        assert tag.name == "blue"
        order = await orm.create_item(Order(number="A1", lines=[Line(product="x")]), deep=True)
        assert [each.product for each in order.lines] == ["x"]
        assert (order.tags, order.customer) == (set(), None)
        order = await orm.create_nested(Order, FULL)
        assert order.lines[0].notes[0].text == "hot"
        changed = await orm.update_item(Order, order.id, {"number": "B"})
        assert changed is order
        assert changed.number == "B"
        changed = await orm.update_item(Order, order.id, {"lines": []}, deep=True)
        assert changed is not None
        assert (changed.number, changed.lines, len(changed.slots)) == ("B", [], 1)
        changed = await orm.update_item(Order, order.id, {"number": "C"}, schema=OrderOut)
        assert OrderOut.model_validate(changed).number == "C"
        assert not orm.asession.in_transaction()
        assert bool(inspect(tag).expired_attributes) is expire  # others are as the session says
        assert await outside(orm, select(Order.number)) == ["A1", "C"]


@async_test
async def test_what_was_written_deep_can_be_read_without_a_schema(tmp_path: Path) -> None:
    async with desk("sqlite", tmp_path) as orm:
        data = {"name": "a", "children": [{"name": "b", "children": [{"name": "c"}]}]}
        node = await orm.create_nested(Node, data)
        assert node.children[0].children[0].name == "c"
        data = {"children": [{"id": node.children[0].id, "children": [{"name": "d"}]}]}
        changed = await orm.update_item(Node, node.id, data, deep=True)
        assert changed is not None
        assert changed.children[0].children[0].name == "d"


@async_test
async def test_a_new_object_may_bring_others(tmp_path: Path) -> None:
    async with desk("sqlite", tmp_path) as orm:
        line = Line(product="x", order=Order(number="A1"))
        assert (await orm.create_item(line, schema=LineOut)).doubled == 2
        assert await outside(orm, select(Order.number)) == ["A1"]


@async_test
async def test_classes_whose_constructors_take_less_than_their_attributes_are_made(
    tmp_path: Path,
) -> None:
    class Base(MappedAsDataclass, DeclarativeBase):
        pass

    class Inner(Base):
        __tablename__ = "inner"
        id: Mapped[int] = mapped_column(init=False, primary_key=True)
        outer_id: Mapped[int] = mapped_column(ForeignKey("outer.id"), init=False)
        name: Mapped[str]

    class Outer(Base):
        __tablename__ = "outer"
        id: Mapped[int] = mapped_column(init=False, primary_key=True)
        inners: Mapped[list[Inner]] = relationship(cascade="all, delete-orphan")
        note: Mapped[str] = mapped_column(default="none", init=False)

    database = Database(f"sqlite:///{tmp_path / 'd.db'}")
    Base.metadata.create_all(database.engine)
    async with database.session() as session:
        data = {"id": 7, "note": "set", "inners": [{"name": "a"}]}
        outer = await OrmAsync(session).create_nested(Outer, data)
        assert (outer.id, outer.note, outer.inners[0].name) == (7, "set", "a")
    await database.close()


# ---------------------------------------------------------------------- updating


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_a_change_of_columns_is_one_statement(kind: str, tmp_path: Path) -> None:
    async with desk(kind, tmp_path) as orm:
        line = (await orm.create_nested(Order, FULL)).lines[0]
        with statements_of(orm.asession) as sent:
            changed = await orm.update_item(Line, line.id, {"id": line.id, "quantity": 4})
            assert changed is line
            assert line.doubled == 8
        assert len(sent) == 1
        assert await orm.update_item(Line, 999, {"quantity": 4}) is None
        assert await orm.update_item(Line, "x", {"quantity": 4}) is None
        assert await outside(orm, select(Line.quantity).order_by(Line.id)) == [4, 1]


@pytest.mark.parametrize("deep", [False, True], ids=["flat", "deep"])
@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_a_row_that_is_not_there_is_none(kind: str, deep: bool, tmp_path: Path) -> None:
    async with desk(kind, tmp_path) as orm:
        assert await orm.update_item(Order, 1, {"number": "x"}, deep) is None
        assert await orm.update_item(Counted, 1, {"name": "x"}, deep) is None
        assert await orm.delete_item(Order, 1, deep) == 0
        assert await orm.delete_item(Order, "x", deep) == 0


@pytest.mark.parametrize("deep", [False, True], ids=["flat", "deep"])
@async_test
async def test_what_was_not_sent_stays_as_it_is(deep: bool, tmp_path: Path) -> None:
    class Change(BaseModel):
        number: str | None = None
        note: str | None = None

    async with desk("sqlite", tmp_path) as orm:
        order = await orm.create_item(Order(number="A1", note="n"))
        for change in (Change(note="m"), {"note": "m"}):
            changed = await orm.update_item(Order, order.id, change, deep)
            assert changed is not None
            assert (changed.number, changed.note) == ("A1", "m")
        assert await orm.update_item(Order, order.id, {}, deep) is order


@pytest.mark.parametrize("deep", [False, True], ids=["flat", "deep"])
@async_test
async def test_the_primary_key_is_never_changed(deep: bool, tmp_path: Path) -> None:
    async with desk("sqlite", tmp_path) as orm:
        key = (await orm.create_item(Order(number="A1"))).id
        with pytest.raises(BadNested, match="id: cannot be changed"):
            await orm.update_item(Order, key, {"id": 9, "number": "B"}, deep)
        with pytest.raises(BadNested, match="colour: there is no such field"):
            await orm.update_item(Order, key, {"colour": 9}, deep)
        assert await outside(orm, select(Order.id, Order.number)) == [(key, "A1")]


@async_test
async def test_relations_are_written_only_if_asked(tmp_path: Path) -> None:
    async with desk("sqlite", tmp_path) as orm:
        order = await orm.create_nested(Order, FULL)
        with pytest.raises(BadNested, match="lines: is a relation, which is written with deep"):
            await orm.update_item(Order, order.id, {"lines": []})


@async_test
async def test_a_class_that_has_a_say_is_asked(tmp_path: Path) -> None:
    async with desk("sqlite", tmp_path) as orm:
        depot = await orm.create_item(Counted(name=" a "))
        changed = await orm.update_item(Counted, depot.id, {"name": " b ", "version": 1})
        assert changed is not None
        assert (changed.name, changed.version) == ("b", 2)
        with pytest.raises(ChangedMeanwhile):
            await orm.update_item(Counted, depot.id, {"name": "c", "version": 1})
        order = await orm.create_item(Order(number="A1"))
        changed_order = await orm.update_item(Order, order.id, {"loud_note": "HEY"})
        assert changed_order is not None
        assert changed_order.note == "hey"


@pytest.mark.parametrize(
    "listen",
    [
        lambda orm, heard: event.listen(Member, "before_update", lambda *_: heard.append(1)),
        lambda orm, heard: event.listen(Member.name, "set", lambda *_: heard.append(1)),
        lambda orm, heard: event.listen(
            orm.asession.sync_session, "before_flush", lambda *_: heard.append(1)
        ),
    ],
    ids=["class", "attribute", "session"],
)
@async_test
async def test_whoever_listens_hears_of_changes(
    listen: Callable[[OrmAsync, list[int]], None], tmp_path: Path
) -> None:
    async with desk("sqlite", tmp_path) as orm:
        member = await orm.create_item(Member(name="a"))
        heard: list[int] = []
        listen(orm, heard)
        await orm.update_item(Member, member.id, {"name": "b"})
        assert heard


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_rows_in_several_tables_are_changed_and_deleted_whole(
    kind: str, tmp_path: Path
) -> None:
    async with desk(kind, tmp_path) as orm:
        car = await orm.create_item(Car(name="vw", doors=3))
        changed = await orm.update_item(Car, car.id, {"name": "bmw", "doors": 5})
        assert changed is car
        assert (car.name, car.doors, car.type) == ("bmw", 5, "car")
        changed = await orm.update_item(Vehicle, car.id, {"name": "kia"}, deep=True)
        assert changed is car
        assert await outside(orm, select(Car.name, Car.doors)) == [("kia", 5)]
        assert await orm.delete_item(Car, car.id) == 1
        assert await outside(orm, select(Vehicle.__table__.c.id)) == []


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_what_is_refused_leaves_nothing_behind(kind: str, tmp_path: Path) -> None:
    async with desk(kind, tmp_path) as orm:
        order = await orm.create_nested(Order, FULL)
        with pytest.raises(ForeignChild):
            await orm.update_item(
                Order, order.id, {"number": "B", "lines": [{"id": 99}]}, deep=True
            )
        with pytest.raises(IntegrityError):
            await orm.create_nested(Order, {"number": "C", "tags": [{"name": "red"}]})
        assert not orm.asession.in_transaction()
        assert await outside(orm, select(Order.number)) == ["A1"]
        assert await outside(orm, select(Line.product).order_by(Line.id)) == ["tea", "cup"]


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_only_what_is_linkable_can_be_linked_to_anew(kind: str, tmp_path: Path) -> None:
    def linkable(model: type[Any]) -> Any:
        return Tag.secret.is_(None) if model is Tag else None

    async with desk(kind, tmp_path) as orm:
        free = (await orm.create_item(Tag(name="free"))).id
        hidden = (await orm.create_item(Tag(name="hidden", secret="s"))).id
        data: dict[str, Any] = {"tags": [{"id": free}], "customer": {"name": "Ann"}}
        order = await orm.create_nested(Order, data, linkable=linkable)
        key, buyer = order.id, order.customer_id
        data = {"tags": [{"id": free}, {"id": hidden}]}
        for write in (
            orm.create_nested(Order, data, linkable=linkable),
            orm.update_item(Order, key, data, deep=True, linkable=linkable),
        ):
            with pytest.raises(UnknownRelated, match=f"there is no Tag with id={hidden}"):
                await write
        await orm.update_item(Order, key, data, deep=True)
        data |= {"note": "kept", "customer": {"id": buyer}}
        changed = await orm.update_item(Order, key, data, deep=True, linkable=linkable)
        assert changed is not None
        assert (changed.note, len(changed.tags)) == ("kept", 2)


# ---------------------------------------------------------------------- deleting


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_what_an_object_owns_goes_with_it_and_what_it_shares_stays(
    kind: str, tmp_path: Path
) -> None:
    async with desk(kind, tmp_path) as orm:
        order = await orm.create_nested(Order, FULL)
        tag = next(iter(order.tags))
        other = await orm.create_nested(Order, {"number": "B", "tags": [{"id": tag.id}]})
        assert await orm.delete_item(Order, order.id, deep=True) == 1
        assert await outside(orm, select(Order.number)) == ["B"]
        for owned in (Line, Note, Slot):
            assert await outside(orm, select(owned.__table__)) == []
        assert await outside(orm, select(Customer.name)) == ["Ann"]
        assert await outside(orm, select(Tag.name)) == ["red"]
        links = Order.tags.prop.secondary
        assert await outside(orm, select(links.c.order_id)) == [other.id]


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_children_that_are_not_owned_are_let_go(kind: str, tmp_path: Path) -> None:
    async with desk(kind, tmp_path) as orm:
        data = {"name": "Ann", "profile": {"bio": "b"}, "orders": [{"number": "A1"}]}
        ann = await orm.create_nested(Customer, data)
        assert await orm.delete_item(Customer, ann.id, deep=True) == 1
        assert await outside(orm, select(Order.number, Order.customer_id)) == [("A1", None)]
        assert await outside(orm, select(Profile.id)) == []


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_a_flat_delete_leaves_the_rest_to_the_database(kind: str, tmp_path: Path) -> None:
    async with desk(kind, tmp_path) as orm:
        order = await orm.create_nested(Order, FULL)
        with pytest.raises(IntegrityError):
            await orm.delete_item(Order, order.id)
        assert await outside(orm, select(Order.number)) == ["A1"]
        node = await orm.create_item(Node(name="n"))
        with statements_of(orm.asession) as sent:
            assert await orm.delete_item(Node, node.id) == 1
        assert len(sent) == 1


# ---------------------------------------------------------------------- transactions


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_without_commit_writes_wait_for_the_owner_of_the_transaction(
    kind: str, tmp_path: Path
) -> None:
    async with desk(kind, tmp_path, commit=False, expire_on_commit=True) as orm:
        order = await orm.create_nested(Order, FULL)
        tag = await orm.create_item(Tag(name="blue"))
        await orm.update_item(Order, order.id, {"number": "B"})
        changed = await orm.update_item(Order, order.id, {"tags": [{"id": tag.id}]}, deep=True)
        assert changed is not None
        assert (changed.number, {each.name for each in changed.tags}) == ("B", {"blue"})
        assert await orm.delete_item(Order, order.id, deep=True) == 1
        await orm.asession.rollback()
        assert await orm.get_list(Order) == await orm.get_list(Tag) == []


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_a_refresh_loads_all_that_is_related_as_it_is_now(kind: str, tmp_path: Path) -> None:
    async with warehouse(kind, tmp_path) as database, database.session() as session:
        orm = OrmAsync(session)
        order = await orm.create_item(Order(number="A1", lines=[Line(product="x")]))
        async with database.session() as other:
            other.add(Line(product="y", order_id=order.id))
            await other.commit()
        order.note = "unsaved"
        assert await orm.eager_refresh(order) is order
        assert [each.product for each in order.lines] == ["x", "y"]
        assert (order.note, order.tags) == ("unsaved", set())
        await session.commit()
        async with database.session() as other:
            await OrmAsync(other).delete_item(Order, order.id, deep=True)
        with pytest.raises(ChangedMeanwhile, match="the Order is not there any more"):
            await orm.eager_refresh(order, OrderOut)


@async_test
async def test_a_row_met_on_two_ways_keeps_what_both_led_to(tmp_path: Path) -> None:
    class Up(Schema):
        name: str

    class Down(Schema):
        name: str
        parent: Up | None

    class Both(Schema):
        name: str
        parent: Down | None
        children: list[Down]

    async with desk("sqlite", tmp_path) as orm:
        data = {"name": "m", "parent": {"name": "t"}, "children": [{"name": "a"}, {"name": "b"}]}
        middle = await orm.create_nested(Node, data, schema=Both)
        shown = Both.model_validate(await orm.eager_refresh(middle, Both))
        assert [each.name for each in shown.children] == ["a", "b"]
        assert shown.parent is not None
        assert shown.parent.name == "t"
        changed = await orm.update_item(
            Node,
            middle.id,
            {
                "parent": {"id": middle.parent_id, "children": [{"id": middle.id}]},
                "children": [
                    {"id": each.id, "parent": {"id": middle.id}} for each in middle.children
                ],
            },
            deep=True,
            schema=Both,
        )
        assert Both.model_validate(changed) == shown
