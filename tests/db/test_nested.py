"""Deep writes: what an object owns is written with it, and what it only links to stays as it is."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from backstay.db.drafts import read_draft
from backstay.db.mapping import mapper_of
from backstay.db.nested import create_nested, deep_instance, update_nested, write_change
from backstay.db.refusals import (
    BadNested,
    ChangedMeanwhile,
    ForeignChild,
    SharedRow,
    UnknownRelated,
)
from tests.db.places import EVERY_KIND
from tests.db.warehouse import (
    Base,
    Book,
    Car,
    Counted,
    Customer,
    Kind,
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


@asynccontextmanager
async def at_work(kind: str, folder: Path) -> AsyncIterator[AsyncSession]:
    async with warehouse(kind, folder) as database, database.session() as session:
        yield session


async def rows(session: AsyncSession, model: type[Base], *names: str) -> list[Any]:
    """What stands in a table, by its key, without the session's objects having a say."""
    table = model.__table__
    found = await session.execute(
        select(*(table.c[name] for name in names)).order_by(*table.primary_key)
    )
    return [row[0] if len(names) == 1 else tuple(row) for row in found]


async def count(session: AsyncSession, model: type[Base]) -> int:
    return int(await session.scalar(select(func.count()).select_from(model.__table__)) or 0)


FULL: dict[str, Any] = {
    "number": "A1",
    "customer": {"name": "Ann", "profile": {"bio": "short"}},
    "lines": [{"product": "tea", "notes": [{"text": "hot"}]}, {"product": "cup", "quantity": 3}],
    "tags": [{"name": "red"}, {"name": "blue"}],
    "slots": [{"position": 7, "label": "left"}],
}


# ---------------------------------------------------------------------- creating


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_a_tree_is_written_with_all_that_is_in_it(kind: str, tmp_path: Path) -> None:
    async with at_work(kind, tmp_path) as session:
        order = await create_nested(session, Order, FULL)
        await session.commit()
        assert await rows(session, Order, "number", "customer_id") == [("A1", order.customer_id)]
        assert await rows(session, Line, "product", "quantity") == [("tea", 1), ("cup", 3)]
        assert await rows(session, Note, "text") == ["hot"]
        assert sorted(await rows(session, Tag, "name")) == ["blue", "red"]
        assert await rows(session, Slot, "order_id", "position") == [(order.id, 7)]
        assert await rows(session, Profile, "bio") == ["short"]


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_rows_that_are_linked_are_looked_up_by_one_query_for_each_class(
    kind: str, tmp_path: Path
) -> None:
    async with at_work(kind, tmp_path) as session:
        tags = [Tag(name=f"t{i}") for i in range(20)]
        ann = Customer(name="Ann")
        session.add_all([*tags, ann])
        await session.commit()
        session.expunge_all()
        data = {"customer": {"id": ann.id}, "tags": [{"id": each.id} for each in tags]}
        with statements_of(session) as sent:
            order = await create_nested(session, Order, data)
        assert len([each for each in sent if each.startswith("SELECT")]) == 2
        assert order.customer is not None
        assert len(order.tags) == 20
        assert await count(session, Tag) == 20


class LineIn(BaseModel):
    id: int | None = None
    product: str
    quantity: int = 4
    notes: list[dict[str, Any]] = []


class OrderIn(BaseModel):
    id: int | None = None
    number: str = "none"
    kind: Kind | None = None
    lines: list[LineIn] = []


@async_test
async def test_a_models_defaults_count_for_what_is_new_and_what_was_sent_for_what_is_there(
    tmp_path: Path,
) -> None:
    async with at_work("sqlite", tmp_path) as session:
        order = await create_nested(session, Order, OrderIn(lines=[LineIn(product="tea")]))
        assert await rows(session, Order, "number", "kind") == [("none", Kind.PLAIN)]
        assert await rows(session, Line, "quantity") == [4]
        tea = LineIn(id=order.lines[0].id, product="green tea")
        order.number, order.lines[0].quantity = "B2", 9
        await update_nested(session, order, OrderIn(lines=[tea, LineIn(product="cup")]))
        assert await rows(session, Order, "number") == ["B2"]
        assert await rows(session, Line, "product", "quantity") == [("green tea", 9), ("cup", 4)]


