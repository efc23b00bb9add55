"""Reading and writing by statements."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased, joinedload

from backstay.db.base_orm import BaseOrm
from backstay.db.nested import create_nested
from backstay.db.refusals import BadNested, SeveralRows
from tests.db.places import EVERY_KIND
from tests.db.warehouse import Customer, Line, Order, Tag, statements_of, warehouse
from tests.support import async_test


class LineOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    product: str


class OrderOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    number: str
    lines: list[LineOut]


@asynccontextmanager
async def desk(
    kind: str, folder: Path, *, commit: bool = True, **options: Any
) -> AsyncIterator[BaseOrm]:
    async with warehouse(kind, folder) as database, database.session(**options) as session:
        for number in ("a", "b"):
            data = {"number": number, "lines": [{"product": "x"}, {"product": "y"}]}
            await create_nested(session, Order, data)
        await session.commit()
        session.expunge_all()
        yield BaseOrm(session, commit=commit)


async def outside(orm: BaseOrm, query: Any) -> list[Any]:
    """What others see: what is committed."""
    engine: Any = orm.asession.bind
    async with engine.connect() as connection:
        return list((await connection.execute(query)).scalars().all())


# ---------------------------------------------------------------------- reading


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_one_object_is_found_or_none(kind: str, tmp_path: Path) -> None:
    async with desk(kind, tmp_path) as orm:
        found = await orm.get(select(Order).where(Order.number == "a"))
        assert (type(found), found.number) == (Order, "a")
        assert await orm.get(select(Order).where(Order.number == "z")) is None
        assert await orm.get(select(Order.number).where(Order.id == found.id)) == "a"
        assert (await orm.get(select(Order).order_by(Order.id).limit(1))).number == "a"


@async_test
async def test_several_rows_where_one_was_meant_are_an_error_with_a_remedy(tmp_path: Path) -> None:
    async with desk("sqlite", tmp_path) as orm:
        for query in (select(Order), Order, select(Line.product).where(Line.product == "x")):
            with pytest.raises(SeveralRows, match=r"narrow the query.*limit\(1\).*get_list"):
                await orm.get(query)


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_lists_are_found_in_either_order_of_arguments(kind: str, tmp_path: Path) -> None:
    async with desk(kind, tmp_path) as orm:
        query = select(Order).order_by(Order.id)
        assert [each.number for each in await orm.get_list(query)] == ["a", "b"]
        assert [each.number for each in await orm.get_list(Order)] == ["a", "b"]
        assert [each.number for each in await orm.get_list(Order, query)] == ["a", "b"]
        assert await orm.get_list(query.where(Order.number == "z")) == []
        for deep in (
            await orm.get_list(query, deep=True, db_model=Order),
            await orm.get_list(query, True),
            await orm.get_list(Order, query, True),
            await orm.get_list(db_model=Order, query=query, deep=True),
        ):
            assert [len(each.lines) for each in deep] == [2, 2]
        assert await orm.get_list(select(Line.product).order_by(Line.id)) == ["x", "y", "x", "y"]


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_deep_lists_ask_once_for_each_relation(kind: str, tmp_path: Path) -> None:
    async with desk(kind, tmp_path) as orm:
        with statements_of(orm.asession) as sent:
            found = await orm.get_list(select(Order), schema=OrderOut)
            shown = [OrderOut.model_validate(each).model_dump() for each in found]
        assert len(sent) == 2
        assert shown[0]["lines"] == [{"product": "x"}, {"product": "y"}]
        one = await orm.get(select(Order).limit(1), deep=True, schema=OrderOut)
        assert len(one.lines) == 2


@async_test
async def test_objects_that_joins_find_several_times_are_there_once(tmp_path: Path) -> None:
    async with desk("sqlite", tmp_path) as orm:
        joined = select(Order).options(joinedload(Order.lines)).order_by(Order.id)
        assert [each.number for each in await orm.get_list(joined)] == ["a", "b"]
        assert len(await orm.get_list(select(Order).join(Line))) == 2
        assert (await orm.get(joined.where(Order.number == "a"))).number == "a"
        other = aliased(Order)
        assert len(await orm.get_list(select(other).join(other.lines), deep=True)) == 2


@async_test
async def test_deep_reads_of_columns_are_refused(tmp_path: Path) -> None:
    async with desk("sqlite", tmp_path) as orm:
        with pytest.raises(ValueError, match="this one finds columns"):
            await orm.get_list(select(Order.number), deep=True)
        query = select(Order).from_statement(text("SELECT * FROM orders"))
        assert len((await orm.get_list(query, deep=True, db_model=Order))[0].lines) == 2


# ---------------------------------------------------------------------- writing


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_an_update_gives_the_changed_object_by_one_statement(
    kind: str, tmp_path: Path
) -> None:
    async with desk(kind, tmp_path) as orm:
        line = (await orm.get_list(select(Line).order_by(Line.id)))[0]
        with statements_of(orm.asession) as sent:
            changed = await orm.update(update(Line).where(Line.id == line.id), {"quantity": 7})
        assert len(sent) == 1
        assert changed is line
        assert (line.quantity, line.doubled) == (7, 14)
        assert await outside(orm, select(Line.quantity).where(Line.id == line.id)) == [7]
        assert await orm.update(update(Line).where(Line.id == 0), {"quantity": 7}) is None


@async_test
async def test_an_update_of_several_rows_gives_one_of_them(tmp_path: Path) -> None:
    async with desk("sqlite", tmp_path) as orm:
        changed = await orm.update(update(Order), {"note": "all"})
        assert changed.note == "all"
        assert await outside(orm, select(Order.note)) == ["all", "all"]


@async_test
async def test_an_update_takes_a_models_sent_fields_by_attribute(tmp_path: Path) -> None:
    class Change(BaseModel):
        note: str | None = None
        reference: str | None = None

    async with desk("sqlite", tmp_path) as orm:
        order = await orm.get(select(Order).where(Order.number == "a"))
        changed = await orm.update(update(Order).where(Order.id == order.id), Change(reference="c"))
        assert (changed.number, changed.note) == ("c", None)


@async_test
async def test_an_update_without_values_changes_nothing(tmp_path: Path) -> None:
    async with desk("sqlite", tmp_path) as orm:
        assert (await orm.update(update(Order).where(Order.number == "a"), {})).number == "a"
        assert (await orm.update(update(Order), {})).number == "a"
        assert await orm.update(update(Order).where(Order.number == "z"), {}) is None


@async_test
async def test_an_update_of_what_is_no_column_is_refused(tmp_path: Path) -> None:
    async with desk("sqlite", tmp_path) as orm:
        for data, message in (
            ({"colour": 1}, "colour: there is no such field"),
            ({"lines": []}, "lines: is a relation, which is written with deep=True only"),
            ({"loud_note": "X"}, "loud_note: is no column"),
        ):
            with pytest.raises(BadNested, match=message):
                await orm.update(update(Order), data)


@async_test
async def test_an_update_of_a_table_gives_its_row(tmp_path: Path) -> None:
    class Change(BaseModel):
        note: str
        number: str = "not sent"

    async with desk("sqlite", tmp_path) as orm:
        table = Order.__table__
        row = await orm.update(update(table).where(table.c.number == "a"), {"note": "n"})
        assert (row.number, row.note) == ("a", "n")
        row = await orm.update(update(table).where(table.c.number == "b"), Change(note="m"))
        assert (row.number, row.note) == ("b", "m")
        assert await orm.update(update(table).where(table.c.number == "z"), {"note": "n"}) is None


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_a_delete_counts(kind: str, tmp_path: Path) -> None:
    async with desk(kind, tmp_path) as orm:
        assert await orm.delete(delete(Line).where(Line.product == "x")) == 2
        assert await orm.delete(delete(Line).where(Line.product == "x")) == 0
        assert await outside(orm, select(Line.product)) == ["y", "y"]


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_without_commit_the_transaction_is_left_to_its_owner(
    kind: str, tmp_path: Path
) -> None:
    async with desk(kind, tmp_path, commit=False) as orm:
        changed = await orm.update(update(Order).where(Order.number == "a"), {"note": "new"})
        assert changed.note == "new"
        assert await orm.delete(delete(Line)) == 4
        await orm.asession.rollback()
        assert await orm.get_list(select(Order.note)) == [None, None]
        assert len(await orm.get_list(Line)) == 4


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_what_fails_is_rolled_back_and_the_session_can_go_on(
    kind: str, tmp_path: Path
) -> None:
    async with desk(kind, tmp_path) as orm:
        orm.asession.add_all([Tag(name="red"), Tag(name="blue")])
        await orm.asession.commit()
        with pytest.raises(IntegrityError):
            await orm.update(update(Tag).where(Tag.name == "blue"), {"name": "red"})
        assert not orm.asession.in_transaction()
        assert sorted(await orm.get_list(select(Tag.name))) == ["blue", "red"]


@async_test
async def test_without_commit_a_failure_leaves_the_transaction_to_its_owner(tmp_path: Path) -> None:
    async with desk("sqlite", tmp_path, commit=False) as orm:
        await orm.asession.execute(insert(Customer).values(name="Ann"))
        with pytest.raises(BadNested):
            await orm.update(update(Order), {"colour": 1})
        assert await orm.get_list(select(Customer.name)) == ["Ann"]


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_objects_can_be_read_though_the_session_expires_them(
    kind: str, tmp_path: Path
) -> None:
    async with desk(kind, tmp_path, expire_on_commit=True) as orm:
        changed = await orm.update(update(Order).where(Order.number == "a"), {"note": "new"})
        assert (changed.number, changed.note) == ("a", "new")
