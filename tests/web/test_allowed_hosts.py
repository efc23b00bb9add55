"""Which names the service answers to."""

from typing import Any

import pytest
from fastapi import FastAPI

from backstay.errors import BadPattern
from backstay.web.allowed_hosts import AllowedHosts, read_hosts
from tests.support import async_test
from tests.web.by_hand import ByHand

HOSTS = ("shop.example", "*.eu.shop.example", "[::1]", "192.0.2.7")


def make_app() -> FastAPI:
    app = FastAPI()

    @app.get("/{path:path}")
    async def anything(path: str) -> str:
        return path

    return app


async def status(headers: list[tuple[str, str]], path: str = "/x", root_path: str = "") -> int:
    call = ByHand(AllowedHosts(make_app(), HOSTS, exempt=["/livez"]), path, headers=headers)
    call.scope["root_path"] = root_path
    await call.run()
    found: int = call.start["status"]
    return found


@pytest.mark.parametrize(
    "host",
    [
        "shop.example",
        "shop.example:8443",
        "SHOP.Example",
        "a.eu.shop.example",
        "a.b.eu.shop.example:80",
        "[::1]",
        "[::1]:8000",
        "192.0.2.7:8000",
    ],
)
@async_test
async def test_a_name_that_is_allowed_is_answered(host: str) -> None:
    assert await status([("host", host)]) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "shop.example.evil.example",
        "evilshop.example",
        "eu.shop.example",
        ".eu.shop.example",
        "eveu.shop.example",
        "shop.example.",
        "shop.example@evil.example",
        "shop.example:80@evil.example",
        "shop.example:",
        "shop.example:abc",
        "shop.example:123456",
        "shop.example/evil",
        "shop.example?",
        "shop.example#",
        "shop.example\\evil.example",
        "shop.example, evil.example",
        "shop.example evil.example",
        " shop.example",
        "shop.example\x00",
        "",
        "*",
        "[::1",
        "::1",
        "192.0.2.70",
    ],
)
@async_test
async def test_any_other_is_refused(host: str) -> None:
    assert await status([("host", host)]) == 400


@async_test
async def test_no_name_and_several_are_refused() -> None:
    assert await status([]) == 400
    assert await status([("host", "shop.example"), ("host", "evil.example")]) == 400
    assert await status([("host", "shop.example"), ("host", "shop.example")]) == 400
    assert await status([("x-forwarded-host", "shop.example"), ("host", "evil.example")]) == 400


@async_test
async def test_the_refusal_is_a_problem() -> None:
    call = ByHand(AllowedHosts(make_app(), HOSTS), "/x", headers={"host": "evil.example"})
    await call.run()
    assert call.header("content-type") == ["application/problem+json"]
    assert b"evil" not in call.sent[1]["body"]


@pytest.mark.parametrize("root_path", ["", "/api"])
@async_test
async def test_probes_ask_for_an_address(root_path: str) -> None:
    assert await status([("host", "10.1.2.3:8000")], f"{root_path}/livez", root_path) == 200
    for other in ("/livez/", "//livez", "/x/livez", "/livez/../x", "/livez%2f", "/LIVEZ"):
        assert await status([("host", "10.1.2.3")], f"{root_path}{other}", root_path) == 400


@async_test
async def test_a_websocket_is_refused_too() -> None:
    layer = AllowedHosts(make_app(), HOSTS)
    headers = {"host": "evil.example"}
    assert await ByHand(layer, kind="websocket", headers=headers).run() == [
        {"type": "websocket.close", "code": 1008}
    ]
    call = ByHand(
        layer, kind="websocket", headers=headers, extensions={"websocket.http.response": {}}
    )
    await call.run()
    assert call.sent[0]["type"] == "websocket.http.response.start"
    assert call.start["status"] == 400


def test_any_name_will_do_where_none_is_said() -> None:
    assert read_hosts(None) == read_hosts(["*"]) == read_hosts(["a.example", "*"]) == ()


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        "shop.example",
        ["https://shop.example"],
        ["shop.example:80"],
        ["Shop.example"],
        ["shop.*"],
        ["*shop.example"],
        ["a.*.example"],
        ["shop.example/"],
        [""],
        [7],
    ],
)
def test_what_is_no_name_of_a_host_is_refused(hosts: Any) -> None:
    with pytest.raises(BadPattern, match="allowed_hosts="):
        read_hosts(hosts)
