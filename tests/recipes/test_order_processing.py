"""An order: a payment that must not be lost, stock to reserve, and notices that can wait."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from backstay import current_context
from backstay.errors import TaskCancelled
from backstay.tasks import Failed, Succeeded, Task, TaskConfig, Tasks, add_tasks
from backstay.testing import running
from tests.recipes.servers import (
    AnswerLog,
    RecordingServer,
    http_client,
    in_turn,
    recording_server,
    served,
    url_of_nobody,
)
from tests.recipes.store import Store
from tests.support import PATIENCE_S, async_test

SCHEMA = """
create table orders (id integer primary key, customer integer, status text default 'new');
create table stock (sku integer primary key, available integer, reserved integer default 0);
create table reservations (order_id integer, sku integer, quantity integer);
insert into stock (sku, available) values (1, 5), (2, 1);
"""


class Line(BaseModel):
    sku: int
    quantity: int
    cents: int


class NewOrder(BaseModel):
    customer: int
    email: str
    lines: list[Line]
    card: str


class OutOfStock(ValueError):
    """There is less of something than was ordered."""


class Shop:
    """What the shop's tasks do, and what they need for it.

    Attributes:
        log: notable events in the order they happened, from whatever thread.
        declined: what the payment's error handler was called with.
        given: every task of the orders, in the order they were scheduled.
        stock_counted: reservations wait for it.
    """

    def __init__(self, folder: Path, parties: RecordingServer, gateway_url: str) -> None:
        self.store = Store(folder / "shop.db", SCHEMA)
        self.parties_url = parties.url
        self.gateway_url = gateway_url
        self.log: list[str] = []
        self.declined: list[tuple[Task, Exception]] = []
        self.given: list[Task] = []
        self.stock_counted = threading.Event()
        self.stock_counted.set()

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        async with http_client(self.parties_url) as self.http:
            yield
        self.log.append("connections closed")

    def status_of(self, order_id: int) -> str:
        [(status,)] = self.store.rows("select status from orders where id = ?", order_id)
        return str(status)

    async def charge(self, *, order_id: int, cents: int, card: str) -> Any:
        self.log.append("charge")
        answer = await self.http.post(
            f"{self.gateway_url}/charge",
            json={"cents": cents, "currency": "USD", "card": card, "order": order_id},
            headers={"Authorization": "Bearer shop-key"},
        )
        answer.raise_for_status()
        self.store.run("update orders set status = 'paid' where id = ?", order_id)
        return answer.json()

    async def payment_failed(self, task: Task, error: Exception) -> None:
        self.declined.append((task, error))
        order_id = task.kwargs["order_id"]
        self.store.run("update orders set status = 'payment failed' where id = ?", order_id)
        current_context().logger.error("order %s is not paid", order_id, exc_info=error)
        await self.http.post("/alerts", json={"text": f"order {order_id} is not paid: {error}"})

    def reserve(self, order_id: int, lines: list[Line]) -> None:
        self.log.append("reserve")
        assert self.stock_counted.wait(PATIENCE_S)
        with self.store.transaction() as transaction:
            for line in lines:
                changed = transaction.execute(
                    "update stock set available = available - ?, reserved = reserved + ?"
                    " where sku = ? and available >= ?",
                    (line.quantity, line.quantity, line.sku, line.quantity),
                )
                if changed.rowcount == 0:
                    raise OutOfStock(f"fewer than {line.quantity} of {line.sku}")
                transaction.execute(
                    "insert into reservations values (?, ?, ?)",
                    (order_id, line.sku, line.quantity),
                )

    async def confirm(self, email: str, order_id: int, lines: list[Line]) -> None:
        self.log.append("confirm")
        content = [line.model_dump() for line in lines]
        await self.http.post("/mail", json={"to": email, "order": order_id, "lines": content})

    async def ship(self, order_id: int, lines: list[Line]) -> None:
        self.log.append("ship")
        content = {str(line.sku): line.quantity for line in lines}
        await self.http.post("/shipments", json={"order": order_id, "pick": content})

    async def count(self, event: str, order_id: int, **facts: object) -> None:
        self.log.append("count")
        await self.http.post("/events", json={"event": event, "order": order_id, **facts})

    async def void(self, payment: Task) -> None:
        if (await payment.wait()).ok:
            await self.http.post("/void", json={"order": payment.kwargs["order_id"]})


def make_app(shop: Shop, *, strict: bool = False, **options: Any) -> FastAPI:
    """The shop as an app.

    Args:
        shop: what its tasks do.
        strict: take an order only if its stock could be reserved.
        options: of ``add_tasks``.
    """
    app = FastAPI(lifespan=shop.lifespan)
    app.add_middleware(AnswerLog, log=shop.log)
    add_tasks(app, **options)

    @app.post("/orders")
    async def order(new: NewOrder, tasks: Tasks) -> dict[str, int | str]:
        total = sum(line.cents * line.quantity for line in new.lines)
        order_id = shop.store.run("insert into orders (customer) values (?)", new.customer)
        payment = tasks.task(
            name=f"payment_{order_id}", shield=True, on_error=shop.payment_failed
        ).schedule(shop.charge, order_id=order_id, cents=total, card=new.card)
        stock = tasks.after_route.task(name=f"stock_{order_id}", shield=True, wait=strict).schedule(
            shop.reserve, order_id, new.lines
        )
        if strict:
            tasks.after_response.task(when="failure").schedule(shop.void, payment)

        later = tasks.after_response
        shop.given += [
            payment,
            stock,
            later.schedule(shop.confirm, new.email, order_id, new.lines),
            later.schedule(shop.ship, order_id, new.lines),
            later.schedule(shop.count, "ordered", order_id, customer=new.customer, cents=total),
        ]
        shop.log.append("endpoint returns")
        return {"order": order_id, "status": "processing", "cents": total}

    return app


def an_order(*lines: tuple[int, int, int]) -> dict[str, Any]:
    return {
        "customer": 7,
        "email": "ada@example.com",
        "lines": [
            {"sku": sku, "quantity": quantity, "cents": cents} for sku, quantity, cents in lines
        ],
        "card": "tok-1",
    }


@async_test
async def test_an_order_reaches_every_party_once_with_what_it_needs(tmp_path: Path) -> None:
    async with recording_server() as parties:
        shop = Shop(tmp_path, parties, parties.url)
        async with running(make_app(shop)) as client:
            answer = await client.post("/orders", json=an_order((1, 2, 250), (2, 1, 999)))
            await client.tasks.settle()

    assert answer.json() == {"order": 1, "status": "processing", "cents": 1499}
    [charge] = parties.at("/charge")
    assert charge.json() == {"cents": 1499, "currency": "USD", "card": "tok-1", "order": 1}
    assert charge.headers["Authorization"] == "Bearer shop-key"
    [letter] = parties.at("/mail")
    assert (letter.json()["to"], letter.json()["order"]) == ("ada@example.com", 1)
    assert [line["sku"] for line in letter.json()["lines"]] == [1, 2]
    [shipment] = parties.at("/shipments")
    assert shipment.json() == {"order": 1, "pick": {"1": 2, "2": 1}}
    [event] = parties.at("/events")
    assert event.json() == {"event": "ordered", "order": 1, "customer": 7, "cents": 1499}
    assert len(parties.arrivals) == 4
    assert shop.status_of(1) == "paid"
    assert shop.store.rows("select * from stock") == [(1, 3, 2), (2, 0, 1)]
    assert shop.store.rows("select * from reservations") == [(1, 1, 2), (1, 2, 1)]


@async_test
async def test_the_client_waits_for_none_of_it_and_every_part_starts_at_its_moment(
    tmp_path: Path,
) -> None:
    async with recording_server() as parties:
        gateway_answers = parties.hold("/charge")
        shop = Shop(tmp_path, parties, parties.url)
        async with served(make_app(shop)) as client:
            answer = await client.post("/orders", json=an_order((1, 1, 100)))
            assert answer.status_code == 200
            for path in ("/charge", "/mail", "/shipments", "/events"):
                await parties.arrived(path)
            assert shop.status_of(1) == "new"
            gateway_answers.set()

    assert shop.status_of(1) == "paid"
    at = {what: shop.log.index(what) for what in shop.log}
    assert at["charge"] < at["answer out"]
    assert at["endpoint returns"] < at["reserve"]
    assert at["answer out"] < min(at["confirm"], at["ship"], at["count"])
    assert shop.log[-1] == "connections closed"
    assert len(shop.log) == 8


@pytest.mark.parametrize("trouble", ["declines", "is not there"])
@async_test
async def test_a_payment_that_fails_reaches_its_handler_once_and_the_order_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    async with recording_server() as parties:
        parties.replies["/charge"] = in_turn(402)
        with url_of_nobody() as nowhere:
            shop = Shop(tmp_path, parties, parties.url if trouble == "declines" else nowhere)
            async with running(make_app(shop)) as client:
                answer = await client.post(
                    "/orders", json=an_order((1, 1, 100)), headers={"X-Request-ID": "visit-1"}
                )
                await client.tasks.settle()

    assert answer.status_code == 200
    [(task, error)] = shop.declined
    assert task.name == "payment_1"
    assert task.kwargs == {"order_id": 1, "cents": 100, "card": "tok-1"}
    assert task.outcome == Failed(error)
    assert task.attempts == 1
    expected = httpx.HTTPStatusError if trouble == "declines" else httpx.ConnectError
    assert isinstance(error, expected)
    assert len(parties.at("/charge")) == (1 if trouble == "declines" else 0)
    [alert] = parties.at("/alerts")
    assert alert.json()["text"].startswith("order 1 is not paid: ")
    assert shop.status_of(1) == "payment failed"
    assert len(parties.at("/mail")) == len(parties.at("/shipments")) == 1
    said = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert {each.name for each in said} == {"backstay.tasks", "app"}
    assert {each.correlation_id for each in said} == {"visit-1"}  # type: ignore[attr-defined]  # put there by extra=


@async_test
async def test_an_order_larger_than_the_stock_reserves_nothing_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with recording_server() as parties:
        shop = Shop(tmp_path, parties, parties.url)
        async with running(make_app(shop)) as client:
            answer = await client.post("/orders", json=an_order((1, 1, 100), (2, 2, 100)))
            await client.tasks.settle()

    assert answer.status_code == 200, "what merely starts after the route delays and fails nothing"
    assert shop.store.rows("select * from stock") == [(1, 5, 0), (2, 1, 0)]
    assert shop.store.rows("select * from reservations") == []
    assert len(parties.at("/mail")) == 1
    [said] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert said.getMessage() == "the task 'stock_1' failed"
    assert said.exc_info is not None
    assert isinstance(said.exc_info[1], OutOfStock)


@async_test
async def test_an_answer_held_for_the_stock_comes_when_it_is_reserved(tmp_path: Path) -> None:
    async with recording_server() as parties:
        shop = Shop(tmp_path, parties, parties.url)
        shop.stock_counted.clear()
        async with served(make_app(shop, strict=True)) as client:
            order = asyncio.create_task(client.post("/orders", json=an_order((1, 1, 100))))
            try:
                await parties.arrived("/charge")
                for _ in range(2):  # others come and go: an answer that was not held would be here
                    assert (await client.get("/elsewhere")).status_code == 404
                assert not order.done()
            finally:
                shop.stock_counted.set()
            answer = await order
            assert shop.store.rows("select * from reservations") == [(1, 1, 1)]
            await parties.arrived("/mail")

    assert answer.status_code == 200
    assert parties.at("/void") == []


@async_test
async def test_an_answer_held_for_stock_that_is_not_there_is_a_500_and_the_payment_goes_back(
    tmp_path: Path,
) -> None:
    async with recording_server() as parties:
        shop = Shop(tmp_path, parties, parties.url)
        app = make_app(shop, strict=True)
        async with running(app, raise_app_exceptions=False) as client:
            answer = await client.post("/orders", json=an_order((2, 2, 100)))
            await client.tasks.settle()

    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert [each.path for each in parties.arrivals] == ["/charge", "/void"]
    assert parties.at("/void")[0].json() == {"order": 1}


@async_test
async def test_stopping_cuts_short_what_may_be_lost_and_finishes_the_shielded_payment(
    tmp_path: Path,
) -> None:
    told: list[tuple[str, Exception]] = []
    async with recording_server() as parties:
        gateway_answers = parties.hold("/charge")
        analytics_answers = parties.hold("/events")
        shop = Shop(tmp_path, parties, parties.url)

        def tell(task: Task, error: Exception) -> None:
            told.append((task.name, error))
            loop.call_soon_threadsafe(gateway_answers.set)

        loop = asyncio.get_running_loop()
        app = make_app(shop, config=TaskConfig(on_error=tell), shutdown_grace_s=0)
        async with running(app) as client:
            await client.post("/orders", json=an_order((1, 1, 100)))
            payment, stock, confirmation, shipment, _ = shop.given
            for task in (stock, confirmation, shipment):
                await task.wait()
            await parties.arrived("/charge")
            await parties.arrived("/events")
        analytics_answers.set()

    [(name, error)] = told
    assert name == "Shop.count"
    assert isinstance(error, TaskCancelled)
    assert payment.outcome == Succeeded({})
    assert shop.status_of(1) == "paid"
    assert shop.log[-1] == "connections closed"
