"""Which answers may be kept, for how long, and as what (RFC 9111 §3 and §4)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.responses import Response

from backstay.cache.answer import Answer, Headers
from backstay.cache.directives import directives_of, http_time, lifetime_of
from backstay.cache.policy import Policy
from backstay.cache.validators import etag_of

__all__ = ["Kept", "keep"]


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer that may be kept.

    Attributes:
        answer: it.
        ttl_s: for how many seconds.
    """

    answer: Answer
    ttl_s: float


def keep(
    response: Response,
    policy: Policy,
    *,
    now: datetime,
    vary: Sequence[str],
    known: Collection[bytes],
    own: Headers,
    tags: Sequence[str],
    whole: bool,
) -> Kept | None:
    """What is kept of a response, ``None`` if it is not.

    Not kept is what is no plain body (streams, files), has a background task of its own, has
    another status than the policy's, sets a cookie, says ``no-store``, ``no-cache`` or, where
    everybody gets the same, ``private``; what is over already; and what varies on something that
    is not part of the key.

    Args:
        response: rendered, headers of dependencies included.
        policy: the route's.
        now: the present, for ``Expires``.
        vary: the names of headers that ``Vary`` is to name.
        known: those that the key depends on, these and others.
        own: the headers that dependencies had set before the handler ran, which are set anew for
            each request.
        tags: the answer's.
        whole: the handler made it; dependencies' headers are not in it.
    """
    if type(response).__call__ is not Response.__call__ or response.background is not None:
        return None
    body = getattr(response, "body", None)
    if not isinstance(body, bytes | memoryview) or response.status_code not in policy.statuses:
        return None
    everything = [(name.lower(), value) for name, value in response.raw_headers]
    headers = everything if whole else _without(everything, own)
    if any(name == b"set-cookie" or b"\0" in value for name, value in headers):
        return None
    directives = directives_of(_texts(everything, b"cache-control"))
    if "no-store" in directives or "no-cache" in directives:
        return None
    if policy.public and "private" in directives:
        return None
    ttl_s = _ttl_s(everything, policy, now)
    vary_on = _vary(everything, vary, known)
    if ttl_s <= 0 or vary_on is None:
        return None
    body = bytes(body)
    control, tells_age = policy.cache_control
    headers = [pair for pair in headers if pair[0] not in {b"vary", b"x-cache", b"age"}]
    names = {name for name, _ in everything}
    if b"etag" not in names and response.status_code == 200:
        content_type = next((value for name, value in headers if name == b"content-type"), b"")
        headers.append((b"etag", etag_of(body, content_type)))
    if b"cache-control" in names or b"expires" in names:
        tells_age = True
    else:
        headers.append((b"cache-control", control.encode()))
    if vary_on:
        headers.append((b"vary", ", ".join(vary_on).encode("latin-1")))
    never_stale = "must-revalidate" in directives or "proxy-revalidate" in directives
    return Kept(
        Answer(response.status_code, headers, body, tags, tells_age, never_stale, whole), ttl_s
    )


def _without(headers: Headers, own: Headers) -> Headers:
    """The headers less those of dependencies, each once."""
    rest = [(name.lower(), value) for name, value in own]
    kept = []
    for pair in headers:
        if pair in rest:
            rest.remove(pair)
        else:
            kept.append(pair)
    return kept


def _texts(headers: Headers, name: bytes) -> list[str]:
    return [value.decode("latin-1") for each, value in headers if each == name]


def _ttl_s(headers: Headers, policy: Policy, now: datetime) -> float:
    """As long as the policy says, or less if the answer does."""
    directives = directives_of(_texts(headers, b"cache-control"))
    seconds = lifetime_of(directives, shared=policy.public)
    expires = _texts(headers, b"expires")
    if seconds is None and expires:
        moment = http_time(expires[0])
        # What is no date is in the past (RFC 9111 §5.3).
        seconds = 0.0 if moment is None else (moment - now).total_seconds()
    return policy.ttl_s if seconds is None else min(policy.ttl_s, seconds)


def _vary(headers: Headers, vary: Sequence[str], known: Collection[bytes]) -> list[str] | None:
    """The names for ``Vary``; ``None`` if the handler names one that the key does not know."""
    names = dict.fromkeys(vary)
    for value in _texts(headers, b"vary"):
        for name in filter(None, map(str.strip, value.lower().split(","))):
            if name.encode("latin-1") not in known:
                return None
            names[name] = None
    return [_titled(name) for name in names]


def _titled(name: str) -> str:
    return "-".join(word.capitalize() for word in name.split("-"))
