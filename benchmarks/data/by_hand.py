"""The handlers as FastAPI's users write them: a session per request, ORM objects, ``response_model``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from benchmarks.data.schemas import Item, NewItem, Page
from benchmarks.data.tables import ItemRow, MadeRow, url_of

__all__ = ["app"]


def app(driver: str) -> FastAPI:
    engine = create_async_engine(url_of(driver), pool_size=10)
    new_session = async_sessionmaker(engine, expire_on_commit=False)

    async def get_session() -> AsyncIterator[AsyncSession]:
        async with new_session() as session:
            yield session

    Session = Annotated[AsyncSession, Depends(get_session)]  # noqa: N806  # a type

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await engine.dispose()

    made = FastAPI(lifespan=lifespan)

    @made.get("/list", response_model=list[Item])
    async def list_items(
        session: Session,
        skip: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Any:
        found = select(ItemRow).order_by(ItemRow.id).offset(skip).limit(limit)
        return (await session.scalars(found)).all()

    @made.get("/page", response_model=Page)
    async def page_of_items(
        session: Session,
        page: Annotated[int, Query(ge=1)] = 1,
        size: Annotated[int, Query(ge=1, le=100)] = 10,
    ) -> Any:
        count = await session.scalar(select(func.count()).select_from(ItemRow))
        found = select(ItemRow).order_by(ItemRow.id).offset((page - 1) * size).limit(size)
        rows = (await session.scalars(found)).all()
        return {"page": page, "size": size, "count": count, "items": rows}

    @made.post("/made", status_code=201, response_model=Item)
    async def make_item(new: NewItem, session: Session) -> Any:
        row = MadeRow(**new.model_dump())
        session.add(row)
        await session.commit()
        return row

    return made
