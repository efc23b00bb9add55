"""A secret that signs and verifies: HMAC (RFC 7518 §3.2), with the standard library alone."""

from __future__ import annotations

import base64
import hmac

from backstay.errors import BadAuth

__all__ = ["HASHES", "SharedSecret"]

HASHES = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
"""Each algorithm with its hash."""

# An asymmetric key's public half is known to everybody. As a secret it would let anybody sign, and
# whoever hands one over means something else.
_PEM = b"-----BEGIN"
_NOT_SECRETS = (b"ssh-", b"ecdsa-", b'{"')


class SharedSecret:
    """Whoever has it can check tokens and make them. Nothing shows it.

    Args:
        secret: the key of the HMAC, used as it is.
        algorithm: HS256, HS384 or HS512.

    Raises:
        BadAuth: it is empty, or a key of another kind; the algorithm is none of these.
    """

    __slots__ = ("_hash", "_secret", "algorithm")

    def __init__(self, secret: bytes, algorithm: str = "HS256") -> None:
        if algorithm not in HASHES:
            raise BadAuth(
                f"algorithm={algorithm!r:.40}: with a secret it is one of {', '.join(HASHES)}; "
                "the asymmetric ones need a key, SigningKey.generate('EdDSA') or from_pem(...)"
            )
        if not secret:
            raise BadAuth("the secret is empty, so everybody has it")
        # PEM's readers pass over whatever is in front of it.
        if _PEM in secret or secret.lstrip().startswith(_NOT_SECRETS):
            raise BadAuth(
                "the secret looks like a PEM, SSH or JSON key, which is no secret; a private key "
                "is read by SigningKey.from_pem(...) or SigningKey.from_jwk(...)"
            )
        self.algorithm = algorithm
        self._hash = HASHES[algorithm]
        self._secret = secret

    def sign(self, message: bytes) -> bytes:
        """The signature of ``message``."""
        return hmac.digest(self._secret, message, self._hash)

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether that is its signature."""
        return hmac.compare_digest(hmac.digest(self._secret, message, self._hash), signature)

    def thumbprint(self) -> str:
        """A name for it, of which nothing follows.

        Not RFC 7638's: that is a bare hash of the secret, which people may use as a key elsewhere
        (its §7 warns of it). This one is an HMAC with a purpose of its own.
        """
        digest = hmac.digest(self._secret, b"backstay key id", "sha256")
        return base64.urlsafe_b64encode(digest[:12]).decode()

    def public_jwk(self) -> None:
        """It has no public half: ``None``."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.algorithm}>"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled: it would lie in the open")
