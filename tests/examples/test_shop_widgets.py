"""The shop's widgets over the wire, as an MCP client calls them."""

from __future__ import annotations

import asyncio
import base64
import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backstay.testing import enqueued
from examples.shop import png
from examples.shop.assistant import picture
from examples.shop.audit import audit
from examples.shop.models import Order
from examples.shop.photos import MAX_BYTES, SIDE
from tests.examples.town import RELIABLE, Town, shop_alone, town
from tests.support import async_test
from tests.widgets.wire import Wire, events

PHOTO = picture()

UNDER_THIS_KEY = (
    "Another order was placed under this key. Send the same order exactly as before, "
    "or use a new key."
)


def no_order(number: int) -> str:
    return (
        f"There is no order {number}, or it is none of yours. "
        "A guest's order is shown to whoever sends its order_key."
    )


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def wanted(key: str = "tea-for-ada-1", card: str = "tok_visa", **items: int) -> dict[str, Any]:
    return {
        "email": "ada@example.com",
        "card": card,
        "key": key,
        "items": [{"sku": sku, "quantity": quantity} for sku, quantity in items.items()],
    }


async def client(here: Town) -> Wire:
    """One that has a conversation of its own."""
    wire = Wire(here.shop)
    await wire.hello()
    return wire


async def called(wire: Wire, tool: str, **arguments: Any) -> dict[str, Any]:
    """What a tool answers for its page, or why not."""
    result = await wire.call(tool, **arguments)
    found: dict[str, Any] = result["structuredContent"]
    return found


async def refused(wire: Wire, tool: str, **arguments: Any) -> tuple[str | None, str]:
    """The field and the reason."""
    result = await wire.call(tool, **arguments)
    assert result["isError"], result
    about = result.get("structuredContent") or result["_meta"]["backstay/error"]
    return about.get("field"), about["message"]


async def reports(wire: Wire, tool: str, **arguments: Any) -> tuple[list[Any], dict[str, Any]]:
    """How progress was reported, and what came in the end."""
    call = {"name": tool, "arguments": arguments}
    answer = await wire.post("tools/call", call, meta={"progressToken": "p"})
    *said, end = events(answer.text)
    params = [each["params"] for each in said]
    found: dict[str, Any] = end["result"]["structuredContent"]
    return [(each["progress"], each["total"], each["message"]) for each in params], found


def of(placed: dict[str, Any]) -> dict[str, Any]:
    """Which order that is, for whoever asks how far it is."""
    return {name: placed[name] for name in ("order_id", "order_key")}


def rows(database: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(database)) as db:
        return db.execute(statement).fetchall()


# ------------------------------------------------------------------ what is offered


@async_test
async def test_widgets_have_pages_the_tool_has_none_and_all_say_what_they_do(
    tmp_path: Path,
) -> None:
    async with shop_alone(tmp_path) as here:
        wire = await client(here)
        listed = (await wire.ask("tools/list"))["result"]["tools"]
        tools = {tool["name"]: tool for tool in listed}
        assert list(tools) == ["find_products", "order_status", "upload_photo", "place_order"]
        for name, tool in tools.items():
            uri = tool.get("_meta", {}).get("ui", {}).get("resourceUri")
            assert (uri is None) == (name == "place_order")
            if uri is not None:
                page = (await wire.ask("resources/read", {"uri": uri}))["result"]["contents"][0]
                assert page["mimeType"] == "text/html;profile=mcp-app"
            fields = tool["inputSchema"]["properties"]
            assert len(tool["description"]) > 60
            assert name == "place_order" or all("description" in each for each in fields.values())
        assert "wait=true" in tools["order_status"]["description"]
        assert tools["find_products"]["annotations"]["readOnlyHint"]
        hints = tools["place_order"]["annotations"]
        assert (hints["destructiveHint"], hints["idempotentHint"]) == (True, True)
        assert tools["upload_photo"]["_meta"]["openai/fileParams"] == ["file"]


