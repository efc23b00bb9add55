"""Access tokens of this service: what they say, and who signs it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from backstay.auth.keyring import Keyring
from backstay.auth.scopes import read_scopes
from backstay.auth.token_policy import TokenPolicy
from backstay.errors import BadAuth

__all__ = ["MAX_TOKEN", "RESERVED", "TokenBody", "TokenIssuer"]

MAX_TOKEN = 8 * 1024
"""Characters of an access token at most. Servers and proxies refuse headers of twice that."""

RESERVED = frozenset({"api_key", "aud", "exp", "iat", "iat_us", "iss", "jti", "nbf", "sid", "sub"})
"""Claims that are the service's own, and nobody's to add."""


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TokenBody:
    """What an app adds to a user's tokens.

    Args:
        added: what ``add_jwt_body`` returned. ``None`` adds nothing.

    Attributes:
        claims: all but ``scope``.
        scopes: what the user may be allowed; ``None`` if that was not said, which is nothing.

    Raises:
        BadAuth: it is no dict, sets what is not the app's to set, or cannot be written.
    """

    __slots__ = ("claims", "scopes")

    def __init__(self, added: object) -> None:
        if added is None:
            added = {}
        if not isinstance(added, Mapping) or not all(isinstance(name, str) for name in added):
            raise BadAuth(
                f"add_jwt_body returned a {type(added).__qualname__}; it returns a dict of claims, "
                'such as {"scope": "orders", "roles": ["admin"]}'
            )
        if taken := sorted(RESERVED.intersection(added)):
            raise BadAuth(
                f"add_jwt_body sets {taken}, which are what tokens are trusted by; choose other names"
            )
        claims = dict(added)
        scopes = claims.pop("scope", None)
        try:
            self.scopes = read_scopes(
                scopes.split() if isinstance(scopes, str) else scopes, "scope"
            )
        except (TypeError, ValueError) as error:
            raise BadAuth(f"add_jwt_body returned a scope that is none: {error}") from None
        roles = claims.get("roles", [])
        if not isinstance(roles, list | tuple | set | frozenset) or not all(
            isinstance(role, str) for role in roles
        ):
            raise BadAuth(f"add_jwt_body returned roles={roles!r:.80}; they are a list of strings")
        # Always there: a token without would leave its roles to whoever reads it.
        claims["roles"] = sorted(roles) if isinstance(roles, set | frozenset) else list(roles)
        self.claims = claims


class TokenIssuer:
    """Writes access tokens (RFC 9068).

    Args:
        keyring: whose key signs.
        policy: for whom, and for how long.
    """

    def __init__(self, keyring: Keyring, policy: TokenPolicy) -> None:
        self._keyring = keyring
        self._policy = policy

    def write(
        self,
        subject: str,
        *,
        session: str,
        scopes: Collection[str],
        body: TokenBody,
        issued_at: datetime,
    ) -> str:
        """A new access token.

        Args:
            subject: whose it is.
            session: the login that it comes from.
            scopes: what it allows.
            body: what the app adds.
            issued_at: aware UTC.

        Raises:
            BadAuth: what the app adds cannot be written as JSON, or is too much; no key signs.
        """
        at = issued_at.timestamp()
        audience = self._policy.audience
        claims: dict[str, Any] = {
            **body.claims,
            "iss": self._policy.issuer,
            "sub": subject,
            "aud": audience[0] if len(audience) == 1 else list(audience),
            # Whole seconds: some verifiers take a fraction of the present one for the future.
            "iat": int(at),
            # Who logs out everywhere and in again within one second has a token that counts.
            "iat_us": (issued_at - _EPOCH) // timedelta(microseconds=1),
            "nbf": int(at),
            "exp": int(at + self._policy.access_s),
            "jti": secrets.token_urlsafe(16),
            "sid": session,
            "scope": " ".join(sorted(scopes)),
        }
        try:
            payload = json.dumps(claims, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise BadAuth(
                f"what add_jwt_body returned cannot be written as JSON: {error}"
            ) from None
        token = self._keyring.signing_key(issued_at).sign(payload.encode())
        if len(token) > MAX_TOKEN:
            raise BadAuth(
                f"with what add_jwt_body returned, a token has {len(token)} characters; {MAX_TOKEN} "
                "is the most that travels safely in a header. Put less into it"
            )
        return token
