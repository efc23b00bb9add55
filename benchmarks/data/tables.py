"""The table that every side serves, and the rows in it. Imports SQLAlchemy only: peers live elsewhere."""

from __future__ import annotations

import datetime as dt
import os
from typing import Any

from sqlalchemy import Engine, create_engine, insert, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = ["DATABASE", "ROWS", "Base", "ItemRow", "MadeRow", "fill", "url_of"]

ROWS = 1000
DATABASE = "BENCH_DATABASE"
"""The variable that tells a side the URL of its database, without a driver."""


class Base(DeclarativeBase):
    """The tables."""


class _Columns:
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str]
    age: Mapped[int]
    active: Mapped[bool]
    created_at: Mapped[dt.datetime]
    secret: Mapped[str] = mapped_column(default="hush")


class ItemRow(_Columns, Base):
    """What is read."""

    __tablename__ = "items"


class MadeRow(_Columns, Base):
    """What is written, apart from what is read, whose length should stay."""

    __tablename__ = "made"


def url_of(driver: str) -> str:
    """The side's database, for a driver."""
    scheme, _, rest = os.environ[DATABASE].partition("://")
    return f"{scheme}+{driver}://{rest}"


def fill(url: str) -> None:
    """Make the tables, and the rows that are read."""
    engine: Engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.execute(text("PRAGMA journal_mode=WAL"))
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(ItemRow), [_row(number) for number in range(1, ROWS + 1)])
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))
    engine.dispose()


def _row(number: int) -> dict[str, Any]:
    return {
        "name": f"Name {number}",
        "email": f"person{number}@example.com",
        "age": 20 + number % 60,
        "active": number % 3 != 0,
        "created_at": dt.datetime(2026, 1, 1) + dt.timedelta(minutes=number),
    }