# ------------------------------------------------------------------ find products


@async_test
async def test_products_are_found_by_words_and_price_each_with_what_can_be_done(
    tmp_path: Path,
) -> None:
    async with shop_alone(tmp_path) as here:
        wire = await client(here)

        async def found(**asked: Any) -> list[str]:
            return [each["id"] for each in (await called(wire, "find_products", **asked))["items"]]

        assert await found() == ["cup", "kettle", "samovar", "teapot", "tray"]
        assert await found(max_price=45) == ["cup", "teapot", "tray"]
        assert await found(max_price=44.99) == ["cup", "teapot"]
        assert await found(text="WALNUT tray") == ["tray"]
        assert await found(text="%") == await found(text="unicorn") == []

        result = await wire.call("find_products", text="samovar")
        (item,) = result["structuredContent"]["items"]
        assert (item["meta"], item["badge"]["text"]) == ("640.00 €", "Last one")
        look, order = item["actions"]
        assert look["tool"] == "find_products"
        assert "samovar" in order["message"]
        (text,) = result["content"]
        assert text["text"] == "samovar: Samovar, 1903, the only one, 640.00 €, 1 left"


@async_test
async def test_what_was_looked_at_is_remembered_in_the_conversation_and_in_no_other(
    tmp_path: Path,
) -> None:
    async with shop_alone(tmp_path) as here:
        mine, other = await client(here), await client(here)
        listed = await called(mine, "find_products")
        for sku in ("cup", "tray", "cup"):
            item = next(each for each in listed["items"] if each["id"] == sku)
            listed = await called(mine, "find_products", **item["actions"][0]["arguments"])
        assert listed["recently_looked_at"] == ["cup", "tray"]
        badges = {each["id"]: each["badge"] for each in listed["items"]}
        assert (badges["cup"], badges["tray"], badges["teapot"]) == ("Looked at",) * 2 + (None,)
        assert (await called(mine, "find_products"))["recently_looked_at"] == ["cup", "tray"]
        assert (await called(other, "find_products"))["recently_looked_at"] == []
        field, why = await refused(mine, "find_products", max_price=10, look_at="samovar")
        assert (field, why) == ("look_at", "'samovar' is not among what was found: cup")


# ------------------------------------------------------------------ orders


@async_test
async def test_an_order_by_mcp_is_followed_live_and_ends_as_one_by_http_does(
    tmp_path: Path,
) -> None:
    async with town(tmp_path, failures=RELIABLE) as here:
        wire = await client(here)
        wire.headers["X-Request-ID"] = "r-mcp"
        placed = await called(wire, "place_order", **wanted(teapot=1, cup=2))
        del wire.headers["X-Request-ID"]
        key = placed["order_key"]
        assert len(key) == 43
        assert placed == {
            "order_id": 1,
            "order_key": key,
            "status": "processing",
            "items": "1 x teapot, 2 x cup",
            "total": "50.00 €",
            "again": False,
        }
        said, order = await reports(wire, "order_status", **of(placed), wait=True)
        assert [done for done, _, _ in said] == sorted(done for done, _, _ in said)
        assert said[-1] == (3, 3, "Paid, and on its way.")
        assert len(said) > 1
        assert (order["status"], order["result"]) == ("succeeded", {"Total": "50.00 €"})
        assert [step["status"] for step in order["steps"]] == ["succeeded"] * 3

        # The page asks as it is told to, and gets the same.
        assert order["poll"]["arguments"] == of(placed)
        assert await called(wire, order["poll"]["tool"], **order["poll"]["arguments"]) == order
        # By HTTP it is the same key.
        seen = await here.shop.get("/orders/1", headers={"X-Order-Key": key})
        assert seen.json()["status"] == "processed"

        await here.settle()
        assert await here.wrong(1) == []
        charges = (await here.books())["payment"]
        assert {charge["request_id"] for charge in charges.values()} == {"r-mcp"}
        assert (await here.details(1))["correlation_id"] == "r-mcp"


