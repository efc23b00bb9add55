"""Tables that lists are made of, in databases that tests may fill."""

from __future__ import annotations

import asyncio
import enum
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
)

from tests.jobs.desks import POSTGRES, needs_postgres

STORES = [
    "sqlite",
    pytest.param("psycopg", marks=needs_postgres),
    pytest.param("asyncpg", marks=needs_postgres),
]


class Base(DeclarativeBase):
    pass


class State(enum.Enum):
    NEW = "new"
    PAID = "paid"
    SENT = "sent"


class Country(Base):
    __tablename__ = "countries"
    code: Mapped[str] = mapped_column(sa.String(2), primary_key=True)
    name: Mapped[str]


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    country_code: Mapped[str | None] = mapped_column(sa.ForeignKey("countries.code"))
    country: Mapped[Country | None] = relationship()


class Line(Base):
    __tablename__ = "lines"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(sa.ForeignKey("orders.id"))
    sku: Mapped[str]
    pieces: Mapped[int]


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(50), default="")
    note: Mapped[str | None]
    state: Mapped[State] = mapped_column(default=State.NEW)
    kind: Mapped[str] = mapped_column(sa.Enum("web", "shop", name="kind"), default="web")
    colour: Mapped[str] = mapped_column(default="red")
    rush: Mapped[bool] = mapped_column(default=False)
    pieces: Mapped[int | None]
    small: Mapped[int | None] = mapped_column(sa.SmallInteger)
    price: Mapped[Decimal | None] = mapped_column(sa.Numeric(10, 2))
    weight: Mapped[float | None]
    thin: Mapped[float | None] = mapped_column(sa.REAL)
    placed: Mapped[datetime | None] = mapped_column(sa.DateTime(timezone=True))
    local: Mapped[datetime | None] = mapped_column(sa.DateTime())
    day: Mapped[date | None]
    hour: Mapped[time | None]
    span: Mapped[timedelta | None]
    token: Mapped[uuid.UUID | None]
    text_token: Mapped[str | None] = mapped_column(sa.Uuid(as_uuid=False))
    extra: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON)
    secret: Mapped[str | None]
    parent_id: Mapped[int | None] = mapped_column(sa.ForeignKey("orders.id"))
    customer_id: Mapped[int | None] = mapped_column(sa.ForeignKey("customers.id"))
    customer: Mapped[Customer | None] = relationship()
    lines: Mapped[list[Line]] = relationship(order_by=Line.id)
    parent: Mapped[Order | None] = relationship(remote_side="Order.id")


class CustomerOut(BaseModel):
    email: str


class OrderOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str = Field(description="What it is called.", examples=["Tea"], min_length=1)
    note: str | None = None
    state: State
    kind: str
    colour: Literal["red", "blue", "dark red"]
    rush: bool
    pieces: int | None
    price: Decimal | None
    placed: datetime | None = Field(serialization_alias="placedAt")
    customer: CustomerOut | None = None


class Store:
    """One database with the tables above, whatever its driver."""

    def __init__(self, engine: sa.Engine | AsyncEngine, filler: sa.Engine) -> None:
        self.engine = engine
        self.filler = filler
        self._runner = asyncio.Runner()

    def fill(self, *objects: Any) -> None:
        with Session(self.filler) as session:
            session.add_all(objects)
            session.commit()

    def rows(
        self, statement: sa.Select[Any], parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Any]:
        if isinstance(self.engine, AsyncEngine):
            return self._runner.run(self._rows(statement, parameters))
        with self.engine.connect() as connection:
            return connection.execute(statement, parameters).all()

    async def _rows(self, statement: Any, parameters: Any) -> Sequence[Any]:
        assert isinstance(self.engine, AsyncEngine)
        async with self.engine.connect() as connection:
            return (await connection.execute(statement, parameters)).all()

    def ids(self, *clauses: sa.ColumnElement[bool]) -> list[int]:
        found = self.rows(sa.select(Order.id).where(*clauses).order_by(Order.id))
        return [each.id for each in found]

    def close(self) -> None:
        if isinstance(self.engine, AsyncEngine):
            self._runner.run(self.engine.dispose())
        else:
            self.engine.dispose()
        self._runner.close()
        self.filler.dispose()


@contextmanager
def opened(kind: str, folder: Path, base: type[DeclarativeBase] = Base) -> Iterator[Store]:
    """A store with empty tables, which is gone afterwards."""
    if kind == "sqlite":
        engine = sa.create_engine(f"sqlite:///{folder / 'test.db'}")
        base.metadata.create_all(engine)
        store = Store(engine, engine)
        try:
            yield store
        finally:
            store.close()
        return
    schema = f"shelves_{uuid.uuid4().hex}"
    address = POSTGRES.replace("postgresql", "postgresql+psycopg")
    with psycopg.connect(POSTGRES, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        filler = sa.create_engine(f"{address}?options=-csearch_path%3D{schema}")
        base.metadata.create_all(filler)
        settings = {"server_settings": {"search_path": schema}}
        other: sa.Engine | AsyncEngine = filler
        if kind == "asyncpg":
            other = create_async_engine(
                POSTGRES.replace("postgresql", "postgresql+asyncpg"), connect_args=settings
            )
        store = Store(other, filler)
        try:
            yield store
        finally:
            store.close()
            connection.execute(f"DROP SCHEMA {schema} CASCADE")


def noon(day: int) -> datetime:
    """A moment in January 2024."""
    return datetime(2024, 1, day, 12, tzinfo=UTC)
