"""Rows are read as they are now, and many of them by few queries."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update
from sqlalchemy.exc import InvalidRequestError

from backstay.db.drafts import read_draft
from backstay.db.loading import Loading
from backstay.db.mapping import mapper_of
from backstay.db.nested import create_nested
from backstay.db.rows import CHUNK, current, named_by, rows_with_keys
from tests.db.places import EVERY_KIND
from tests.db.warehouse import Counted, Node, Order, Slot, Tag, statements_of, warehouse
from tests.support import async_test

NOTHING = Loading((), {})


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_an_object_is_as_it_is_now_with_what_waits_in_the_session(
    kind: str, tmp_path: Path
) -> None:
    async with warehouse(kind, tmp_path) as database, database.session() as session:
        order = await create_nested(session, Order, {"number": "a", "note": "n"})
        await session.commit()
        async with database.session() as other:
            await other.execute(update(Order).values(number="b"))
            await other.commit()
        order.note = "waiting"
        found = await current(session, mapper_of(Order), (order.id,), NOTHING, lock=True)
        assert found is order
        assert (order.number, order.note) == ("b", "waiting")
        assert await current(session, mapper_of(Order), (0,), NOTHING) is None


@async_test
async def test_what_was_not_named_is_not_asked_for_later(tmp_path: Path) -> None:
    async with warehouse("sqlite", tmp_path) as database, database.session() as session:
        made = await create_nested(session, Order, {"lines": [{"product": "x"}]})
        order = await current(session, mapper_of(Order), (made.id,), NOTHING)
        with pytest.raises(InvalidRequestError, match="raise_on_sql"):
            _ = order.lines
        named = named_by(mapper_of(Order), [read_draft(mapper_of(Order), {"lines": []})])
        order = await current(session, mapper_of(Order), (made.id,), named)
        assert [each.product for each in order.lines] == ["x"]


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_many_rows_are_found_by_their_keys_in_chunks(kind: str, tmp_path: Path) -> None:
    async with warehouse(kind, tmp_path) as database, database.session() as session:
        tags = [Tag(name=str(index)) for index in range(CHUNK + 1)]
        session.add_all(tags)
        order = await create_nested(session, Order, {"slots": [{"position": 1}, {"position": 2}]})
        keys = [(tag.id,) for tag in tags]
        with statements_of(session) as sent:
            found = await rows_with_keys(session, mapper_of(Tag), [*keys, (0,)])
        assert len(sent) == 2
        assert found == dict(zip(keys, tags, strict=True))
        slots = [(order.id, 1), (order.id, 2), (order.id, 3)]
        assert list(await rows_with_keys(session, mapper_of(Slot), slots)) == slots[:2]
        assert await rows_with_keys(session, mapper_of(Slot), []) == {}


def test_what_several_drafts_name_is_loaded_once() -> None:
    mapper = mapper_of(Node)
    drafts = [
        read_draft(mapper, {"children": [{"parent": {"id": 1}}, {"children": []}]}),
        read_draft(mapper, {"parent": None}),
    ]
    loading = named_by(mapper, drafts)
    assert loading.tree == {"children": {"parent": {}, "children": {}}, "parent": {}}
    assert len(loading.options) == 2


@async_test
async def test_deferred_columns_that_are_named_are_loaded(tmp_path: Path) -> None:
    async with warehouse("sqlite", tmp_path) as database, database.session() as session:
        made = await create_nested(session, Counted, {"name": "a", "blob": "big"})
        await session.commit()
        session.expunge_all()
        mapper = mapper_of(Counted)
        loading = named_by(mapper, [read_draft(mapper, {"blob": "x"})])
        found = await current(session, mapper, (made.id,), loading)
        assert vars(found)["blob"] == "big"