@async_test
async def test_under_one_key_there_is_one_order_however_often_it_is_sent(tmp_path: Path) -> None:
    async with town(tmp_path, failures=RELIABLE) as here:
        wire = await client(here)
        together = await asyncio.gather(
            *(called(wire, "place_order", **wanted(cup=1)) for _ in range(5))
        )
        assert {each["order_id"] for each in together} == {1}
        assert len({each["order_key"] for each in together}) == 1
        assert sorted(each["again"] for each in together) == [False, True, True, True, True]
        for other in (wanted(cup=2), wanted(card="tok_other", cup=1), wanted(cup=1, tray=1)):
            assert await refused(wire, "place_order", **other) == ("key", UNDER_THIS_KEY)
        await here.settle()
        assert await here.wrong(1) == []


@async_test
async def test_what_cannot_be_ordered_leaves_nothing_and_its_key_is_free(tmp_path: Path) -> None:
    async with town(tmp_path, failures=RELIABLE) as here:
        wire = await client(here)
        field, why = await refused(wire, "place_order", **wanted(cup=1, samovar=2))
        assert (field, why) == ("items", "2 x samovar were ordered and 1 are left.")
        field, why = await refused(wire, "place_order", **wanted(unicorn=1))
        assert (field, why) == ("items", "There is no product 'unicorn'.")
        assert (await wire.call("place_order", **wanted(cup=0)))["isError"]
        assert await enqueued(here.shop) == []
        assert await here.wrong() == []
        assert (await called(wire, "place_order", **wanted(cup=1)))["again"] is False
        await here.settle()
        assert await here.wrong(1) == []


@async_test
async def test_an_order_that_cannot_be_paid_says_so_and_nothing_of_the_shops_insides(
    tmp_path: Path,
) -> None:
    async with town(tmp_path, failures=RELIABLE) as here:
        wire = await client(here)
        placed = await called(wire, "place_order", **wanted(card="tok_bank_down", cup=1))
        said, order = await reports(wire, "order_status", **of(placed), wait=True)
        assert (0, 3, "Payment under way, tried again") in said
        assert order["status"] == "failed"
        assert order["message"] == "No payment came through, so the order was called off."
        assert "Error" not in str((said, order))
        assert "127.0.0.1" not in str((said, order))
        await here.settle()
        assert await here.wrong(1) == []


@async_test
async def test_an_order_that_is_not_there_is_said_at_the_field(tmp_path: Path) -> None:
    async with shop_alone(tmp_path) as here:
        wire = await client(here)
        for number in (7, 2**63 - 1):
            assert await refused(wire, "order_status", order_id=number, wait=True) == (
                "order_id",
                no_order(number),
            )
        field, _ = await refused(wire, "order_status", order_id=2**63)
        assert field == "order_id"


@async_test
async def test_a_guests_order_is_shown_with_its_key_and_to_admins_and_to_nobody_else(
    tmp_path: Path,
) -> None:
    async with shop_alone(tmp_path, WORKER="0") as here:
        wire = await client(here)
        first = await called(wire, "place_order", **wanted(cup=1))
        second = await called(wire, "place_order", **wanted(key="tea-for-ada-2", cup=2))
        key = first["order_key"]
        for wrong in (
            None,
            second["order_key"],
            key[:-1],
            key + "A",
            key.swapcase(),
            "",
            "ü",
            "\0",
        ):
            for wait in (False, True):
                found = await refused(wire, "order_status", order_id=1, order_key=wrong, wait=wait)
                assert found == ("order_id", no_order(1)), wrong
        assert await refused(wire, "order_status", order_id=1) == ("order_id", no_order(1))
        assert (await called(wire, "order_status", **of(first)))["subtitle"] == "1 x cup"

        # Signed up with the address, which proves nothing.
        wire.headers.update(await here.login("ada@example.com"))
        assert await refused(wire, "order_status", order_id=1) == ("order_id", no_order(1))
        assert (await called(wire, "order_status", **of(first)))["title"] == "Order 1"

        wire.headers.update(here.admin)
        seen = await called(wire, "order_status", order_id=1)
        assert seen["poll"]["arguments"] == {"order_id": 1}
        assert await called(wire, "order_status", order_id=1, order_key="wrong") != {}


