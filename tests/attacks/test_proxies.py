"""What clients make up of where they come from, behind no proxy, one, and a chain of them.

Every request here comes from 127.0.0.1. What a client sends and what a proxy has added to it stand
in the same header; only who is trusted tells them apart.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from fastapi import Depends, FastAPI, Request

from backstay.limits import rate_limit
from backstay.pattern import base_pattern
from backstay.web.client_address import client_address
from tests.attacks.wire import Wire, assert_problem, on_the_wire
from tests.support import async_test
from tests.web.by_hand import ByHand

ME = "127.0.0.1"
CLIENT = "203.0.113.9"
CHAIN = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"]


def make_app(**options: Any) -> FastAPI:
    app = FastAPI()

    @app.get("/ok")
    async def ok() -> str:
        return "fine"

    @app.get("/who")
    async def who(request: Request) -> list[str | None]:
        return [client_address(request), request.url.scheme, request.url.netloc]

    @app.get("/films/")
    async def films() -> str:
        return "films"

    limit = rate_limit("2/day", by="ip", name="two")
    app.get("/limited", dependencies=[Depends(limit)])(ok)
    app.get("/link")(link)
    base_pattern(app, **options)
    return app


async def link(request: Request) -> str:
    return str(request.url_for("ok"))


def services(stack: ExitStack) -> dict[str, Wire]:
    """By who is trusted: nobody, one proxy, a chain; by uvicorn (its default); by both."""
    found = {}
    for name, trusted, by_uvicorn in (
        ("nobody", [], None),
        ("another", ["192.0.2.1"], None),
        ("one", ["127.0.0.1"], None),
        ("chain", CHAIN, None),
        ("uvicorn", [], "127.0.0.1"),
        ("both", CHAIN, "127.0.0.1"),
    ):
        app = make_app(trusted_proxies=trusted)
        found[name] = stack.enter_context(on_the_wire(app, trusting_proxies=by_uvicorn))
    return found


@pytest.fixture(scope="module")
def wires() -> Iterator[dict[str, Wire]]:
    with ExitStack() as stack:
        yield services(stack)


X = "X-Forwarded-For"
F = "Forwarded"

# Who is trusted, what is sent, and who it is then.
CLAIMS: dict[str, tuple[str, list[tuple[str, str]], str]] = {
    "to nobody's proxy: an address": ("nobody", [(X, CLIENT)], ME),
    "to nobody's proxy: this machine's": ("nobody", [(X, "127.0.0.1")], ME),
    "to nobody's proxy: Forwarded": ("nobody", [(F, f"for={CLIENT}")], ME),
    "to nobody's proxy: X-Real-IP": ("nobody", [("X-Real-IP", CLIENT)], ME),
    "to nobody's proxy: X-Client-IP": ("nobody", [("X-Client-IP", CLIENT)], ME),
    "to nobody's proxy: True-Client-IP": ("nobody", [("True-Client-IP", CLIENT)], ME),
    "to nobody's proxy: CF-Connecting-IP": ("nobody", [("CF-Connecting-IP", CLIENT)], ME),
    "to nobody's proxy: X-Originating-IP": ("nobody", [("X-Originating-IP", CLIENT)], ME),
    "to nobody's proxy: X-Cluster-Client-IP": ("nobody", [("X-Cluster-Client-IP", CLIENT)], ME),
    "to another proxy's service: an address": ("another", [(X, CLIENT)], ME),
    "to another proxy's service: the proxy's": ("another", [(X, "192.0.2.1")], ME),
    "to another proxy's service: both": ("another", [(X, f"{CLIENT}, 192.0.2.1")], ME),
    "by the proxy": ("one", [(X, CLIENT)], CLIENT),
    "with a made up one before": ("one", [(X, f"1.1.1.1, {CLIENT}")], CLIENT),
    "with ten made up before": ("one", [(X, "1.1.1.1, " * 10 + CLIENT)], CLIENT),
    "with a made up line before": ("one", [(X, "1.1.1.1"), (X, CLIENT)], CLIENT),
    "with the proxy's own before": ("one", [(X, f"127.0.0.1, {CLIENT}")], CLIENT),
    "with nonsense before": ("one", [(X, f"<script>, {CLIENT}")], CLIENT),
    "with an open quotation mark before": ("one", [(X, f'"1.1.1.1, {CLIENT}')], CLIENT),
    "the proxy's own alone": ("one", [(X, "127.0.0.1")], ME),
    "nothing": ("one", [], ME),
    "an empty line": ("one", [(X, "")], ME),
    "commas": ("one", [(X, ",,, ,")], ME),
    "nonsense alone": ("one", [(X, "evil")], ME),
    "a name": ("one", [(X, "localhost")], ME),
    "a network": ("one", [(X, "1.1.1.0/24")], ME),
    "a number": ("one", [(X, "16843009")], ME),
    "octal digits": ("one", [(X, "0177.0.0.1")], ME),
    "three parts": ("one", [(X, "1.1.1")], ME),
    "a script": ("one", [(X, "<script>alert(1)</script>")], ME),
    "SQL": ("one", [(X, "1.1.1.1' OR '1'='1")], ME),
    "a line break that is encoded": ("one", [(X, "1.1.1.1%0d%0aX: y")], ME),
    "IPv4 with a zone": ("one", [(X, "1.1.1.1%eth0")], ME),
    "30 KB of nonsense": ("one", [(X, "a" * 30_000)], ME),
    "30 KB of commas, and an address": ("one", [(X, "," * 30_000 + CLIENT)], CLIENT),
    "3000 addresses": ("one", [(X, "1.1.1.1," * 3_000 + CLIENT)], CLIENT),
    "other digits": ("one", [(X, "\xb9.1.1.1")], ME),
    "a port": ("one", [(X, f"{CLIENT}:4711")], CLIENT),
    "a port that is none": ("one", [(X, f"{CLIENT}:<script>")], ME),
    "IPv6": ("one", [(X, "2001:db8::7")], "2001:db8::7"),
    "IPv6, written longer": ("one", [(X, "2001:0DB8:0:0:0:0:0:0007")], "2001:db8::7"),
    "IPv6 in brackets": ("one", [(X, "[2001:db8::7]")], "2001:db8::7"),
    "IPv6 and a port": ("one", [(X, "[2001:db8::7]:4711")], "2001:db8::7"),
    "IPv6 with a zone": ("one", [(X, "fe80::7%eth0")], "fe80::7"),
    "IPv4 in IPv6": ("one", [(X, f"::ffff:{CLIENT}")], CLIENT),
    "this machine in IPv6": ("one", [(X, "::ffff:127.0.0.1")], ME),
    "Forwarded": ("one", [(F, f"for={CLIENT}")], CLIENT),
    "Forwarded, with a made up one before": ("one", [(F, f"for=1.1.1.1, for={CLIENT}")], CLIENT),
    "Forwarded, two lines": ("one", [(F, "for=1.1.1.1"), (F, f"for={CLIENT}")], CLIENT),
    "Forwarded, an open quotation mark": ("one", [(F, f'for="1.1.1.1, for={CLIENT}')], ME),
    "Forwarded, twice in one": ("one", [(F, f"for=1.1.1.1;for={CLIENT}")], ME),
    "Forwarded, hidden": ("one", [(F, "for=_hidden")], ME),
    "Forwarded, unknown": ("one", [(F, "for=unknown")], ME),
    "Forwarded, IPv6": ("one", [(F, 'for="[2001:db8::7]:80"')], "2001:db8::7"),
    "Forwarded, only by and host": ("one", [(F, "by=10.0.0.1;host=evil.example")], ME),
    "Forwarded beside the other": ("one", [(F, "for=1.1.1.1"), (X, CLIENT)], CLIENT),
    "through the chain": ("chain", [(X, f"{CLIENT}, 10.0.0.5")], CLIENT),
    "through the chain, one made up": ("chain", [(X, f"1.1.1.1, {CLIENT}, 10.0.0.5")], CLIENT),
    "through the chain, a proxy made up": ("chain", [(X, f"10.9.9.9, {CLIENT}, 10.0.0.5")], CLIENT),
    "through the chain, nonsense within": ("chain", [(X, f"{CLIENT}, evil, 10.0.0.5")], "10.0.0.5"),
    "the chain alone": ("chain", [(X, "10.0.0.7, 10.0.0.5")], "10.0.0.7"),
    "the chain, IPv6": ("chain", [(X, "2001:db8::7, fd00::1")], "2001:db8::7"),
    "the chain, mapped": ("chain", [(X, f"{CLIENT}, ::ffff:10.0.0.5")], CLIENT),
    "the chain by lines": ("chain", [(X, f"1.1.1.1, {CLIENT}"), (X, "10.0.0.5")], CLIENT),
    "by uvicorn": ("uvicorn", [(X, CLIENT)], CLIENT),
    "by uvicorn, one made up": ("uvicorn", [(X, f"1.1.1.1, {CLIENT}")], CLIENT),
    "by uvicorn, Forwarded": ("uvicorn", [(F, f"for={CLIENT}")], ME),
    "by both": ("both", [(X, f"{CLIENT}, 10.0.0.5")], CLIENT),
    "by both, one made up": ("both", [(X, f"1.1.1.1, {CLIENT}")], CLIENT),
    "by both, a chain made up": ("both", [(X, f"1.1.1.1, 10.0.0.9, {CLIENT}, 10.0.0.5")], CLIENT),
}


@pytest.mark.parametrize(("trusted", "headers", "expected"), CLAIMS.values(), ids=CLAIMS)
def test_a_client_is_who_trusted_proxies_say(
    wires: dict[str, Wire], trusted: str, headers: list[tuple[str, str]], expected: str
) -> None:
    wire = wires[trusted]
    assert wire.call("GET", "/who", headers).json()[0] == expected
    wire.assert_well()


# ---------------------------------------------------------------------- scheme and host

SAID_OF_THE_HOST = {
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Server": "evil.example",
    "X-Forwarded-Port": "6666",
    "X-Forwarded-Prefix": "/evil",
    "X-Original-Host": "evil.example",
    "Forwarded": "for=1.1.1.1;host=evil.example;proto=https",
}


@pytest.mark.parametrize("trusted", ["nobody", "one", "uvicorn"])
@pytest.mark.parametrize("name", SAID_OF_THE_HOST)
def test_the_host_is_the_one_of_the_request(
    wires: dict[str, Wire], name: str, trusted: str
) -> None:
    wire, headers = wires[trusted], {name: SAID_OF_THE_HOST[name]}
    assert wire.call("GET", "/who", headers).json()[1:] == ["http", "localhost"]
    assert wire.call("GET", "/link", headers).json() == "http://localhost/ok"
    assert wire.call("GET", "/films", headers).get("location") == "http://localhost/films/"


@pytest.mark.parametrize("trusted", ["nobody", "another", "one", "chain"])
@pytest.mark.parametrize("scheme", ["https", "javascript", "https://evil.example/", ""])
def test_the_scheme_is_not_a_client_s_to_choose(
    wires: dict[str, Wire], scheme: str, trusted: str
) -> None:
    for name in ("X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Url-Scheme", "X-Forwarded-Ssl"):
        answer = wires[trusted].call("GET", "/who", {name: scheme})
        assert answer.json()[1:] == ["http", "localhost"]


@pytest.mark.parametrize("scheme", ["javascript", "https://evil.example/", "ftp", "a\tb"])
def test_a_scheme_that_is_none_is_not_believed_either(wires: dict[str, Wire], scheme: str) -> None:
    answer = wires["uvicorn"].call("GET", "/link", {"X-Forwarded-Proto": scheme})
    assert answer.json() == "http://localhost/ok"


# ---------------------------------------------------------------------- what is made of the address


@pytest.mark.parametrize(
    ("trusted", "headers"),
    [
        ("nobody", [{X: f"203.0.113.{number}"} for number in range(10)]),
        ("nobody", [{F: f"for=203.0.113.{number}"} for number in range(10)]),
        ("nobody", [{"X-Real-IP": f"203.0.113.{number}"} for number in range(10)]),
        ("another", [{X: f"203.0.113.{number}, 192.0.2.1"} for number in range(10)]),
        ("one", [{X: f"203.0.113.{number}, {CLIENT}"} for number in range(10)]),
        ("one", [{X: f"evil{number}"} for number in range(10)]),
        ("one", [{X: f"{CLIENT}:{number + 1}"} for number in range(10)]),
        ("one", [{X: f"2001:db8::{number + 1:x}"} for number in range(10)]),
        ("one", [{X: f"2001:db8::{number + 1:x}:0:1"} for number in range(10)]),
        ("one", [{X: f"2001:db8::7%eth{number}"} for number in range(10)]),
        ("one", [{X: each} for each in ("2001:db8::7", "2001:DB8::7", "[2001:db8::7]:1", "2001:db8:0::7")]),
        ("one", [{X: each} for each in (CLIENT, f"::ffff:{CLIENT}", f"{CLIENT}:80", f" {CLIENT} ")]),
        ("chain", [{X: f"{number}.1.1.1, {CLIENT}, 10.0.0.{number}"} for number in range(10)]),
        ("uvicorn", [{X: f"203.0.113.{number}, {CLIENT}"} for number in range(10)]),
    ],
    ids=[
        *("addresses", "Forwarded", "X-Real-IP", "another proxy", "made up ones", "nonsense"),
        *("ports", "one network of IPv6", "the same, with other words", "zones"),
        *("spellings of IPv6", "spellings of IPv4", "made up chains", "uvicorn's"),
    ],
)  # fmt: skip
def test_no_made_up_address_has_a_limit_of_its_own(
    trusted: str, headers: list[dict[str, str]]
) -> None:
    with ExitStack() as stack:
        wire = services(stack)[trusted]
        statuses = [wire.call("GET", "/limited", each).status for each in headers]
        assert statuses == [200, 200] + [429] * (len(headers) - 2)
        assert_problem(wire.call("GET", "/limited", headers[0]), 429)
        wire.assert_well()


def test_two_clients_of_one_proxy_have_limits_of_their_own(wires: dict[str, Wire]) -> None:
    statuses = [
        wires["one"].call("GET", "/limited", {X: client}).status
        for client in ("198.51.100.1", "198.51.100.2") * 3
    ]
    assert statuses == [200] * 4 + [429] * 2


@pytest.mark.parametrize("sent", ["1.1.1.1%0a%1b[2J", "1.1.1.1 - - admin", "a" * 5_000, "%s%n"])
def test_log_lines_have_the_peer_and_nothing_that_was_made_up(
    sent: str, caplog: pytest.LogCaptureFixture
) -> None:
    with on_the_wire(make_app(debug=True)) as wire, caplog.at_level(logging.INFO):
        wire.call("GET", "/ok", {X: sent, F: f"for={sent}"})
    (line,) = [each.getMessage() for each in caplog.records if '"GET /ok"' in each.getMessage()]
    assert line.startswith("127.0.0.1:")
    assert sent not in line


@pytest.mark.parametrize(
    ("trusted", "expected"), [([], None), (["127.0.0.1"], None), (["unix"], CLIENT)]
)
@async_test
async def test_a_unix_socket_s_peer_is_believed_only_if_named(
    trusted: list[str], expected: str | None
) -> None:
    call = ByHand(make_app(trusted_proxies=trusted), "/who", headers=[(X.lower(), CLIENT)])
    call.scope["client"] = None
    await call.run()
    found = b"".join(each.get("body", b"") for each in call.sent)
    assert found.startswith(b"[null" if expected is None else f'["{expected}"'.encode())
