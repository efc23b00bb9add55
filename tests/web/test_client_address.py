"""Nobody but a trusted proxy says where a request comes from."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection

from backstay.app import Backstay
from backstay.errors import BadPattern
from backstay.web.client_address import client_address, read_networks
from backstay.web.exchange import Exchange

PROXIES = ["10.0.0.0/8", "fd00::/8"]


def connection(
    peer: str | None,
    *headers: tuple[str, str],
    trusted: list[str] | None = None,
    inside: bool = True,
) -> HTTPConnection:
    scope: dict[str, Any] = {
        "type": "http",
        "client": None if peer is None else (peer, 1234),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
    }
    if inside:
        app = Backstay()
        app.trusted_proxies = read_networks(PROXIES if trusted is None else trusted)
        Exchange(app, scope, "0" * 32)
    return HTTPConnection(scope)


def xff(*values: str) -> list[tuple[str, str]]:
    return [("X-Forwarded-For", each) for each in values]


def forwarded(*values: str) -> list[tuple[str, str]]:
    return [("Forwarded", each) for each in values]


@pytest.mark.parametrize(
    ("peer", "found"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("testclient", "testclient"),
        ("", None),
        (None, None),
    ],
)
@pytest.mark.parametrize("trusted", [[], PROXIES])
def test_the_peer_of_the_socket_is_the_client(
    peer: str | None, found: str | None, trusted: list[str]
) -> None:
    headers = [*xff("198.51.100.7"), *forwarded("for=198.51.100.7")]
    assert client_address(connection(peer, *headers, trusted=trusted)) == found


def test_nobody_is_trusted_where_backstay_is_not_installed() -> None:
    assert client_address(connection("10.0.0.1", *xff("192.0.2.1"), inside=False)) == "10.0.0.1"


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["192.0.2.1"], "192.0.2.1"),
        (["6.6.6.6, 192.0.2.1"], "192.0.2.1"),
        (["6.6.6.6, 192.0.2.1, 10.0.0.9"], "192.0.2.1"),
        (["6.6.6.6", "192.0.2.1", "10.0.0.9, fd00::7"], "192.0.2.1"),
        (["192.0.2.1:4711"], "192.0.2.1"),
        (["[2001:db8::1]:4711"], "2001:db8::1"),
        (["[2001:db8::1]"], "2001:db8::1"),
        (["2001:DB8::1"], "2001:db8::1"),
        (["::ffff:192.0.2.1"], "192.0.2.1"),
        (["::ffff:10.0.0.9, 10.0.0.8"], "10.0.0.9"),
        (["6.6.6.6, ::ffff:10.0.0.9"], "6.6.6.6"),  # the proxy at 10.0.0.9 says so
        (["fe80::1%anything"], "fe80::1"),
        (["10.0.0.5, 10.0.0.9"], "10.0.0.5"),
        (["6.6.6.6,, 192.0.2.1, ,"], "192.0.2.1"),
        (["6.6.6.6, unknown"], "10.0.0.1"),
        (["6.6.6.6, unknown, 10.0.0.9"], "10.0.0.9"),
        (["6.6.6.6, 192.0.2.1.5"], "10.0.0.1"),
        (["6.6.6.6, 192.0.2.01"], "10.0.0.1"),
        (["6.6.6.6, 3221225985"], "10.0.0.1"),
        (["6.6.6.6, 192.0.2.1:4711:1"], "10.0.0.1"),
        (["6.6.6.6, [192.0.2.1"], "10.0.0.1"),
        ([""], "10.0.0.1"),
        ([","], "10.0.0.1"),
    ],
)
def test_trusted_proxies_are_gone_through_from_the_right(lines: list[str], found: str) -> None:
    assert client_address(connection("10.0.0.1", *xff(*lines))) == found


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["for=192.0.2.1"], "192.0.2.1"),
        (['For="[2001:db8:cafe::17]:4711"'], "2001:db8:cafe::17"),
        (["for=192.0.2.1;proto=https;by=10.0.0.1"], "192.0.2.1"),
        (["for=6.6.6.6, for=192.0.2.1;host=a , for=10.0.0.9"], "192.0.2.1"),
        (["for=6.6.6.6", 'for=192.0.2.1;host="a,for=6.6.6.6"'], "192.0.2.1"),
        (['for="192.0.2.1:80"'], "192.0.2.1"),
        (['for="192\\.0.2.1"'], "192.0.2.1"),
        (["for=6.6.6.6, for=unknown"], "10.0.0.1"),
        (["for=6.6.6.6, for=_hidden"], "10.0.0.1"),
        (["for=6.6.6.6, proto=https"], "10.0.0.1"),
        (["for=6.6.6.6;for=192.0.2.1"], "10.0.0.1"),
        (["for=6.6.6.6, garbage"], "10.0.0.1"),
        # A client leaves a quotation mark open, and hopes to swallow what the proxy says.
        (['for=6.6.6.6;x="', "for=192.0.2.1"], "10.0.0.1"),
        (['for=6.6.6.6;x="', 'for="[2001:db8::9]:1"'], "10.0.0.1"),
        (['for=6.6.6.6;x="\\', 'for=192.0.2.1;host=""'], "10.0.0.1"),
        ([""], "10.0.0.1"),
    ],
)
def test_forwarded_is_read_the_same_way(lines: list[str], found: str) -> None:
    assert client_address(connection("10.0.0.1", *forwarded(*lines))) == found


def test_forwarded_says_nothing_beside_x_forwarded_for() -> None:
    headers = [*forwarded("for=6.6.6.6"), *xff("192.0.2.1")]
    assert client_address(connection("10.0.0.1", *headers)) == "192.0.2.1"


def test_a_unix_socket_is_trusted_if_it_is_listed() -> None:
    assert client_address(connection(None, *xff("192.0.2.1"), trusted=["10.0.0.0/8"])) is None
    assert client_address(connection(None, *xff("192.0.2.1"), trusted=["unix"])) == "192.0.2.1"
    assert client_address(connection(None, trusted=["unix"])) is None
    assert client_address(connection("10.0.0.1", *xff("6.6.6.6"), trusted=["unix"])) == "10.0.0.1"


ANYTHING = st.lists(
    st.one_of(
        st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40),
        st.ip_addresses().map(str),
        st.sampled_from(["10.0.0.3", "fd00::1", "unknown", '"', "for=10.0.0.3", ",", "\\"]),
    ),
    max_size=5,
)


@given(wrote=ANYTHING, separate=st.booleans(), hops=st.integers(0, 3))
def test_whatever_a_client_writes_it_is_counted_where_it_is(
    wrote: list[str], separate: bool, hops: int
) -> None:
    """Proxies append the peer that they see, to the last line or in a line of their own."""
    client = "203.0.113.9"
    seen = [client, *(f"10.0.0.{each}" for each in range(hops))]
    for name, as_proxies_write in (("X-Forwarded-For", "{}"), ("Forwarded", "for={}")):
        lines = list(wrote)
        for each in seen:
            value = as_proxies_write.format(each)
            if separate or not lines:
                lines.append(value)
            else:
                lines[-1] = f"{lines[-1]}, {value}"
        found = client_address(connection("10.9.9.9", *((name, each) for each in lines)))
        # A Forwarded header that the client has broken says nothing: not what he would like, either.
        assert found == client or (name == "Forwarded" and found == "10.9.9.9")


@given(wrote=ANYTHING)
def test_what_an_untrusted_peer_writes_is_not_even_read(wrote: list[str]) -> None:
    headers = [(name, each) for each in wrote for name in ("X-Forwarded-For", "Forwarded")]
    assert client_address(connection("203.0.113.9", *headers)) == "203.0.113.9"


def test_networks_are_read_with_addresses_and_unix_sockets() -> None:
    found = read_networks(["10.0.0.7", " 10.0.0.0/8", "fd00::/8", "unix", "::ffff:10.0.0.0/104"])
    assert [str(each) for each in found] == [
        "10.0.0.7/32",
        "10.0.0.0/8",
        "fd00::/8",
        "unix",
        "10.0.0.0/8",
    ]
    assert read_networks(found) == found
    assert read_networks(["0.0.0.0/0"])


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        (["*"], "every client choose"),
        (["10.0.0.1/8"], "host bits set"),
        (["proxy.internal"], "no network"),
        ([""], "no network"),
        ([7], "of type int"),
        ("10.0.0.0/8", "write ['10.0.0.0/8']"),
    ],
)
def test_what_is_no_network_is_refused(given_: Any, says: str) -> None:
    with pytest.raises(BadPattern) as caught:
        read_networks(given_)
    assert says in str(caught.value)