@async_test
async def test_an_accounts_order_has_no_key_and_is_not_had_by_sending_it_again_as_a_guest(
    tmp_path: Path,
) -> None:
    async with shop_alone(tmp_path, WORKER="0") as here:
        wire, guest = await client(here), await client(here)
        wire.headers.update(await here.login("ada@example.com"))
        placed = await called(wire, "place_order", **wanted(cup=1))
        assert placed["order_key"] is None
        shown = await called(wire, "order_status", **of(placed))
        assert shown["poll"]["arguments"] == {"order_id": 1}
        assert (await called(wire, "place_order", **wanted(cup=1)))["again"] is True

        # It would fit if it were a guest's.
        order = Order(**(await here.details(1)))
        right = here.app.state.shop.order_keys.key_of(order)
        for key in (right, None):
            found = await refused(guest, "order_status", order_id=1, order_key=key)
            assert found == ("order_id", no_order(1))
        found = await refused(guest, "place_order", **wanted(cup=1))
        assert found == ("key", UNDER_THIS_KEY)


@async_test
async def test_who_guesses_what_a_guest_calls_an_order_gets_no_key_without_the_card(
    tmp_path: Path,
) -> None:
    async with shop_alone(tmp_path, WORKER="0") as here:
        wire, other = await client(here), await client(here)
        await called(wire, "place_order", **wanted(card="tok_of_ada", samovar=1))
        found = await refused(other, "place_order", **wanted(card="tok_visa", samovar=1))
        assert found == ("key", UNDER_THIS_KEY)
        ((_,), (kept,)) = rows(here.database, "SELECT key FROM order_keys ORDER BY length(key)")
        assert "tok_of_ada" not in kept
        field, _ = await refused(
            other, "place_order", **wanted(key=kept, card="tok_visa", samovar=1)
        )
        assert field == "key"
        found = await refused(
            other, "place_order", **wanted(key=kept[:64], card="tok_visa", samovar=1)
        )
        assert found == ("items", "1 x samovar were ordered and 0 are left.")


@async_test
async def test_keys_of_orders_are_neither_logged_nor_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with shop_alone(tmp_path, WORKER="0") as here:
        wire = await client(here)
        placed = await called(wire, "place_order", **wanted(cup=1))
        await called(wire, "order_status", **of(placed))
        await refused(wire, "order_status", **{**of(placed), "order_id": 2})
    key = placed["order_key"]
    assert caplog.records
    assert key not in caplog.text
    for file in tmp_path.iterdir():
        assert key.encode() not in file.read_bytes(), file


# ------------------------------------------------------------------ photos


