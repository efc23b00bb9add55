"""Databases of every kind, empty or with a table of fifty rows, gone afterwards."""

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, insert

from backstay.db.database import Database
from tests.jobs.desks import POSTGRES, needs_postgres

__all__ = ["EVERY_KIND", "at", "in_use", "metadata", "pools_of", "stock", "stocked"]

EVERY_KIND = [
    "sqlite",
    pytest.param("postgresql+asyncpg", marks=needs_postgres),
    pytest.param("postgresql+psycopg", marks=needs_postgres),
]
"""For ``parametrize``; psycopg is the driver for sync code with either."""


@contextmanager
def at(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a database of that kind with nothing in it."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'place.db'}"
        return
    schema = f"place_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(POSTGRES, autocommit=True) as outside:
        # A test that fails may leave a connection in a transaction. Better an error than no end.
        outside.execute("SET lock_timeout = '10s'")
        outside.execute(f"CREATE SCHEMA {schema}")
        try:
            url = POSTGRES.replace("postgresql", kind)
            yield f"{url}?options=-c%20search_path%3D{schema}"
        finally:
            outside.execute(f"DROP SCHEMA {schema} CASCADE")


def pools_of(database: Database) -> list[Any]:
    """Both pools of a database's."""
    return [database.engine.pool, database.async_engine.pool]


def in_use(database: Database) -> list[int]:
    """How many connections of each are out."""
    return [pool.checkedout() for pool in pools_of(database)]


metadata = MetaData()
stock = Table(
    "stock",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(20), unique=True),
    Column("pieces", Integer, nullable=False),
)


@asynccontextmanager
async def stocked(kind: str, folder: Path, **options: Any) -> AsyncIterator[Database]:
    with at(kind, folder) as url:
        database = Database(url, options={"pool_size": 3, "max_overflow": 0, **options})
        metadata.create_all(database.engine)
        await database.write(insert(stock), [{"name": f"n{i}", "pieces": i} for i in range(50)])
        try:
            yield database
            assert in_use(database) == [0, 0]
        finally:
            await database.close()
