"""The bearer token of a request (RFC 6750 §2.1)."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["read_bearer"]


def read_bearer(authorization: str | Sequence[str] | None) -> str | None:
    """The token in a request's ``Authorization`` header.

    Whatever stands behind the word ``Bearer`` is returned as it is, an empty string included:
    a verifier refuses what is no token, so that the client hears that its token is bad and not
    that it sent none.

    Args:
        authorization: the header's value, or all its values if it may come several times.
            ``None`` and an empty list mean that there is no such header.

    Returns:
        The token; ``None`` if the header is missing or of another scheme. Several ``Authorization``
        headers make ``""``, which no verifier accepts: proxies differ on which of them counts.
    """
    if authorization is None:
        return None
    if not isinstance(authorization, str):
        if len(authorization) != 1:
            return "" if authorization else None
        authorization = authorization[0]
    # RFC 9110 §11.1: the scheme is written in any case.
    scheme, _, token = authorization.strip(" \t").partition(" ")
    return token.strip(" \t") if scheme.lower() == "bearer" else None
