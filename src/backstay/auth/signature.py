"""Who signed a token: the seam to joserfc.

Of a token's header only ``alg``, ``kid`` and ``typ`` count. Keys that it brings along or points
to (``jwk``, ``jku``, ``x5c``, ``x5u``) are not looked at: anybody can sign with a key of his own.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from backstay.auth.token import BadToken
from backstay.errors import MissingExtra

try:
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, OKPKey, RSAKey
    from joserfc.jws import JWSRegistry, deserialize_compact
except ImportError as missing:
    raise MissingExtra("auth", missing.name or "joserfc") from missing

__all__ = [
    "ALGORITHMS",
    "Header",
    "PublicKey",
    "read_algorithms",
    "read_header",
    "read_keys",
    "verify_signature",
]

_MAX_TOKEN = 16 * 1024
_MAX_KID = 256
_MAX_CANDIDATES = 4
_RSA_BITS = range(2048, 8193)  # RFC 7518 §3.3; very long ones take long

# Three parts, none empty: unsigned tokens, encrypted ones and all other text are out at once.
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)

# Each algorithm with the one kind of key it goes with: kty, or the curve where there are several.
_KINDS: dict[str, frozenset[str]] = {
    "RS256": frozenset({"RSA"}),
    "RS384": frozenset({"RSA"}),
    "RS512": frozenset({"RSA"}),
    "PS256": frozenset({"RSA"}),
    "PS384": frozenset({"RSA"}),
    "PS512": frozenset({"RSA"}),
    "ES256": frozenset({"P-256"}),
    "ES384": frozenset({"P-384"}),
    "ES512": frozenset({"P-521"}),
    "EdDSA": frozenset({"Ed25519", "Ed448"}),  # RFC 8037
    "Ed25519": frozenset({"Ed25519"}),  # RFC 9864
    "Ed448": frozenset({"Ed448"}),
}

_PARAMETERS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}

ALGORITHMS: tuple[str, ...] = tuple(_KINDS)
"""All that are asymmetric: with a shared secret (HS256), each service could sign for the issuer."""

# What RFC 9068 §2.1 and RFC 7519 §5.1 call it; a media type, so in any case.
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})


@dataclass(frozen=True, slots=True)
class Header:
    """What a token says about its own signature, unverified.

    Attributes:
        algorithm: one of those allowed.
        kid: the id of the key, ``None`` if it names none.
    """

    algorithm: str
    kid: str | None


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One key of an issuer's.

    Attributes:
        kid: its id, ``None`` if it has none.
        algorithms: those it may verify.
        key: joserfc's.
    """

    kid: str | None
    algorithms: frozenset[str]
    key: RSAKey | ECKey | OKPKey


class _Registry(JWSRegistry):
    """joserfc's own limits are for small headers, and it warns of EdDSA, whose name is out of date.

    Which algorithm is allowed has been decided before it is asked.
    """

    max_header_length = _MAX_TOKEN
    max_payload_length = _MAX_TOKEN

    def get_alg(self, name: str) -> Any:
        return self.algorithms[name]


_registry = _Registry(strict_check_header=False)


def read_algorithms(algorithms: Collection[str]) -> frozenset[str]:
    """Algorithms that somebody allows.

    Raises:
        TypeError: it is one string.
        ValueError: it is empty, or names one that is unknown or works with a shared secret.
    """
    if isinstance(algorithms, str):
        raise TypeError(f"algorithms is a list of strings; got {algorithms!r}")
    strangers = [each for each in algorithms if each not in _KINDS]
    if strangers or not algorithms:
        raise ValueError(
            f"algorithms are some of {', '.join(ALGORITHMS)}; got {strangers or 'none'!r}"
            + (
                ": with a shared secret, whoever can check a token can also make one"
                if any(str(each).startswith("HS") for each in strangers)
                else ""
            )
        )
    return frozenset(algorithms)


