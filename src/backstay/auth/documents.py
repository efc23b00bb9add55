"""Fetching a JSON document from an issuer, with limits on everything."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from backstay.auth.addresses import is_loopback, same_origin
from backstay.errors import AuthError, MissingExtra

try:
    import httpx2
except ImportError as missing:
    raise MissingExtra("auth", "httpx2") from missing

__all__ = ["Document", "Unfetchable", "fetch_document", "open_client"]

_MAX_BYTES = 256 * 1024
_MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Unfetchable(AuthError):
    """A document could not be had, and why.

    Args:
        message: what happened.
        answered: the server answered, though not with the document: another address may do.
    """

    def __init__(self, message: str, *, answered: bool) -> None:
        super().__init__(message)
        self.answered = answered


@dataclass(frozen=True, slots=True)
class Document:
    """What was fetched.

    Attributes:
        members: the JSON object.
        max_age_s: for how long the server says it holds, in seconds (RFC 9111 §5.2.2).
            ``None`` if it does not say.
    """

    members: dict[str, Any]
    max_age_s: float | None


@asynccontextmanager
async def open_client(
    url: str, given: httpx2.AsyncClient | None
) -> AsyncIterator[httpx2.AsyncClient]:
    """A client for a few requests: the given one, which stays open, or a new one.

    Args:
        url: where to. Addresses on this machine are not asked through a proxy.
        given: the user's client, ``None`` if there is none.
    """
    if given is not None:
        yield given
        return
    # No timeout: whoever fetches bounds the whole of it, however slowly the bytes come.
    # In a thread, for reading the certificates takes tens of milliseconds.
    certificates = await asyncio.to_thread(httpx2.create_ssl_context)
    async with httpx2.AsyncClient(
        timeout=None, verify=certificates, trust_env=not is_loopback(url)
    ) as client:
        yield client


async def fetch_document(client: httpx2.AsyncClient, url: str) -> Document:
    """The JSON object at ``url``.

    Redirects are followed within the same origin, three times at most: another host could
    publish keys of its own. At most 256 KiB are read.

    Raises:
        Unfetchable: there is none to be had.
    """
    asked = url
    try:
        for _ in range(_MAX_REDIRECTS + 1):
            request = client.build_request(
                "GET",
                asked,
                # Not compressed, so that what is counted is what is unpacked.
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            )
            response = await client.send(request, stream=True, follow_redirects=False)
            try:
                if response.status_code not in _REDIRECTS:
                    return await _read(response, asked)
                asked = _redirected(response, asked)
            finally:
                await response.aclose()
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
        raise Unfetchable(
            f"{asked} did not answer: {type(error).__qualname__} {error}", answered=False
        ) from error
    raise Unfetchable(f"{url} redirects more than {_MAX_REDIRECTS} times", answered=True)


def _redirected(response: httpx2.Response, asked: str) -> str:
    if response.next_request is None:
        raise Unfetchable(f"{asked} redirects without saying where to", answered=True)
    target = str(response.next_request.url)
    if not same_origin(asked, target):
        raise Unfetchable(
            f"{asked} redirects to another host, {target[:200]!r}, which is not followed",
            answered=True,
        )
    return target


async def _read(response: httpx2.Response, url: str) -> Document:
    if response.status_code != 200:
        raise Unfetchable(
            f"{url} answered {response.status_code}", answered=response.status_code < 500
        )
    if response.headers.get("content-encoding", "identity") != "identity":
        raise Unfetchable(f"{url} answered compressed, unasked", answered=True)
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _MAX_BYTES:
            raise Unfetchable(f"{url} answered with more than {_MAX_BYTES} bytes", answered=True)
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise Unfetchable(f"{url} answered with something that is no JSON object", answered=True)
    return Document(members, _max_age_s(response.headers.get("cache-control", "")))


def _max_age_s(cache_control: str) -> float | None:
    if re.search(r"\bno-(store|cache)\b", cache_control, re.IGNORECASE):
        return 0.0
    found = re.search(r"\bmax-age=\"?(\d{1,9})\b", cache_control, re.IGNORECASE)
    return float(found[1]) if found else None
