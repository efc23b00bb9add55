"""The keys of one issuer: the one that signs now, and those whose tokens still count."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Self

from backstay.auth.signing_key import SigningKey
from backstay.errors import BadAuth

__all__ = ["Keyring"]

_BEGINNING = datetime.min.replace(tzinfo=UTC)


class Keyring:
    """Several keys, so that one can follow another without a restart.

    Of the keys whose ``signs_from`` has passed, the newest signs; of several that say nothing of
    that, the first. All verify until their ``verifies_until``, and those that have a public half
    are published until then: a new key is known to everybody before it signs.

    Args:
        keys: one at least.

    Raises:
        BadAuth: there is none, something is no ``SigningKey``, or two have one id.
    """

    def __init__(self, *keys: SigningKey) -> None:
        for each in keys:
            if not isinstance(each, SigningKey):
                raise BadAuth(
                    f"a Keyring is made of SigningKeys; got a {type(each).__qualname__}: "
                    "SigningKey.from_secret(...), from_pem(...) or from_jwk(...) makes one"
                )
        if not keys:
            raise BadAuth("a Keyring needs a key: Keyring(SigningKey.from_pem(...))")
        kids = [each.kid for each in keys]
        if twice := sorted({kid for kid in kids if kids.count(kid) > 1}):
            raise BadAuth(f"two keys of a Keyring have the same id: {twice}; give them kid=")
        self.keys = keys
        self._by_header = {each.header: each for each in keys}

    @classmethod
    def from_secrets(cls, secrets: Any, *, algorithm: str = "HS256", debug: bool = False) -> Self:
        """Of secrets alone: the first signs, all verify.

        Args:
            secrets: one or several, as a list, or as one text with commas.
            algorithm: HS256, HS384 or HS512.
            debug: weak secrets are only warned of.

        Raises:
            WeakSecret: somebody could guess one.
            BadAuth: there is none, or something is no secret.
        """
        return cls(
            *(
                SigningKey.from_secret(each, algorithm=algorithm, debug=debug)
                for each in _several(secrets)
            )
        )

    @property
    def has_public_keys(self) -> bool:
        """Whether there is anything to publish."""
        return any(not each.is_secret for each in self.keys)

    def signing_key(self, now: datetime) -> SigningKey:
        """The key that signs at ``now`` (aware).

        Raises:
            BadAuth: none does.
        """
        signing = [each for each in self.keys if each.signs_at(now)]
        if not signing:
            raise BadAuth(
                f"none of the keys {[each.kid for each in self.keys]} signs at "
                f"{now:%Y-%m-%d %H:%M} UTC: they begin later or have ended; add one that has begun"
            )
        return max(signing, key=lambda each: each.signs_from or _BEGINNING)

    def writes(self, header: str) -> bool:
        """Whether a token with that encoded header is one of ours, or says so."""
        return header in self._by_header

    def find(self, header: str, now: datetime) -> SigningKey | None:
        """The key whose tokens have that encoded header, ``None`` if none counts at ``now``."""
        key = self._by_header.get(header)
        return key if key is not None and key.verifies_at(now) else None

    def jwks(self, now: datetime) -> dict[str, Any]:
        """The JWK Set (RFC 7517 §5) to publish at ``now``: public halves only, newest first."""
        published = sorted(
            (each for each in self.keys if each.verifies_at(now)),
            key=lambda each: each.signs_from or _BEGINNING,
            reverse=True,
        )
        return {"keys": [jwk for each in published if (jwk := each.public_jwk()) is not None]}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {[each.kid for each in self.keys]}>"


def _several(secrets: Any) -> list[Any]:
    reveal = getattr(secrets, "get_secret_value", None)  # pydantic's SecretStr
    text = reveal() if callable(reveal) else secrets
    if isinstance(text, str):
        found: list[Any] = [each.strip() for each in text.split(",")]
        return [each for each in found if each] or [text]
    return list(text) if isinstance(text, list | tuple) and text else [text]
