"""The secrets that a request carries, and that they stay with whom they are for."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from backstay.integration.http.origin import Origin, origin_of_url, request_of

__all__ = ["CARRIED", "CarriedSecrets", "digest", "secrets_of", "stay_home"]

CARRIED: Final = "backstay_carried"
"""Extension of requests that carry secrets; its value is ``CarriedSecrets``."""


@dataclass(frozen=True, slots=True)
class CarriedSecrets:
    """What about one request is secret.

    Attributes:
        origins: where it may be sent.
        headers: the names of headers that are secret, in small letters.
        principal: who the request is from, the same for all requests that get the same answers; a
            cache keeps answers apart by it. ``None`` if nobody knows: such answers are not kept.
    """

    origins: frozenset[Origin]
    headers: frozenset[str]
    principal: str | None

    def may_go_to(self, origin: Origin) -> bool:
        """Whether ``origin`` is one of them, or one of them over TLS instead of without."""
        if origin in self.origins:
            return True
        scheme, host, port = origin
        return (scheme, port) == ("https", 443) and ("http", host, 80) in self.origins


def stay_home(request: Any) -> None:
    """Take the secrets off a request that goes to somebody else: a redirect's, say.

    Clients know ``Authorization`` for a secret, and pass on whatever else there is.
    """
    carried = request.extensions.get(CARRIED)
    if carried is None or carried.may_go_to(origin_of_url(request.url)):
        return
    for name in carried.headers:
        request.headers.pop(name, None)
    request.extensions = {
        name: value for name, value in request.extensions.items() if name != CARRIED
    }


def secrets_of(answer: Any) -> frozenset[str]:
    """The secrets of the request that was answered, as texts; none where nobody knows the request."""
    request = request_of(answer)
    if request is None:
        return frozenset()
    # A key in the query is in what is sent, and "***" in what is shown.
    sent, shown = (parse_qsl(each) for each in (request.url.query.decode(), _query(request.url)))
    found = {value for (_, value), (_, told) in zip(sent, shown, strict=False) if told == "***"}
    carried = request.extensions.get(CARRIED)
    for name in () if carried is None else carried.headers:
        value = request.headers.get(name, "")
        found |= {value, value.rpartition(" ")[2]}  # also without "Bearer"
    return frozenset(found - {"", "***"})


def _query(url: Any) -> str:
    return urlsplit(str(url)).query


def digest(*texts: str) -> str:
    """What tells secrets apart without telling them."""
    return sha256("\0".join(texts).encode()).hexdigest()