@async_test
async def test_fields_go_to_the_attributes_that_they_are_read_from(tmp_path: Path) -> None:
    class In(BaseModel):
        model_config = {"populate_by_name": True}
        title: str = Field(validation_alias="number")
        reference: str | None = None

    async with at_work("sqlite", tmp_path) as session:
        order = await create_nested(session, Order, In(title="A1"))
        assert order.number == "A1"
        await update_nested(session, order, {"reference": "A2"})
        assert order.number == "A2"


@async_test
async def test_a_hybrid_with_a_setter_can_be_set(tmp_path: Path) -> None:
    async with at_work("sqlite", tmp_path) as session:
        order = await create_nested(session, Order, {"loud_note": "HELLO"})
        assert await rows(session, Order, "note") == ["hello"]
        assert order.loud_note == "HELLO"


@async_test
async def test_models_inside_json_are_stored_as_json(tmp_path: Path) -> None:
    class Size(BaseModel):
        width: int

    async with at_work("sqlite", tmp_path) as session:
        data = {"extra": {"sizes": [Size(width=1)], "one": Size(width=2)}}
        order = await create_nested(session, Order, data)
        await session.commit()
        await session.refresh(order)
        assert order.extra == {"sizes": [{"width": 1}], "one": {"width": 2}}


@async_test
async def test_an_object_of_the_class_may_stand_for_its_data(tmp_path: Path) -> None:
    async with at_work("sqlite", tmp_path) as session:
        ann = Customer(name="Ann")
        session.add(ann)
        await session.commit()
        data = {"customer": ann, "lines": [Line(product="tea")], "tags": {Tag(name="red")}}
        order = await create_nested(session, Order, data)
        assert order.customer_id == ann.id
        assert await rows(session, Line, "product") == ["tea"]
        other = await create_nested(session, Order, {"tags": list(order.tags)})
        with pytest.raises(ForeignChild, match="lines.0: is not this one's"):
            await update_nested(session, other, {"lines": [order.lines[0]]})
        await update_nested(session, order, {"lines": [order.lines[0], Line(product="cup")]})
        assert await rows(session, Line, "product") == ["tea", "cup"]


# ---------------------------------------------------------------------- owned children


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_children_are_changed_made_and_deleted_as_the_list_says(
    kind: str, tmp_path: Path
) -> None:
    async with at_work(kind, tmp_path) as session:
        order = await create_nested(session, Order, FULL)
        tea = order.lines[0]
        await session.commit()
        data = {"lines": [{"product": "spoon"}, {"id": tea.id, "quantity": 2}]}
        assert await update_nested(session, order, data) is order
        await session.commit()
        assert await rows(session, Line, "product", "quantity") == [("tea", 2), ("spoon", 1)]
        assert await rows(session, Note, "text") == ["hot"]
        assert await rows(session, Order, "number") == ["A1"]
        await update_nested(session, order, {"lines": []})
        assert await count(session, Line) == await count(session, Note) == 0


@async_test
async def test_what_is_not_named_stays_as_it_is(tmp_path: Path) -> None:
    async with at_work("sqlite", tmp_path) as session:
        order = await create_nested(session, Order, FULL)
        await session.commit()
        with statements_of(session) as sent:
            await update_nested(session, order, {"note": "soon"})
        assert len(sent) == 2  # one to read, one to write
        assert await rows(session, Order, "number", "note") == [("A1", "soon")]
        assert await count(session, Line) == 2


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_rows_are_loaded_by_one_query_for_each_relation_however_many_there_are(
    kind: str, tmp_path: Path
) -> None:
    async with at_work(kind, tmp_path) as session:
        lines = [{"product": f"p{i}", "notes": [{"text": "n"}] * 3} for i in range(30)]
        order = await create_nested(session, Order, {"lines": lines})
        await session.commit()
        sent_back = [
            {"id": line.id, "quantity": 2, "notes": [{"id": note.id} for note in line.notes]}
            for line in order.lines
        ]
        session.expunge_all()
        with statements_of(session) as sent:
            await write_change(session, Order, (order.id,), {"lines": sent_back})
        assert len([each for each in sent if each.startswith("SELECT")]) == 3
        session.expunge_all()
        with statements_of(session) as sent:
            await write_change(session, Order, (order.id,), {"lines": []})
        assert len([each for each in sent if each.startswith("SELECT")]) <= 4
        assert await count(session, Note) == 0


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_a_child_of_another_parent_is_never_taken(kind: str, tmp_path: Path) -> None:
    async with at_work(kind, tmp_path) as session:
        mine = await create_nested(session, Order, {"lines": [{"product": "tea"}]})
        other = await create_nested(session, Order, {"lines": [{"product": "cup"}]})
        await session.commit()
        taken = {"lines": [{"id": other.lines[0].id, "product": "stolen"}]}
        with pytest.raises(ForeignChild, match=r"^lines\.0: Line with id=2 is not among") as found:
            await update_nested(session, mine, taken)
        assert found.value.loc == ("lines", 0)
        with pytest.raises(ForeignChild, match="is not among the lines here"):
            await create_nested(session, Order, taken)
        with pytest.raises(ForeignChild, match="leave the key out"):
            await update_nested(session, mine, {"lines": [{"id": 999}]})
        # Nothing was changed by that: committing writes nothing.
        with statements_of(session) as sent:
            await session.commit()
        assert sent == []
        assert await rows(session, Line, "order_id", "product") == [
            (mine.id, "tea"),
            (other.id, "cup"),
        ]


