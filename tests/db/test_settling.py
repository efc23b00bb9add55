"""Drafts find the rows that they are about, and change nothing on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from backstay.db.drafts import Draft, read_draft
from backstay.db.mapping import mapper_of
from backstay.db.nested import create_nested
from backstay.db.refusals import BadNested, ForeignChild, UnknownRelated
from backstay.db.rows import current, named_by
from backstay.db.settling import Settling
from tests.db.warehouse import Customer, Line, Order, Profile, Tag, statements_of, warehouse
from tests.support import async_test


def read(model: type[Any], data: dict[str, Any]) -> Draft:
    return read_draft(mapper_of(model), data)


def test_children_are_found_by_key_and_what_is_left_out_is_noted() -> None:
    tea, cup = Line(id=1, product="tea"), Line(id=2, product="cup")
    order = Order(id=5, lines=[tea, cup])
    draft, settling = read(Order, {"lines": [{"id": 2, "product": "mug"}, {}]}), Settling()
    settling.changed(draft, order)
    known, new = draft.behind("lines")
    assert (known.obj, known.written, new.obj, new.written) == (cup, True, None, True)
    assert [(each.parent, each.child) for each in settling.left_out] == [(order, tea)]
    assert settling.makes
    assert (cup.product, order.lines) == ("cup", [tea, cup])


def test_the_only_child_is_meant_without_a_key_too() -> None:
    profile = Profile(id=3, bio="b")
    customer = Customer(id=1, name="Ann", profile=profile)
    draft, settling = read(Customer, {"profile": {"bio": "c"}}), Settling()
    settling.changed(draft, customer)
    assert draft.behind("profile")[0].obj is profile
    assert not settling.makes
    assert not settling.left_out


def test_a_new_parent_has_no_children_yet() -> None:
    with pytest.raises(ForeignChild, match=r"lines\.0: Line with id=1 is not among the lines"):
        Settling().new(read(Order, {"lines": [{"id": 1}]}))


def test_values_that_are_given_anyway_are_dropped() -> None:
    order = Order(id=5, lines=[Line(id=1, order_id=5, product="tea")])
    draft = read(Order, {"id": 5, "lines": [{"id": 1, "order_id": 5, "product": "x"}]})
    Settling().changed(draft, order)
    assert draft.values == {}
    assert draft.behind("lines")[0].values == {"product": "x"}


@async_test
async def test_links_are_looked_up_and_stay_unwritten(tmp_path: Path) -> None:
    async with warehouse("sqlite", tmp_path) as database, database.session() as session:
        tag = Tag(name="red")
        session.add(tag)
        await session.flush()
        draft, settling = read(Order, {"tags": [{"id": tag.id}, {"name": "new"}]}), Settling()
        settling.new(draft)
        with statements_of(session) as sent:
            await settling.look_up(session)
        assert len(sent) == 1
        linked, new = draft.behind("tags")
        assert (linked.obj, linked.written, new.obj, new.written) == (tag, False, None, True)


@async_test
async def test_nothing_is_asked_when_nothing_is_linked(tmp_path: Path) -> None:
    async with warehouse("sqlite", tmp_path) as database, database.session() as session:
        settling = Settling()
        settling.new(read(Order, {"lines": [{"product": "x"}]}))
        with statements_of(session) as sent:
            await settling.look_up(session)
        assert sent == []


async def settle(session: AsyncSession, order: Order, data: dict[str, Any]) -> None:
    draft, settling = read(Order, data), Settling()
    await current(session, mapper_of(Order), (order.id,), named_by(mapper_of(Order), [draft]))
    settling.changed(draft, order)
    await settling.look_up(session)


@async_test
async def test_refusals_leave_objects_and_session_as_they_were(tmp_path: Path) -> None:
    async with warehouse("sqlite", tmp_path) as database, database.session() as session:
        order = await create_nested(session, Order, {"number": "a", "lines": [{"product": "x"}]})
        await session.commit()
        for data, refusal in (
            ({"number": "b", "lines": [{"product": "y"}, {"id": 9}]}, ForeignChild),
            ({"number": "b", "lines": [], "tags": [{"id": 9}]}, UnknownRelated),
            ({"number": "b", "lines": [], "id": 9}, BadNested),
        ):
            with pytest.raises(refusal):
                await settle(session, order, data)
            assert not session.new
            assert not session.dirty
