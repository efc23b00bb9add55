"""Access tokens that this service has signed itself."""

from __future__ import annotations

import base64
import binascii

from backstay.auth.claims import read_claims
from backstay.auth.keyring import Keyring
from backstay.auth.token import BadToken, VerifiedToken
from backstay.auth.token_issuer import MAX_TOKEN
from backstay.auth.token_policy import TokenPolicy
from backstay.clock import Clock

__all__ = ["LocalVerifier"]

_NAMED = ("jti", "sid")


class LocalVerifier:
    """Checks a token's form, signature and claims. Whether it was revoked is another question.

    Args:
        keyring: whose keys count.
        policy: whom tokens have to come from, and whom they have to be for.
        clock: tells what has ended.
    """

    def __init__(self, keyring: Keyring, policy: TokenPolicy, clock: Clock) -> None:
        self._keyring = keyring
        self._policy = policy
        self._clock = clock

    def claims_it(self, token: str) -> bool:
        """Whether the token says that it is one of ours, and so is nobody else's to check."""
        return self._keyring.writes(token.partition(".")[0])

    def verify(self, token: str) -> VerifiedToken:
        """What a good token says.

        Args:
            token: anything.

        Raises:
            BadToken: it is not good, and why.
        """
        if not isinstance(token, str) or len(token) > MAX_TOKEN:
            raise BadToken(f"it is no text, or longer than {MAX_TOKEN} characters")
        header, payload, signature = _take_apart(token)
        now = self._clock.now()
        # A key has one algorithm and its tokens one header, so nothing in there is obeyed: not alg,
        # kid, typ and crit, and not the keys that a token brings along or points to.
        key = self._keyring.find(header, now)
        if key is None:
            raise BadToken("its header is none that a key of this service writes")
        decoded = _decode(payload)
        if not key.verify(f"{header}.{payload}".encode(), _decode(signature)):
            raise BadToken("its signature is wrong")
        found = read_claims(
            decoded,
            issuer=self._policy.issuer,
            audience=self._policy.accepted_audience,
            now=now,
            leeway_s=self._policy.leeway_s,
        )
        for name in _NAMED:
            value = found.claims.get(name)
            if not isinstance(value, str) or not value:
                raise BadToken(f"it has no {name}, by which it could be revoked")
        # Bounded as iat is, which says the same less exactly: it decides whether logging out counts.
        issued_us, latest_s = found.claims.get("iat_us"), now.timestamp() + self._policy.leeway_s
        if type(issued_us) is not int or not 0 <= issued_us <= latest_s * 1_000_000:
            raise BadToken("it does not say when it was issued (iat_us), or that will not do")
        if found.claims.get("iat") is None:
            raise BadToken("it does not say when it was issued (iat)")
        return found


def _take_apart(token: str) -> tuple[str, str, str]:
    parts = token.split(".", 3)
    if len(parts) != 3 or not token.isascii():
        raise BadToken("it does not consist of three parts in base64url")
    return parts[0], parts[1], parts[2]


def _decode(part: str) -> bytes:
    try:
        decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        decoded = b""
    # One way of writing each (RFC 7515 §2): Python's reader passes over what it does not know.
    if base64.urlsafe_b64encode(decoded).rstrip(b"=").decode() != part:
        raise BadToken("it does not consist of three parts in base64url")
    return decoded