@async_test
async def test_a_photo_is_kept_byte_for_byte_made_small_by_a_job_and_shown_in_the_list(
    tmp_path: Path,
) -> None:
    async with shop_alone(tmp_path) as here:
        wire = await client(here)
        told = await called(wire, "upload_photo", sku="teapot", photo=encoded(PHOTO))
        assert told["message"] == "Thank you"
        assert {"label": "Photo", "value": f"image/png, {len(PHOTO):,} bytes"} in told["details"]
        await here.settle()
        ((sku, media_type, data, thumbnail),) = rows(
            here.database, "SELECT sku, media_type, data, thumbnail FROM photos"
        )
        assert (sku, media_type, data) == ("teapot", "image/png", PHOTO)
        assert (png.read(thumbnail).width, png.read(thumbnail).height) == (SIDE, SIDE * 3 // 4)

        result = await wire.call("find_products", text="teapot")
        (item,) = result["structuredContent"]["items"]
        assert item["image"] == f"data:image/png;base64,{encoded(thumbnail)}"
        assert "base64" not in str(result["content"])  # that would be read letter by letter

        again = await called(wire, "upload_photo", sku="teapot", photo=encoded(PHOTO))
        assert again["message"] == "That photo is here already"
        assert len(await enqueued(here.shop)) == 1
        assert rows(here.database, "SELECT count(*) FROM photos") == [(1,)]


@async_test
async def test_a_photo_that_cannot_be_made_small_is_kept_as_it_is(tmp_path: Path) -> None:
    async with shop_alone(tmp_path) as here:
        wire = await client(here)
        photo = b"\xff\xd8\xff\xe0 as much of a JPEG as anybody looks at"
        await called(wire, "upload_photo", sku="cup", photo=encoded(photo))
        await here.settle()
        (job,) = await enqueued(here.shop)
        assert job.state == "succeeded"
        (item,) = (await called(wire, "find_products", text="cup"))["items"]
        assert item["image"] == f"data:image/jpeg;base64,{encoded(photo)}"


@async_test
async def test_what_is_no_photo_for_a_product_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async with shop_alone(tmp_path) as here:
        wire = await client(here)
        here_only = {"download_url": "http://127.0.0.1:9/tea.png", "file_id": "f-1"}
        for field, reason, given in (
            ("photo", "the file is text/plain by its content", {"photo": encoded(b"<3 tea")}),
            (
                "photo",
                "the file is",
                {"photo": encoded(b"<svg xmlns='http://www.w3.org/2000/svg'/>")},
            ),
            ("file", "Send photo or file, not both.", {"photo": encoded(PHOTO), "file": here_only}),
            ("file", "loopback address", {"file": here_only}),
            ("sku", "There is no product 'unicorn'.", {"sku": "unicorn", "photo": encoded(PHOTO)}),
            ("sku", "There is no product 'unicorn'.", {"sku": "unicorn"}),
        ):
            found, why = await refused(wire, "upload_photo", **{"sku": "cup", **given})
            assert found == field
            assert reason in why
        too_large = png.SIGNATURE + bytes(MAX_BYTES)
        result = await wire.call("upload_photo", sku="cup", photo=encoded(too_large))
        assert result["isError"]
        assert "photo" in result["content"][0]["text"]
        assert await enqueued(here.shop) == []
        assert rows(here.database, "SELECT count(*) FROM photos") == [(0,)]


@async_test
async def test_without_a_photo_comes_a_form_that_uploads_one(tmp_path: Path) -> None:
    async with shop_alone(tmp_path) as here:
        wire = await client(here)
        form = await called(wire, "upload_photo", sku="tray")
        assert form["subtitle"] == "Tray, walnut"
        (name,) = form["schema"]["properties"]
        submit = form["submit"]
        filled = {**submit["arguments"], name: encoded(PHOTO)}
        assert (await called(wire, submit["tool"], **filled))["message"] == "Thank you"


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("SELECT 1", []),
        ("DELETE FROM photos", ["a photo of the cup was accepted and is in the database 0 times"]),
        (
            "UPDATE photos SET data = x'00'",
            ["a photo of the cup was accepted and is in the database 0 times"],
        ),
        ("UPDATE photos SET thumbnail = NULL", ["photo 1 of the cup has no thumbnail"]),
    ],
)
def test_the_audit_finds_a_photo_that_is_missing_changed_or_without_its_thumbnail(
    tmp_path: Path, statement: str, found: list[str]
) -> None:
    @async_test
    async def upload() -> None:
        async with shop_alone(tmp_path) as here:
            await called(await client(here), "upload_photo", sku="cup", photo=encoded(PHOTO))
            await here.settle()

    upload()
    database = tmp_path / "shop.db"
    ((digest,),) = rows(database, "SELECT sha256 FROM photos")
    with closing(sqlite3.connect(database)) as db, db:
        db.execute(statement)
    assert audit(database, {}, (), photos={digest: "cup"}) == found
