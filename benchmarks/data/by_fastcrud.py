"""The same by FastCRUD's router."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastcrud import FastCRUD, crud_router
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from benchmarks.data.schemas import Item, NewItem
from benchmarks.data.tables import ItemRow, MadeRow, url_of

__all__ = ["app"]


def app(driver: str) -> FastAPI:
    engine = create_async_engine(url_of(driver), pool_size=10)
    new_session = async_sessionmaker(engine, expire_on_commit=False)

    async def get_session() -> AsyncIterator[AsyncSession]:
        async with new_session() as session:
            yield session

    made = FastAPI()
    for model, path in ((ItemRow, "/page"), (MadeRow, "/made")):
        made.include_router(
            crud_router(
                session=get_session,
                model=model,
                crud=FastCRUD(model),
                create_schema=NewItem,
                update_schema=NewItem,
                select_schema=Item,
                path=path,
                tags=[path],
            )
        )
    return made
