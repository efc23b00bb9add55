"""Whose order it is, and who sees it: the owner, an admin, a guest who has its key."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import httpx

from examples.shop.models import Order
from tests.examples.town import Headers, Town, shop_alone, wanted
from tests.support import async_test
from tests.widgets.wire import Wire

NOBODY_WORKS = {"WORKER": "0"}


async def place(here: Town, who: Headers | None = None, **order: Any) -> Any:
    answer = await here.shop.post("/orders", json=wanted(**order), headers=who)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def listed(here: Town, who: Headers, query: str = "") -> list[int]:
    answer = await here.shop.get(f"/orders{query}", headers=who)
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["items"]]


async def a_few_orders(here: Town) -> tuple[Headers, Headers]:
    """1 and 3 are Ada's, 2 and 4 are Bob's, 5 is a guest's with Ada's address."""
    ada, bob = await here.login("ada@example.com"), await here.login("bob@example.com")
    for number in range(4):
        who, email = (ada, "ada@example.com") if number % 2 == 0 else (bob, "bob@example.com")
        await place(here, who, email=email, cup=number + 1)
    await place(here, None, email="ada@example.com", tray=1)
    return ada, bob


# ------------------------------------------------------------------ lists


@async_test
async def test_accounts_list_their_own_orders_and_no_question_shows_more(tmp_path: Path) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        ada, bob = await a_few_orders(here)
        assert await listed(here, ada) == [3, 1]
        assert await listed(here, bob) == [4, 2]
        for query in (
            "?email=bob@example.com",
            "?status=processing&email=bob@example.com",
            "?items__sku=tray",
            "?placed_at__gte=2000-01-01T00:00:00Z&email=bob@example.com",
        ):
            assert await listed(here, ada, query) == [], query
        for sort in ("id", "-total_cents", "placed_at,-id", "total_cents"):
            assert sorted(await listed(here, ada, f"?sort={sort}&size=50")) == [1, 3], sort
        for query in ("?owner=bob@example.com", "?visible=", "?headers=x"):  # no filters at all
            assert await listed(here, ada, query) == [3, 1], query
        for query in ("?sort=owner", "?items__quantity=2", "?id__gt=0", "?owner__ne=x"):
            assert (await here.shop.get(f"/orders{query}", headers=ada)).status_code == 422, query


@async_test
async def test_the_next_page_is_of_the_same_account_and_a_cursor_is_good_for_no_other(
    tmp_path: Path,
) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        ada, bob = await a_few_orders(here)
        page = (await here.shop.get("/orders?size=1", headers=ada)).json()
        assert [each["id"] for each in page["items"]] == [3]
        cursor = page["next"]
        assert await listed(here, ada, f"?size=1&cursor={cursor}") == [1]
        for who in (bob, here.admin):
            answer = await here.shop.get(f"/orders?size=1&cursor={cursor}", headers=who)
            assert answer.status_code == 422
        # One that was made up says nothing either.
        body = base64.urlsafe_b64encode(b"\x01" + bytes(16) + json.dumps([0, [99]]).encode())
        forged = body.rstrip(b"=").decode()
        answer = await here.shop.get(f"/orders?cursor={forged}", headers=ada)
        assert answer.status_code == 422


@async_test
async def test_admins_see_all_orders_and_whoever_is_not_logged_in_sees_no_list(
    tmp_path: Path,
) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        await a_few_orders(here)
        assert await listed(here, here.admin) == [5, 4, 3, 2, 1]
        assert await listed(here, here.admin, "?email=bob@example.com") == [4, 2]
        assert await listed(here, here.admin, "?items__sku=tray") == [5]
        answer = await here.shop.get("/orders")
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        _, key = await here.key("orders:read")  # a program, whatever its key allows
        assert await listed(here, key) == []


# ------------------------------------------------------------------ one order


@async_test
async def test_an_account_s_order_is_shown_to_it_and_to_admins_and_is_not_there_for_others(
    tmp_path: Path,
) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        ada, bob = await a_few_orders(here)
        _, program = await here.key("orders:read", "warehouse")
        for who in (ada, here.admin):
            answer = await here.shop.get("/orders/1", headers=who)
            assert answer.status_code == 200
            assert answer.headers["Cache-Control"] == "no-store"
        missing = await here.shop.get("/orders/99", headers=bob)
        for stranger in (bob, program, {}):
            answer = await here.shop.get("/orders/1", headers=stranger)
            assert answer.status_code == missing.status_code == 404
            assert answer.json()["detail"] == missing.json()["detail"].replace("99", "1")
        # Whose it is, is no business of whoever sees it.
        assert "owner" not in (await here.shop.get("/orders/1", headers=ada)).json()


@async_test
async def test_a_guest_follows_an_order_by_its_key_and_by_no_other(tmp_path: Path) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        first, second = await place(here, cup=1), await place(here, cup=2)
        ada = await here.login("ada@example.com")
        key = first["order_key"]

        async def asked(number: int, **headers: str) -> httpx.Response:
            return await here.shop.get(f"/orders/{number}", headers=headers)

        answer = await asked(1, **{"X-Order-Key": key})
        assert answer.status_code == 200
        assert answer.json()["items"] == [{"sku": "cup", "quantity": 1}]
        assert key not in answer.text
        for wrong in (second["order_key"], key[:-1], key + "A", key.swapcase(), "", "null"):
            assert (await asked(1, **{"X-Order-Key": wrong})).status_code == 404, wrong
        odd = [("X-Order-Key", b"\xfc\xff")]
        assert (await here.shop.get("/orders/1", headers=odd)).status_code == 404
        assert (await here.shop.get(f"/orders/1?order_key={key}")).status_code == 404
        # Signed up with the address, which proves nothing.
        assert (await asked(1, **ada)).status_code == 404
        assert await listed(here, ada) == []
        assert (await asked(1, **ada, **{"X-Order-Key": key})).status_code == 200


@async_test
async def test_whoever_is_logged_in_orders_in_his_own_name_and_gets_no_key(tmp_path: Path) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        ada = await here.login("ada@example.com")
        placed = await place(here, ada, email="Ada@Example.com", cup=1)
        assert placed["order_key"] is None
        answer = await here.shop.post(
            "/orders", json=wanted(email="bob@example.com", cup=1), headers=ada
        )
        assert answer.status_code == 403
        assert "ada@example.com" in answer.json()["detail"]
        assert await listed(here, here.admin) == [1]
        key = here.app.state.shop.order_keys.key_of
        shown = await here.shop.get("/orders/1", headers=ada)
        order = {name: value for name, value in shown.json().items() if name != "steps"}
        # It would fit if it were a guest's.
        right = key(Order(**order))
        answer = await here.shop.get("/orders/1", headers={"X-Order-Key": right})
        assert answer.status_code == 404


@async_test
async def test_a_token_for_reading_places_no_orders(tmp_path: Path) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        await here.login("ada@example.com")
        grant = await here.app.state.auth_jwt.issue("ada@example.com", scopes=["orders:read"])
        reader = {"Authorization": f"Bearer {grant.access_token}"}
        assert await listed(here, reader) == []
        answer = await here.shop.post("/orders", json=wanted(cup=1), headers=reader)
        assert answer.status_code == 403
        writer = await here.app.state.auth_jwt.issue("ada@example.com", scopes=["orders:write"])
        headers = {"Authorization": f"Bearer {writer.access_token}"}
        await place(here, headers, cup=1)
        answer = await here.shop.get("/orders", headers=headers)
        assert answer.status_code == 403
        assert 'scope="orders:read"' in answer.headers["WWW-Authenticate"]


@async_test
async def test_why_a_step_has_failed_is_told_to_admins_alone(tmp_path: Path) -> None:
    # Nobody listens where the gateway should be.
    async with shop_alone(tmp_path, WAIT_S="0") as here:
        guest = await place(here, card="tok_visa", cup=1)

        async def payment(who: Headers) -> Any:
            answer = await here.shop.get("/orders/1", headers=who)
            return answer.json()["steps"][0]

        seen = await payment({"X-Order-Key": guest["order_key"]})
        while seen["state"] != "discarded":
            assert seen["detail"] == ""
            await asyncio.sleep(0.02)
            seen = await payment({"X-Order-Key": guest["order_key"]})
        assert seen["detail"] == ""
        assert "All connection attempts failed" in (await payment(here.admin))["detail"]


# ------------------------------------------------------------------ by an assistant


@async_test
async def test_an_assistant_with_a_login_orders_and_asks_in_that_name(tmp_path: Path) -> None:
    async with shop_alone(tmp_path, **NOBODY_WORKS) as here:
        ada, bob = await here.login("ada@example.com"), await here.login("bob@example.com")
        wire = Wire(here.shop)
        await wire.hello()

        async def ask(tool: str, who: Headers | None = None, **arguments: Any) -> Any:
            here.shop.headers.pop("Authorization", None)
            here.shop.headers.update(who or {})
            return await wire.call(tool, **arguments)

        order = wanted(cup=1)
        refused = await ask("place_order", ada, **{**order, "email": "bob@x.org"}, key="12345678")
        assert refused["isError"]
        placed = await ask("place_order", ada, **order, key="abcdefgh")
        assert placed["structuredContent"]["order_id"] == 1
        assert not (await ask("order_status", ada, order_id=1)).get("isError")
        for stranger in (bob, None):
            unseen = await ask("order_status", stranger, order_id=1)
            assert unseen["isError"]
        here.shop.headers.pop("Authorization", None)
        assert await listed(here, ada) == [1]
