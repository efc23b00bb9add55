"""The official Inspector's command line calls the shop's widgets: nobody of ours has written it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.shop.app import REQUIRED, create_app
from tests.browser.inspector import Inspector
from tests.browser.serving import serving_app


@pytest.fixture(scope="module")
def inspector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inspector]:
    nobody = dict.fromkeys(REQUIRED, "http://127.0.0.1:9")  # no order gets as far as them here
    folder: Path = tmp_path_factory.mktemp("shop")
    secret = {"BACKSTAY_SECRET_KEY": secrets.token_urlsafe(32)}
    settings = {**nobody, **secret, "DATABASE": str(folder / "shop.db"), "WORKER": "0"}
    with serving_app(create_app({**settings, "BACKSTAY_STATE": "memory://"})) as url:
        yield Inspector(f"{url}/mcp")


def test_it_lists_them(inspector: Inspector) -> None:
    assert set(inspector.tools()) == {
        "find_products",
        "order_status",
        "upload_photo",
        "place_order",
    }


def test_it_calls_them_and_finds_their_pages(inspector: Inspector) -> None:
    found = inspector.call("find_products", {"text": "tea"})
    assert [each["id"] for each in found["structuredContent"]["items"]] == ["teapot"]
    assert inspector.app_info("find_products").resource_uri.startswith("ui://widget/find_products.")


def test_an_error_of_a_tool_that_announces_its_output_is_shown_as_ours(
    inspector: Inspector,
) -> None:
    given = {"email": "bad", "items": [], "card": "x", "key": "k"}
    found = inspector.call("place_order", given)
    assert found["isError"]
    assert "email" in found["content"][0]["text"]
    assert found["_meta"]["backstay/error"]["field"] == "email"


def test_it_follows_an_order_with_the_key_that_came_with_it(inspector: Inspector) -> None:
    items = [{"sku": "cup", "quantity": 1}]
    given = {"email": "ada@example.com", "items": items, "card": "tok_visa", "key": "tea-for-ada"}
    placed = inspector.call("place_order", given)["structuredContent"]
    which = {name: placed[name] for name in ("order_id", "order_key")}
    shown = inspector.call("order_status", which)["structuredContent"]
    assert shown["subtitle"] == "1 x cup"
    assert shown["poll"]["arguments"] == which
    assert inspector.call("order_status", {"order_id": placed["order_id"]})["isError"]
