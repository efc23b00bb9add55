"""What an answer may repeat of the request it answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote_plus

__all__ = ["facts_of", "header_of", "path_of"]

_SECRET: Final = re.compile(
    r"auth|code|cookie|credential|jwt|key|otp|passw|pwd|secret|session|sig|token", re.IGNORECASE
)
"""Names of query parameters whose values are not repeated. Better one too many."""

_MASK: Final = "***"
_MOST: Final = 1_000
"""Characters of a text that are repeated."""

# What a path may have besides letters and digits (RFC 3986 §3.3).
_IN_PATHS: Final = "/:@!$&'()*+,;=-._~"


def path_of(scope: Mapping[str, Any]) -> str:
    """The path of a request as its client knows it, percent-encoded, without the query.

    Args:
        scope: the ASGI scope. Its ``root_path`` is in front, whether the server says it there,
            as ASGI wants it, or a proxy has taken it off.
    """
    path: str = scope.get("path", "")
    root: str = scope.get("app_root_path", scope.get("root_path", "")).rstrip("/")
    if root and path != root and not path.startswith(f"{root}/"):
        path = root + path
    # Not from request.url: that is made of the Host header, which may be anything.
    return quote(path, safe=_IN_PATHS, errors="replace")


def header_of(scope: Mapping[str, Any], name: bytes) -> str | None:
    """A request's header, joined if it comes several times; ``None`` if it does not.

    Args:
        scope: the ASGI scope.
        name: lower case.
    """
    found = [value for key, value in scope.get("headers", ()) if key == name]
    return b", ".join(found).decode("latin-1") if found else None


def facts_of(scope: Mapping[str, Any]) -> dict[str, Any]:
    """A request as developers want to see it, secrets masked. For debug mode.

    Returns:
        ``method``, ``path``, ``query``, ``host``, ``user_agent`` and ``client`` (its address), each
        ``None`` where the request or the server does not say it.
    """
    client = scope.get("client")  # None behind a unix socket
    return {
        "method": scope.get("method"),
        "path": path_of(scope)[:_MOST],
        "query": _masked(scope.get("query_string", b"").decode("latin-1"))[:_MOST],
        "host": header_of(scope, b"host"),
        "user_agent": header_of(scope, b"user-agent"),
        "client": client[0] if client else None,
    }


def _masked(query: str) -> str:
    parts = []
    for each in query.split("&"):
        name, equals, _ = each.partition("=")
        secret = bool(equals) and _SECRET.search(unquote_plus(name)) is not None
        parts.append(f"{name}={_MASK}" if secret else each)
    return "&".join(parts)
