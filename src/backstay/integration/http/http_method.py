"""The methods that endpoints are called with."""

from __future__ import annotations

from enum import Enum

__all__ = ["HTTPMethod"]


class HTTPMethod(str, Enum):  # noqa: UP042 -- a StrEnum's str() is its value; code that formats ours may expect Enum's
    """The methods that endpoints are called with (RFC 9110 §9.3, RFC 5789)."""

    get = "GET"
    post = "POST"
    put = "PUT"
    patch = "PATCH"
    delete = "DELETE"
    head = "HEAD"
    options = "OPTIONS"