def read_header(token: str, algorithms: Collection[str]) -> Header:
    """The header of a token.

    Args:
        token: anything.
        algorithms: those allowed.

    Raises:
        BadToken: it is no JWS in compact form (RFC 7515 §7.1), or its header will not do.
    """
    if not isinstance(token, str) or len(token) > _MAX_TOKEN:
        raise BadToken(f"it is no text, or longer than {_MAX_TOKEN} characters")
    parts = _COMPACT.fullmatch(token)
    if parts is None:
        raise BadToken("it does not consist of three parts in base64url")
    members = _decode(parts[1])
    algorithm, kid, kind = members.get("alg"), members.get("kid"), members.get("typ")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise BadToken(f"its algorithm {algorithm!r:.40} is not allowed")
    # RFC 7515 §4.1.11: who does not understand all that is critical must refuse. RFC 7797 §7:
    # b64 is not for JWTs.
    if "crit" in members or "b64" in members:
        raise BadToken("its header has extensions (crit, b64), and none is understood here")
    if kind is not None and not (isinstance(kind, str) and kind.lower() in _TYPES):
        raise BadToken(f"its type {kind!r:.40} is not that of an access token")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= _MAX_KID):
        raise BadToken(f"its kid is not a text of 1 to {_MAX_KID} characters")
    return Header(algorithm, kid)


def read_keys(document: dict[str, Any]) -> list[PublicKey] | None:
    """The keys of a JWK Set (RFC 7517 §5) that can verify signatures; ``None`` if it is none.

    Those for something else, unknown, secret, too short or damaged are passed over, as §5 says.
    """
    members = document.get("keys")
    if not isinstance(members, list):
        return None
    return [key for each in members if isinstance(each, dict) and (key := _read_key(each))]


def verify_signature(token: str, header: Header, keys: Sequence[PublicKey]) -> bytes:
    """The payload of a token that one of these keys has signed.

    Args:
        token: the token.
        header: what ``read_header`` found in it.
        keys: those with its kid, or all the issuer's if it names none.

    Raises:
        BadToken: none of them has.
    """
    fitting = [key for key in keys if header.algorithm in key.algorithms]
    if not fitting:
        raise BadToken(f"the issuer has no such key for {header.algorithm} (kid {header.kid!r})")
    if header.kid is None and len(fitting) > 1:
        # OpenID Connect Core §10.1: with several keys, a token has to say which.
        raise BadToken(f"it does not say which of the issuer's {len(fitting)} keys has signed it")
    for candidate in fitting[:_MAX_CANDIDATES]:
        try:
            found = deserialize_compact(token, candidate.key, registry=_registry)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        return bytes(found.payload)
    raise BadToken("its signature is wrong")


def _decode(part: str) -> dict[str, Any]:
    try:
        decoded = base64.b64decode(part + "=" * (-len(part) % 4), b"-_", validate=True)
        members = json.loads(decoded.decode())  # UTF-8 and nothing else (RFC 7515 §4)
    except (binascii.Error, ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise BadToken("its header is no JSON object")
    return members


def _read_key(members: dict[str, Any]) -> PublicKey | None:
    kind, kid, named = members.get("kty"), members.get("kid"), members.get("alg")
    use, operations = members.get("use", "sig"), members.get("key_ops", ["verify"])
    names = _PARAMETERS.get(kind) if isinstance(kind, str) else None
    if (
        names is None
        or use != "sig"
        or not (isinstance(operations, list) and "verify" in operations)
    ):
        return None
    # Only what makes the public key: what else is there is nobody's business here.
    wanted = {name: members.get(name) for name in names}
    if not all(isinstance(each, str) for each in wanted.values()):
        return None
    subkind = wanted.get("crv", "RSA")
    fitting = frozenset(
        name
        for name, kinds in _KINDS.items()
        if subkind in kinds and (named in (None, name) or _same_algorithm(named, name))
    )
    if not fitting or (kind == "RSA" and _bits(wanted["n"]) not in _RSA_BITS):
        return None
    key_class: Any = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}[str(kind)]
    try:
        key = key_class.import_key({"kty": kind, **wanted})
        key.get_op_key("verify")
    except Exception:
        # Whatever is wrong with one key, the others may be good.
        return None
    return PublicKey(kid if isinstance(kid, str) else None, fitting, key)


def _same_algorithm(one: object, other: str) -> bool:
    # RFC 9864 gave EdDSA's two curves names of their own; a token may say one, its key the other.
    return (one == "EdDSA" and other in _KINDS["EdDSA"]) or (
        other == "EdDSA" and one in ("Ed25519", "Ed448")
    )


def _bits(number: Any) -> int:
    try:
        decoded = base64.b64decode(number + "=" * (-len(number) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        return 0
    return int.from_bytes(decoded, "big").bit_length()
