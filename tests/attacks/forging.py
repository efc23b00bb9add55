"""Tokens as an attacker makes them: from genuine ones, with keys of his own, or out of thin air."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.jws import JWSRegistry

from tests.auth.issuer import Key

__all__ = ["Genuine", "Part", "decode", "encode", "hmac_signed", "joined", "key_signed"]

Part = str | bytes | Mapping[str, Any]
"""Of a token: a text as it stands there, bytes to be encoded, or members of a JSON object."""

_HASHES = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}


@dataclass(frozen=True)
class Genuine:
    """A good token, and what everybody can read in it.

    Attributes:
        token: it.
        header, payload, signature: its parts, as they are written.
        members: of the header.
        claims: of the payload.
    """

    token: str
    header: str
    payload: str
    signature: str
    members: dict[str, Any]
    claims: dict[str, Any]

    @classmethod
    def of(cls, token: str) -> Genuine:
        header, payload, signature = token.split(".")
        return cls(
            token,
            header,
            payload,
            signature,
            json.loads(decode(header)),
            json.loads(decode(payload)),
        )

    def saying(self, **changes: Any) -> dict[str, Any]:
        """Its claims with changes; ``...`` leaves one out."""
        return {name: each for name, each in (self.claims | changes).items() if each is not ...}

    def headed(self, **changes: Any) -> dict[str, Any]:
        """Its header's members with changes; ``...`` leaves one out."""
        return {name: each for name, each in (self.members | changes).items() if each is not ...}


def decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def encode(part: bytes | Mapping[str, Any]) -> str:
    """As the service itself writes it, so that nothing differs but what is meant to."""
    data = part if isinstance(part, bytes) else json.dumps(part, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def joined(*parts: Part) -> str:
    """A token of these parts."""
    return ".".join(each if isinstance(each, str) else encode(each) for each in parts)


def hmac_signed(header: Part, payload: Part, secret: str | bytes, algorithm: str = "HS256") -> str:
    """A token that is signed with a secret, whatever its header says."""
    key = secret.encode() if isinstance(secret, str) else secret
    message = joined(header, payload)
    return f"{message}.{encode(hmac.digest(key, message.encode(), _HASHES[algorithm]))}"


def key_signed(header: Part, payload: Part, key: Key, algorithm: str) -> str:
    """A token that is signed with a private key, whatever its header says."""
    message = joined(header, payload)
    return f"{message}.{encode(JWSRegistry.algorithms[algorithm].sign(message.encode(), key))}"
