"""The shop's tables, and what is written into them.

Every function works in the session it is given and commits nothing: whoever opened the session
decides what belongs together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    String,
    UniqueConstraint,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as insert_or
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.schema import CreateTable

from backstay.db.database import Database
from examples.shop.models import Delivery, Item, NewOrder, Order, Parcel, Product, Role, Status


class Base(DeclarativeBase):
    """The shop's tables. The durable jobs have theirs beside them, in the same file."""


class ProductRow(Base):
    """Something to sell. What is ordered is reserved, what is paid has left the shelf."""

    __tablename__ = "products"
    __table_args__ = (CheckConstraint("reserved BETWEEN 0 AND stock"),)

    sku: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    price_cents: Mapped[int]
    stock: Mapped[int]
    reserved: Mapped[int] = mapped_column(default=0)


class AccountRow(Base):
    """Somebody who may log in."""

    __tablename__ = "accounts"

    email: Mapped[str] = mapped_column(primary_key=True)
    password_hash: Mapped[str]
    role: Mapped[Role] = mapped_column(String)
    since: Mapped[datetime]


class OrderRow(Base):
    """An order.

    Whose it is says ``owner``, and never ``email``: anybody can write anybody's address into an
    order, and sign up with an address that somebody has ordered with as a guest.
    """

    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[Status] = mapped_column(String, index=True)
    email: Mapped[str]
    owner: Mapped[str | None] = mapped_column(ForeignKey("accounts.email"), index=True)
    total_cents: Mapped[int]
    placed_at: Mapped[datetime]
    correlation_id: Mapped[str]
    items: Mapped[list[ItemRow]] = relationship(
        cascade="all, delete-orphan", order_by="ItemRow.sku", lazy="raise"
    )


class CustomerRow(Base):
    """Somebody who buys, and said who they are. Those who left stay, for their orders' sake."""

    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    joined_at: Mapped[datetime]
    left_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)


class ItemRow(Base):
    """So many of one product, in one order."""

    __tablename__ = "items"

    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    sku: Mapped[str] = mapped_column(ForeignKey("products.sku"), primary_key=True)
    quantity: Mapped[int]


class OrderJobRow(Base):
    """Which durable job does a step of an order."""

    __tablename__ = "order_jobs"

    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    step: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[UUID]


class BookingRow(Base):
    """Money that came in. Nothing here prevents a second line for an order, so one would show."""

    __tablename__ = "bookings"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    amount_cents: Mapped[int]


class DeliveryRow(Base):
    """Goods that came in, and with which key of the warehouse's that was said."""

    __tablename__ = "deliveries"

    number: Mapped[str] = mapped_column(primary_key=True)
    sku: Mapped[str] = mapped_column(ForeignKey("products.sku"))
    quantity: Mapped[int]
    received_at: Mapped[datetime]
    api_key: Mapped[str]


class UnsentEventRow(Base):
    """An event that analytics did not take."""

    __tablename__ = "unsent_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    event: Mapped[str]


class SubscriberRow(Base):
    """A reader of the newsletter."""

    __tablename__ = "subscribers"

    email: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime]


class OrderKeyRow(Base):
    """What a customer calls an order, so that asking for it twice is asking once."""

    __tablename__ = "order_keys"

    key: Mapped[str] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))


