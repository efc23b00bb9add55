"""Where requests lead and answers came from, as clients of httpx's kind know it."""

from __future__ import annotations

from typing import Any

from backstay.addresses import DEFAULT_PORTS, Origin, origin_of

__all__ = ["Origin", "origin_of", "origin_of_url", "request_of"]


def origin_of_url(url: Any) -> Origin:
    """The origin of a client's URL."""
    scheme = url.scheme
    return scheme, url.raw_host.decode("ascii").lower(), url.port or DEFAULT_PORTS.get(scheme)


def request_of(answer: Any) -> Any:
    """The request that was answered; ``None`` where nobody knows it."""
    try:
        return answer.request
    except (AttributeError, RuntimeError):  # httpx: it was never sent
        return None
