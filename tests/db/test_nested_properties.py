"""Whatever is written is what stands there; rows that are shared never change."""

from __future__ import annotations

import asyncio
import copy
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from backstay.db.database import Database
from backstay.db.orm import OrmAsync
from backstay.db.refusals import NestedError
from tests.db.places import EVERY_KIND, at
from tests.db.warehouse import Base, Customer, Line, Node, Note, Order, Slot, Tag

SHARED = 4
"""Tags and customers that everybody may link to; their keys are 1 to this."""

EXAMPLES = {"sqlite": 60}
"""Elsewhere, where each statement travels, it is fewer."""


class NodeOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    name: str
    children: list[NodeOut]


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=5)
notes = st.fixed_dictionaries({"text": texts})
lines = st.fixed_dictionaries(
    {"product": texts},
    optional={"quantity": st.integers(0, 99), "notes": st.lists(notes, max_size=3)},
)
slots = st.lists(
    st.fixed_dictionaries({"position": st.integers(0, 5)}, optional={"label": texts | st.none()}),
    max_size=3,
    unique_by=lambda slot: slot["position"],
)
tag_keys = st.lists(st.integers(1, SHARED), unique=True, max_size=SHARED)
orders = st.fixed_dictionaries(
    {},
    optional={
        "number": texts | st.none(),
        "lines": st.lists(lines, max_size=3),
        "slots": slots,
        "tags": tag_keys.map(lambda keys: [{"id": key} for key in keys]),
        "customer": st.none() | st.integers(1, SHARED).map(lambda key: {"id": key}),
    },
)


def shared_tags() -> list[tuple[Any, ...]]:
    return [(key, f"t{key}", f"secret {key}") for key in range(1, SHARED + 1)]


async def shared_rows(session: AsyncSession) -> tuple[list[Any], list[Any]]:
    """Those of the shared tables."""
    tags = select(Tag.id, Tag.name, Tag.secret).order_by(Tag.id)
    customers = select(Customer.id, Customer.name, Customer.secret).order_by(Customer.id)
    found = [list(map(tuple, await session.execute(each))) for each in (tags, customers)]
    return found[0], found[1]


async def standing(session: AsyncSession) -> dict[int, Any]:
    """All orders with all that is theirs, read row by row from the tables."""
    found: dict[int, Any] = {}
    for order in await session.execute(select(Order.id, Order.number, Order.customer_id)):
        found[order.id] = {
            "number": order.number,
            "customer": order.customer_id,
            "lines": [],
            "slots": {},
            "tags": set(),
        }
    by_line = {}
    columns = (Line.id, Line.order_id, Line.product, Line.quantity)
    for line in await session.execute(select(*columns).order_by(Line.id)):
        by_line[line.id] = {
            "id": line.id,
            "product": line.product,
            "quantity": line.quantity,
            "notes": [],
        }
        found[line.order_id]["lines"].append(by_line[line.id])
    for note in await session.execute(select(Note.id, Note.line_id, Note.text).order_by(Note.id)):
        by_line[note.line_id]["notes"].append({"id": note.id, "text": note.text})
    for slot in await session.execute(select(Slot.order_id, Slot.position, Slot.label)):
        found[slot.order_id]["slots"][slot.position] = slot.label
    for link in await session.execute(select(Order.tags.prop.secondary)):
        found[link.order_id]["tags"].add(link.tag_id)
    return found


class Model:
    """The same in plain Python: what the tables have to be."""

    def __init__(self) -> None:
        self.orders: dict[int, Any] = {}

    def create(self, key: int, data: dict[str, Any]) -> None:
        blank = {"number": None, "customer": None, "lines": [], "slots": {}, "tags": set()}
        self.orders[key] = blank
        self.update(key, data)

    def update(self, key: int, data: dict[str, Any]) -> None:
        order = self.orders[key]
        if "number" in data:
            order["number"] = data["number"]
        if "customer" in data:
            order["customer"] = data["customer"] and data["customer"]["id"]
        if "tags" in data:
            order["tags"] = {tag["id"] for tag in data["tags"]}
        if "slots" in data:
            order["slots"] = {
                slot["position"]: slot.get("label", order["slots"].get(slot["position"]))
                for slot in data["slots"]
            }
        if "lines" in data:
            order["lines"] = children(order["lines"], data["lines"], {"quantity": 1, "notes": []})


def children(now: list[Any], sent: list[Any], defaults: dict[str, Any]) -> list[Any]:
    """What children are after a list of them was sent."""
    by_key = {child["id"]: child for child in now}
    found = []
    for data in sent:
        child = {**copy.deepcopy(defaults), **by_key.get(data.get("id"), {}), "id": data.get("id")}
        child |= {name: value for name, value in data.items() if name != "notes"}
        if "notes" in data:
            child["notes"] = children(child["notes"], data["notes"], {})
        found.append(child)
    return found


def alike(stands: dict[int, Any], wanted: dict[int, Any]) -> bool:
    """Compare, whatever keys new children got, and in which order they were made."""

    def plain(order: dict[str, Any]) -> Any:
        def keyed(child: dict[str, Any], kind: str) -> Any:
            key = child["id"] if (kind, child["id"]) in known else None
            rest = {name: value for name, value in child.items() if name not in {"id", "notes"}}
            inner = sorted((keyed(note, "note") for note in child.get("notes", [])), key=repr)
            return (key, sorted(rest.items()), inner)

        return {
            **order,
            "lines": sorted((keyed(each, "line") for each in order["lines"]), key=repr),
        }

    known = {
        (kind, child["id"])
        for order in wanted.values()
        for line in order["lines"]
        for kind, child in (("line", line), *(("note", note) for note in line["notes"]))
    }
    return {key: plain(each) for key, each in stands.items()} == {
        key: plain(each) for key, each in wanted.items()
    }


