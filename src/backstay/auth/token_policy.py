"""The terms on which an app gives tokens away."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from backstay.auth.audience import read_audience
from backstay.auth.keyring import Keyring
from backstay.auth.shared_secret import HASHES
from backstay.auth.token import AnyTokenVerifier
from backstay.errors import BadAuth

__all__ = ["DEFAULT_ISSUER", "TokenPolicy", "read_policy"]

DEFAULT_ISSUER = "backstay"

_MINUTE_S = 60.0
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """The terms, in seconds.

    Attributes:
        issuer: who the tokens say has made them (``iss``).
        audience: whom they say they are meant for (``aud``), as written.
        accepted_audience: names one of which a token has to be meant for.
        access_s: how long an access token counts.
        refresh_s: how long a refresh token may be exchanged.
        refresh_reuse_s: seconds after its exchange within which it may be exchanged once more.
        leeway_s: by how many seconds the clocks of two machines may differ.
        revocation_delay_s: seconds after which a revocation counts on all machines.
        store_patience_s: seconds that the store may take for an answer.
        gives_refresh_tokens: whether there are refresh tokens at all.
        keys: that sign. ``None``: a secret key does, with ``algorithm``.
        algorithm: HS256, HS384 or HS512.
        trusted: verifiers of other issuers' tokens.
    """

    issuer: str
    audience: tuple[str, ...]
    accepted_audience: frozenset[str]
    access_s: float
    refresh_s: float
    refresh_reuse_s: float
    leeway_s: float
    revocation_delay_s: float
    store_patience_s: float
    gives_refresh_tokens: bool
    keys: Keyring | None
    algorithm: str
    trusted: tuple[AnyTokenVerifier, ...]


def read_policy(declared: Any) -> TokenPolicy:
    """The terms that a class's attributes declare; see ``BaseAuthJWT`` for them.

    Raises:
        BadAuth: one of them could never work.
    """
    issuer = DEFAULT_ISSUER if declared.ISSUER is None else declared.ISSUER
    if not isinstance(issuer, str) or not issuer:
        raise BadAuth(f"ISSUER is a text, such as the URL of this service; got {issuer!r:.80}")
    audience = issuer if declared.AUDIENCE is None else declared.AUDIENCE
    try:
        accepted = read_audience(audience)
    except (TypeError, ValueError) as error:
        raise BadAuth(f"AUDIENCE: {error}") from None
    gives = declared.REFRESH_TOKENS
    if not isinstance(gives, bool):
        raise BadAuth(f"REFRESH_TOKENS is True or False; got {gives!r:.80}")
    return TokenPolicy(
        issuer=issuer,
        audience=_once(audience),
        accepted_audience=accepted,
        access_s=_read(declared, "ACCESS_TOKEN_EXPIRE_MINUTES", _MINUTE_S, least=0.0),
        refresh_s=_read(declared, "REFRESH_TOKEN_EXPIRE_DAYS", _DAY_S, least=0.0),
        refresh_reuse_s=_read(declared, "REFRESH_REUSE_SECONDS"),
        leeway_s=_read(declared, "LEEWAY_SECONDS"),
        revocation_delay_s=_read(declared, "REVOCATION_DELAY_SECONDS"),
        store_patience_s=_read(declared, "STORE_PATIENCE_SECONDS", least=0.0),
        gives_refresh_tokens=gives,
        keys=_read_keys(declared),
        algorithm=declared.ALGORITHM,
        trusted=_read_trusted(declared.TRUSTED_ISSUERS, issuer),
    )


def _read_keys(declared: Any) -> Keyring | None:
    keys = declared.KEYS
    if keys is None:
        if declared.ALGORITHM not in HASHES:
            raise BadAuth(
                f"ALGORITHM={declared.ALGORITHM!r:.40}: with a secret key it is one of "
                f"{', '.join(HASHES)}; for other algorithms set KEYS to a Keyring of private keys"
            )
        return None
    if not isinstance(keys, Keyring):
        raise BadAuth(
            f"KEYS is a Keyring, got a {type(keys).__qualname__}: "
            "KEYS = Keyring(SigningKey.from_pem(...))"
        )
    return keys


def _read_trusted(trusted: Any, own_issuer: str) -> tuple[AnyTokenVerifier, ...]:
    found: tuple[Any, ...] = tuple(trusted)
    for each in found:
        if not callable(getattr(each, "verify_token", None)):
            raise BadAuth(
                f"TRUSTED_ISSUERS has an object of type {type(each).__qualname__}, which verifies "
                "no tokens; use JWTVerifier(issuer, audience=...)"
            )
        if getattr(each, "issuer", None) == own_issuer:
            raise BadAuth(
                f"TRUSTED_ISSUERS has {own_issuer!r}, which is this service's own ISSUER: nobody "
                "could tell whose tokens are whose"
            )
    return found


def _once(audience: str | Collection[str]) -> tuple[str, ...]:
    return (audience,) if isinstance(audience, str) else tuple(dict.fromkeys(audience))


def _read(declared: Any, name: str, unit_s: float = 1.0, least: float | None = None) -> float:
    """A class's attribute in seconds: not negative, or with ``least`` more than that."""
    value = getattr(declared, name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 36_525 * _DAY_S or (least is not None and value <= least):
        wanted = "0 or more" if least is None else f"more than {least:g}"
        raise BadAuth(f"{name} is a number, {wanted}; got {value!r:.80}")
    return float(value * unit_s)
