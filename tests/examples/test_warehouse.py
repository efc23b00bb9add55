"""The warehouse's machines: what their keys open, and what they say of deliveries."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from examples.shop import store
from tests.examples.town import RELIABLE, Headers, Town, shop_alone, town, wanted
from tests.support import async_test

NOBODY_WORKS = {"WORKER": "0"}


async def deliver(here: Town, who: Headers, sku: str, number: str, quantity: int) -> Any:
    return await here.shop.post(
        f"/warehouse/stock/{sku}", json={"number": number, "quantity": quantity}, headers=who
    )


async def stock(here: Town, sku: str) -> int:
    """As everybody sees it, from the cache if it is there."""
    found: int = (await here.shop.get(f"/products/{sku}")).json()["stock"]
    return found


@async_test
async def test_only_a_key_with_the_scope_opens_the_warehouse(tmp_path: Path) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        _, right = await here.key("warehouse")
        _, wrong = await here.key("orders:read")
        _, none = await here.key()
        ada = await here.login("ada@example.com")
        bearer = {"Authorization": f"Bearer {right['X-API-Key']}"}
        changed = {"X-API-Key": right["X-API-Key"][:-1] + "0"}
        for who, code in (
            (right, 200),
            (bearer, 200),
            (wrong, 403),
            (none, 403),
            (ada, 403),
            (here.admin, 403),
            (changed, 401),
            ({"X-API-Key": ""}, 401),
            ({}, 401),
        ):
            answer = await here.shop.get("/warehouse/orders", headers=who)
            assert answer.status_code == code, who
            delivered = await deliver(here, who, "cup", "DN-1", 5)
            assert delivered.status_code == code, who
            assert code == 200 or "application/problem+json" in answer.headers["content-type"]
        assert await stock(here, "cup") == 205


@async_test
async def test_a_key_that_was_revoked_opens_nothing(tmp_path: Path) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        key_id, key = await here.key("warehouse")
        assert (await here.shop.get("/warehouse/orders", headers=key)).status_code == 200
        assert await here.app.state.auth_jwt.api_keys.revoke(key_id)
        answer = await here.shop.get("/warehouse/orders", headers=key)
        assert answer.status_code == 401
        assert (await deliver(here, key, "cup", "DN-1", 5)).status_code == 401
        assert await stock(here, "cup") == 200


@async_test
async def test_a_delivery_is_seen_at_once_and_counted_once(tmp_path: Path) -> None:
    async with town(tmp_path, failures=RELIABLE) as here:
        key_id, key = await here.key("warehouse")
        assert await stock(here, "cup") == 200
        answers = await asyncio.gather(*(deliver(here, key, "cup", "DN-1", 24) for _ in range(6)))
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.json()["stock"] for answer in answers} == {224}
        assert await stock(here, "cup") == 224
        assert (await deliver(here, key, "cup", "DN-1", 25)).status_code == 409
        assert (await deliver(here, key, "tray", "DN-1", 24)).status_code == 409
        assert (await deliver(here, key, "unicorn", "DN-2", 1)).status_code == 404
        for quantity in (0, -1, 10_001, 1.5):
            assert (await deliver(here, key, "cup", "DN-3", quantity)).status_code == 422
        assert await here.wrong() == []
        async with here.app.state.shop.new_session() as session:
            row = await session.get_one(store.DeliveryRow, "DN-1")
            assert row.api_key == key_id
        # What was sold out is there again.
        assert (await here.order("r-1", samovar=2)).status_code == 409
        await deliver(here, key, "samovar", "DN-4", 1)
        assert (await here.order("r-2", samovar=2)).status_code == 201
        await here.settle()
        assert await here.wrong(1) == []


@async_test
async def test_what_is_paid_and_not_shipped_is_to_be_packed_and_says_nothing_of_the_customer(
    tmp_path: Path,
) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        _, key = await here.key("warehouse")
        for _ in range(3):
            await here.shop.post("/orders", json=wanted(cup=2, tray=1))
        async with here.app.state.shop.new_session() as session, session.begin():
            await store.book_payment(session, 1, 100)
            await store.book_payment(session, 3, 100)
            await store.complete(session, 1)
        parcels = (await here.shop.get("/warehouse/orders", headers=key)).json()
        assert [each["order"] for each in parcels] == [3]
        assert set(parcels[0]) == {"order", "placed_at", "items"}
        assert {"sku": "cup", "quantity": 2} in parcels[0]["items"]
        for limit in (0, 501, "x"):
            answer = await here.shop.get(f"/warehouse/orders?limit={limit}", headers=key)
            assert answer.status_code == 422