@async_test
async def test_a_childs_foreign_key_is_its_parents_business(tmp_path: Path) -> None:
    async with at_work("sqlite", tmp_path) as session:
        order = await create_nested(session, Order, {"lines": [{"product": "tea"}]})
        other = await create_nested(session, Order, {})
        line = {"id": order.lines[0].id, "order_id": order.id, "doubled": 2}
        await update_nested(
            session, order, {"lines": [line, {"product": "x", "order_id": order.id}]}
        )
        assert await rows(session, Line, "order_id") == [order.id, order.id]
        for moved in ({**line, "order_id": other.id}, {"product": "x", "order_id": other.id}):
            with pytest.raises(ForeignChild, match=r"lines\.0\.order_id: is 2, which is not"):
                await update_nested(session, order, {"lines": [moved]})
        with pytest.raises(ForeignChild, match=r"lines\.0\.order_id"):
            await create_nested(session, Order, {"lines": [{"product": "x", "order_id": order.id}]})


@async_test
async def test_the_way_back_from_a_child_leads_to_its_parent_or_nowhere(tmp_path: Path) -> None:
    async with at_work("sqlite", tmp_path) as session:
        order = await create_nested(session, Order, {"number": "a", "lines": [{"product": "tea"}]})
        other = await create_nested(session, Order, {})
        line = {"id": order.lines[0].id, "order": {"id": order.id, "number": "as it was"}}
        data = {"lines": [line, {"product": "cup", "order": {"id": order.id}}]}
        await update_nested(session, order, data)
        assert await rows(session, Line, "order_id") == [order.id, order.id]
        assert await rows(session, Order, "number") == ["a", None]
        for parent in ({"id": other.id}, {"number": "stray"}):
            with pytest.raises(ForeignChild, match=r"lines\.0\.order: is not its parent here"):
                await update_nested(session, order, {"lines": [{**line, "order": parent}]})
            data = {"lines": [{"product": "x", "order": parent}]}
            with pytest.raises(ForeignChild, match=r"lines\.0\.order"):
                await create_nested(session, Order, data)
        assert await count(session, Order) == 2


@async_test
async def test_the_one_child_of_a_relation_to_one_is_changed_in_its_place(tmp_path: Path) -> None:
    async with at_work("sqlite", tmp_path) as session:
        ann = await create_nested(session, Customer, {"name": "Ann", "profile": {"bio": "a"}})
        assert ann.profile is not None
        first = ann.profile.id
        await update_nested(session, ann, {"profile": {"bio": "b"}})
        await update_nested(session, ann, {"profile": {"id": first, "bio": "c"}})
        assert await rows(session, Profile, "id", "bio") == [(first, "c")]
        with pytest.raises(ForeignChild):
            await update_nested(session, ann, {"profile": {"id": first + 1}})
        await update_nested(session, ann, {"profile": None})
        assert await count(session, Profile) == 0
        await update_nested(session, ann, {"profile": None})
        await update_nested(session, ann, {"profile": {"bio": "d"}})
        assert await rows(session, Profile, "bio") == ["d"]


