"""Was everything done, and once only? Asked of the database and of the third parties."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from examples.shop.models import STEPS
from examples.shop.processes import Service
from examples.shop.store import CATALOGUE

Books = Mapping[str, Mapping[str, dict[str, Any]]]
"""What each third party did, by idempotency key."""


async def collect(services: Mapping[str, Service]) -> tuple[dict[str, Any], list[str]]:
    """Ask the third parties for their books.

    Returns:
        The books, and a line about each third party that did not show its own.
    """
    books: dict[str, Any] = {}
    silent = []
    async with httpx.AsyncClient(timeout=5) as client:
        for name, service in services.items():
            try:
                answer = await client.get(f"{service.url}/received")
                books[name] = {each["key"]: each for each in answer.raise_for_status().json()}
            except httpx.HTTPError as error:
                silent.append(f"{name} cannot be asked what it received: {type(error).__name__}")
    return books, silent


def status_of(database: Path, order_id: int) -> str:
    """An order's status, straight from the file."""
    with _reading(database) as db:
        row = db.execute("SELECT status FROM orders WHERE id = ?", [order_id]).fetchone()
        return str(row["status"]) if row is not None else "not in the database"


def audit(database: Path, books: Books, accepted: set[int]) -> list[str]:
    """What is wrong, a line each.

    Args:
        database: the shop's file, read only.
        books: from ``collect``. What is not in them is not checked.
        accepted: the orders whose customers were told 201.

    Returns:
        Nothing if all is well: an accepted order has to be ``processed`` or ``payment_failed``,
        with everything that goes with it, and one that was turned down has to leave no trace.
    """
    with _reading(database) as db:
        orders = db.execute("SELECT * FROM orders ORDER BY id").fetchall()
        wrong = [
            f"order {order['id']} {what}"
            for order in orders
            for what in _wrong_with(db, order, books, order["id"] in accepted)
        ]
        wrong += [
            f"order {order_id} was accepted and is not in the database"
            for order_id in sorted(accepted - {order["id"] for order in orders})
        ]
        for sku, _, _, at_first in CATALOGUE:
            left, reserved = db.execute(
                "SELECT stock, (SELECT coalesce(sum(quantity), 0) FROM reservations r"
                " WHERE r.sku = p.sku) FROM products p WHERE sku = ?",
                [sku],
            ).fetchone()
            if left + reserved != at_first:
                wrong.append(f"{sku}: {left} left and {reserved} reserved do not make {at_first}")
        return wrong


@contextmanager
def _reading(database: Path) -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    db.row_factory = sqlite3.Row
    try:
        yield db
    finally:
        db.close()


def _wrong_with(
    db: sqlite3.Connection, order: sqlite3.Row, books: Books, accepted: bool
) -> Iterator[str]:
    order_id, status, key = order["id"], order["status"], f"order-{order['id']}"
    wanted = _quantities(db, "items", order_id)
    reserved = _quantities(db, "reservations", order_id)
    # By request id, not by key: a shop that mixed up its keys would charge twice.
    request_id = order["correlation_id"]
    payments = books.get("payment")
    charges = [each for each in (payments or {}).values() if each["request_id"] == request_id]
    paid = [each["body"]["amount_cents"] for each in charges if not each["refunded"]]
    told = {name for name, book in books.items() if key in book}
    untold = books.keys() - told
    kept = db.execute("SELECT 1 FROM unsent_events WHERE order_id = ?", [order_id]).fetchone()

    if status == "processed" and accepted:
        if payments is not None and paid != [order["total_cents"]]:
            yield f"was charged {paid} instead of [{order['total_cents']}]"
        if reserved != wanted:
            yield f"has {reserved} reserved instead of {wanted}"
        if "email" in untold:
            yield "was not confirmed by e-mail"
        if "warehouse" in untold:
            yield "is unknown to the warehouse"
        if "analytics" in untold and not kept:
            yield "is unknown to analytics, and no event was kept"
    elif status == "payment_failed" or not accepted:
        if paid:
            yield f"is {status}, and the customer's money was not given back"
        if reserved:
            yield f"is {status} and still has {reserved} reserved"
        if "warehouse" in told:
            yield f"is {status}, and the warehouse was told to ship it"
        if not accepted and "email" in told:
            yield "was turned down and confirmed by e-mail"
    else:
        states = {
            row["step"]: f"{row['state']} ({row['detail']})" if row["detail"] else row["state"]
            for row in db.execute("SELECT * FROM steps WHERE order_id = ?", [order_id])
        }
        undone = [
            f"{name} {states.get(name, 'waiting')}"
            for name in {**STEPS, **states}
            if not states.get(name, "").startswith(("done", "handled"))
        ]
        yield f"is {status}: " + (", ".join(undone) or "every step is done")


def _quantities(db: sqlite3.Connection, table: str, order_id: int) -> dict[str, int]:
    rows = db.execute(
        f"SELECT sku, sum(quantity) FROM {table} WHERE order_id = ? GROUP BY sku",
        [order_id],
    )
    return dict(rows.fetchall())
