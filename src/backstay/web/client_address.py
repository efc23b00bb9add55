"""Where a request comes from, when proxies may stand in between.

Anybody can write ``X-Forwarded-For``. It is believed only as far as those who wrote it are: the
peer of the socket has to be one of ``Backstay.trusted_proxies``, and so has each address to the
right of the one that is taken. Without trusted proxies, the peer is all there is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Literal

from starlette.requests import HTTPConnection

from backstay.errors import BadPattern
from backstay.web.exchange import Exchange

__all__ = ["Address", "Network", "UNIX", "client_address", "read_networks"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNIX: Final = "unix"
"""Stands for the peers of Unix sockets, which have no address, among the trusted."""

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110 §5.6.2
_QUOTED = r'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'  # RFC 9110 §5.6.4
_PAIR = re.compile(rf"[ \t]*({_WORD})=({_WORD}|{_QUOTED})[ \t]*")
_HOST_AND_PORT = re.compile(r"(?:\[([^\[\]]+)\]|([^\[\]:]+))(?::[0-9A-Za-z._-]{1,32})?")


def client_address(connection: HTTPConnection) -> str | None:
    """The address of whoever sends a request, as nobody but a trusted proxy can make it up.

    The peer of the socket. If that is a trusted proxy, the addresses in ``X-Forwarded-For`` (all
    lines of it) are gone through from the right, and the first that is no trusted proxy is the
    client. What is no address ends the search: the last proxy reached is the answer then. Without
    that header ``Forwarded`` (RFC 7239) is read the same way; a proxy that only knows that one
    has to take ``X-Forwarded-For`` away from what clients send.

    Servers may have put something else in place of the peer already: uvicorn does for proxies in
    ``--forwarded-allow-ips`` (by default 127.0.0.1), and then there is nothing left to do here.

    Args:
        connection: the request or WebSocket.

    Returns:
        An IP address in its shortest form, IPv4 also where it came mapped into IPv6. Another name
        of the peer if the server has one, such as ``"testclient"``. ``None`` if there is none: a
        Unix socket.
    """
    scope = connection.scope
    peer = scope.get("client")
    host: str | None = (peer[0] or None) if peer else None
    exchange = Exchange.of(scope)
    trusted: Sequence[object] = () if exchange is None else exchange.app.trusted_proxies
    if not trusted:
        # Dotted quads are in their shortest form as servers give them, and most peers are those.
        return host if host is None or ":" not in host else _shortest(host)
    reached = None if host is None else _read(host)
    if not (UNIX in trusted if host is None else _is_trusted(reached, trusted)):
        return host if reached is None else str(reached)
    for hop in _hops(connection):
        if hop is None:
            break
        reached = hop
        if not _is_trusted(hop, trusted):
            break
    return host if reached is None else str(reached)


def read_networks(texts: Iterable[str | Network]) -> tuple[Network | Literal["unix"], ...]:
    """The networks that proxies are in, for ``Backstay.trusted_proxies``.

    Args:
        texts: addresses (``"10.0.0.7"``), networks (``"10.0.0.0/8"``, ``"fd00::/8"``), or
            ``"unix"`` for whoever connects to the server's Unix socket.

    Raises:
        BadPattern: one of them is none of these. ``"*"`` is not, either.
    """
    if isinstance(texts, str):
        raise BadPattern(
            f"trusted proxies are a list of networks, and {texts!r} is a text; write [{texts!r}]"
        )
    return tuple(_network(each) for each in texts)


def _network(text: object) -> Network | Literal["unix"]:
    if isinstance(text, IPv4Network | IPv6Network):
        return text
    if text == UNIX:
        return "unix"
    if text == "*":
        raise BadPattern(
            'trusting "*" would let every client choose its own address, and with it whose limits '
            "it uses up. Name the networks of the proxies in front of this service, such as "
            '"10.0.0.0/8"; only if nobody else can reach it, "0.0.0.0/0" and "::/0" say that every '
            "peer is a proxy"
        )
    if not isinstance(text, str):
        raise BadPattern(
            f"a trusted proxy is an address or a network, as text; got {text!r} of type "
            f"{type(text).__qualname__}"
        )
    try:
        found = ip_network(text.strip())
    except ValueError as error:
        raise BadPattern(
            f"{text!r} is no network of proxies ({error}); use addresses such as "
            '"10.0.0.7", networks such as "10.0.0.0/8", or "unix"'
        ) from None
    mapped = found.network_address.ipv4_mapped if isinstance(found, IPv6Network) else None
    if mapped is not None and found.prefixlen >= 96:
        # Addresses are compared after they were made IPv4.
        return IPv4Network((mapped, found.prefixlen - 96))
    return found


def _is_trusted(address: Address | None, trusted: Sequence[object]) -> bool:
    return address is not None and any(
        isinstance(each, IPv4Network | IPv6Network) and address in each for each in trusted
    )


def _read(text: str) -> Address | None:
    """An address without its zone, which IPv6 alone has (RFC 4007 §11); ``None`` if it is none."""
    try:
        address = text.partition("%")[0]
        found = ip_address(address if ":" in address else text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return found if mapped is None else mapped


def _shortest(host: str) -> str:
    address = _read(host)
    return host if address is None else str(address)


def _hops(connection: HTTPConnection) -> Iterator[Address | None]:
    """The addresses that the proxies wrote down, the nearest first; ``None`` for what is none."""
    lines = connection.headers.getlist("x-forwarded-for")
    if lines:
        for entry in reversed(",".join(lines).split(",")):
            if written := entry.strip(" \t"):
                yield _written(written)
        return
    lines = connection.headers.getlist("forwarded")
    if lines:
        for node in reversed(_nodes(",".join(lines))):
            yield None if node is None else _written(node)


def _written(text: str) -> Address | None:
    """An address as proxies write it: with a port, or in brackets (RFC 7239 §6)."""
    if (address := _read(text)) is not None:
        return address
    match = _HOST_AND_PORT.fullmatch(text)
    return None if match is None else _read(match[1] or match[2])


def _nodes(value: str) -> list[str | None]:
    """The ``for=`` of each element of a ``Forwarded`` header (RFC 7239 §4), ``None`` without one.

    A header that is not well formed as a whole says nothing: an open quotation mark on its left,
    which a client may have sent, would take in what proxies have written on its right.
    """
    nodes: list[str | None] = []
    node: str | None = None
    at = 0
    while True:
        pair = _PAIR.match(value, at)
        if pair is None:
            return [None]
        name, said = pair[1].lower(), pair[2]
        if name == "for":
            if node is not None:
                return [None]
            node = re.sub(r"\\(.)", r"\1", said[1:-1]) if said.startswith('"') else said
        at = pair.end()
        if at == len(value):
            return [*nodes, node]
        if value[at] == ",":
            nodes.append(node)
            node = None
        elif value[at] != ";":
            return [None]
        at += 1
