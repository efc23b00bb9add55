"""CORS: who may read answers, tried with every mix of origin, method and credentials."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from backstay.errors import BadPattern
from backstay.web.cors import (
    CrossOrigin,
    headers_for_everybody,
    headers_for_named,
    read_origins,
)
from tests.support import async_test
from tests.web.by_hand import ByHand

HOME = "https://shop.example"
NAMED = (HOME, "http://localhost:3000")
EVERYBODY = ("*",)

EVIL = [
    "https://evil.example",
    "https://shop.example.evil.example",
    "https://evilshop.example",
    "https://a.shop.example",
    "http://shop.example",
    "https://shop.example:8443",
    "https://shop.example:443",
    "https://shop.example/",
    "https://shop.example@evil.example",
    "https://SHOP.example",
    " https://shop.example",
    "https://shop.example, https://evil.example",
    "https://shop.example\x00",
    "null",
    "*",
    "",
    "file://",
]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def make_app() -> FastAPI:
    app = FastAPI()

    @app.api_route("/item", methods=METHODS)
    async def item() -> str:
        return "read"

    @app.get("/own")
    async def own() -> JSONResponse:
        return JSONResponse("x", headers={"Access-Control-Allow-Origin": "https://b.example"})

    return app


async def ask(
    origins: tuple[str, ...], path: str = "/item", *, method: str = "GET", **headers: str
) -> ByHand:
    call = ByHand(
        CrossOrigin(make_app(), origins),
        path,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )
    call.scope["method"] = method
    await call.run()
    return call


def allowed(call: ByHand) -> tuple[list[str], list[str]]:
    return (
        call.header("access-control-allow-origin"),
        call.header("access-control-allow-credentials"),
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cookie", [{}, {"cookie": "session=1"}], ids=["plain", "cookie"])
@async_test
async def test_a_named_origin_may_read_with_credentials(
    method: str, cookie: dict[str, str]
) -> None:
    for origin in NAMED:
        call = await ask(NAMED, method=method, origin=origin, **cookie)
        assert call.start["status"] == 200
        assert allowed(call) == ([origin], ["true"])
        assert call.header("vary") == ["Origin"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cookie", [{}, {"cookie": "session=1"}], ids=["plain", "cookie"])
@pytest.mark.parametrize("origin", EVIL)
@async_test
async def test_nobody_else_may_read_anything(
    origin: str, cookie: dict[str, str], method: str
) -> None:
    call = await ask(NAMED, method=method, origin=origin, **cookie)
    assert allowed(call) == ([], [])
    assert call.header("vary") == ["Origin"], "a cache must not give this to somebody who may"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cookie", [{}, {"cookie": "session=1"}], ids=["plain", "cookie"])
@pytest.mark.parametrize("origin", [HOME, *EVIL])
@async_test
async def test_everybody_reads_the_same_and_never_with_credentials(
    origin: str, cookie: dict[str, str], method: str
) -> None:
    call = await ask(EVERYBODY, method=method, origin=origin, **cookie)
    assert allowed(call) == (["*"], [])
    if origin not in {"*", ""}:
        assert origin.encode("latin-1") not in b"".join(value for _, value in call.start["headers"])


@pytest.mark.parametrize("origin", EVIL)
@pytest.mark.parametrize("method", METHODS)
@async_test
async def test_a_preflight_of_a_stranger_is_refused(origin: str, method: str) -> None:
    call = await ask(NAMED, method="OPTIONS", origin=origin, access_control_request_method=method)
    assert call.start["status"] == 400
    assert call.header("content-type") == ["application/problem+json"]
    assert allowed(call) == ([], [])
    assert call.header("access-control-allow-methods") == []
    assert "Origin" in call.header("vary")[0]


@pytest.mark.parametrize("method", METHODS)
@async_test
async def test_a_preflight_of_a_named_origin_hears_what_it_may_do(method: str) -> None:
    call = await ask(
        NAMED,
        method="OPTIONS",
        origin=HOME,
        access_control_request_method=method,
        access_control_request_headers="authorization, x-any",
    )
    assert call.start["status"] == 200
    assert allowed(call) == ([HOME], ["true"])
    assert method in call.header("access-control-allow-methods")[0].split(", ")
    assert call.header("access-control-allow-headers") == ["authorization, x-any"]
    assert call.header("access-control-max-age") == ["600"]
    assert call.header("access-control-allow-private-network") == []


@async_test
async def test_a_preflight_of_anybody_hears_a_star_and_no_credentials() -> None:
    call = await ask(
        EVERYBODY,
        method="OPTIONS",
        origin="https://evil.example",
        access_control_request_method="DELETE",
        access_control_request_headers="authorization",
    )
    assert (call.start["status"], *allowed(call)) == (200, ["*"], [])
    assert call.header("access-control-allow-headers") == ["authorization"]


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "get", "GET, POST", "", "*", "GET\tX"])
@async_test
async def test_a_preflight_for_no_method_of_ours_is_refused(method: str) -> None:
    call = await ask(NAMED, method="OPTIONS", origin=HOME, access_control_request_method=method)
    assert call.start["status"] == 400
    assert allowed(call) == ([], [])


@pytest.mark.parametrize(
    "names", ["", "x y", "a,,b", "x:1", "é", "x\ty", "a;b", "x" * 5000, "x=\x7f"]
)
@async_test
async def test_a_preflight_repeats_only_what_can_be_names_of_headers(names: str) -> None:
    call = await ask(
        NAMED,
        method="OPTIONS",
        origin=HOME,
        access_control_request_method="GET",
        access_control_request_headers=names,
    )
    assert call.start["status"] == 400
    assert call.header("access-control-allow-headers") == []


@async_test
async def test_options_that_is_no_preflight_comes_to_the_route() -> None:
    call = await ask(NAMED, method="OPTIONS", origin=HOME)
    assert call.sent[1]["body"] == b'"read"'


@async_test
async def test_two_origins_are_nobodys() -> None:
    call = ByHand(
        CrossOrigin(make_app(), NAMED), "/item", headers=[("origin", HOME), ("origin", HOME)]
    )
    await call.run()
    assert allowed(call) == ([], [])


@async_test
async def test_an_answer_that_says_itself_who_may_read_it_is_left_alone() -> None:
    for origins in (NAMED, EVERYBODY):
        call = await ask(origins, "/own", origin=HOME)
        assert allowed(call) == (["https://b.example"], [])
        assert call.header("vary") == ["Origin"]


@async_test
async def test_websockets_pass() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.close", "code": 1000})

    assert await ByHand(CrossOrigin(app, NAMED), kind="websocket").run() == [
        {"type": "websocket.close", "code": 1000}
    ]


def test_answers_vary_by_origin_though_nobody_asked_from_elsewhere() -> None:
    assert headers_for_named() == ((b"vary", b"Origin"),)


def test_what_everybody_may_read_says_so_always() -> None:
    found = dict(headers_for_everybody(correlation_header="X-Trace"))
    assert found[b"access-control-allow-origin"] == b"*"
    assert b"X-Trace" in found[b"access-control-expose-headers"]
    assert b"access-control-allow-credentials" not in found


@pytest.mark.parametrize(
    "origin",
    [
        "https://shop.example",
        "http://localhost:3000",
        "http://127.0.0.1:8080",
        "http://[::1]:3000",
        "https://xn--mnchen-3ya.example",
        "capacitor://localhost",
        "chrome-extension://abcdefghijklmnop",
        "http://a",
        "https://a_b.example:65535",
    ],
)
def test_an_origin_as_browsers_send_it_will_do(origin: str) -> None:
    assert read_origins([origin]) == (origin,)


@pytest.mark.parametrize(
    ("origins", "remedy"),
    [
        (["*", HOME], "name the origins alone"),
        (["https://shop.example/"], "write 'https://shop.example'"),
        (["https://shop.example/admin?x=1"], "write 'https://shop.example'"),
        (["https://Shop.example"], "write 'https://shop.example'"),
        (["https://*.shop.example"], "name each origin"),
        (["*.shop.example"], "name each origin"),
        (["null"], "address of its own"),
        (["shop.example"], "scheme, host and port"),
        (["https://"], "scheme, host and port"),
        (["https://shop.example:443"], "write 'https://shop.example'"),
        (["http://shop.example:80"], "write 'http://shop.example'"),
        (["https://shop.example:99999"], "no port"),
        (["https://user@shop.example"], "scheme, host and port"),
        (["https://münchen.example"], "xn--"),
        (["https://shop.example\n"], "scheme, host and port"),
        (["https://[::zz]"], "scheme, host and port"),
        (["https://[1::2::3]"], "IPv6"),
        ([""], "scheme, host and port"),
        ([7], "list of texts"),
        (HOME, "list of origins"),
    ],
)
def test_what_could_never_match_or_not_safely_is_refused(origins: Any, remedy: str) -> None:
    with pytest.raises(BadPattern, match=r"origins=") as refusal:
        read_origins(origins)
    assert remedy in str(refusal.value)


def test_no_origins_are_nobody() -> None:
    assert read_origins(None) == read_origins([]) == ()


@given(st.text(max_size=40))
def test_no_text_that_is_read_as_an_origin_could_break_a_header(text: str) -> None:
    try:
        (origin,) = read_origins([text])
    except BadPattern:
        return
    assert origin == "*" or (origin.isascii() and origin.isprintable() and " " not in origin)


@given(st.binary(max_size=30) | st.sampled_from([each.encode() for each in NAMED]))
def test_only_the_bytes_of_a_named_origin_are_ever_repeated(origin: bytes) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def answer() -> None:
        scope = {"type": "http", "headers": [(b"origin", origin)]}
        sending = CrossOrigin(make_app(), NAMED).sending(scope, send)
        await sending({"type": "http.response.start", "status": 200, "headers": []})

    asyncio.run(answer())
    found = [value for name, value in sent[0]["headers"] if name == b"access-control-allow-origin"]
    assert found == ([origin] if origin.decode("latin-1") in NAMED else [])