def change_of(draw: Any, order: dict[str, Any]) -> dict[str, Any]:
    """A change of an order: some of its children kept, changed or left out, in any order."""
    data: dict[str, Any] = dict(draw(orders))
    if "lines" in data:
        data["lines"] = mixed(draw, order["lines"], data["lines"])
    return data


def mixed(draw: Any, now: list[Any], new: list[Any]) -> list[Any]:
    kept = []
    for child in now:
        if draw(st.booleans()):
            names = [name for name in child if name != "id"]
            sent = draw(st.sets(st.sampled_from(names))) if names else set()
            data: dict[str, Any] = {"id": child["id"]}
            if "product" in sent:
                data["product"] = draw(texts)
            if "text" in sent:
                data["text"] = draw(texts)
            if "quantity" in sent:
                data["quantity"] = draw(st.integers(0, 99))
            if "notes" in sent:
                data["notes"] = mixed(draw, child["notes"], draw(st.lists(notes, max_size=2)))
            kept.append(data)
    return list(draw(st.permutations([*kept, *new])))


def spoilt(draw: Any, model: Model, key: int) -> dict[str, Any]:
    """A change that has to be refused."""
    others = [
        line for other, each in model.orders.items() if other != key for line in each["lines"]
    ]
    wrong: list[dict[str, Any]] = [
        {"tags": [{"id": 1, "name": "changed"}]},
        {"tags": [{"id": SHARED + 1}]},
        {"customer": {"id": 1, "name": "changed"}},
        {"customer": {"id": SHARED + 7}},
        {"lines": [{"id": 10**6, "product": "x"}]},
        {"lines": [{"product": "x", "colour": 1}]},
        {"lines": [{"product": "x", "notes": [{"id": 10**6}]}]},
        {"id": key + 1},
    ]
    wrong += [{"lines": [{"id": line["id"], "product": "stolen"}]} for line in others]
    data: dict[str, Any] = dict(draw(st.sampled_from(wrong)))
    return {"number": "must not be seen", "slots": [{"position": 9}], **data}


async def emptied(session: AsyncSession) -> None:
    for table in reversed(Base.metadata.sorted_tables):
        await session.execute(table.delete())
    session.add_all([Tag(id=key, name=name, secret=said) for key, name, said in shared_tags()])
    session.add_all([Customer(id=key, name=name, secret=said) for key, name, said in shared_tags()])
    await session.commit()


async def run(database: Database, draw: Any) -> None:
    model = Model()
    async with closing(database), database.session() as session:
        await emptied(session)
        orm = OrmAsync(session)
        for _ in range(draw(st.integers(1, 6))):
            if draw(st.booleans()):
                session.expunge_all()  # whether the session knows the objects must not matter
            does = draw(st.sampled_from(["create", "update", "update", "spoil", "delete"]))
            key = draw(st.sampled_from(sorted(model.orders))) if model.orders else None
            if does == "create" or key is None:
                data = draw(orders)
                order = await orm.create_nested(Order, data)
                key = order.id
                model.create(key, data)
            elif does == "update":
                data = change_of(draw, model.orders[key])
                assert await orm.update_item(Order, key, data, deep=True) is not None
                model.update(key, data)
            elif does == "spoil":
                with pytest.raises(NestedError):
                    await orm.update_item(Order, key, spoilt(draw, model, key), deep=True)
            else:
                assert await orm.delete_item(Order, key, deep=True) == 1
                del model.orders[key]
            stands = await standing(session)
            assert alike(stands, model.orders), (stands, model.orders)
            assert await shared_rows(session) == (shared_tags(), shared_tags())
            await session.commit()
            model.orders = stands  # the keys of what is new are known now


@asynccontextmanager
async def closing(database: Database) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await database.close()  # the next example has an event loop of its own


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_what_is_written_in_any_order_is_what_stands_there(kind: str) -> None:
    with tempfile.TemporaryDirectory() as folder, at(kind, Path(folder)) as url:
        database = Database(url, options={"pool_size": 1, "max_overflow": 0})
        Base.metadata.create_all(database.engine)

        @settings(
            max_examples=EXAMPLES.get(kind, 10),
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        @given(st.data())
        def example(data: st.DataObject) -> None:
            asyncio.run(run(database, data.draw))

        example()


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_tree_that_was_written_is_read_back_the_same(kind: str) -> None:
    def shape(node: Any) -> Any:
        return (node.name, sorted((shape(each) for each in node.children), key=repr))

    def wanted(data: dict[str, Any]) -> Any:
        below = data.get("children", [])
        return (data["name"], sorted((wanted(each) for each in below), key=repr))

    nodes: Any = st.recursive(
        st.fixed_dictionaries({"name": texts}),
        lambda inner: st.fixed_dictionaries(
            {"name": texts, "children": st.lists(inner, max_size=3)}
        ),
        max_leaves=8,
    )
    with tempfile.TemporaryDirectory() as folder, at(kind, Path(folder)) as url:
        database = Database(url, options={"pool_size": 1, "max_overflow": 0})
        Base.metadata.create_all(database.engine)

        async def write_and_read(data: dict[str, Any]) -> None:
            async with closing(database), database.session() as session:
                key = (await OrmAsync(session).create_nested(Node, data)).id
            async with closing(database), database.session() as session:
                found = await OrmAsync(session).get_item(Node, key, schema=NodeOut)
                assert shape(NodeOut.model_validate(found)) == wanted(data)

        @settings(max_examples=EXAMPLES.get(kind, 10) // 2, deadline=None)
        @given(nodes)
        def example(data: dict[str, Any]) -> None:
            asyncio.run(write_and_read(data))

        example()
