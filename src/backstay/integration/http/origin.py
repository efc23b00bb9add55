"""Where a URL leads: scheme, host and port (RFC 6454 §4). Secrets belong to one origin."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

__all__ = ["Origin", "PORTS", "origin_of", "origin_of_url"]

Origin = tuple[str, str, int | None]
"""Scheme, host in small letters, and port; the port of other schemes may be ``None``."""

PORTS: Final[Mapping[str, int]] = MappingProxyType({"http": 80, "https": 443})
"""What stands for no port."""


def origin_of(url: str) -> Origin:
    """Of a text.

    Raises:
        ValueError: it is no URL.
    """
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or PORTS.get(parts.scheme)


def origin_of_url(url: Any) -> Origin:
    """Of a URL of httpx's kind."""
    scheme = url.scheme
    return scheme, url.raw_host.decode("ascii").lower(), url.port or PORTS.get(scheme)
