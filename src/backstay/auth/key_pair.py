"""A private key that signs and its public half that verifies: the other seam to joserfc."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backstay.errors import BadAuth, MissingExtra

try:
    from joserfc.jwk import ECKey, OKPKey
    from joserfc.jws import JWSRegistry
except ImportError as missing:
    raise MissingExtra("auth", missing.name or "joserfc") from missing

__all__ = ["CURVES", "KeyPair"]

CURVES = {"EdDSA": "Ed25519", "ES256": "P-256", "ES384": "P-384"}
"""Each algorithm with the one curve it goes with (RFC 8037 §3.1, RFC 7518 §3.4)."""

_KINDS: dict[str, type[ECKey] | type[OKPKey]] = {"EC": ECKey, "OKP": OKPKey}
_PUBLIC = ("kty", "crv", "x", "y")
_REMEDY = (
    f"it has to be the private key of {', '.join(f'{c} ({a})' for a, c in CURVES.items())}: "
    "SigningKey.generate('EdDSA').private_pem() makes one"
)


class KeyPair:
    """One key of an elliptic curve, private half included. Nothing shows that half by accident.

    Args:
        key: joserfc's.

    Raises:
        BadAuth: it has no private half, its halves do not belong together, or its curve is none
            of those that sign here.
    """

    __slots__ = ("_algorithm", "_key", "_public", "algorithm")

    def __init__(self, key: ECKey | OKPKey) -> None:
        members = key.as_dict(private=False)
        named = [name for name, curve in CURVES.items() if curve == members.get("crv")]
        if not named:
            raise BadAuth(
                f"a key of the curve {members.get('crv')!r:.40} signs no tokens; {_REMEDY}"
            )
        if not key.is_private:
            raise BadAuth(f"a public key cannot sign; {_REMEDY}")
        self.algorithm = named[0]
        self._algorithm: Any = JWSRegistry.algorithms[self.algorithm]
        self._key = key
        wanted = {name: str(members[name]) for name in _PUBLIC if name in members}
        self._public: Any = _KINDS[wanted["kty"]].import_key(dict(wanted))
        # A JWK states both halves; others would refuse all tokens if they were not of one key.
        if not self.verify(b"", self.sign(b"")):
            raise BadAuth("the public half of the key is not that of its private half")

    @classmethod
    def generate(cls, algorithm: str) -> KeyPair:
        """A new one.

        Raises:
            BadAuth: the algorithm is none of ``CURVES``.
        """
        curve: Any = CURVES.get(algorithm)
        if curve is None:
            raise BadAuth(f"algorithm={algorithm!r:.40}: it is one of {', '.join(CURVES)}")
        kind = OKPKey if algorithm == "EdDSA" else ECKey
        return cls(kind.generate_key(curve))

    @classmethod
    def from_pem(cls, pem: str | bytes, *, password: str | None = None) -> KeyPair:
        """Of a private key in PEM.

        Args:
            pem: the text, ``-----BEGIN`` and all.
            password: that it is encrypted with; ``None`` if it is not.

        Raises:
            BadAuth: it is none, or not of a curve that signs here.
        """
        data = pem.encode() if isinstance(pem, str) else pem
        for kind in _KINDS.values():
            try:
                key = kind.import_key(data, password=password)
                return cls(key)
            except BadAuth:
                raise
            except Exception:  # noqa: S112  # whatever it is of, it is not of this kind
                continue
        # Not what the parsers said: they quote the text.
        raise BadAuth(f"this PEM could not be read; {_REMEDY}")

    @classmethod
    def from_jwk(cls, members: Mapping[str, Any]) -> KeyPair:
        """Of a private JWK (RFC 7517).

        Raises:
            BadAuth: it is none, or not of a curve that signs here.
        """
        kind = _KINDS.get(str(members.get("kty")))
        if kind is None:
            raise BadAuth(f"a JWK with kty={members.get('kty')!r:.40} signs no tokens; {_REMEDY}")
        known = {name: members[name] for name in (*_PUBLIC, "d") if name in members}
        try:
            key = kind.import_key(known)
            return cls(key)
        except BadAuth:
            raise
        except Exception:
            raise BadAuth(f"this JWK could not be read; {_REMEDY}") from None

    def sign(self, message: bytes) -> bytes:
        """The signature of ``message``, as JWS writes it."""
        signature: bytes = self._algorithm.sign(message, self._key)
        return signature

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether that is a signature of it by this key."""
        return bool(self._algorithm.verify(message, signature, self._public))

    def thumbprint(self) -> str:
        """RFC 7638's."""
        return str(self._public.thumbprint())

    def public_jwk(self) -> dict[str, str]:
        """The public half (RFC 7517 §4): members that are known to be public, and no other."""
        return {
            name: str(value)
            for name, value in self._public.as_dict(private=False).items()
            if name in _PUBLIC
        }

    def private_pem(self) -> str:
        """The private half as PKCS #8 (RFC 5958), not encrypted: for whoever keeps the keys."""
        return self._key.as_pem(private=True).decode()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.algorithm}>"

    def __reduce__(self) -> str:
        raise TypeError("a private key is not pickled: it would lie in the open")
