"""How a client finds out where to get a token: RFC 9728, and the challenge of RFC 6750.

The metadata belongs at the root of the host, whatever path the resource has: an endpoint that is
mounted cannot answer there by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote

from backstay.auth.addresses import read_url
from backstay.auth.scopes import read_scopes
from backstay.widgets.guards import Denied

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = [
    "MetadataEndpoint",
    "challenge",
    "metadata",
    "metadata_path",
    "metadata_url",
    "tool_challenge",
]

_WELL_KNOWN = "/.well-known/oauth-protected-resource"
_MAX_AGE_S = 300


def metadata(
    resource_url: str,
    issuer_urls: Iterable[str],
    scopes: Iterable[str] = (),
    *,
    name: str | None = None,
    documentation: str | None = None,
) -> dict[str, Any]:
    """The metadata of a protected resource (RFC 9728 §2).

    Args:
        resource_url: the resource as clients know it; their tokens are meant for this.
        issuer_urls: who makes tokens for it, each spelled as in its own metadata.
        scopes: what clients may ask for. Left out if empty.
        name: for people.
        documentation: a page for developers.

    Raises:
        TypeError, ValueError: a URL or a scope will not do, or there is no issuer.
    """
    _resource(resource_url)
    if isinstance(issuer_urls, str):
        raise TypeError(f"issuer_urls is a list of URLs; got {issuer_urls!r}")
    issuers = list(issuer_urls)
    if not issuers:
        raise ValueError("issuer_urls is empty: nobody could get a token; give the issuer's URL")
    for issuer in issuers:
        read_url(issuer, "an issuer")
    found: dict[str, Any] = {
        "resource": resource_url,
        "authorization_servers": issuers,
        "bearer_methods_supported": ["header"],
    }
    names = read_scopes(scopes)
    if names:
        found["scopes_supported"] = list(names)
    if name is not None:
        found["resource_name"] = name
    if documentation is not None:
        found["resource_documentation"] = documentation
    return found


def metadata_path(resource_url: str) -> str:
    """The path where the metadata has to be served, on the resource's own host.

    The well-known part goes between host and path (RFC 9728 §3.1): ``https://example.com/mcp`` has
    it at ``/.well-known/oauth-protected-resource/mcp``.

    Raises:
        TypeError, ValueError: the URL is none, or has a query or a fragment.
    """
    path = _resource(resource_url).path
    return _WELL_KNOWN + ("" if path == "/" else path)


def metadata_url(resource_url: str) -> str:
    """The same as a URL, for ``challenge``.

    Raises:
        TypeError, ValueError: as ``metadata_path``.
    """
    parts = _resource(resource_url)
    return f"{parts.scheme}://{parts.netloc}{metadata_path(resource_url)}"


def challenge(denied: Denied, resource_metadata_url: str | None) -> str:
    """The value of ``WWW-Authenticate`` (RFC 6750 §3, RFC 9728 §5.1) for whoever was denied.

    Args:
        denied: why. If no token was sent there is no ``error`` in it (RFC 6750 §3.1).
        resource_metadata_url: what ``metadata_url`` gives. ``None`` leaves it out, and with it
            any chance of a client to find the issuer.
    """
    return _challenge(denied, denied.error, resource_metadata_url)


def tool_challenge(denied: Denied, resource_metadata_url: str | None) -> dict[str, Any]:
    """What belongs into ``_meta`` of a tool's error result for ChatGPT to offer a sign-in.

    It wants an error and a description there in any case.

    Args:
        denied: why.
        resource_metadata_url: what ``metadata_url`` gives. ``None`` leaves it out.
    """
    error = denied.error or "invalid_token"
    return {"mcp/www_authenticate": [_challenge(denied, error, resource_metadata_url)]}


class MetadataEndpoint:
    """An ASGI app that answers with the metadata, to scripts of any origin, too.

    It is public by nature, and clients in browsers read it before they have a token.

    Args:
        document: what ``metadata`` gives.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._body = json.dumps(dict(document), ensure_ascii=False).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            RuntimeError: it is no HTTP request.
        """
        if scope["type"] != "http":
            raise RuntimeError(f"the metadata of a resource is asked by HTTP, not {scope['type']}")
        method = scope["method"]
        status, body = {
            "GET": (200, self._body),
            "HEAD": (200, self._body),
            "OPTIONS": (204, b""),
        }.get(method, (405, b""))
        headers: list[tuple[bytes, bytes]] = [(b"access-control-allow-origin", b"*")]
        if status == 200:
            headers += [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"cache-control", f"public, max-age={_MAX_AGE_S}".encode()),
            ]
        elif status == 204:
            headers += [
                (b"access-control-allow-methods", b"GET, HEAD, OPTIONS"),
                # Clients send the revision they speak along (MCP 2025-06-18), which is not simple.
                (b"access-control-allow-headers", b"*"),
                (b"access-control-max-age", b"86400"),
            ]
        else:
            headers += [(b"allow", b"GET, HEAD, OPTIONS"), (b"content-length", b"0")]
        start: MutableMapping[str, Any] = {
            "type": "http.response.start",
            "status": status,
            "headers": headers,
        }
        await send(start)
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


def _resource(url: str) -> SplitResult:
    parts = read_url(url, "the URL of a resource")
    if parts.query:
        raise ValueError(
            f"the URL of a resource has to be without query (RFC 9728, 1.2); got {url!r}"
        )
    return parts


def _challenge(denied: Denied, error: str | None, url: str | None) -> str:
    parameters: list[tuple[str, str]] = []
    if error is not None:
        parameters += [("error", error), ("error_description", denied.description)]
    if denied.scopes:
        parameters.append(("scope", " ".join(denied.scopes)))
    if url is not None:
        parameters.append(("resource_metadata", quote(url, safe=":/?#[]@!$&'()*+,;=%~")))
    return "Bearer" + ",".join(f' {name}="{_quotable(text)}"' for name, text in parameters)


def _quotable(text: str) -> str:
    # RFC 6750 §3 allows %x20-21 / %x23-5B / %x5D-7E: a header must not be ended from inside.
    return "".join(
        each if " " <= each <= "~" and each not in '"\\' else ("'" if each == '"' else "?")
        for each in text
    )
