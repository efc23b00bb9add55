"""Who may read the metrics: dependencies for the route that gives them.

Metrics tell a stranger which routes, tasks and tools there are, how busy they are and when they
fail, so by default no stranger is answered.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from starlette.requests import Request

from backstay.errors import BadTelemetry, NotAllowed, NotAuthenticated, WeakSecret

__all__ = ["Guard", "bearer_token", "from_networks", "from_this_machine"]

Guard = Callable[[Request], Awaitable[None]]

_SHORTEST_TOKEN = 16
# What proxies write, those of clouds included.
_PASSED_ON = frozenset({"cf-connecting-ip", "forwarded", "true-client-ip", "via", "x-real-ip"})
_PASSED_ON_SO = "x-forwarded-"

_logger = logging.getLogger("backstay.telemetry")


def bearer_token(token: str) -> Guard:
    """Whoever sends that token (RFC 6750 §2.1): ``authorization: {credentials: …}`` of a scrape.

    Args:
        token: 16 characters or more, printable ASCII without spaces. Draw it:
            ``python -c "import secrets; print(secrets.token_urlsafe())"``.

    Raises:
        WeakSecret: it is shorter.
        BadTelemetry: no header could hold it.
    """
    if not token.isascii() or not token.isprintable() or " " in token:
        raise BadTelemetry("a token for metrics is printable ASCII without spaces; this one is not")
    if len(token) < _SHORTEST_TOKEN:
        raise WeakSecret(
            f"a token for metrics has {_SHORTEST_TOKEN} characters or more, drawn by chance; this "
            f"one has {len(token)}"
        )
    expected = token.encode("ascii")

    async def check(request: Request) -> None:
        scheme, _, sent = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise NotAuthenticated("The metrics want a token.")
        if not hmac.compare_digest(sent.strip().encode("utf-8", "replace"), expected):
            raise NotAuthenticated(
                "This token does not open the metrics.", challenge='Bearer error="invalid_token"'
            )

    return check


def from_networks(*networks: str) -> Guard:
    """Whoever asks from one of those networks, and not through a proxy.

    A request that a proxy has passed on comes from the proxy, whoever sent it, so one with a
    header such as ``X-Forwarded-For`` is refused. A proxy that adds none cannot be told from a
    client: keep the path away from it, or use a token.

    Args:
        networks: such as ``"10.0.0.0/8"``, ``"fd00::/8"`` or ``"127.0.0.1"``.

    Raises:
        BadTelemetry: there is none, or one that is no network.
    """
    if not networks:
        raise BadTelemetry("from_networks() without a network would let nobody in; name some")
    try:
        allowed = [ip_network(each) for each in networks]
    except ValueError as error:
        raise BadTelemetry(
            f"from_networks() takes networks such as '10.0.0.0/8'; {error}"
        ) from error

    async def check(request: Request) -> None:
        peer = _peer(request)
        if peer is None or _was_passed_on(request) or not any(peer in each for each in allowed):
            raise NotAllowed("The metrics are not for whoever asks from there.")

    return check


def from_this_machine() -> Guard:
    """Whoever asks from this machine, by a name that means it. What holds by default.

    The name (``Host``) counts because a browser on this machine can be led here by a name of
    somebody else's (DNS rebinding). As with ``from_networks``, nothing that a proxy has passed on.
    Whoever is refused is written to the log, once.
    """
    was_told = False

    async def check(request: Request) -> None:
        nonlocal was_told
        peer = _peer(request)
        if (
            peer is None
            or not peer.is_loopback
            or _was_passed_on(request)
            or not _means_this_machine(request.headers.get("host", ""))
        ):
            if not was_told:
                was_told = True
                _logger.warning(
                    "metrics were refused to %s, for only this machine may read them; set "
                    "BACKSTAY_METRICS_TOKEN and give the scraper that token, or choose a guard: "
                    "add_telemetry(app, metrics_guard=from_networks('10.0.0.0/8'))",
                    peer or "a peer without an address",
                )
            raise NotAllowed("The metrics are for this machine alone.")

    return check


def _peer(request: Request) -> IPv4Address | IPv6Address | None:
    """The address at the other end of the connection, ``None`` if it has none (a Unix socket)."""
    if request.client is None:
        return None
    try:
        address = ip_address(request.client.host)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


def _was_passed_on(request: Request) -> bool:
    return any(name in _PASSED_ON or name.startswith(_PASSED_ON_SO) for name in request.headers)


def _means_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in {"localhost", "localhost."}:
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
