"""Which addresses may be connected to on behalf of somebody else (SSRF), and what an origin is.

Whoever names an address would otherwise reach, through this server, what only this server
reaches: its own ports, its neighbours, the cloud's metadata service. Knows no HTTP client.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from types import MappingProxyType
from typing import Final, Literal
from urllib.parse import urlsplit

__all__ = [
    "Address",
    "DEFAULT_PORTS",
    "HostUnfit",
    "Lookup",
    "Origin",
    "Unfitness",
    "find_addresses",
    "is_loopback",
    "look_up",
    "origin_of",
    "same_origin",
    "why_refused",
]

Address = IPv4Address | IPv6Address

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host's name and a port to its addresses, in the order to try them. Raises ``OSError``."""

Unfitness = Literal["malformed", "number", "unknown", "refused"]

Origin = tuple[str, str, int | None]
"""Scheme, host in small letters, and port; the port of other schemes may be ``None``."""

DEFAULT_PORTS: Final[Mapping[str, int]] = MappingProxyType({"http": 80, "https": 443})
"""What stands for no port."""

# What the registries of IANA reserve and Python's ``is_global`` calls global, in some version.
_RESERVED_4 = tuple(
    map(IPv4Network, ("192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4"))
)
_UNICAST_6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
_UNIQUE_LOCAL = IPv6Network("fc00::/7")

_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)


class HostUnfit(ValueError):
    """A host that is not connected to. Rooms make their own errors of it.

    Args:
        host: as it was given, cut to 253 characters.
        kind: ``"malformed"``: it is no host. ``"number"``: it is a number that some resolver takes
            for an address. ``"unknown"``: it has no address. ``"refused"``: it leads to one that
            is not connected to.
        reason: what it leads to, such as ``"a loopback address"``; never the address itself, as
            names of an inner network are nobody's business. Empty unless it is refused.
    """

    def __init__(self, host: str, kind: Unfitness, reason: str = "") -> None:
        self.host = host[:253]
        self.kind: Unfitness = kind
        self.reason = reason
        super().__init__(f"the host {self.host!r} is not connected to: {reason or kind}")


def why_refused(address: Address, *, allow_private: bool = False) -> str | None:
    """Why ``address`` is not connected to; ``None`` if it may be.

    Public unicast addresses may. Those that carry an IPv4 address (mapped, RFC 4291 §2.5.5.2;
    NAT64, RFC 6052; 6to4, RFC 3056) are judged by it, as that is where they lead.

    Args:
        address: what a name led to.
        allow_private: loopback and private networks (RFC 1918, RFC 4193) may too: for
            development and for stores within one's own network. Never link-local addresses, where
            clouds keep credentials.
    """
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return "an address of one interface"
        inner = _carried(address)
        if inner is not None:
            return why_refused(inner, allow_private=allow_private)
    if address.is_unspecified:
        return "the unspecified address"
    if address.is_loopback:
        return None if allow_private else "a loopback address"
    if address.is_link_local:
        return "a link-local address"
    if address.is_multicast:
        return "a multicast address"
    if isinstance(address, IPv4Address):
        if any(address in network for network in _PRIVATE):
            return None if allow_private else "a private address"
        if not address.is_global or any(address in network for network in _RESERVED_4):
            return "a reserved address"
        return None
    if address in _UNIQUE_LOCAL:
        return None if allow_private else "a private address"
    if not address.is_global or address not in _UNICAST_6:
        return "a reserved address"
    return None


def _carried(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


async def look_up(host: str, port: int) -> Sequence[str]:
    """The system's answer, asked for in a thread.

    Raises:
        OSError: there is none.
    """
    # Whoever looks a name up has a loop, and so asyncio; whoever only compares does not need it.
    import asyncio
    import socket

    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(each[4][0]) for each in found]


async def find_addresses(
    host: str, port: int, *, allow_private: bool = False, lookup: Lookup = look_up
) -> list[Address]:
    """Where to connect for ``host``: asked once, so that nobody can answer differently later.

    Args:
        host: a name in its ASCII form, or an address without brackets.
        port: where to.
        allow_private: as for ``why_refused``.
        lookup: who is asked.

    Raises:
        HostUnfit: it is no host, has no address, or has one that is not connected to: all of
            them must be good, since which one is taken is a matter of chance.
    """
    literal = _read_literal(host)
    if literal is not None:
        found: list[Address] = [literal]
    else:
        _require_name(host)
        try:
            answers = await lookup(host, port)
            found = list(dict.fromkeys(map(ip_address, answers)))
        except (OSError, ValueError, UnicodeError):
            found = []
        if not found:
            raise HostUnfit(host, "unknown")
    for address in found:
        reason = why_refused(address, allow_private=allow_private)
        if reason is not None:
            raise HostUnfit(host, "refused", reason)
    return found


def _read_literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _require_name(host: str) -> None:
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(map(_NAME.fullmatch, labels)):
        raise HostUnfit(host, "malformed")
    if _NUMBER.fullmatch(labels[-1]):
        # 2130706433, 0x7f.1 and 0177.0.0.1 are all 127.0.0.1 to some resolver.
        raise HostUnfit(host, "number")


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine by its name or address; no name is looked up."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761 §6.3
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def same_origin(one: str, other: str) -> bool:
    """Whether two URLs have the same scheme, host and port (RFC 6454 §4)."""
    return origin_of(one) == origin_of(other)


def origin_of(url: str) -> Origin:
    """Where a URL leads (RFC 6454 §4).

    Raises:
        ValueError: it is no URL.
    """
    parts = urlsplit(url)
    return (
        parts.scheme,
        (parts.hostname or "").lower(),
        parts.port if parts.port is not None else DEFAULT_PORTS.get(parts.scheme),
    )
