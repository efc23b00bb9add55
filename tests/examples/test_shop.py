"""The shop, in this process, against its third parties as the real services they are."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from backstay.testing import RunningApp, running
from examples.shop.app import create_app
from examples.shop.audit import audit, collect
from examples.shop.models import STEPS
from examples.shop.processes import THIRD_PARTIES, Service, settings_for, third_parties
from tests.support import async_test

RELIABLE = dict.fromkeys(THIRD_PARTIES, 0.0)
SETTLED_S = 15.0


@dataclass
class Town:
    """The shop, who supplies it, and where its orders are kept."""

    shop: RunningApp
    services: Mapping[str, Service]
    database: Path

    async def order(self, request_id: str, card: str = "tok_visa", **items: int) -> httpx.Response:
        body = {
            "email": "ada@example.com",
            "card": card,
            "items": [{"sku": sku, "quantity": quantity} for sku, quantity in items.items()],
        }
        return await self.shop.post("/orders", json=body, headers={"X-Request-ID": request_id})

    async def settle(self) -> None:
        async with asyncio.timeout(SETTLED_S):
            await self.shop.tasks.settle()

    async def details(self, order_id: int) -> Any:
        return (await self.shop.get(f"/orders/{order_id}")).json()

    async def books(self) -> Any:
        books, silent = await collect(self.services)
        assert silent == []
        return books

    async def wrong(self, *accepted: int) -> list[str]:
        """What the audit finds, these orders having been accepted."""
        return audit(self.database, await self.books(), set(accepted))


@asynccontextmanager
async def town(
    directory: Path, *, seed: str = "0", failures: Mapping[str, float] | None = None
) -> AsyncIterator[Town]:
    async with third_parties(seed=seed, failures=failures) as services:
        database = directory / "shop.db"
        app = create_app({**settings_for(services), "DATABASE": str(database)})
        async with running(app, raise_app_exceptions=False) as shop:
            yield Town(shop, services, database)


def state_of(details: Any) -> dict[str, str]:
    return {step["step"]: step["state"] for step in details["steps"]}


@dataclass
class Day:
    """What is left of a day on which one order was placed and all went well."""

    answer: httpx.Response
    order_at_the_answer: Any
    order_at_the_end: Any
    books: Any
    database: Path


@pytest.fixture(scope="module")
def good_day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    @async_test
    async def one_order() -> None:
        async with town(tmp_path_factory.mktemp("shop"), failures=RELIABLE) as here:
            answer = await here.order("r-1", teapot=1, cup=2)
            at_the_answer = await here.details(1)
            await here.settle()
            at_the_end = await here.details(1)
            days.append(Day(answer, at_the_answer, at_the_end, await here.books(), here.database))

    days: list[Day] = []
    one_order()
    return days[0]


def test_an_order_ends_fully_processed(good_day: Day) -> None:
    assert good_day.answer.status_code == 201
    assert good_day.answer.json()["total_cents"] == 3_200 + 2 * 900
    assert good_day.order_at_the_end["status"] == "processed"
    assert state_of(good_day.order_at_the_end) == dict.fromkeys(STEPS, "done")
    assert {step["attempts"] for step in good_day.order_at_the_end["steps"]} == {1}
    assert audit(good_day.database, good_day.books, {1}) == []


def test_the_answer_is_held_until_the_items_are_reserved(good_day: Day) -> None:
    assert state_of(good_day.order_at_the_answer)["inventory"] == "done"


def test_every_call_to_a_third_party_carries_the_request_id(good_day: Day) -> None:
    for name in THIRD_PARTIES:
        assert [each["request_id"] for each in good_day.books[name].values()] == ["r-1"]


def test_the_audit_finds_what_is_missing_doubled_or_left_behind(
    good_day: Day, tmp_path: Path
) -> None:
    books, charge = good_day.books, good_day.books["payment"]["order-1"]

    def found(accepted: set[int], *, database: Path = good_day.database, **changed: Any) -> str:
        return "\n".join(audit(database, {**books, **changed}, accepted))

    assert found({1}) == ""
    assert found({1}, email={}) == "order 1 was not confirmed by e-mail"
    assert found({1}, warehouse={}) == "order 1 is unknown to the warehouse"
    assert "analytics" in found({1}, analytics={})
    assert "charged [] instead of [5000]" in found({1}, payment={})
    twice = {"order-1": charge, "again": {**charge, "key": "again"}}
    assert "charged [5000, 5000] instead of [5000]" in found({1}, payment=twice)
    assert "not given back" in found(set())
    assert "order 2 was accepted and is not in the database" in found({1, 2})
    robbed = Path(shutil.copy(good_day.database, tmp_path))
    with closing(sqlite3.connect(robbed)) as db, db:
        db.execute("DELETE FROM reservations WHERE sku = 'cup'")
    assert "has {'teapot': 1} reserved instead of" in found({1}, database=robbed)
    assert "cup: 198 left and 0 reserved do not make 200" in found({1}, database=robbed)


@async_test
async def test_with_failures_every_accepted_order_is_processed_or_called_off_by_the_handler(
    tmp_path: Path,
) -> None:
    async with town(tmp_path, seed="1") as here:
        cards = ["tok_visa"] * 8 + ["tok_declined", "tok_gateway_down"]
        answers = await asyncio.gather(
            *(here.order(f"r-{number}", card, cup=2) for number, card in enumerate(cards))
        )
        assert {answer.status_code for answer in answers} == {201}
        await here.settle()
        orders = [await here.details(answer.json()["id"]) for answer in answers]
        assert [order["status"] for order in orders] == ["processed"] * 8 + ["payment_failed"] * 2
        assert await here.wrong(*range(1, 11)) == []

        # It was no easy day: attempts failed, and a charge whose answer got lost was asked again.
        assert sum(step["attempts"] > 1 for order in orders for step in order["steps"]) > 5
        assert any(charge["asked"] > 1 for charge in (await here.books())["payment"].values())


@async_test
async def test_who_finds_the_last_one_gone_hears_409_and_gets_the_money_back(
    tmp_path: Path,
) -> None:
    async with town(tmp_path, failures=RELIABLE) as here:
        # Each line by itself passes the check at the door, and the second one finds none left.
        body = {
            "email": "ada@example.com",
            "card": "tok_visa",
            "items": [{"sku": "samovar", "quantity": 1}, {"sku": "samovar", "quantity": 1}],
        }
        answer = await here.shop.post("/orders", json=body)
        assert answer.status_code == 409
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["title"] == "Sold out"
        await here.settle()
        order = await here.details(1)
        assert order["status"] == "sold_out"
        assert state_of(order) == {
            "payment": "done",
            "inventory": "handled",
            "email": "skipped",
            "warehouse": "skipped",
            "analytics": "skipped",
            "refund": "done",
        }
        assert await here.wrong() == []

        answers = await asyncio.gather(
            *(here.order(f"r-{number}", samovar=1) for number in range(5))
        )
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
        await here.settle()
        winner = next(answer.json()["id"] for answer in answers if answer.status_code == 201)
        assert await here.wrong(winner) == []
        charges = (await here.books())["payment"].values()
        assert sum(not charge["refunded"] for charge in charges) == 1


@async_test
async def test_an_event_that_analytics_does_not_take_is_kept_and_the_order_is_processed(
    tmp_path: Path,
) -> None:
    async with town(tmp_path, failures={**RELIABLE, "analytics": 1.0}) as here:
        assert (await here.order("r-1", tray=1)).status_code == 201
        await here.settle()
        order = await here.details(1)
        assert order["status"] == "processed"
        assert state_of(order)["analytics"] == "handled"
        assert await here.wrong(1) == []
        with closing(sqlite3.connect(here.database)) as db:
            assert db.execute("SELECT order_id, event FROM unsent_events").fetchall() == [
                (1, "order_placed")
            ]


@async_test
async def test_what_cannot_be_ordered_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    async with town(tmp_path, failures=RELIABLE) as here:
        assert (await here.order("r-1", teapot=99)).status_code == 409
        assert (await here.order("r-2", unicorn=1)).status_code == 422
        assert (await here.order("r-3", teapot=0)).status_code == 422
        assert (await here.order("r-4")).status_code == 422
        assert (await here.shop.get("/orders/1")).status_code == 404
        assert (await here.shop.get("/orders")).json() == []
        await here.settle()
        assert not any((await here.books()).values())
        assert await here.wrong() == []


@async_test
async def test_a_sign_up_by_plain_background_tasks_is_stored_and_greeted(tmp_path: Path) -> None:
    async with town(tmp_path, failures=RELIABLE) as here:
        answer = await here.shop.post("/newsletter", json={"email": "grace@example.com"})
        assert answer.status_code == 202
        await here.settle()
        (mail,) = (await here.books())["email"].values()
        assert mail["body"] == {"to": "grace@example.com", "template": "welcome"}
        assert mail["request_id"] == answer.headers["X-Request-ID"]
        with closing(sqlite3.connect(here.database)) as db:
            assert db.execute("SELECT email FROM subscribers").fetchall() == [
                ("grace@example.com",)
            ]


def test_the_docs_tell_what_every_endpoint_is_for() -> None:
    schema = create_app().openapi()
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            assert operation["description"], (method, path)
            assert operation["tags"], (method, path)
    described = {tag["name"] for tag in schema["tags"]}
    assert described == {"orders", "products", "newsletter"}
