"""The shop, in this process, against its third parties as the real services they are."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from backstay.testing import enqueued
from examples.shop.app import create_app
from examples.shop.audit import audit
from examples.shop.models import STEPS
from examples.shop.processes import THIRD_PARTIES
from tests.examples.town import RELIABLE, town
from tests.support import async_test

DURABLE = [name for name, moment in STEPS.items() if moment == "durable"]


def state_of(details: Any) -> dict[str, str]:
    return {step["step"]: step["state"] for step in details["steps"]}


@dataclass
class Day:
    """What is left of a day on which one order and one sign-up came in and all went well."""

    answer: httpx.Response
    signed_up: httpx.Response
    order_at_the_end: Any
    books: Any
    database: Path


@pytest.fixture(scope="module")
def good_day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    @async_test
    async def one_order() -> None:
        async with town(tmp_path_factory.mktemp("shop"), failures=RELIABLE) as here:
            answer = await here.order("r-1", teapot=1, cup=2)
            body = {"email": "grace@example.com"}
            signed_up = await here.shop.post("/newsletter", json=body)
            await here.settle()
            details, books = await here.details(1), await here.books()
            days.append(Day(answer, signed_up, details, books, here.database))

    days: list[Day] = []
    one_order()
    return days[0]


def test_an_order_ends_fully_processed(good_day: Day) -> None:
    assert good_day.answer.status_code == 201
    assert good_day.answer.json()["status"] == "processing"
    assert good_day.answer.json()["total_cents"] == 3_200 + 2 * 900
    assert good_day.order_at_the_end["status"] == "processed"
    assert state_of(good_day.order_at_the_end) == dict.fromkeys(DURABLE, "succeeded")
    assert {step["attempts"] for step in good_day.order_at_the_end["steps"]} == {1}
    assert audit(good_day.database, good_day.books, {1}) == []


def test_third_parties_know_an_order_by_its_request_and_each_job_by_its_id(good_day: Day) -> None:
    jobs = {step["step"]: step["job"] for step in good_day.order_at_the_end["steps"]}
    parties = {"payment": "payment", "email": "receipt", "warehouse": "warehouse"}
    for party in THIRD_PARTIES:
        lines = {
            key: line for key, line in good_day.books[party].items() if "order" in line["body"]
        }
        ((key, line),) = lines.items()
        assert line["request_id"] == "r-1"
        if party in parties:
            assert key == jobs[parties[party]]


def test_the_card_is_nowhere_in_the_file(good_day: Day) -> None:
    files = [*good_day.database.parent.glob("shop.db*")]
    assert files
    assert not any(b"tok_visa" in each.read_bytes() for each in files)
    assert any(b"ada@example.com" in each.read_bytes() for each in files)


def test_the_audit_finds_what_is_missing_doubled_or_left_behind(
    good_day: Day, tmp_path: Path
) -> None:
    books = good_day.books
    ((key, charge),) = books["payment"].items()

    def found(accepted: set[int], *, database: Path = good_day.database, **changed: Any) -> str:
        return "\n".join(audit(database, {**books, **changed}, accepted))

    def after(statement: str) -> str:
        changed = Path(shutil.copy(good_day.database, tmp_path))
        with closing(sqlite3.connect(changed)) as db, db:
            db.execute(statement)
        return found({1}, database=changed)

    assert found({1}) == ""
    assert found({1}, email={}) == "order 1 was sent a receipt 0 times"
    assert found({1}, warehouse={}) == "order 1 was given to packers 0 times"
    assert "analytics" in found({1}, analytics={})
    assert audit(good_day.database, {**books, "analytics": {}}, {1}, may_be_gone={1}) == []
    assert "charged [] instead of [5000]" in found({1}, payment={})
    twice = {key: charge, "again": {**charge, "key": "again"}}
    assert "charged [5000, 5000] instead of [5000]" in found({1}, payment=twice)
    assert found(set()) == "order 1 was turned down and is in the database"
    assert audit(good_day.database, books, set(), unanswered={"r-1"}) == []
    assert "order 2 was accepted and is not in the database" in found({1, 2})
    stray = {**charge, "body": {**charge["body"], "order": 7}}
    assert "payment has a line about order 7" in found({1}, payment={key: charge, "": stray})

    assert "cup: 200 on the shelf" in after("UPDATE products SET stock = 200 WHERE sku = 'cup'")
    assert "[5000, 5000] booked instead of [5000]" in after(
        "INSERT INTO bookings (order_id, amount_cents) VALUES (1, 5000)"
    )
    assert "the customer's money was not given back" in after(
        "UPDATE orders SET status = 'payment_failed'"
    )
    undone = Path(shutil.copy(good_day.database, tmp_path))
    with closing(sqlite3.connect(undone)) as db, db:
        db.execute("UPDATE orders SET status = 'paid'")
        db.execute("UPDATE backstay_jobs SET state = 'retrying' WHERE task = 'shop.receipt'")
    assert "order 1 is paid: receipt retrying" in found({1}, database=undone)


@async_test
async def test_with_failures_every_accepted_order_is_processed_or_called_off(
    tmp_path: Path,
) -> None:
    async with town(tmp_path, seed="25") as here:
        cards = ["tok_visa"] * 8 + ["tok_declined", "tok_bank_down"]
        answers = await asyncio.gather(
            *(here.order(f"r-{number}", card, cup=2) for number, card in enumerate(cards))
        )
        assert {answer.status_code for answer in answers} == {201}
        await here.settle()
        orders = [await here.details(answer.json()["id"]) for answer in answers]
        assert [order["status"] for order in orders] == ["processed"] * 8 + ["payment_failed"] * 2
        assert await here.wrong(*range(1, 11)) == []

        # A card that is declined is an answer; a gateway that is down is in the dead letter list.
        assert state_of(orders[8]) == {"payment": "succeeded"}
        assert state_of(orders[9]) == {"payment": "discarded"}

        # It was no easy day: attempts failed, and a charge whose answer got lost was asked again.
        assert sum(step["attempts"] > 1 for order in orders for step in order["steps"]) > 5
        assert any(charge["asked"] > 1 for charge in (await here.books())["payment"].values())


@async_test
async def test_what_cannot_be_ordered_is_refused_and_there_was_no_order_and_no_job(
    tmp_path: Path,
) -> None:
    async with town(tmp_path, failures=RELIABLE) as here:
        answer = await here.order("r-1", cup=1, samovar=2)
        assert answer.status_code == 409
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["title"] == "Sold out"
        assert (await here.order("r-2", unicorn=1)).status_code == 422
        assert (await here.order("r-3", teapot=0)).status_code == 422
        assert (await here.order("r-4")).status_code == 422
        assert (await here.shop.get("/orders/1")).status_code == 404
        listed = await here.shop.get("/orders", headers=here.admin)
        assert listed.json()["items"] == []
        assert await enqueued(here.shop) == []
        assert not any((await here.books()).values())
        assert await here.wrong() == []

        answers = await asyncio.gather(
            *(here.order(f"r-{number}", samovar=1) for number in range(5, 10))
        )
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
        await here.settle()
        winner = next(answer.json()["id"] for answer in answers if answer.status_code == 201)
        assert await here.wrong(winner) == []
        assert len((await here.books())["payment"]) == 1


@async_test
async def test_an_event_that_analytics_does_not_take_is_kept_and_the_order_is_processed(
    tmp_path: Path,
) -> None:
    async with town(tmp_path, failures={**RELIABLE, "analytics": 1.0}) as here:
        assert (await here.order("r-1", tray=1)).status_code == 201
        await here.settle()
        assert (await here.details(1))["status"] == "processed"
        assert await here.wrong(1) == []
        with closing(sqlite3.connect(here.database)) as db:
            assert db.execute("SELECT order_id, event FROM unsent_events").fetchall() == [
                (1, "order_placed")
            ]


def test_a_sign_up_by_plain_background_tasks_is_stored_and_greeted(good_day: Day) -> None:
    assert good_day.signed_up.status_code == 202
    mail = good_day.books["email"]["welcome-grace@example.com"]
    assert mail["body"] == {"to": "grace@example.com", "template": "welcome"}
    assert mail["request_id"] == good_day.signed_up.headers["X-Request-ID"]
    with closing(sqlite3.connect(good_day.database)) as db:
        assert db.execute("SELECT email FROM subscribers").fetchall() == [("grace@example.com",)]


def test_the_docs_tell_what_every_endpoint_is_for() -> None:
    schema = create_app().openapi()
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            assert operation.get("description") or operation["tags"] == ["auth"], (method, path)
            assert operation["tags"], (method, path)
    described = {tag["name"] for tag in schema["tags"]}
    assert described == {
        *("accounts", "auth", "common", "customers"),
        *("newsletter", "orders", "products", "warehouse"),
    }
