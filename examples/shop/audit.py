"""Was everything done, and once only? Asked of the database and of the third parties."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

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


def audit(
    database: Path,
    books: Books,
    accepted: Collection[int],
    *,
    unanswered: Collection[str] = (),
    may_be_gone: Collection[int] = (),
    photos: Mapping[str, str] | None = None,
) -> list[str]:
    """What is wrong, a line each.

    Args:
        database: the shop's file, read only.
        books: from ``collect``. What is not in them is not checked.
        accepted: the orders whose customers were told 201.
        unanswered: request ids of customers who were told nothing, so that their orders may be
            there or not, but not by halves.
        may_be_gone: orders whose analytics event was in the memory of a process that was killed.
        photos: PNG files that were accepted: the product, by the file's SHA-256. ``None``: none.

    Returns:
        Nothing if all is well: an accepted order has to be ``processed`` or ``payment_failed``,
        with everything that goes with it and once, and one that was turned down has to leave no
        trace.
    """
    with _reading(database) as db:
        orders = db.execute("SELECT * FROM orders ORDER BY id").fetchall()
        wrong = []
        for order in orders:
            number = order["id"]
            if number not in accepted and order["correlation_id"] not in unanswered:
                wrong.append(f"order {number} was turned down and is in the database")
            wrong += [
                f"order {number} {what}"
                for what in _wrong_with(db, order, books, number in may_be_gone)
            ]
        there = {order["id"] for order in orders}
        wrong += [
            f"order {order_id} was accepted and is not in the database"
            for order_id in sorted(set(accepted) - there)
        ]
        wrong += [
            f"{name} has a line about order {each['body']['order']}, which is not in the database"
            for name, book in books.items()
            for each in book.values()
            if "order" in each["body"] and each["body"]["order"] not in there
        ]
        wrong += _wrong_on_the_shelves(db)
        for digest, sku in (photos or {}).items():
            wrong += _wrong_with_photo(db, digest, sku)
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
    db: sqlite3.Connection, order: sqlite3.Row, books: Books, may_be_gone: bool
) -> Iterator[str]:
    order_id, status, total = order["id"], order["status"], order["total_cents"]

    def about(name: str) -> list[dict[str, Any]]:
        # By what is in the lines, not by their keys: a shop that mixed those up would do things
        # twice.
        return [each for each in books[name].values() if each["body"].get("order") == order_id]

    booked = [
        row["amount_cents"]
        for row in db.execute("SELECT amount_cents FROM bookings WHERE order_id = ?", [order_id])
    ]
    times = {name: len(about(name)) for name in books if name != "payment"}
    if "payment" in books:
        paid = [each["body"]["amount_cents"] for each in about("payment") if not each["refunded"]]
    else:
        paid = None

    if status == "processed":
        if paid is not None and paid != [total]:
            yield f"was charged {paid} instead of [{total}]"
        if booked != [total]:
            yield f"has {booked} booked instead of [{total}]"
        for name, done in (("email", "was sent a receipt"), ("warehouse", "was given to packers")):
            if times.get(name, 1) != 1:
                yield f"{done} {times[name]} times"
        kept = db.execute("SELECT 1 FROM unsent_events WHERE order_id = ?", [order_id]).fetchone()
        tracked = times.get("analytics", 1) + (kept is not None)
        if tracked == 0 and not may_be_gone:
            yield "is unknown to analytics, and no event was kept"
    elif status == "payment_failed":
        if paid:
            yield "is payment_failed, and the customer's money was not given back"
        if booked:
            yield f"is payment_failed, and has {booked} booked"
        for name in ("email", "warehouse"):
            if times.get(name, 0):
                yield f"is payment_failed, and {name} was told otherwise"
    else:
        yield f"is {status}: " + (", ".join(_unfinished(db, order_id)) or "every job has succeeded")


def _unfinished(db: sqlite3.Connection, order_id: int) -> list[str]:
    rows = db.execute(
        "SELECT o.step, j.state FROM order_jobs o LEFT JOIN backstay_jobs j"
        # SQLAlchemy writes a UUID as 32 digits, the ledger as 16 bytes.
        " ON hex(j.id) = upper(o.job_id)"
        " WHERE o.order_id = ? AND j.state IS NOT 'succeeded' ORDER BY o.job_id",
        [order_id],
    )
    return [f"{row['step']} {row['state'] or 'is not in the ledger'}" for row in rows]


def _wrong_on_the_shelves(db: sqlite3.Connection) -> Iterator[str]:
    """What was delivered is on the shelf, what was paid has left it, what is not decided is
    reserved, and that is all.
    """
    amounts: dict[str, Counter[str]] = {"sold": Counter(), "reserved": Counter()}
    for row in db.execute(
        "SELECT sku, status, sum(quantity) AS n FROM items JOIN orders ON orders.id = order_id"
        " GROUP BY sku, status"
    ):
        if row["status"] == "processing":
            amounts["reserved"][row["sku"]] += row["n"]
        elif row["status"] != "payment_failed":
            amounts["sold"][row["sku"]] += row["n"]
    delivered = Counter(
        {
            row["sku"]: row["n"]
            for row in db.execute("SELECT sku, sum(quantity) AS n FROM deliveries GROUP BY sku")
        }
    )
    for sku, _, _, at_first in CATALOGUE:
        product = db.execute("SELECT * FROM products WHERE sku = ?", [sku]).fetchone()
        wanted = at_first + delivered[sku] - amounts["sold"][sku], amounts["reserved"][sku]
        found = product["stock"], product["reserved"]
        if found != wanted:
            yield (
                f"{sku}: {found[0]} on the shelf and {found[1]} of them reserved, "
                f"which should be {wanted[0]} and {wanted[1]}"
            )


def _wrong_with_photo(db: sqlite3.Connection, digest: str, sku: str) -> Iterator[str]:
    rows = db.execute("SELECT * FROM photos WHERE sku = ?", [sku]).fetchall()
    # By what is in the file, not by what the shop wrote beside it.
    found = [row for row in rows if hashlib.sha256(row["data"]).hexdigest() == digest]
    if len(found) != 1:
        yield f"a photo of the {sku} was accepted and is in the database {len(found)} times"
    elif found[0]["thumbnail"] is None:
        yield f"photo {found[0]['id']} of the {sku} has no thumbnail"
