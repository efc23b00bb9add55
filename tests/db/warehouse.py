"""A warehouse's tables, with every kind of relation, and databases that have them."""

from __future__ import annotations

import enum
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    Column,
    Computed,
    DateTime,
    Enum,
    ForeignKey,
    Numeric,
    String,
    Table,
    event,
    func,
)
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    attribute_keyed_dict,
    column_property,
    composite,
    mapped_column,
    relationship,
    synonym,
    validates,
)

from backstay.db.database import Database
from tests.db.places import at

__all__ = [
    "Base",
    "Book",
    "Car",
    "Counted",
    "Customer",
    "Kind",
    "Line",
    "Member",
    "Node",
    "Note",
    "Order",
    "Place",
    "Profile",
    "Shelf",
    "Slot",
    "Tag",
    "Vehicle",
    "Visit",
    "statements_of",
    "warehouse",
]


class Base(DeclarativeBase):
    pass


class Kind(enum.Enum):
    PLAIN = "plain"
    GIFT = "gift"


order_tags = Table(
    "order_tags",
    Base.metadata,
    Column("order_id", ForeignKey("orders.id"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id"), primary_key=True),
)


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
    email: Mapped[str | None]
    secret: Mapped[str | None]
    profile: Mapped[Profile | None] = relationship(
        back_populates="customer", cascade="all, delete-orphan"
    )
    orders: Mapped[list[Order]] = relationship(back_populates="customer")

    @property
    def shout(self) -> str:
        return f"{self.name}!"


class Profile(Base):
    """One of each customer, who owns it; its foreign key is unique."""

    __tablename__ = "profiles"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"), unique=True)
    bio: Mapped[str | None]
    customer: Mapped[Customer] = relationship(back_populates="profile")


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str | None] = mapped_column(String(50))
    note: Mapped[str | None]
    kind: Mapped[Kind] = mapped_column(Enum(Kind), default=Kind.PLAIN)
    price: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    extra: Mapped[Any] = mapped_column(JSON, nullable=True)
    made_at: Mapped[datetime] = mapped_column(DateTime, server_default=func.now())
    customer_id: Mapped[int | None] = mapped_column(ForeignKey("customers.id"))
    customer: Mapped[Customer | None] = relationship(back_populates="orders")
    lines: Mapped[list[Line]] = relationship(
        back_populates="order", cascade="all, delete-orphan", order_by="Line.id"
    )
    tags: Mapped[set[Tag]] = relationship(secondary=order_tags, back_populates="orders")
    slots: Mapped[list[Slot]] = relationship(
        back_populates="order", cascade="all, delete-orphan", order_by="Slot.position"
    )
    tag_names: AssociationProxy[set[str]] = association_proxy("tags", "name")
    reference = synonym("number")

    @hybrid_property
    def loud_note(self) -> str | None:
        return None if self.note is None else self.note.upper()

    @loud_note.inplace.setter
    def _set_loud_note(self, value: str) -> None:
        self.note = value.lower()


class Line(Base):
    __tablename__ = "lines"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    product: Mapped[str] = mapped_column(String(50))
    quantity: Mapped[int] = mapped_column(default=1)
    doubled: Mapped[int] = mapped_column(Computed("quantity * 2", persisted=True))
    order: Mapped[Order] = relationship(back_populates="lines")
    notes: Mapped[list[Note]] = relationship(cascade="all, delete-orphan", order_by="Note.id")


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    line_id: Mapped[int] = mapped_column(ForeignKey("lines.id"))
    text: Mapped[str]


class Slot(Base):
    """Its key is its order's and a position that the client says."""

    __tablename__ = "slots"
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    label: Mapped[str | None]
    order: Mapped[Order] = relationship(back_populates="slots")


class Tag(Base):
    __tablename__ = "tags"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50), unique=True)
    secret: Mapped[str | None]
    orders: Mapped[list[Order]] = relationship(secondary=order_tags, back_populates="tags")


class Node(Base):
    __tablename__ = "nodes"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("nodes.id"))
    children: Mapped[list[Node]] = relationship(
        back_populates="parent", cascade="all, delete-orphan", order_by="Node.id"
    )
    parent: Mapped[Node | None] = relationship(back_populates="children", remote_side=[id])


class Shelf(Base):
    """Books die with their shelf and outlive being left out; members may be without one."""

    __tablename__ = "shelves"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str]
    books: Mapped[list[Book]] = relationship(cascade="all", order_by="Book.isbn")
    members: Mapped[list[Member]] = relationship(back_populates="shelf", order_by="Member.id")
    visits: Mapped[dict[str, Visit]] = relationship(
        collection_class=attribute_keyed_dict("name"), cascade="all, delete-orphan"
    )
    latest: Mapped[list[Member]] = relationship(viewonly=True)


class Book(Base):
    """Its key is its own; it cannot be without a shelf."""

    __tablename__ = "books"
    isbn: Mapped[str] = mapped_column(String(20), primary_key=True)
    shelf_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("shelves.id"))
    title: Mapped[str | None]


class Member(Base):
    __tablename__ = "members"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    shelf_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("shelves.id"))
    shelf: Mapped[Shelf | None] = relationship(back_populates="members")


class Visit(Base):
    __tablename__ = "visits"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    shelf_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("shelves.id"))


class Place:
    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y

    def __composite_values__(self) -> tuple[int, int]:
        return self.x, self.y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and (self.x, self.y) == (other.x, other.y)

    def __hash__(self) -> int:
        return hash((self.x, self.y))


class Vehicle(Base):
    __tablename__ = "vehicles"
    id: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(String(20))
    name: Mapped[str]
    x: Mapped[int] = mapped_column(default=0)
    y: Mapped[int] = mapped_column(default=0)
    depot_id: Mapped[int | None] = mapped_column(ForeignKey("counted.id"))
    place: Mapped[Place] = composite("x", "y")
    __mapper_args__: ClassVar[dict[str, Any]] = {
        "polymorphic_on": "type",
        "polymorphic_identity": "vehicle",
    }


class Car(Vehicle):
    __tablename__ = "cars"
    id: Mapped[int] = mapped_column(ForeignKey("vehicles.id"), primary_key=True)
    doors: Mapped[int | None]
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "car"}


class Counted(Base):
    """Counts its versions, validates, and has columns of all kinds."""

    __tablename__ = "counted"
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column()
    name: Mapped[str] = mapped_column()
    blob: Mapped[str | None] = mapped_column(deferred=True)
    length: Mapped[int] = column_property(func.length(name.column))
    vehicles: Mapped[list[Vehicle]] = relationship(
        cascade="all, delete-orphan", order_by="Vehicle.id"
    )
    __mapper_args__: ClassVar[dict[str, Any]] = {"version_id_col": version}

    @validates("name")
    def _no_blanks(self, _: str, value: str) -> str:
        return value.strip()


@asynccontextmanager
async def warehouse(kind: str, folder: Path) -> AsyncIterator[Database]:
    """A database of that kind with all of the tables, empty."""
    with at(kind, folder) as url:
        database = Database(url, options={"pool_size": 3, "max_overflow": 0})
        Base.metadata.create_all(database.engine)
        try:
            yield database
        finally:
            await database.close()


@contextmanager
def statements_of(session: AsyncSession) -> Iterator[list[str]]:
    """The statements that are sent meanwhile, to the session's database."""
    sent: list[str] = []
    assert session.bind is not None
    engine: Any = session.bind
    target = engine.sync_engine

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA", "SAVEPOINT", "RELEASE")):
            sent.append(statement)

    event.listen(target, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(target, "before_cursor_execute", note)
