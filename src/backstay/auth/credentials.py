"""What a request shows of who sends it, and how it is told what it should have shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from backstay.auth.bearer import read_bearer

__all__ = ["API_KEY_HEADER", "Credentials", "challenge", "read_credentials"]

API_KEY_HEADER = "X-API-Key"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What was shown, unverified.

    Attributes:
        value: the token or key.
        is_api_key: it came as an API key, and is nothing if it is none.
    """

    value: str = field(repr=False)
    is_api_key: bool = False


def read_credentials(connection: HTTPConnection) -> Credentials | None:
    """A request's bearer token (RFC 6750 §2.1), else its ``X-API-Key``; ``None`` without either.

    Tokens in the query or a form are not looked at: URLs lie in logs (RFC 9700 §2.6).
    """
    headers = connection.headers
    bearer = read_bearer(headers.getlist("authorization"))
    if bearer is not None:
        return Credentials(bearer)
    keys = headers.getlist(API_KEY_HEADER)
    if not keys:
        return None
    # Several are no key at all: proxies differ on which of them counts.
    return Credentials(keys[0].strip(" \t") if len(keys) == 1 else "", is_api_key=True)


def challenge(error: str | None = None, detail: str = "", scopes: Iterable[str] = ()) -> str:
    """The value of ``WWW-Authenticate`` (RFC 6750 §3).

    Args:
        error: ``"invalid_token"``, ``"insufficient_scope"``; ``None`` if nothing was shown.
        detail: a sentence without quotation marks.
        scopes: those that are needed.
    """
    if error is None:
        return "Bearer"
    said = {"error": error, "error_description": detail, "scope": " ".join(scopes)}
    return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in said.items() if value)