@async_test
async def test_a_new_child_may_have_what_its_deleted_predecessor_had(tmp_path: Path) -> None:
    """Deleted before it is inserted: else a unique key would be there twice."""
    async with at_work("sqlite", tmp_path) as session:
        shelf = await create_nested(session, Counted, {"name": "depot", "version": None})
        assert shelf.version == 1
        order = await create_nested(session, Order, {"slots": [{"position": 1, "label": "a"}]})
        data = {"slots": [{"position": 2, "label": "b"}, {"position": 1, "label": "c"}]}
        await update_nested(session, order, data)
        assert await rows(session, Slot, "position", "label") == [(1, "c"), (2, "b")]
        await update_nested(session, order, {"slots": [{"position": 3}]})
        await update_nested(session, order, {"slots": [{"position": 1}, {"position": 3}]})
        assert await rows(session, Slot, "position", "label") == [(1, None), (3, None)]


@async_test
async def test_a_key_in_part_its_parents_needs_only_its_own_part(tmp_path: Path) -> None:
    async with at_work("sqlite", tmp_path) as session:
        order = await create_nested(session, Order, {"slots": [{"position": 1, "label": "a"}]})
        other = await create_nested(session, Order, {"slots": [{"position": 1, "label": "b"}]})
        slot = {"order_id": order.id, "position": 1, "label": "c"}
        await update_nested(session, order, {"slots": [slot]})
        assert await rows(session, Slot, "order_id", "label") == [(order.id, "c"), (other.id, "b")]
        with pytest.raises(ForeignChild):
            await update_nested(session, order, {"slots": [{**slot, "order_id": other.id}]})
        with pytest.raises(BadNested, match=r"slots\.1: is there twice"):
            await update_nested(session, order, {"slots": [slot, slot]})


@async_test
async def test_a_natural_key_that_somebody_else_has_is_refused(tmp_path: Path) -> None:
    async with at_work("sqlite", tmp_path) as session:
        await create_nested(session, Shelf, {"name": "a", "books": [{"isbn": "1"}]})
        for_b = {"name": "b", "books": [{"isbn": "2"}, {"isbn": "1", "title": "stolen"}]}
        with pytest.raises(ForeignChild, match=r"books\.1: Book with isbn='1' is there already"):
            await create_nested(session, Shelf, for_b)
        assert await rows(session, Book, "isbn", "title") == [("1", None)]
        shelf = await create_nested(session, Shelf, {"name": "b", "books": [{"isbn": "2"}]})
        await update_nested(session, shelf, {"books": [{"isbn": "2", "title": "two"}]})
        assert await rows(session, Book, "isbn", "title") == [("1", None), ("2", "two")]


@async_test
async def test_a_child_that_outlives_being_left_out_and_needs_a_parent_cannot_be_left_out(
    tmp_path: Path,
) -> None:
    async with at_work("sqlite", tmp_path) as session:
        shelf = await create_nested(session, Shelf, {"name": "a", "books": [{"isbn": "1"}]})
        with pytest.raises(BadNested, match=r"books: leaves out Book with isbn='1'.*delete-orphan"):
            await update_nested(session, shelf, {"books": []})
        assert await rows(session, Book, "isbn") == ["1"]


@async_test
async def test_a_tree_of_one_class_is_written_as_deep_as_it_goes(tmp_path: Path) -> None:
    async with at_work("sqlite", tmp_path) as session:
        data: dict[str, Any] = {"name": "10"}
        for level in range(9, -1, -1):
            data = {"name": str(level), "children": [data]}
        root = await create_nested(session, Node, data)
        assert await rows(session, Node, "name") == [str(level) for level in range(11)]
        with pytest.raises(BadNested, match="nested more than 10 deep"):
            await create_nested(session, Node, {"name": "-1", "children": [data]})
        around: dict[str, Any] = {"name": "round"}
        around["children"] = [around]
        with pytest.raises(BadNested, match="nested more than 10 deep"):
            await update_nested(session, root, around)
        # What is left out goes with all that is below it, deeper than any data could say.
        leaf = (await session.scalars(select(Node).where(Node.name == "10"))).one()
        await update_nested(session, leaf, {"children": data["children"]})
        assert await count(session, Node) == 21
        session.expunge_all()
        await write_change(session, Node, (root.id,), {"children": [{"name": "new"}]})
        assert await rows(session, Node, "name") == ["0", "new"]


