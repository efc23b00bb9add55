"""Which names the service answers to: ``Host`` is the client's word, and links are made of it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Collection, Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from backstay.errors import BadPattern
from backstay.web.problems import problem_response
from backstay.web.request_path import path_below_root

__all__ = ["AllowedHosts", "read_hosts"]

_NAME = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_.\-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
_HOST = re.compile(rb"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_][A-Za-z0-9_.\-]*)(?::[0-9]{1,5})?")


def read_hosts(hosts: Iterable[str] | None) -> tuple[str, ...]:
    """The names that are allowed, checked.

    Args:
        hosts: names without a port, in lower case; ``"*.shop.example"`` is every name below
            that one (and not itself). ``None`` or ``["*"]``: any.

    Returns:
        Empty if any name will do.

    Raises:
        BadPattern: one is no name of a host.
    """
    if hosts is None:
        return ()
    if isinstance(hosts, str | bytes):
        raise BadPattern(f"allowed_hosts= is a list of names; got the text {hosts!r}: [{hosts!r}]")
    found = tuple(hosts)
    if not found:
        raise BadPattern(
            "allowed_hosts= is empty, so every request would be refused; name the hosts, or leave "
            "it away for any"
        )
    if "*" in found:
        return ()
    for each in found:
        if not isinstance(each, str) or _NAME.fullmatch(each) is None:
            raise BadPattern(
                f"allowed_hosts= names {each!r}; write a host in lower case, without scheme, port "
                "or path: 'shop.example', '*.shop.example', '192.0.2.7', '[2001:db8::7]'"
            )
    return found


class AllowedHosts:
    """Refuses requests for other names with 400 (RFC 9110 §7.4), and WebSockets with 403.

    A request with no ``Host``, or several, is refused as well (RFC 9112 §3.2).

    Args:
        app: what answers.
        hosts: of ``read_hosts``, at least one.
        exempt: paths, below the app's root, where GET and HEAD are answered whatever the name:
            probes of an orchestrator ask for an address.
    """

    def __init__(
        self, app: ASGIApp, hosts: Collection[str], *, exempt: Collection[str] = ()
    ) -> None:
        self.app = app
        self._names = frozenset(each.encode() for each in hosts if not each.startswith("*."))
        self._below = tuple(each[1:].encode() for each in hosts if each.startswith("*."))
        self._exempt = frozenset(exempt)

    # Not async: it only looks, and a coroutine around another would cost more than that.

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        kind = scope["type"]
        if kind in {"http", "websocket"} and not self._allows(scope):
            return _refuse(scope, receive, send)
        return self.app(scope, receive, send)

    def _allows(self, scope: Scope) -> bool:
        host: bytes | None = None
        for name, value in scope["headers"]:
            if name == b"host":
                if host is not None:
                    return False
                host = value
        if host is not None:
            if host in self._names:
                return True
            match = _HOST.fullmatch(host)
            if match is not None:
                name = match[1].lower()
                if name in self._names or name.endswith(self._below):
                    return True
        return (
            bool(self._exempt)
            and scope.get("method") in {"GET", "HEAD"}  # a WebSocket has none
            and path_below_root(scope) in self._exempt
        )


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    # A WebSocket can only be answered where the server has a way to do that.
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get(
        "extensions", {}
    ):
        await send({"type": "websocket.close", "code": 1008})
        return
    answer = problem_response(400, "This service does not answer to that host.")
    await answer(scope, receive, send)
