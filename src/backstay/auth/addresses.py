"""Where an issuer publishes what it is, and which addresses are safe to ask."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

__all__ = ["is_loopback", "metadata_urls", "read_url", "same_origin"]

_DEFAULT_PORTS = {"https": 443, "http": 80}


def read_url(url: str, what: str) -> SplitResult:
    """A URL that keys or metadata may come from.

    Args:
        url: the URL.
        what: how to call it in messages.

    Raises:
        TypeError: it is no string.
        ValueError: it is no absolute URL, or neither ``https`` nor on this machine: whoever can
            change the keys on their way can sign tokens.
    """
    if not isinstance(url, str):
        raise TypeError(f"{what} is a URL; got {url!r} of type {type(url).__qualname__}")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, SplitResult("", "", "", "", "")
    if not host or not url.isascii() or any(each <= " " or each in '"\\' for each in url):
        raise ValueError(
            f"{what} has to be an absolute URL such as https://id.example.com; got {url!r}"
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(url)):
        raise ValueError(
            f"{what} has to begin with https:// (http:// is for this machine alone, such as "
            f"http://localhost:9000); got {url!r}"
        )
    if parts.fragment or parts.username is not None or parts.password is not None:
        raise ValueError(f"{what} has to be without user and fragment; got {url!r}")
    return parts


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
    return _origin(one) == _origin(other)


def metadata_urls(issuer: str) -> list[str]:
    """Where to look for an issuer's metadata, in the order that MCP 2025-11-25 says.

    An authorization server's is found by putting the well-known part *between* host and path
    (RFC 8414 §3.1), OpenID Connect's by putting it behind the path (Discovery 1.0 §4); some
    servers put that between, too (RFC 8414 §5).

    Raises:
        ValueError: the issuer is no URL that may be asked, or has a query (RFC 8414 §2).
    """
    parts = read_url(issuer, "the issuer")
    if parts.query:
        raise ValueError(f"the issuer has to be without query (RFC 8414, 2); got {issuer!r}")
    host = f"{parts.scheme}://{parts.netloc}"
    path = parts.path.rstrip("/")
    urls = [
        f"{host}/.well-known/oauth-authorization-server{path}",
        f"{host}/.well-known/openid-configuration{path}",
        f"{host}{path}/.well-known/openid-configuration",
    ]
    return list(dict.fromkeys(urls))


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return (
        parts.scheme,
        (parts.hostname or "").lower(),
        parts.port if parts.port is not None else _DEFAULT_PORTS.get(parts.scheme),
    )
