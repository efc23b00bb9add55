"""What is deleted with an object is loaded by levels, and followed as its class declares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ForeignKey, delete, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from backstay.db.database import Database
from backstay.db.deletion import cascade_loading, load_cascades
from backstay.db.mapping import mapper_of
from backstay.db.nested import create_nested
from backstay.db.orm import OrmAsync
from backstay.db.refusals import BadNested
from tests.db.places import EVERY_KIND
from tests.db.warehouse import Line, Node, Note, Order, Shelf, Tag, statements_of, warehouse
from tests.support import async_test


def test_what_is_needed_is_what_is_owned_linked_or_let_go_and_not_the_way_back() -> None:
    def tree(model: type[Any]) -> dict[str, Any]:
        return cascade_loading(mapper_of(model)).tree

    assert tree(Order) == {"lines": {"notes": {}}, "tags": {}, "slots": {}}
    assert tree(Shelf) == {"books": {}, "members": {}, "visits": {}}
    assert tree(Node) == {"children": {}}
    assert tree(Tag) == {"orders": {}}
    assert tree(Note) == {}


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_a_delete_asks_once_for_each_relation_however_many_rows_there_are(
    kind: str, tmp_path: Path
) -> None:
    async with warehouse(kind, tmp_path) as database, database.session() as session:
        lines = [{"product": "x", "notes": [{"text": "n"}] * 2}] * 20
        data = {"lines": lines, "tags": [{"name": f"t{i}"} for i in range(5)]}
        order = await create_nested(session, Order, data)
        await session.commit()
        session.expunge_all()
        with statements_of(session) as sent:
            assert await OrmAsync(session).delete_item(Order, order.id, deep=True) == 1
        assert len([each for each in sent if each.startswith("SELECT")]) == 5
        assert await session.scalar(select(func.count()).select_from(Note)) == 0
        assert await session.scalar(select(func.count()).select_from(Tag)) == 5


@async_test
async def test_a_tree_is_deleted_by_levels_however_deep_it_is(tmp_path: Path) -> None:
    async with warehouse("sqlite", tmp_path) as database, database.session() as session:
        root = Node(name="0")
        for level in range(1, 20):
            root = Node(name=str(level), children=[root, Node(name="leaf"), Node(name="leaf")])
        session.add(root)
        await session.commit()
        session.expunge_all()
        with statements_of(session) as sent:
            assert await OrmAsync(session).delete_item(Node, root.id, deep=True) == 1
        assert len([each for each in sent if each.startswith("SELECT")]) <= 2 * 20
        assert await session.scalar(select(func.count()).select_from(Node)) == 0


@async_test
async def test_a_circle_of_rows_is_not_deleted_by_guessing_where_it_begins(tmp_path: Path) -> None:
    async with warehouse("sqlite", tmp_path) as database, database.session() as session:
        orm = OrmAsync(session)
        key = (await orm.create_nested(Node, {"name": "a", "children": [{"name": "b"}]})).id
        below = (await orm.get_list(select(Node.id).where(Node.parent_id == key)))[0]
        await orm.update_item(Node, key, {"parent_id": below})
        with pytest.raises(BadNested, match="is part of a circle"):
            await orm.delete_item(Node, key, deep=True)
        assert len(await orm.get_list(Node)) == 2
        await orm.update_item(Node, key, {"parent_id": None})
        assert await orm.delete_item(Node, key, deep=True) == 1
        assert await orm.get_list(Node) == []


@async_test
async def test_objects_whose_rows_are_gone_are_not_asked_for_for_ever(tmp_path: Path) -> None:
    async with warehouse("sqlite", tmp_path) as database, database.session() as session:
        line = (await create_nested(session, Order, {"lines": [{"product": "x"}]})).lines[0]
        await session.execute(delete(Line.__table__))
        session.expire(line, ["notes"])
        with statements_of(session) as sent:
            await load_cascades(session, [line])
        assert len(sent) == 1


@async_test
async def test_what_is_passive_is_left_to_the_database(tmp_path: Path) -> None:
    class Base(DeclarativeBase):
        pass

    class Child(Base):
        __tablename__ = "child"
        id: Mapped[int] = mapped_column(primary_key=True)
        parent_id: Mapped[int] = mapped_column(ForeignKey("parent.id", ondelete="CASCADE"))

    class Parent(Base):
        __tablename__ = "parent"
        id: Mapped[int] = mapped_column(primary_key=True)
        children: Mapped[list[Child]] = relationship(
            cascade="all, delete-orphan", passive_deletes=True
        )

    database = Database(f"sqlite:///{tmp_path / 'passive.db'}")
    Base.metadata.create_all(database.engine)
    async with database.session() as session:
        session.add(Parent(children=[Child(), Child()]))
        await session.commit()
        session.expunge_all()
        with statements_of(session) as sent:
            assert await OrmAsync(session).delete_item(Parent, 1, deep=True) == 1
        assert len(sent) == 2
        assert await session.scalar(select(func.count()).select_from(Child)) == 0
    await database.close()
