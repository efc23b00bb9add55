"""The shop's SQLite file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from examples.shop.models import (
    STEPS,
    Item,
    NewOrder,
    Order,
    OrderDetails,
    Product,
    State,
    Status,
    Step,
)

R = TypeVar("R")

SCHEMA = """
CREATE TABLE IF NOT EXISTS products (
    sku TEXT PRIMARY KEY, name TEXT NOT NULL, price_cents INTEGER NOT NULL,
    stock INTEGER NOT NULL CHECK (stock >= 0));
CREATE TABLE IF NOT EXISTS orders (
    id INTEGER PRIMARY KEY, status TEXT NOT NULL, email TEXT NOT NULL,
    total_cents INTEGER NOT NULL, placed_at TEXT NOT NULL, correlation_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS items (
    order_id INTEGER NOT NULL REFERENCES orders, sku TEXT NOT NULL REFERENCES products,
    quantity INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS reservations (
    order_id INTEGER NOT NULL REFERENCES orders, sku TEXT NOT NULL REFERENCES products,
    quantity INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS steps (
    order_id INTEGER NOT NULL REFERENCES orders, step TEXT NOT NULL, state TEXT NOT NULL,
    attempts INTEGER NOT NULL, detail TEXT NOT NULL, started_at TEXT NOT NULL,
    changed_at TEXT NOT NULL, PRIMARY KEY (order_id, step));
CREATE TABLE IF NOT EXISTS unsent_events (
    order_id INTEGER NOT NULL REFERENCES orders, event TEXT NOT NULL, kept_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS subscribers (email TEXT PRIMARY KEY, since TEXT NOT NULL);
"""

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


class Store:
    """The database. Every public method is one transaction, in a thread of the store's own."""

    def __init__(self, connection: sqlite3.Connection, thread: ThreadPoolExecutor) -> None:
        self._connection = connection
        self._thread = thread

    @classmethod
    @asynccontextmanager
    async def open(cls, path: str | Path) -> AsyncIterator[Store]:
        """Open the file, with tables and a catalogue in it if it is new."""
        with ThreadPoolExecutor(1, "shop-store") as thread:
            in_thread = asyncio.get_running_loop().run_in_executor
            connection = await in_thread(thread, _connect, path)
            try:
                yield cls(connection, thread)
            finally:
                await in_thread(thread, connection.close)

    async def _transaction(self, work: Callable[[sqlite3.Connection], R]) -> R:
        def run() -> R:
            with self._connection:  # commits, or rolls back what failed
                return work(self._connection)

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    async def products(self) -> list[Product]:
        """Everything the shop sells."""
        return await self._transaction(
            lambda db: [Product(**row) for row in db.execute("SELECT * FROM products")]
        )

    async def create_order(self, new: NewOrder, correlation_id: str) -> Order:
        """Write an order down. Prices are the shop's, never the customer's.

        Raises:
            UnknownProduct, SoldOut: nothing is written.
        """

        def create(db: sqlite3.Connection) -> Order:
            total_cents = 0
            for item in new.items:
                product = db.execute("SELECT * FROM products WHERE sku = ?", [item.sku]).fetchone()
                if product is None:
                    raise UnknownProduct(f"There is no product {item.sku!r}.")
                if product["stock"] < item.quantity:
                    raise SoldOut(
                        f"{item.quantity} x {item.sku} were ordered and {product['stock']} are left."
                    )
                total_cents += product["price_cents"] * item.quantity
            order_id = db.execute(
                "INSERT INTO orders (status, email, total_cents, placed_at, correlation_id)"
                " VALUES ('processing', ?, ?, ?, ?)",
                [new.email, total_cents, _now(), correlation_id],
            ).lastrowid
            db.executemany(
                "INSERT INTO items VALUES (?, ?, ?)",
                [(order_id, item.sku, item.quantity) for item in new.items],
            )
            return _order(
                db, db.execute("SELECT * FROM orders WHERE id = ?", [order_id]).fetchone()
            )

        return await self._transaction(create)

    async def order(self, order_id: int) -> OrderDetails | None:
        """One order with its steps, ``None`` if there is no such order."""

        def read(db: sqlite3.Connection) -> OrderDetails | None:
            row = db.execute("SELECT * FROM orders WHERE id = ?", [order_id]).fetchone()
            return None if row is None else _details(db, row)

        return await self._transaction(read)

    async def orders(self, limit: int) -> list[Order]:
        """The latest orders, newest first."""
        return await self._transaction(
            lambda db: [
                _order(db, row)
                for row in db.execute("SELECT * FROM orders ORDER BY id DESC LIMIT ?", [limit])
            ]
        )

    async def reserve(self, order: Order) -> bool:
        """Set the order's items aside, all of them or none.

        Returns:
            ``False`` if the order was called off meanwhile and needs nothing any more.

        Raises:
            SoldOut: somebody else was faster.
        """

        def reserve(db: sqlite3.Connection) -> bool:
            status = db.execute("SELECT status FROM orders WHERE id = ?", [order.id]).fetchone()[0]
            if status != "processing":
                return False
            for item in order.items:
                took = db.execute(
                    "UPDATE products SET stock = stock - ? WHERE sku = ? AND stock >= ?",
                    [item.quantity, item.sku, item.quantity],
                )
                if took.rowcount == 0:
                    raise SoldOut(f"Somebody else was faster: no {item.sku} is left.")
                db.execute(
                    "INSERT INTO reservations VALUES (?, ?, ?)", [order.id, item.sku, item.quantity]
                )
            return True

        return await self._transaction(reserve)

    async def call_off(self, order: Order, status: Status) -> None:
        """End an order that is not going to be, and put its items back on the shelf."""

        def call_off(db: sqlite3.Connection) -> None:
            db.execute(
                "UPDATE orders SET status = ? WHERE id = ? AND status = 'processing'",
                [status, order.id],
            )
            for sku, quantity in db.execute(
                "DELETE FROM reservations WHERE order_id = ? RETURNING sku, quantity", [order.id]
            ).fetchall():
                db.execute("UPDATE products SET stock = stock + ? WHERE sku = ?", [quantity, sku])

        await self._transaction(call_off)

    async def flag(self, order: Order) -> None:
        """Have a human being look at an order."""
        await self._transaction(
            lambda db: db.execute(
                "UPDATE orders SET status = 'needs_attention' WHERE id = ?", [order.id]
            )
        )

    async def note_step(
        self, order: Order, step: str, state: State, *, attempts: int, detail: str
    ) -> None:
        """Write down how far a step is. With its last step done, the order is processed."""

        def note(db: sqlite3.Connection) -> None:
            now = _now()
            db.execute(
                "INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                " state = excluded.state, attempts = excluded.attempts, detail = excluded.detail,"
                " changed_at = excluded.changed_at",
                [order.id, step, state, attempts, detail, now, now],
            )
            settled = db.execute(
                "SELECT count(*) FROM steps WHERE order_id = ? AND state IN ('done', 'handled')",
                [order.id],
            ).fetchone()[0]
            if settled == len(STEPS):
                db.execute(
                    "UPDATE orders SET status = 'processed' WHERE id = ? AND status = 'processing'",
                    [order.id],
                )

        await self._transaction(note)

    async def keep_event(self, order: Order, event: str) -> None:
        """Keep an analytics event that could not be sent."""
        await self._transaction(
            lambda db: db.execute(
                "INSERT INTO unsent_events VALUES (?, ?, ?)", [order.id, event, _now()]
            )
        )

    async def subscribe(self, email: str) -> None:
        """Add a reader to the newsletter, once."""
        await self._transaction(
            lambda db: db.execute(
                "INSERT INTO subscribers VALUES (?, ?) ON CONFLICT DO NOTHING", [email, _now()]
            )
        )


def _connect(path: str | Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA foreign_keys = ON")
    with connection:
        connection.executescript(SCHEMA)
        connection.executemany(
            "INSERT INTO products VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", CATALOGUE
        )
    return connection


def _order(db: sqlite3.Connection, row: sqlite3.Row) -> Order:
    items = db.execute("SELECT sku, quantity FROM items WHERE order_id = ?", [row["id"]])
    return Order(**row, items=[Item(**item) for item in items])


def _details(db: sqlite3.Connection, row: sqlite3.Row) -> OrderDetails:
    begun = {
        step["step"]: step
        for step in db.execute(
            "SELECT * FROM steps WHERE order_id = ? ORDER BY started_at", [row["id"]]
        )
    }
    # The answer to an order that was sold out was an error, so nothing follows it.
    to_come: State = "skipped" if row["status"] == "sold_out" else "waiting"
    steps = [
        Step(
            step=name,
            moment=STEPS.get(name, "later"),
            state=begun[name]["state"] if name in begun else to_come,
            attempts=begun[name]["attempts"] if name in begun else 0,
            detail=begun[name]["detail"] if name in begun else "",
            started_at=begun[name]["started_at"] if name in begun else None,
            changed_at=begun[name]["changed_at"] if name in begun else None,
        )
        for name in [*STEPS, *(begun.keys() - STEPS.keys())]
    ]
    return OrderDetails(**_order(db, row).model_dump(), steps=steps)


def _now() -> str:
    return datetime.now(UTC).isoformat()
