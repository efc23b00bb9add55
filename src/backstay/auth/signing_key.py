"""One key that signs tokens, and from when until when it does."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, Self

from backstay.auth.shared_secret import HASHES, SharedSecret
from backstay.errors import BadAuth, WeakSecret

__all__ = ["SigningKey"]

# What the tokens' headers say they are (RFC 9068 §2.1): access tokens, and nothing else.
_TYPE = "at+jwt"

_MAX_KID = 256


class _Material(Protocol):
    @property
    def algorithm(self) -> str: ...
    def sign(self, message: bytes) -> bytes: ...
    def verify(self, message: bytes, signature: bytes) -> bool: ...
    def thumbprint(self) -> str: ...
    def public_jwk(self) -> dict[str, str] | None: ...


class SigningKey:
    """A key with exactly one algorithm. Make one with ``from_…`` or ``generate``.

    Attributes:
        kid: its id, which tokens name.
        algorithm: HS256, HS384, HS512, EdDSA (Ed25519), ES256 or ES384.
        signs_from: from then on it signs, if no newer key does; aware UTC. ``None``: it always has.
        verifies_until: from then on its tokens do not count, aware UTC. ``None``: they always do.
        header: of its tokens, encoded. There is no other, so a token's is compared and never
            interpreted: what it says of algorithms, keys and extensions is of no consequence.
    """

    __slots__ = ("_material", "algorithm", "header", "kid", "signs_from", "verifies_until")

    def __init__(
        self,
        material: _Material,
        *,
        kid: str | None = None,
        signs_from: datetime | None = None,
        verifies_until: datetime | None = None,
    ) -> None:
        self._material = material
        self.algorithm = material.algorithm
        self.kid = material.thumbprint() if kid is None else kid
        if not (isinstance(self.kid, str) and 0 < len(self.kid) <= _MAX_KID):
            raise BadAuth(f"kid= is a text of 1 to {_MAX_KID} characters; got {kid!r:.40}")
        self.signs_from = _read_moment(signs_from, "signs_from")
        self.verifies_until = _read_moment(verifies_until, "verifies_until")
        if self.signs_from and self.verifies_until and self.verifies_until <= self.signs_from:
            raise BadAuth(
                f"the key {self.kid!r} verifies until {self.verifies_until}, which is before it "
                f"signs ({self.signs_from})"
            )
        members = {"alg": self.algorithm, "kid": self.kid, "typ": _TYPE}
        self.header = _encode(json.dumps(members, separators=(",", ":")).encode())

    @classmethod
    def from_secret(
        cls,
        secret: Any,
        *,
        algorithm: str = "HS256",
        kid: str | None = None,
        signs_from: datetime | None = None,
        verifies_until: datetime | None = None,
        debug: bool = False,
    ) -> Self:
        """A secret: whoever can check its tokens can make them, too.

        Args:
            secret: text, bytes or pydantic's ``SecretStr``. As long as the algorithm's hash at
                least (32, 48 or 64 bytes; RFC 7518 §3.2).
            algorithm: HS256, HS384 or HS512.
            kid: its id. ``None``: derived from it, and nothing of it follows from that.
            signs_from: as the attribute.
            verifies_until: as the attribute.
            debug: weak secrets are only warned of.

        Raises:
            WeakSecret: somebody could guess it.
            BadAuth: it is no secret, or something else could never work.
        """
        from backstay.auth.secret_strength import check_secret

        good = check_secret(secret, debug=debug, what="secret").encode()
        material = _read_secret(good, algorithm, debug=debug)
        return cls(material, kid=kid, signs_from=signs_from, verifies_until=verifies_until)

    @classmethod
    def from_pem(
        cls,
        pem: str | bytes,
        *,
        password: str | None = None,
        kid: str | None = None,
        signs_from: datetime | None = None,
        verifies_until: datetime | None = None,
    ) -> Self:
        """A private key in PEM: Ed25519 (EdDSA), P-256 (ES256) or P-384 (ES384).

        Args:
            pem: the text.
            password: that it is encrypted with; ``None`` if it is not.
            kid: its id. ``None``: its thumbprint (RFC 7638).
            signs_from: as the attribute.
            verifies_until: as the attribute.

        Raises:
            BadAuth: it is none of these.
            MissingExtra: joserfc is not installed.
        """
        from backstay.auth.key_pair import KeyPair

        material = KeyPair.from_pem(pem, password=password)
        return cls(material, kid=kid, signs_from=signs_from, verifies_until=verifies_until)

    @classmethod
    def from_jwk(
        cls,
        jwk: str | Mapping[str, Any],
        *,
        kid: str | None = None,
        signs_from: datetime | None = None,
        verifies_until: datetime | None = None,
    ) -> Self:
        """A private key as JWK (RFC 7517), or its JSON.

        Args:
            jwk: of the same curves as for ``from_pem``, or a secret (``"kty": "oct"``).
            kid: its id. ``None``: the one it has, else its thumbprint.
            signs_from: as the attribute.
            verifies_until: as the attribute.

        Raises:
            BadAuth: it is none of these, or is meant for something else (``use``, ``alg``).
            WeakSecret: it is a secret that somebody could guess.
            MissingExtra: joserfc is not installed.
        """
        members = _read_jwk(jwk)
        if kid is None and "kid" in members:
            kid = members["kid"]
        if members.get("kty") == "oct":
            from backstay.auth.secret_strength import check_secret

            text = check_secret(members.get("k", ""), what="the member k of the JWK")
            secret = _read_secret(_decode(text), members.get("alg", "HS256"), debug=False)
            key = cls(secret, kid=kid, signs_from=signs_from, verifies_until=verifies_until)
        else:
            from backstay.auth.key_pair import KeyPair

            material = KeyPair.from_jwk(members)
            key = cls(material, kid=kid, signs_from=signs_from, verifies_until=verifies_until)
        if members.get("use", "sig") != "sig" or members.get("alg", key.algorithm) not in (
            key.algorithm,
            "Ed25519" if key.algorithm == "EdDSA" else key.algorithm,  # RFC 9864's name for it
        ):
            raise BadAuth(
                f"the JWK is meant for something else than signing with {key.algorithm}: it has "
                f"use={members.get('use')!r:.40}, alg={members.get('alg')!r:.40}"
            )
        return key

    @classmethod
    def generate(
        cls,
        algorithm: str = "EdDSA",
        *,
        kid: str | None = None,
        signs_from: datetime | None = None,
        verifies_until: datetime | None = None,
    ) -> Self:
        """A new one, for tests and for whoever writes it down: ``private_pem()``.

        Args:
            algorithm: EdDSA, ES256 or ES384.
            kid: its id. ``None``: its thumbprint.
            signs_from: as the attribute.
            verifies_until: as the attribute.

        Raises:
            BadAuth: the algorithm is none of these.
            MissingExtra: joserfc is not installed.
        """
        if algorithm in HASHES:
            raise BadAuth(
                f"algorithm={algorithm!r}: a secret is made with "
                'python -c "import secrets; print(secrets.token_urlsafe(64))"'
            )
        from backstay.auth.key_pair import KeyPair

        material = KeyPair.generate(algorithm)
        return cls(material, kid=kid, signs_from=signs_from, verifies_until=verifies_until)

    @property
    def is_secret(self) -> bool:
        """Whether it is a secret, and so has no public half."""
        return self.algorithm in HASHES

    def sign(self, payload: bytes) -> str:
        """A token (RFC 7515 §7.1) that says ``payload``."""
        message = f"{self.header}.{_encode(payload)}"
        return f"{message}.{_encode(self._material.sign(message.encode()))}"

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether that is this key's signature of ``message``, the token without it."""
        return self._material.verify(message, signature)

    def signs_at(self, now: datetime) -> bool:
        """Whether it may sign at ``now`` (aware)."""
        return (self.signs_from is None or self.signs_from <= now) and self.verifies_at(now)

    def verifies_at(self, now: datetime) -> bool:
        """Whether its tokens count at ``now`` (aware)."""
        return self.verifies_until is None or now < self.verifies_until

    def public_jwk(self) -> dict[str, str] | None:
        """Its public half for a JWK Set (RFC 7517); ``None`` of a secret."""
        members = self._material.public_jwk()
        if members is None:
            return None
        return {**members, "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    def private_pem(self) -> str:
        """Its private half in PEM, not encrypted: to be kept where secrets are.

        Raises:
            BadAuth: it is a secret, which nothing shows.
        """
        from backstay.auth.key_pair import KeyPair

        if not isinstance(self._material, KeyPair):
            raise BadAuth("a secret has no PEM; whoever made it has it")
        return self._material.private_pem()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.kid!r} {self.algorithm}>"


def _read_moment(value: object, name: str) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise BadAuth(
            f"{name}= is a datetime with a zone, such as datetime(2027, 1, 1, tzinfo=UTC); "
            f"got {value!r:.60}"
        )
    return value.astimezone(UTC)


def _read_secret(secret: bytes, algorithm: object, *, debug: bool) -> SharedSecret:
    material = SharedSecret(secret, str(algorithm))
    needed = {"HS256": 32, "HS384": 48, "HS512": 64}[material.algorithm]
    if len(secret) < needed and not debug:
        raise WeakSecret(
            f"a secret for {algorithm} has {needed} bytes at least (RFC 7518, 3.2); this one has "
            f'{len(secret)}. Make one: python -c "import secrets; print(secrets.token_urlsafe(64))"'
        )
    return material


def _read_jwk(jwk: object) -> dict[str, Any]:
    members: object = jwk
    if isinstance(jwk, str | bytes):
        try:
            members = json.loads(jwk)
        except (ValueError, RecursionError):
            members = None
    if not isinstance(members, Mapping):
        raise BadAuth("a JWK is a JSON object, or a dict of its members; this is neither")
    return dict(members)


def _encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def _decode(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise BadAuth("the member k of the JWK is not base64url") from None
