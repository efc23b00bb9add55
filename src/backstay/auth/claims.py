"""What a signed token says, and whether that will do."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from backstay.auth.token import BadToken, VerifiedToken, read_time

__all__ = ["read_claims"]


def read_claims(
    payload: bytes, *, issuer: str, audience: Collection[str], now: datetime, leeway_s: float
) -> VerifiedToken:
    """The claims of a token (RFC 7519 §4.1, RFC 9068 §2.2) whose signature is good.

    Args:
        payload: what was signed.
        issuer: whose it has to be, exactly.
        audience: names one of which it has to be meant for.
        now: aware.
        leeway_s: by how many seconds the issuer's clock may be wrong.

    Raises:
        BadToken: something is missing or will not do.
    """
    claims = _decode(payload)
    if claims.get("iss") != issuer or not isinstance(claims.get("iss"), str):
        raise BadToken(f"its issuer is {claims.get('iss')!r:.200}, not {issuer!r}")
    meant_for = _audience(claims)
    if meant_for.isdisjoint(audience):
        raise BadToken(
            f"it is meant for {sorted(meant_for)!r:.200}, not for {sorted(audience)!r:.200}"
        )
    expires_at = _times(claims, now, timedelta(seconds=leeway_s))
    subject, client_id = claims.get("sub"), claims.get("client_id", claims.get("azp"))
    if not isinstance(subject, str) or not subject:
        raise BadToken("it has no subject (sub)")
    return VerifiedToken(
        subject=subject,
        issuer=issuer,
        scopes=_scopes(claims),
        client_id=client_id if isinstance(client_id, str) and client_id else None,
        expires_at=expires_at,
        audience=meant_for,
        claims=MappingProxyType(claims),
    )


def _decode(payload: bytes) -> dict[str, Any]:
    try:
        # RFC 7519 §3: UTF-8. Of bytes, Python's reader would take UTF-16 and others as well.
        claims = json.loads(payload.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise BadToken("its payload is no JSON object, or says something twice")
    return claims


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    # RFC 7519 §4: names are unique. Of two, other readers might believe the other one.
    found = dict(members)
    if len(found) != len(members):
        raise ValueError("a name comes twice")
    return found


def _audience(claims: Mapping[str, Any]) -> frozenset[str]:
    found = claims.get("aud")
    names = [found] if isinstance(found, str) else found
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadToken("it does not say whom it is meant for (aud)")
    return frozenset(names)


def _times(claims: Mapping[str, Any], now: datetime, leeway: timedelta) -> datetime:
    try:
        expires_at = read_time(claims.get("exp"))
        begins_at = read_time(claims.get("nbf"))
        issued_at = read_time(claims.get("iat"))
    except ValueError as error:
        raise BadToken(f"it has a time that is none: {error}") from None
    if expires_at is None:
        raise BadToken("it does not say when it ends (exp)")
    if expires_at <= now - leeway:
        raise BadToken(f"it ended at {expires_at:%Y-%m-%d %H:%M:%S} UTC")
    for begins, name in ((begins_at, "nbf"), (issued_at, "iat")):
        if begins is not None and begins > now + leeway:
            raise BadToken(f"it begins later ({name}), at {begins:%Y-%m-%d %H:%M:%S} UTC")
    return expires_at


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    # RFC 8693 §4.2: one string. Some issuers say scp, or write a list.
    found = claims.get("scope", claims.get("scp"))
    names = found.split() if isinstance(found, str) else found if found is not None else []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadToken("its scopes are neither a text nor a list of texts")
    return frozenset(names)
