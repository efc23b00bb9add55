"""Which addresses are connected to for somebody else, and what an origin is."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.addresses import (
    HostUnfit,
    find_addresses,
    is_loopback,
    look_up,
    same_origin,
    why_refused,
)
from tests.support import async_test
from tests.widgets.file_server import Names

NEVER = [
    "0.0.0.0",
    "169.254.169.254",  # where clouds keep credentials
    "169.254.0.1",
    "224.0.0.1",
    "239.255.255.255",
    "255.255.255.255",
    "240.0.0.1",
    "100.64.0.1",  # carrier-grade NAT
    "198.18.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "::",
    "fe80::1",
    "fe80::1%1",
    "ff02::1",
    "fec0::1",
    "100::1",
    "2001:db8::1",
    "2001::1",  # Teredo
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "::7f00:1",  # the deprecated way to write 127.0.0.1 in IPv6
]
PRIVATE = [
    "127.0.0.1",
    "127.8.9.10",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "::1",
    "fd00::1",
    "fd00:ec2::254",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
]
PUBLIC = [
    "1.1.1.1",
    "93.184.215.14",
    "172.32.0.1",
    "2606:4700::1111",
    "2a00:1450::1",
    "::ffff:1.1.1.1",
    "64:ff9b::101:101",
]


@pytest.mark.parametrize("address", NEVER)
def test_addresses_that_are_nobodys_are_refused_whatever_is_allowed(address: str) -> None:
    for allow_private in (False, True):
        assert why_refused(ipaddress.ip_address(address), allow_private=allow_private)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused_unless_they_are_allowed(address: str) -> None:
    assert why_refused(ipaddress.ip_address(address))
    assert why_refused(ipaddress.ip_address(address), allow_private=True) is None


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_connected_to(address: str) -> None:
    assert why_refused(ipaddress.ip_address(address)) is None


@given(st.ip_addresses())
def test_nothing_that_python_knows_to_be_no_public_address_passes(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if why_refused(address) is None and not leads_elsewhere(address):
        assert address.is_global
        assert not address.is_private
        assert not address.is_multicast
        assert not address.is_reserved
        assert not address.is_loopback


def leads_elsewhere(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Those are judged by the IPv4 address they carry; see the next test."""
    carriers = ("::ffff:0:0/96", "64:ff9b::/96", "2002::/16")
    return any(address in ipaddress.ip_network(each) for each in carriers)


@given(st.ip_addresses(v=4))
def test_an_address_in_the_clothes_of_another_family_is_judged_as_what_it_is(
    address: ipaddress.IPv4Address,
) -> None:
    mapped = ipaddress.ip_address(f"::ffff:{address}")
    translated = ipaddress.IPv6Address(int(ipaddress.ip_address("64:ff9b::")) + int(address))
    for allow_private in (False, True):
        plain = why_refused(address, allow_private=allow_private)
        assert why_refused(mapped, allow_private=allow_private) == plain
        assert why_refused(translated, allow_private=allow_private) == plain


@async_test
async def test_a_name_is_looked_up_once_and_its_addresses_keep_their_order() -> None:
    names = Names(files_test=["1.1.1.1", "2606:4700::1111", "1.1.1.1"])
    found = await find_addresses("files.test", 443, allow_private=False, lookup=names)
    assert [str(each) for each in found] == ["1.1.1.1", "2606:4700::1111"]
    assert names.asked == ["files.test"]


@async_test
async def test_one_bad_address_among_good_ones_is_enough_to_refuse_a_name() -> None:
    names = Names(files_test=["1.1.1.1", "10.0.0.1"])
    with pytest.raises(HostUnfit, match="a private address") as refused:
        await find_addresses("files.test", 443, allow_private=False, lookup=names)
    assert "10.0.0.1" not in str(refused.value), "what a name leads to inside is told to nobody"


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "1.2.3.4.5", "127.0.0.1.", "0"],
)
def test_numbers_that_some_resolver_takes_for_an_address_are_no_hosts(host: str) -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        raise AssertionError(f"{host} was looked up")

    with pytest.raises(HostUnfit):
        asyncio.run(find_addresses(host, 443, allow_private=True, lookup=never))


@pytest.mark.parametrize("host", ["", "a..b", "-a.test", "a" * 64, "a b", "ex\tample", "a." * 130])
@async_test
async def test_what_is_no_name_is_not_looked_up(host: str) -> None:
    names = Names()
    with pytest.raises(HostUnfit):
        await find_addresses(host, 443, allow_private=True, lookup=names)
    assert names.asked == []


@async_test
async def test_a_name_without_an_address_is_refused_by_name() -> None:
    with pytest.raises(HostUnfit, match=r"'nowhere\.test' is not .*: unknown"):
        await find_addresses("nowhere.test", 443, allow_private=False, lookup=Names())


@async_test
async def test_an_answer_that_is_no_address_is_no_answer() -> None:
    names = Names(odd_test="not an address")
    with pytest.raises(HostUnfit, match="unknown"):
        await find_addresses("odd.test", 443, allow_private=False, lookup=names)


@async_test
async def test_the_system_knows_where_localhost_is() -> None:
    assert set(await look_up("localhost", 443)) <= {"127.0.0.1", "::1"}
    with pytest.raises(HostUnfit, match="loopback"):
        await find_addresses("localhost", 443, allow_private=False)


@pytest.mark.parametrize(
    "url", ["https://example.com", "https://localhost.example.com", "https://8.8.8.8"]
)
def test_other_machines_are_not_this_one(url: str) -> None:
    assert not is_loopback(url)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a.example/x", "https://a.example/y?z", True),
        ("https://a.example", "https://A.example:443/", True),
        ("http://a.example", "http://a.example:80", True),
        ("https://a.example", "http://a.example", False),
        ("https://a.example", "https://a.example:8443", False),
        ("https://a.example", "https://b.a.example", False),
        ("https://a.example", "https://a.example@evil.example", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(one: str, other: str, same: bool) -> None:
    assert same_origin(one, other) is same
