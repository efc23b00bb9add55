"""Which requests may come in at all: hosts, origins, and what browsers must be told (CORS)."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from backstay.errors import BadWidget

__all__ = ["Gate", "Refusal"]

_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})

_EXPOSED = b"Mcp-Session-Id, Mcp-Protocol-Version, WWW-Authenticate, X-Request-ID"
_ALLOWED = (
    b"Authorization, Content-Type, Accept, Mcp-Session-Id, Mcp-Protocol-Version, Mcp-Method, "
    b"Mcp-Name, Last-Event-ID, X-Request-ID"
)


class Refusal(Exception):
    """A request that is not served, and the answer that says so.

    Args:
        status: the HTTP status.
        message: what happened and how to mend it.
        headers: for the answer.
        code: of the JSON-RPC error in its body.
        body: instead of that error.
    """

    def __init__(
        self,
        status: int,
        message: str,
        headers: Sequence[tuple[bytes, bytes]] = (),
        *,
        code: int = -32600,
        body: bytes | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers
        self.code = code
        self.body = body


class Gate:
    """Guards against DNS rebinding and foreign browsers (MCP 2025-11-25, transports, security).

    A page on the web can make a browser on your machine send requests to servers on your machine,
    under a host name that it owns. So a server that listens on the loopback interface answers to
    the names of that interface only, unless told its others; and a request that says which page it
    comes from has to come from a page of this server's, or one that is allowed.

    Args:
        hosts: names this server answers to, with or without a port; ``*.example.com`` is every
            name below. ``None``: any, but on the loopback interface its own names only.
        origins: pages that may call it from browsers, ``https://app.example.com``; ``*`` for all,
            if what it serves is public.

    Raises:
        BadWidget: something among them is neither.
    """

    def __init__(self, hosts: Collection[str] | None, origins: Collection[str]) -> None:
        if isinstance(hosts, str) or isinstance(origins, str):
            raise BadWidget("allowed_hosts and allowed_origins are lists of text")
        for host in hosts or ():
            if "/" in host or not host.strip():
                raise BadWidget(f"allowed_hosts has {host!r}; a host is a name such as example.com")
        for origin in origins:
            found = urlsplit(origin)
            if origin != "*" and not (found.scheme and found.netloc and not found.path):
                raise BadWidget(
                    f"allowed_origins has {origin!r}; an origin is a scheme and a host, such as "
                    "https://app.example.com"
                )
        self._hosts = None if hosts is None else frozenset(each.lower() for each in hosts)
        self._origins = frozenset(each.lower() for each in origins)

    def check(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> bytes | None:
        """The origin to name in the answer's CORS headers, ``None`` for none.

        Raises:
            Refusal: the request is not let in.
        """
        host = headers.get(b"host", b"").decode("latin-1").lower()
        local = _is_loopback(scope.get("server"))
        if not self._knows(host, local):
            remedy = (
                "name it in allowed_hosts of WidgetMCPServer"
                if self._hosts is not None
                else "a server that listens on the loopback interface answers to localhost unless "
                "allowed_hosts of WidgetMCPServer names what a proxy in front calls it"
            )
            raise Refusal(421, f"this server does not answer to the host {host[:100]!r}: {remedy}")
        origin = headers.get(b"origin")
        if origin is None:
            return None
        if self._allows(origin.decode("latin-1").lower(), host, local):
            return origin
        raise Refusal(
            403,
            f"pages of {origin.decode('latin-1')[:100]!r} may not call this server: name it in "
            "allowed_origins of WidgetMCPServer",
        )

    def _knows(self, host: str, local: bool) -> bool:
        if self._hosts is None and not local:
            return True
        name = _without_port(host)
        if self._hosts is None:
            return name in _LOCAL
        return (
            host in self._hosts
            or name in self._hosts
            or "*" in self._hosts
            or any(f"*.{rest}" in self._hosts for rest in _parents(name))
        )

    def _allows(self, origin: str, host: str, local: bool) -> bool:
        if "*" in self._origins or origin in self._origins:
            return True
        try:
            found = urlsplit(origin)
        except ValueError:
            return False
        if not found.netloc:
            return False  # "null", which sandboxed pages and files say
        return bool(found.netloc == host or (local and found.hostname in _LOCAL))

    @staticmethod
    def cors(origin: bytes) -> list[tuple[bytes, bytes]]:
        """What an answer tells a browser (Fetch standard, CORS protocol)."""
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED),
            (b"vary", b"Origin"),
        ]

    @staticmethod
    def preflight() -> list[tuple[bytes, bytes]]:
        """What the answer to a preflight request tells it beside."""
        return [
            (b"access-control-allow-methods", b"GET, POST, DELETE, OPTIONS"),
            (b"access-control-allow-headers", _ALLOWED),
            (b"access-control-max-age", b"600"),
        ]


def _is_loopback(server: Any) -> bool:
    if not server or server[1] is None:
        return False  # a Unix socket: whoever reaches it was let in by the file system
    return _is_loopback_address(server[0])


@lru_cache(maxsize=64)  # a process listens at few addresses, and every request asks
def _is_loopback_address(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[i:]) for i in range(1, len(parts))]