class PhotoRow(Base):
    """A picture of a product. The same one twice is one picture."""

    __tablename__ = "photos"
    __table_args__ = (UniqueConstraint("sku", "sha256"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    sku: Mapped[str] = mapped_column(ForeignKey("products.sku"))
    sha256: Mapped[str]
    media_type: Mapped[str]
    data: Mapped[bytes]
    thumbnail: Mapped[bytes | None]
    added_at: Mapped[datetime]


CATALOGUE = [
    ("teapot", "Teapot, 1 l", 3_200, 40),
    ("cup", "Cup, stoneware", 900, 200),
    ("kettle", "Kettle, copper", 7_900, 25),
    ("tray", "Tray, walnut", 4_500, 25),
    ("samovar", "Samovar, 1903, the only one", 64_000, 1),
]


class SoldOut(Exception):
    """There is less of a product than the order wants."""


class UnknownProduct(Exception):
    """The shop does not sell this."""


class NumberTaken(Exception):
    """A delivery note has this number, and says something else."""


def prepare(connection: Connection) -> None:
    """Make the tables and fill the shelves, unless another process has done so."""
    for table in Base.metadata.sorted_tables:
        connection.execute(CreateTable(table, if_not_exists=True))
    columns = ("sku", "name", "price_cents", "stock")
    connection.execute(
        insert_or(ProductRow).on_conflict_do_nothing(),
        [dict(zip(columns, each, strict=True), reserved=0) for each in CATALOGUE],
    )


@asynccontextmanager
async def reading(database: Database) -> AsyncIterator[AsyncSession]:
    """A session to look with, and let go of at once: it makes no writer wait.

    ``ctx.db.session`` takes SQLite's write lock with its first statement, and keeps it to the end
    of the work. Who only reads, and then waits for somebody else to write, must not.
    """
    async with database.session() as session:
        await session.connection(execution_options={"sqlite_begin": "DEFERRED"})
        yield session


async def create_order(
    session: AsyncSession, new: NewOrder, correlation_id: str, *, owner: str | None = None
) -> Order:
    """Write an order down and set its items aside. Prices are the shop's, never the customer's.

    Args:
        session: to do it in.
        new: what is wanted.
        correlation_id: of the request.
        owner: the account whose order it is, ``None`` for a guest's.

    Raises:
        UnknownProduct, SoldOut: roll back, and there was no order.
    """
    wanted: Counter[str] = Counter()
    for item in new.items:
        wanted[item.sku] += item.quantity
    total_cents = 0
    for sku, quantity in wanted.items():
        # One statement looks and takes, so of two customers only one gets the last samovar.
        price_cents = await session.scalar(
            update(ProductRow)
            .where(ProductRow.sku == sku, ProductRow.stock - ProductRow.reserved >= quantity)
            .values(reserved=ProductRow.reserved + quantity)
            .returning(ProductRow.price_cents)
        )
        if price_cents is None:
            product = await session.get(ProductRow, sku)
            if product is None:
                raise UnknownProduct(f"There is no product {sku!r}.")
            left = product.stock - product.reserved
            raise SoldOut(f"{quantity} x {sku} were ordered and {left} are left.")
        total_cents += price_cents * quantity
    row = OrderRow(
        status="processing",
        email=new.email,
        owner=owner,
        total_cents=total_cents,
        placed_at=datetime.now(UTC),
        correlation_id=correlation_id,
    )
    session.add(row)
    await session.flush()
    await session.execute(
        insert(ItemRow),
        [{"order_id": row.id, "sku": sku, "quantity": each} for sku, each in wanted.items()],
    )
    return _order(row, [Item(sku=sku, quantity=each) for sku, each in wanted.items()])


async def remember_job(session: AsyncSession, order_id: int, step: str, job_id: UUID) -> None:
    """Write down which job does a step."""
    await session.execute(insert(OrderJobRow).values(order_id=order_id, step=step, job_id=job_id))


async def book_payment(session: AsyncSession, order_id: int, amount_cents: int) -> Order:
    """The money is there: book it, and take the goods off the shelf.

    Doing this twice would book twice and take twice; nothing in here notices.
    """
    await session.execute(insert(BookingRow).values(order_id=order_id, amount_cents=amount_cents))
    await _set_status(session, order_id, "paid")
    order = await find_order(session, order_id)
    assert order is not None, "orders are never deleted"
    for item in order.items:
        await session.execute(
            update(ProductRow)
            .where(ProductRow.sku == item.sku)
            .values(
                stock=ProductRow.stock - item.quantity,
                reserved=ProductRow.reserved - item.quantity,
            )
        )
    return order


async def call_off(session: AsyncSession, order_id: int) -> None:
    """No money came: whatever was set aside goes back on the shelf, unless it has already."""
    called_off = await session.scalar(
        update(OrderRow)
        .where(OrderRow.id == order_id, OrderRow.status == "processing")
        .values(status="payment_failed")
        .returning(OrderRow.id)
    )
    if called_off is None:
        return
    for sku, quantity in await _quantities(session, order_id):
        await session.execute(
            update(ProductRow)
            .where(ProductRow.sku == sku)
            .values(reserved=ProductRow.reserved - quantity)
        )


async def complete(session: AsyncSession, order_id: int) -> None:
    """Everything is done."""
    await _set_status(session, order_id, "processed")


async def flag(session: AsyncSession, order_id: int) -> None:
    """Have a human being look at an order."""
    await _set_status(session, order_id, "needs_attention")


async def keep_event(session: AsyncSession, order_id: int, event: str) -> None:
    """Keep an analytics event that could not be sent."""
    await session.execute(insert(UnsentEventRow).values(order_id=order_id, event=event))


async def subscribe(session: AsyncSession, email: str) -> None:
    """Add a reader to the newsletter, once."""
    since = datetime.now(UTC)
    await session.execute(
        insert_or(SubscriberRow).values(email=email, since=since).on_conflict_do_nothing()
    )


async def search(session: AsyncSession, text: str, max_price_cents: int | None) -> list[Product]:
    """Products whose names have all these words in them.

    Args:
        text: the words. None: all products.
        max_price_cents: and cost no more than that. ``None``: whatever they cost.
    """
    wanted = select(ProductRow).order_by(ProductRow.sku)
    for word in text.split():
        name, sku = ProductRow.name, ProductRow.sku
        wanted = wanted.where(
            or_(name.icontains(word, autoescape=True), sku.icontains(word, autoescape=True))
        )
    if max_price_cents is not None:
        wanted = wanted.where(ProductRow.price_cents <= max_price_cents)
    return [
        Product.model_validate(row, from_attributes=True) for row in await session.scalars(wanted)
    ]


async def order_of_key(session: AsyncSession, key: str) -> Order | None:
    """The order that was placed under a key, ``None`` if there is none."""
    order_id = await session.scalar(select(OrderKeyRow.order_id).where(OrderKeyRow.key == key))
    return None if order_id is None else await find_order(session, order_id)


async def remember_key(session: AsyncSession, key: str, order_id: int) -> None:
    """Write down what a customer calls an order."""
    await session.execute(insert(OrderKeyRow).values(key=key, order_id=order_id))


async def find_order(session: AsyncSession, order_id: int) -> Order | None:
    """One order, ``None`` if there is no such order."""
    row = await session.get(OrderRow, order_id)
    return None if row is None else _order(row, await _items(session, order_id))


async def owner_of(session: AsyncSession, order_id: int) -> str | None:
    """The account whose order that is; ``None`` for a guest's, and if there is no such order."""
    return await session.scalar(select(OrderRow.owner).where(OrderRow.id == order_id))


async def to_be_packed(session: AsyncSession, limit: int) -> list[Parcel]:
    """Orders that are paid and not shipped, the oldest first."""
    rows = await session.execute(
        select(OrderRow.id, OrderRow.placed_at)
        .where(OrderRow.status == "paid")
        .order_by(OrderRow.id)
        .limit(limit)
    )
    return [
        Parcel(order=order_id, placed_at=placed_at, items=await _items(session, order_id))
        for order_id, placed_at in rows.all()
    ]


async def take_in(session: AsyncSession, sku: str, delivery: Delivery, api_key: str) -> Product:
    """Put what was delivered on the shelf, once for each number.

    Args:
        session: to do it in.
        sku: of what.
        delivery: how much, and the number of its note.
        api_key: the id of the key that says so.

    Returns:
        The product as it stands then.

    Raises:
        UnknownProduct: the shop does not sell this.
        NumberTaken: that number was of another delivery.
    """
    product = await session.get(ProductRow, sku)
    if product is None:
        raise UnknownProduct(f"There is no product {sku!r}.")
    new = await session.scalar(
        insert_or(DeliveryRow)
        .values(
            number=delivery.number,
            sku=sku,
            quantity=delivery.quantity,
            received_at=datetime.now(UTC),
            api_key=api_key,
        )
        .on_conflict_do_nothing()
        .returning(DeliveryRow.number)
    )
    if new is None:
        before = await session.get_one(DeliveryRow, delivery.number)
        if (before.sku, before.quantity) != (sku, delivery.quantity):
            raise NumberTaken(
                f"Delivery {delivery.number} was {before.quantity} x {before.sku}; use its own "
                "number for another one."
            )
    else:
        await session.execute(
            update(ProductRow)
            .where(ProductRow.sku == sku)
            .values(stock=ProductRow.stock + delivery.quantity)
        )
        await session.refresh(product)
    return Product.model_validate(product, from_attributes=True)


async def jobs_of(session: AsyncSession, order_id: int) -> dict[str, UUID]:
    """Which job does which step of an order."""
    rows = await session.scalars(
        select(OrderJobRow).where(OrderJobRow.order_id == order_id).order_by(OrderJobRow.job_id)
    )
    return {row.step: row.job_id for row in rows}


async def _set_status(session: AsyncSession, order_id: int, status: Status) -> None:
    await session.execute(update(OrderRow).where(OrderRow.id == order_id).values(status=status))


async def _quantities(session: AsyncSession, order_id: int) -> list[Any]:
    found = await session.execute(
        select(ItemRow.sku, ItemRow.quantity).where(ItemRow.order_id == order_id)
    )
    return list(found)


async def _items(session: AsyncSession, order_id: int) -> list[Item]:
    return [Item(sku=sku, quantity=each) for sku, each in await _quantities(session, order_id)]


def _order(row: OrderRow, items: list[Item]) -> Order:
    return Order(
        id=row.id,
        status=row.status,
        email=row.email,
        items=items,
        total_cents=row.total_cents,
        placed_at=row.placed_at,
        correlation_id=row.correlation_id,
    )