@async_test
async def test_a_child_may_be_changed_and_moved_below_its_tree_by_no_guess(tmp_path: Path) -> None:
    async with at_work("sqlite", tmp_path) as session:
        root = await create_nested(
            session, Node, {"name": "r", "children": [{"name": "a"}, {"name": "b"}]}
        )
        a, b = root.children
        with pytest.raises(ForeignChild):
            await update_nested(
                session, root, {"children": [{"id": a.id, "children": [{"id": b.id}]}]}
            )
        linked = {"children": [{"id": a.id, "parent": {"id": root.id}}, {"id": b.id}]}
        await update_nested(session, root, linked)
        assert await rows(session, Node, "name", "parent_id") == [
            ("r", None),
            ("a", root.id),
            ("b", root.id),
        ]


# ---------------------------------------------------------------------- links


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_links_are_replaced_and_shared_rows_stay(kind: str, tmp_path: Path) -> None:
    async with at_work(kind, tmp_path) as session:
        red, blue, green = Tag(name="red"), Tag(name="blue"), Tag(name="green")
        session.add_all([red, blue, green])
        order = await create_nested(session, Order, {"tags": [red, blue]})
        other = await create_nested(session, Order, {"tags": [red]})
        await session.commit()
        data = {"tags": [{"id": blue.id, "name": "blue"}, {"id": green.id}, {"name": "new"}]}
        await update_nested(session, order, data)
        assert {each.name for each in order.tags} == {"blue", "green", "new"}
        await update_nested(session, order, {"tags": []})
        assert await count(session, Tag) == 4
        assert (
            await session.scalar(select(func.count()).select_from(Order.tags.prop.secondary))
        ) == 1
        found = await session.scalars(
            select(Order).where(Order.id == other.id).options(selectinload(Order.tags))
        )
        assert {each.name for each in found.one().tags} == {"red"}


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_a_shared_row_is_never_changed_by_a_link_to_it(kind: str, tmp_path: Path) -> None:
    async with at_work(kind, tmp_path) as session:
        ann = Customer(name="Ann", secret="swordfish")
        red = Tag(name="red")
        session.add_all([ann, red])
        await session.commit()
        order = await create_nested(session, Order, {"customer": {"id": ann.id, "name": "Ann"}})
        for data in (
            {"customer": {"id": ann.id, "name": "Bob"}},
            {"customer": {"id": ann.id, "secret": "guess"}},
            {"tags": [{"id": red.id, "name": "pink"}]},
        ):
            with pytest.raises(SharedRow, match="is not what it is") as found:
                await update_nested(session, order, data)
            assert "swordfish" not in str(found.value)
            with pytest.raises(SharedRow):
                await create_nested(session, Order, data)
        await session.commit()
        assert await rows(session, Customer, "name", "secret") == [("Ann", "swordfish")]
        assert await rows(session, Tag, "name") == ["red"]


@async_test
async def test_what_was_read_can_be_sent_back_with_all_that_is_behind_links(tmp_path: Path) -> None:
    async with at_work("sqlite", tmp_path) as session:
        ann = await create_nested(session, Customer, {"name": "Ann", "profile": {"bio": "x"}})
        assert ann.profile is not None
        order = await create_nested(session, Order, {"customer": {"id": ann.id}})
        back: dict[str, Any] = {
            "id": order.id,
            "customer_id": ann.id,
            "kind": "PLAIN",
            "made_at": order.made_at,
            "customer": {"id": ann.id, "profile": {"id": ann.profile.id, "bio": "x"}},
        }
        await update_nested(session, order, back)
        for profile in ({"id": ann.profile.id, "bio": "y"}, {"bio": "y"}, None, {"id": 99}):
            back["customer"]["profile"] = profile
            with pytest.raises(SharedRow, match=r"customer\.profile"):
                await update_nested(session, order, back)
        assert await rows(session, Profile, "bio") == ["x"]


@pytest.mark.parametrize(
    ("data", "loc"),
    [
        ({"customer": {"id": 7}}, ("customer",)),
        ({"tags": [{"id": 7}]}, ("tags", 0)),
        ({"tags": [{"id": "seven"}]}, ("tags", 0)),
        ({"tags": [{"id": 2**70}]}, ("tags", 0)),
    ],
    ids=["customer", "tag", "no key", "beyond"],
)
@async_test
async def test_a_row_to_link_to_has_to_be_there(
    data: dict[str, Any], loc: tuple[str | int, ...], tmp_path: Path
) -> None:
    async with at_work("sqlite", tmp_path) as session:
        order = await create_nested(session, Order, {})
        for writing in (create_nested(session, Order, data), update_nested(session, order, data)):
            with pytest.raises(
                UnknownRelated, match="there is no (Customer|Tag) with id="
            ) as found:
                await writing
            assert found.value.loc == loc
        await session.commit()
        assert await count(session, Order) == 1


