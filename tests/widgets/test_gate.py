"""Which requests are let in, and what those that are not are told."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.errors import BadWidget
from backstay.widgets.gate import Gate, Refusal

LOOPBACK = {"server": ("127.0.0.1", 8000)}
PUBLIC = {"server": ("10.0.0.7", 8000)}
SOCKET = {"server": ("/run/app.sock", None)}


def check(
    gate: Gate, scope: dict[str, Any], host: str | None = "example.com", origin: str | None = None
) -> bytes | None:
    headers = {}
    if host is not None:
        headers[b"host"] = host.encode("latin-1")
    if origin is not None:
        headers[b"origin"] = origin.encode("latin-1")
    return gate.check(scope, headers)


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "127.0.0.1:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"],
)
def test_a_server_on_loopback_answers_to_the_names_of_loopback(host: str) -> None:
    assert check(Gate(None, ()), LOOPBACK, host) is None


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "", None]
)
def test_a_server_on_loopback_answers_to_no_other_name_and_says_how_it_would(
    host: str | None,
) -> None:
    with pytest.raises(Refusal, match="allowed_hosts of WidgetMCPServer") as refused:
        check(Gate(None, ()), LOOPBACK, host)
    assert refused.value.status == 421
    assert "loopback" in refused.value.message


@pytest.mark.parametrize("scope", [PUBLIC, SOCKET, {"server": None}, {}])
def test_elsewhere_any_name_will_do_unless_names_are_given(scope: dict[str, Any]) -> None:
    assert check(Gate(None, ()), scope, "anything.example") is None
    with pytest.raises(Refusal, match="name it in allowed_hosts") as refused:
        check(Gate(["shop.example.com"], ()), scope, "anything.example")
    assert refused.value.status == 421


@pytest.mark.parametrize("server", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_every_address_of_loopback_is_one(server: str) -> None:
    with pytest.raises(Refusal):
        check(Gate(None, ()), {"server": (server, 80)}, "evil.example")


@pytest.mark.parametrize(
    ("allowed", "host", "good"),
    [
        ("shop.example.com", "shop.example.com", True),
        ("shop.example.com", "shop.example.com:443", True),
        ("shop.example.com", "Shop.Example.COM", True),
        ("shop.example.com:443", "shop.example.com:443", True),
        ("shop.example.com:443", "shop.example.com:444", False),
        ("*.example.com", "shop.example.com", True),
        ("*.example.com", "a.b.example.com:8000", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "evilexample.com", False),
        ("*.example.com", "shop.example.com.evil.net", False),
        ("*", "anything.at.all", True),
        ("shop.example.com", "localhost", False),
    ],
)
def test_hosts_may_be_named_with_a_port_and_by_what_is_below_them(
    allowed: str, host: str, good: bool
) -> None:
    gate = Gate([allowed], ())
    for scope in (LOOPBACK, PUBLIC):
        if good:
            assert check(gate, scope, host) is None
        else:
            with pytest.raises(Refusal):
                check(gate, scope, host)


@pytest.mark.parametrize(
    ("origin", "host", "scope", "good"),
    [
        ("http://localhost:5173", "localhost:8000", LOOPBACK, True),
        ("http://127.0.0.1:3000", "localhost:8000", LOOPBACK, True),
        ("https://shop.example.com", "shop.example.com", PUBLIC, True),
        ("https://evil.example", "shop.example.com", PUBLIC, False),
        ("https://evil.example", "localhost:8000", LOOPBACK, False),
        ("https://localhost.evil.example", "localhost:8000", LOOPBACK, False),
        ("http://localhost:3000", "shop.example.com", PUBLIC, False),
        ("null", "localhost:8000", LOOPBACK, False),
        ("", "localhost:8000", LOOPBACK, False),
        ("http://[::1", "localhost:8000", LOOPBACK, False),
        ("https://app.example.com", "shop.example.com", PUBLIC, True),
        ("HTTPS://APP.example.com", "shop.example.com", PUBLIC, True),
    ],
)
def test_pages_may_call_from_their_own_server_and_from_allowed_origins(
    origin: str, host: str, scope: dict[str, Any], good: bool
) -> None:
    gate = Gate(None, ["https://app.example.com"])
    if good:
        assert check(gate, scope, host, origin) == origin.encode()
        return
    with pytest.raises(Refusal, match="allowed_origins of WidgetMCPServer") as refused:
        check(gate, scope, host, origin)
    assert refused.value.status == 403


def test_a_public_server_may_let_every_page_call() -> None:
    assert check(Gate(None, ["*"]), PUBLIC, "a.example", "null") == b"null"


@pytest.mark.parametrize(
    ("hosts", "origins"),
    [
        (["https://shop.example.com"], ()),
        ([" "], ()),
        (None, ["shop.example.com"]),
        (None, ["https://shop.example.com/mcp"]),
        ("shop.example.com", ()),
        (None, "https://shop.example.com"),
    ],
)
def test_what_is_no_host_or_origin_is_told_at_start_up(hosts: Any, origins: Any) -> None:
    with pytest.raises(BadWidget, match="allowed_"):
        Gate(hosts, origins)


def test_browsers_may_read_what_clients_have_to_read() -> None:
    told = dict(Gate.cors(b"https://app.example.com"))
    assert told[b"access-control-allow-origin"] == b"https://app.example.com"
    assert told[b"vary"] == b"Origin"
    exposed = {each.strip().lower() for each in told[b"access-control-expose-headers"].split(b",")}
    assert exposed >= {b"mcp-session-id", b"mcp-protocol-version", b"www-authenticate"}


def test_browsers_may_send_what_clients_have_to_send() -> None:
    told = dict(Gate.preflight())
    allowed = {each.strip().lower() for each in told[b"access-control-allow-headers"].split(b",")}
    assert allowed >= {
        b"authorization",
        b"content-type",
        b"mcp-session-id",
        b"mcp-protocol-version",
        b"mcp-method",
        b"mcp-name",
        b"last-event-id",
    }
    assert b"access-control-allow-credentials" not in told


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_whatever_the_headers_are_the_gate_decides(host: bytes, origin: bytes) -> None:
    gate = Gate(["*.example.com"], ["https://app.example.com"])
    for scope in (LOOPBACK, PUBLIC):
        with contextlib.suppress(Refusal):  # any other exception is none of a gate's
            gate.check(scope, {b"host": host, b"origin": origin})
