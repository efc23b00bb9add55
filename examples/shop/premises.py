"""What the lifespan opens, and how endpoints and jobs get at it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from starlette.requests import HTTPConnection

from examples.shop.integrations import Partners
from examples.shop.order_keys import OrderKeys

__all__ = ["CurrentShop", "Session", "Shop", "database_url", "get_session", "get_shop"]


@dataclass(frozen=True)
class Shop:
    """What is there for as long as the app is, in web processes and in workers alike."""

    new_session: async_sessionmaker[AsyncSession]
    partners: Partners
    order_keys: OrderKeys


def get_shop(connection: HTTPConnection) -> Shop:
    """What the lifespan opened. A dependency of endpoints and of jobs."""
    shop: Shop = connection.app.state.shop
    return shop


CurrentShop = Annotated[Shop, Depends(get_shop)]


async def get_session(connection: HTTPConnection) -> AsyncIterator[AsyncSession]:
    """One transaction for each request: committed when the endpoint has returned."""
    async with get_shop(connection).new_session() as session, session.begin():
        yield session


# scope="function": the commit comes before the answer, so a 201 is never a lie.
Session = Annotated[AsyncSession, Depends(get_session, scope="function")]


def database_url(path: object) -> str:
    """The URL of an SQLite file."""
    return f"sqlite+aiosqlite:///{path}"
