"""The same by Litestar with advanced-alchemy's repository."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator

import msgspec
from advanced_alchemy.filters import LimitOffset, OrderBy
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from litestar import Litestar, get, post
from litestar.di import Provide
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from benchmarks.data.tables import ItemRow, MadeRow, url_of

__all__ = ["app"]


class NewItem(msgspec.Struct):
    name: str
    email: str
    age: int
    active: bool
    created_at: dt.datetime


class Item(NewItem):
    id: int = 0


class Page(msgspec.Struct):
    page: int
    size: int
    count: int
    items: list[Item]


class ItemRepository(SQLAlchemyAsyncRepository[ItemRow]):
    model_type = ItemRow


class MadeRepository(SQLAlchemyAsyncRepository[MadeRow]):
    model_type = MadeRow


def _item(row: ItemRow | MadeRow) -> Item:
    return Item(
        id=row.id,
        name=row.name,
        email=row.email,
        age=row.age,
        active=row.active,
        created_at=row.created_at,
    )


def app(driver: str) -> Litestar:
    engine = create_async_engine(url_of(driver), pool_size=10)
    new_session = async_sessionmaker(engine, expire_on_commit=False)

    async def get_session() -> AsyncIterator[AsyncSession]:
        async with new_session() as session:
            yield session

    @get("/list")
    async def list_items(session: AsyncSession, skip: int = 0, limit: int = 100) -> list[Item]:
        items = ItemRepository(session=session)
        return [
            _item(row) for row in await items.list(LimitOffset(limit, skip), OrderBy("id", "asc"))
        ]

    @get("/page")
    async def page_of_items(session: AsyncSession, page: int = 1, size: int = 10) -> Page:
        items = ItemRepository(session=session)
        rows, count = await items.list_and_count(
            LimitOffset(size, (page - 1) * size), OrderBy("id", "asc")
        )
        return Page(page=page, size=size, count=count, items=[_item(row) for row in rows])

    @post("/made")
    async def make_item(data: NewItem, session: AsyncSession) -> Item:
        row = await MadeRepository(session=session).add(
            MadeRow(**msgspec.structs.asdict(data)), auto_commit=True
        )
        return _item(row)

    return Litestar(
        [list_items, page_of_items, make_item],
        dependencies={"session": Provide(get_session)},
    )
