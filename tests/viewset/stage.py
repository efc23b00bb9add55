"""A small trade with every kind of relation, on SQLite and on PostgreSQL, behind view sets."""

from __future__ import annotations

import datetime as dt
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Column, ForeignKey, String, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from starlette.requests import HTTPConnection

from backstay.context import User
from backstay.db import MainDatabaseManager, add_database
from backstay.testing import RunningApp, running
from backstay.viewset import GenericViewSet
from backstay.web import install

POSTGRES = "postgresql://postgres@127.0.0.1:5432/test"


class Base(DeclarativeBase):
    pass


class ThingRow(Base):
    """Something with a secret."""

    __tablename__ = "things"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50), unique=True)
    price: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str] = mapped_column(default="nobody")
    secret: Mapped[str] = mapped_column(default="s3cret")
    version: Mapped[int] = mapped_column(default=1)
    deleted_at: Mapped[dt.datetime | None] = mapped_column(default=None)


class Thing(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str = Field(min_length=1, max_length=50)
    price: int = Field(0, ge=0)


tagged = Table(
    "tagged",
    Base.metadata,
    Column("order_id", ForeignKey("orders.id"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id"), primary_key=True),
)


class CustomerRow(Base):
    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str] = mapped_column(default="$argon2$")
    orders: Mapped[list[OrderRow]] = relationship(back_populates="customer")


class OrderRow(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[str] = mapped_column(default="")
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    customer: Mapped[CustomerRow] = relationship(back_populates="orders")
    lines: Mapped[list[LineRow]] = relationship(
        back_populates="order", cascade="all, delete-orphan", order_by="LineRow.id"
    )
    tags: Mapped[list[TagRow]] = relationship(secondary=tagged, order_by="TagRow.id")


class LineRow(Base):
    __tablename__ = "lines"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    sku: Mapped[str]
    quantity: Mapped[int]
    order: Mapped[OrderRow] = relationship(back_populates="lines")


class TagRow(Base):
    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Line(BaseModel):
    id: int
    sku: str
    quantity: int = Field(ge=1)


class Tag(BaseModel):
    id: int
    name: str


class Customer(BaseModel):
    id: int
    email: str


class Order(BaseModel):
    id: int
    note: str = ""
    customer: Customer
    lines: list[Line]
    tags: list[Tag] = []


class ByHeader:
    """Whoever ``X-User`` names is who asks."""

    async def verify(self, connection: HTTPConnection) -> User | None:
        name = connection.headers.get("x-user")
        return User(name) if name else None


def _postgres_is_there() -> bool:
    try:
        psycopg.connect(POSTGRES, connect_timeout=3).close()
    except psycopg.OperationalError:
        if os.environ.get("CI") == "true":
            raise
        return False
    return True


needs_postgres = pytest.mark.skipif(not _postgres_is_there(), reason=f"no PostgreSQL at {POSTGRES}")

both = pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgresql", marks=needs_postgres)]
)
"""Once for each database: the test takes ``database`` and ``tmp_path``."""


@contextmanager
def url_of(database: str, folder: Path) -> Iterator[str]:
    """An empty database of that kind."""
    if database == "sqlite":
        yield f"sqlite:///{folder}/stage.db"
        return
    schema = f"stage_{uuid.uuid4().hex}"
    with psycopg.connect(POSTGRES, autocommit=True) as admin:
        admin.execute(f"CREATE SCHEMA {schema}")
        try:
            yield f"{POSTGRES}?options=-csearch_path%3D{schema}"
        finally:
            admin.execute(f"DROP SCHEMA {schema} CASCADE")


@asynccontextmanager
async def serving(
    database: str,
    folder: Path,
    *views: tuple[type[GenericViewSet], str],
    prepare: Callable[[FastAPI], object] = lambda _: None,
    raise_app_exceptions: bool = True,
    **install_options: Any,
) -> AsyncIterator[RunningApp]:
    """An app with these view sets, running; ``client.manager`` is its database's manager."""
    with url_of(database, folder) as url:
        manager = MainDatabaseManager(url, DEV_STATUS=True, base=Base)
        await manager.acreate_all()
        app = FastAPI()
        install(app, verify_user=ByHeader(), env_file=None, **install_options)
        add_database(app, manager)
        router = APIRouter()
        router.views = [cls().as_view(router, prefix) for cls, prefix in views]  # type: ignore[attr-defined]  # as the documentation writes it
        app.include_router(router)
        prepare(app)
        async with running(app, raise_app_exceptions=raise_app_exceptions) as client:
            client.manager = manager  # type: ignore[attr-defined]  # for the tests' looks behind the scenes
            yield client
