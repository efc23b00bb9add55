"""Where an issuer publishes what it is, and which addresses are safe to ask."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from backstay.addresses import is_loopback, same_origin

__all__ = ["is_loopback", "metadata_urls", "read_url", "same_origin"]


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
