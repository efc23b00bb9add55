"""Whether a token or key that somebody shows is good, whoever made it."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from backstay.auth.api_keys import ApiKeys
from backstay.auth.local_verifier import LocalVerifier
from backstay.auth.revocation import Revocations
from backstay.auth.token import AnyTokenVerifier, BadToken, VerifiedToken, ask_verifier
from backstay.clock import Clock

__all__ = ["Identity", "Kind", "TokenGuard"]

_logger = logging.getLogger("backstay.auth")

_MAX_FOREIGN = 16 * 1024


class Kind(StrEnum):
    """Who made what was shown."""

    SESSION = "session"
    """This service, at a login."""
    API_KEY = "api_key"
    """This service, for a program."""
    TRUSTED = "trusted"
    """Another issuer, which is trusted."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sends a request.

    Attributes:
        kind: who said so.
        token: what was said.
    """

    kind: Kind
    token: VerifiedToken


class TokenGuard:
    """Checks tokens of this service, its API keys, and tokens of issuers it trusts.

    Nothing is remembered from one request to the next: what has ended or was revoked does not
    count. Why something is refused is logged at INFO by ``backstay.auth``, without it.

    Args:
        local: checks tokens of this service.
        revocations: those that do not count any more.
        api_keys: checks keys.
        api_key_start: what tells a key from a token.
        trusted: verifiers of other issuers' tokens; one with an ``issuer`` is only asked about
            tokens that say they are his.
        clock: what time it is.
    """

    def __init__(
        self,
        local: LocalVerifier,
        *,
        revocations: Revocations,
        api_keys: ApiKeys,
        api_key_start: str,
        trusted: Sequence[AnyTokenVerifier],
        clock: Clock,
    ) -> None:
        self._local = local
        self._revocations = revocations
        self._api_keys = api_keys
        self._key_start = api_key_start
        self._trusted = trusted
        self._clock = clock

    async def identify(self, shown: str, *, api_key_only: bool = False) -> Identity | None:
        """Who that is, ``None`` if it is not good.

        Args:
            shown: a token or key, as the client sent it: anything at all.
            api_key_only: it came where keys are shown, and tokens are not.

        Raises:
            TokensUncheckable: nobody can say at the moment.
        """
        kind = Kind.SESSION
        if api_key_only or shown.startswith(self._key_start):
            kind, found = Kind.API_KEY, await self._api_keys.verify(shown)
        elif self._trusted and not self._local.claims_it(shown):
            kind, found = Kind.TRUSTED, await self._ask_trusted(shown)
        else:
            found = await self.verify_own(shown)
        return None if found is None else Identity(kind, found)

    async def verify_own(self, token: str) -> VerifiedToken | None:
        """What a token of this service says, ``None`` if it is not good or was revoked.

        Raises:
            TokensUncheckable: nobody can say whether it was revoked.
        """
        try:
            found = self._local.verify(token)
        except BadToken as reason:
            _logger.info("a token was refused: %s", reason)
            return None
        claims = found.claims
        if await self._revocations.revoked(
            session=claims["sid"],
            subject=found.subject,
            issued_at=claims["iat_us"] / 1_000_000,
            token=claims["jti"],
        ):
            _logger.info("a token was refused: it was revoked")
            return None
        return found

    async def _ask_trusted(self, token: str) -> VerifiedToken | None:
        issuer = _says_issuer(token)
        for verifier in self._trusted:
            if getattr(verifier, "issuer", issuer) != issuer:
                continue
            found = await ask_verifier(verifier, token, now=self._clock.now())
            if found is not None:
                return found
        return None


def _says_issuer(token: str) -> str | None:
    """Who made it, as it says itself: only good for choosing whom to ask."""
    payload = token[:_MAX_FOREIGN].split(".")[1:2]
    try:
        part = payload[0]
        issuer = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["iss"]
    except (LookupError, TypeError, ValueError, RecursionError):
        return None
    return issuer if isinstance(issuer, str) else None