@async_test
async def test_a_relation_to_one_is_linked_anew_made_and_let_go(tmp_path: Path) -> None:
    async with at_work("sqlite", tmp_path) as session:
        order = await create_nested(session, Order, {"customer": {"name": "Ann"}})
        await update_nested(session, order, {"customer": {"name": "Bob"}})
        assert await rows(session, Customer, "name") == ["Ann", "Bob"]
        await update_nested(session, order, {"customer": {"id": 1}})
        assert order.customer_id == 1
        await update_nested(session, order, {"customer": None})
        assert await rows(session, Order, "customer_id") == [None]
        assert await count(session, Customer) == 2
        line = await create_nested(session, Line, {"product": "tea", "order": {"id": order.id}})
        with pytest.raises(BadNested, match="order: cannot be null"):
            await update_nested(session, line, {"order": None})


@async_test
async def test_a_foreign_key_sent_with_its_relation_has_to_agree(tmp_path: Path) -> None:
    async with at_work("sqlite", tmp_path) as session:
        session.add_all([Customer(name="Ann"), Customer(name="Bob")])
        await session.commit()
        order = await create_nested(session, Order, {"customer_id": 1, "customer": {"id": 1}})
        for data in (
            {"customer_id": 2, "customer": {"id": 1}},
            {"customer_id": 1, "customer": None},
            {"customer_id": 1, "customer": {"name": "Eve"}},
        ):
            with pytest.raises(BadNested, match="customer_id: does not agree with customer"):
                await update_nested(session, order, data)
        await update_nested(session, order, {"customer_id": 2})
        assert await rows(session, Order, "customer_id") == [2]


@async_test
async def test_children_that_are_not_owned_are_linked_while_nobody_has_them(tmp_path: Path) -> None:
    async with at_work("sqlite", tmp_path) as session:
        free, taken = Member(name="free"), Member(name="taken")
        session.add_all([free, taken])
        other = await create_nested(session, Shelf, {"name": "b", "members": [taken]})
        shelf = await create_nested(session, Shelf, {"name": "a", "members": [{"name": "new"}]})
        new = shelf.members[0]
        sent = {"members": [{"id": free.id, "shelf_id": shelf.id}, {"id": new.id, "name": "new"}]}
        await update_nested(session, shelf, sent)
        assert await rows(session, Member, "shelf_id") == [shelf.id, other.id, shelf.id]
        for write in (
            update_nested(session, shelf, {"members": [{"id": taken.id}]}),
            create_nested(session, Shelf, {"name": "c", "members": [{"id": taken.id}]}),
        ):
            with pytest.raises(ForeignChild, match=r"members\.0: belongs to another one"):
                await write
        with pytest.raises(SharedRow):
            await update_nested(session, shelf, {"members": [{"id": free.id, "name": "other"}]})
        await update_nested(session, shelf, {"members": [{"id": new.id}]})
        assert await rows(session, Member, "shelf_id") == [None, other.id, shelf.id]


@async_test
async def test_what_leads_back_to_itself_is_refused(tmp_path: Path) -> None:
    async with at_work("sqlite", tmp_path) as session:
        node = await create_nested(session, Node, {"name": "a", "children": [{"name": "b"}]})
        key = node.id
        with pytest.raises(BadNested, match="leads back to where it began"):
            await update_nested(session, node, {"parent": {"id": key}})
        await session.rollback()


