"""Access tokens that an issuer has signed."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from backstay.auth.audience import read_audience
from backstay.auth.claims import read_claims
from backstay.auth.scopes import read_scopes
from backstay.auth.token import BadToken, VerifiedToken
from backstay.clock import Clock, SystemClock

if TYPE_CHECKING:
    import httpx2

__all__ = ["JWTVerifier"]

_logger = logging.getLogger("backstay.auth")


class JWTVerifier:
    """Checks JWT access tokens (RFC 9068, RFC 7519) by the keys that their issuer publishes.

    A good token is signed by one of the issuer's keys with an asymmetric algorithm that fits it,
    comes from that issuer, is meant for this service (RFC 8707), has a subject, has begun and
    has not ended. Why one is refused is logged at INFO by ``backstay.auth``, without the token.

    Args:
        issuer: the issuer, spelled as in its tokens (``iss``) and its metadata.
        audience: what tokens for this service are meant for (``aud``): one name, or several one
            of which has to be there. A URL counts with and without a slash at its end.
        required_scopes: what every token has to allow. One that does not is refused like a bad
            one; to have the client asked for more, require scopes where the token is used.
        jwks_uri: where the keys are. ``None`` finds out from the issuer's metadata (RFC 8414, or
            OpenID Connect Discovery).
        algorithms: those allowed. ``None`` means all that are asymmetric.
        leeway_s: by how many seconds the clocks of the issuer and of this machine may differ.
        key_cache_s: seconds that keys are used before they are fetched anew, and so how long a
            key that the issuer has withdrawn still counts; less if its ``Cache-Control`` says
            less, but a minute at least.
        stale_keys_s: seconds beyond that for which they go on being used while the issuer is down.
        refetch_gap_s: seconds between two requests for keys that are not known yet.
        timeout_s: seconds that fetching keys may take, all requests together.
        clock: ``None`` means the machine's.
        client: asks the issuer, and is not closed here. ``None`` makes one when it is needed.

    Raises:
        TypeError, ValueError: an argument could never work.
        MissingExtra: joserfc or httpx2 is not installed.
    """

    def __init__(
        self,
        issuer: str,
        *,
        audience: str | Collection[str],
        required_scopes: Iterable[str] = (),
        jwks_uri: str | None = None,
        algorithms: Collection[str] | None = None,
        leeway_s: float = 30.0,
        key_cache_s: float = 600.0,
        stale_keys_s: float = 3600.0,
        refetch_gap_s: float = 10.0,
        timeout_s: float = 5.0,
        clock: Clock | None = None,
        client: httpx2.AsyncClient | None = None,
    ) -> None:
        # Here, so that whoever uses tokens of another kind needs neither package.
        from backstay.auth import keys, signature

        if not isinstance(issuer, str) or not issuer:
            raise ValueError(f"the issuer is the text that tokens have in iss; got {issuer!r}")
        for name, value in (
            ("leeway_s", leeway_s),
            ("key_cache_s", key_cache_s),
            ("stale_keys_s", stale_keys_s),
            ("refetch_gap_s", refetch_gap_s),
            ("timeout_s", timeout_s),
        ):
            if not (0 <= value < math.inf) or (name == "timeout_s" and not value):
                raise ValueError(f"{name} is a number of seconds; got {value!r}")
        self.issuer = issuer
        self.audience = read_audience(audience)
        self.required_scopes = frozenset(read_scopes(required_scopes, "required_scopes"))
        self._signature = signature
        self._algorithms = signature.read_algorithms(
            signature.ALGORITHMS if algorithms is None else algorithms
        )
        self._leeway_s = leeway_s
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._keys = keys.IssuerKeys(
            issuer,
            jwks_uri=jwks_uri,
            key_cache_s=key_cache_s,
            stale_keys_s=stale_keys_s,
            refetch_gap_s=refetch_gap_s,
            timeout_s=timeout_s,
            clock=self._clock,
            client=client,
        )

    async def verify_token(self, token: str) -> VerifiedToken | None:
        """What the token says, ``None`` if it is not good.

        Args:
            token: as the client sent it.

        Raises:
            TokensUncheckable: the issuer's keys cannot be had.
        """
        try:
            return await self._verify(token)
        except BadToken as reason:
            _logger.info("a token was refused: %s", reason)
            return None

    async def close(self) -> None:
        """Stop fetching keys. The verifier can be used again."""
        await self._keys.close()

    async def _verify(self, token: str) -> VerifiedToken:
        header = self._signature.read_header(token, self._algorithms)
        keys = await self._keys.find(header.kid)
        found = read_claims(
            self._signature.verify_signature(token, header, keys),
            issuer=self.issuer,
            audience=self.audience,
            now=self._clock.now(),
            leeway_s=self._leeway_s,
        )
        missing = self.required_scopes - found.scopes
        if missing:
            raise BadToken(f"it does not allow {sorted(missing)}, which is required of all tokens")
        return found

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.issuer}>"