@async_test
async def test_a_row_is_linked_once(tmp_path: Path) -> None:
    async with at_work("sqlite", tmp_path) as session:
        order = await create_nested(session, Order, {"tags": [{"name": "red"}]})
        for tag in ({"id": 1}, {"id": 1, "name": "red"}):
            with pytest.raises(BadNested, match=r"tags\.1: is there twice"):
                await update_nested(session, order, {"tags": [{"id": 1}, tag]})
            with pytest.raises(BadNested, match=r"tags\.1: is there twice"):
                await create_nested(session, Order, {"tags": [{"id": 1}, tag]})


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        (Order, {"colour": 1}, r"^colour: there is no such field\. Order has customer, "),
        (Order, {"lines": [{"colour": 1}]}, r"^lines\.0\.colour: there is no such field"),
        (Order, {"lines": None}, "lines: is a list, empty for none; got NoneType"),
        (Order, {"lines": {"product": "x"}}, "lines: is a list, empty for none; got dict"),
        (Order, {"lines": "abc"}, "lines: is a list"),
        (Order, {"tags": [1]}, r"tags\.0: is an object with fields; got int"),
        (Order, {"tags": [{"id": [1]}]}, r"tags\.0\.id: a key is one plain value"),
        (Order, {"customer": 5}, "customer: is an object with fields; got int"),
        (Order, {"tag_names": ["x"]}, "tag_names: there is no such field"),
        (Shelf, {"latest": []}, "latest: is there to be read only"),
        (Shelf, {"visits": {"a": {"name": "a"}}}, "visits: cannot be written together"),
        (Customer, {"shout": "x"}, "shout: there is no such field"),
        (Line, {"doubled": 4}, "doubled: is filled in by the database"),
        (Counted, {"length": 4}, "length: is filled in by the database"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
@async_test
async def test_data_of_another_shape_is_refused(
    model: type[Base], data: dict[str, Any], message: str, tmp_path: Path
) -> None:
    async with at_work("sqlite", tmp_path) as session:
        with pytest.raises(BadNested, match=message) as found:
            await create_nested(session, model, data)
        assert "Order has" not in found.value.public_detail
        assert not session.new


@async_test
async def test_what_stands_fixed_is_not_changed_and_does_no_harm_when_it_is_the_same(
    tmp_path: Path,
) -> None:
    async with at_work("sqlite", tmp_path) as session:
        line = await create_nested(session, Line, {"product": "x", "order": {"number": "1"}})
        await update_nested(session, line, {"id": line.id, "doubled": 2, "product": "y"})
        for name in ("id", "doubled"):
            with pytest.raises(BadNested, match=f"{name}: cannot be changed"):
                await update_nested(session, line, {name: 77})
        assert await rows(session, Line, "product") == ["y"]


# ---------------------------------------------------------------------- classes with a say


@async_test
async def test_a_child_is_of_the_class_that_the_data_says(tmp_path: Path) -> None:
    async with at_work("sqlite", tmp_path) as session:
        data = {
            "name": " depot ",
            "vehicles": [{"name": "bike"}, {"type": "car", "name": "vw", "doors": 3}],
        }
        depot = await create_nested(session, Counted, data)
        assert depot.name == "depot"
        assert [type(each) for each in depot.vehicles] == [Vehicle, Car]
        bike, car = depot.vehicles
        data = {
            "vehicles": [
                {"id": car.id, "type": "car", "name": "bmw", "doors": 5},
                {"id": bike.id, "type": "vehicle", "name": "trike"},
            ]
        }
        await update_nested(session, depot, data)
        assert await rows(session, Vehicle, "name", "type") == [
            ("trike", "vehicle"),
            ("bmw", "car"),
        ]
        assert (await session.scalar(select(Car.__table__.c.doors))) == 5
        with pytest.raises(BadNested, match=r"vehicles\.0\.type: cannot be changed"):
            await update_nested(session, depot, {"vehicles": [{"id": bike.id, "type": "car"}]})
        with pytest.raises(BadNested, match=r"vehicles\.0\.doors: there is no such field"):
            await update_nested(session, depot, {"vehicles": [{"name": "x", "doors": 2}]})
        await update_nested(session, depot, {"vehicles": []})
        assert await count(session, Vehicle) == 0


@async_test
async def test_versions_are_counted_and_another_version_is_a_conflict(tmp_path: Path) -> None:
    async with at_work("sqlite", tmp_path) as session:
        depot = await create_nested(session, Counted, {"name": "a"})
        await update_nested(session, depot, {"name": "b", "version": 1})
        assert await rows(session, Counted, "version") == [2]
        with pytest.raises(ChangedMeanwhile, match="is not in version 1 any more"):
            await update_nested(session, depot, {"name": "c", "version": 1})
        assert await rows(session, Counted, "name") == ["b"]


# ---------------------------------------------------------------------- others at work


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_what_others_wrote_meanwhile_is_seen(kind: str, tmp_path: Path) -> None:
    """The session has read the order and its lines before, and keeps what it has read."""
    async with warehouse(kind, tmp_path) as database, database.session() as session:
        order = await create_nested(session, Order, {"lines": [{"product": "tea"}]})
        await session.commit()
        async with database.session() as other:
            other.add(Line(product="late", order_id=order.id))
            await other.commit()
        await update_nested(session, order, {"lines": [{"id": order.lines[0].id}]})
        assert await rows(session, Line, "product") == ["tea"]


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_a_row_that_is_gone_is_said_to_be_and_nothing_is_written(
    kind: str, tmp_path: Path
) -> None:
    async with warehouse(kind, tmp_path) as database, database.session() as session:
        node = await create_nested(session, Node, {"name": "a", "children": [{"name": "b"}]})
        child = node.children[0]
        await session.commit()
        async with database.session() as other:
            await other.delete(await other.get_one(Node, child.id))
            await other.delete(await other.get_one(Node, node.id))
            await other.commit()
        with pytest.raises(ChangedMeanwhile, match="is not there any more"):
            await update_nested(session, node, {"children": [{"name": "c"}]})
        assert await write_change(session, Node, (node.id,), {"name": "x"}) is None
        await session.rollback()
        assert await count(session, Node) == 0


@pytest.mark.parametrize("kind", EVERY_KIND[1:])
@async_test
async def test_a_parent_is_locked_so_that_changes_wait_for_each_other(
    kind: str, tmp_path: Path
) -> None:
    async with warehouse(kind, tmp_path) as database, database.session() as session:
        order = await create_nested(session, Order, {"lines": []})
        await session.commit()

        async def add(number: int) -> None:
            async with database.session() as mine:
                draft = await write_change(mine, Order, (order.id,), {"note": str(number)})
                assert draft is not None
                found: Order = draft.obj
                await mine.refresh(found, ["lines"])
                kept = [{"id": each.id} for each in found.lines]
                data = {"lines": [*kept, {"product": str(number)}]}
                await update_nested(mine, found, data)
                await mine.commit()

        async with asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(add(number))
        assert sorted(await rows(session, Line, "product")) == list("012345")


@pytest.mark.parametrize("kind", EVERY_KIND[1:])
@async_test
async def test_a_child_that_goes_while_it_is_changed_is_a_conflict(
    kind: str, tmp_path: Path
) -> None:
    async with warehouse(kind, tmp_path) as database, database.session() as session:
        order = await create_nested(session, Order, {"lines": [{"product": "a"}]})
        line = order.lines[0]
        await session.commit()
        async with database.session() as other:
            # It holds the line, and lets go of it when the change is waiting for it.
            await other.delete(await other.get_one(Line, line.id))
            await other.flush()
            data = {"number": "9", "lines": [{"id": line.id, "product": "b"}]}
            pid = await session.scalar(select(func.pg_backend_pid()))
            change = asyncio.create_task(update_nested(session, order, data))
            async with database.session() as watching:
                blocked = select(func.cardinality(func.pg_blocking_pids(pid)))
                while not await watching.scalar(blocked):
                    pass
            await other.commit()
        with pytest.raises(ChangedMeanwhile, match="somebody else has deleted or changed"):
            await change
        await session.rollback()
        assert await rows(session, Order, "number") == [None]


# ---------------------------------------------------------------------- deep_instance


def test_a_deep_instance_is_all_new_and_asks_nobody() -> None:
    order = deep_instance(Order, OrderIn(number="1", lines=[LineIn(product="tea")]))
    assert (order.number, order.lines[0].product, order.lines[0].quantity) == ("1", "tea", 4)
    customer = deep_instance(Customer, {"id": 5, "name": "Ann", "profile": None, "orders": [order]})
    assert (customer.id, customer.profile, order.customer) == (5, None, customer)
    with pytest.raises(BadNested, match="there is no such field"):
        deep_instance(Order, {"colour": 1})
    assert read_draft(mapper_of(Order), order).obj is order


def test_keys_of_uuids_may_be_texts() -> None:
    shelf = deep_instance(Shelf, {"id": uuid.UUID(int=1), "name": "x"})
    assert shelf.id == uuid.UUID(int=1)
