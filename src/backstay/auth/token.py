"""A token that was found good, and whoever finds that out."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Protocol

from backstay.auth.audience import read_audience
from backstay.errors import AuthError, BackstayError, TokensUncheckable

__all__ = [
    "AnyTokenVerifier",
    "BadToken",
    "TokenVerifier",
    "VerifiedToken",
    "as_verified",
    "ask_verifier",
    "read_time",
]

_logger = logging.getLogger("backstay.auth")


class BadToken(AuthError):
    """A token is not good, and why. For logs: who sent it is only told that it is not."""

    status = 401
    title = "Unauthorized"
    public_detail = "The access token is not valid."


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What a good token says. The token itself is not in it, so that it gets into no log.

    Attributes:
        subject: whom it stands for, unique for this issuer (RFC 7519 §4.1.2).
        issuer: who made it (RFC 7519 §4.1.1). ``None`` if the verifier does not say.
        scopes: what it allows (RFC 6749 §3.3).
        client_id: the client it was given to (RFC 8693 §4.3). ``None`` if it does not say.
        expires_at: when it ends, aware UTC. ``None`` if it does not, or nobody knows.
        audience: whom it is meant for (RFC 7519 §4.1.3, RFC 8707). Empty if nobody knows.
        claims: everything it says. Read only; not shown by ``repr``, for it is about people.
    """

    subject: str
    issuer: str | None = None
    scopes: frozenset[str] = frozenset()
    client_id: str | None = None
    expires_at: datetime | None = None
    audience: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)

    def expired(self, now: datetime) -> bool:
        """Whether it has ended at ``now`` (aware)."""
        return self.expires_at is not None and self.expires_at <= now


class TokenVerifier(Protocol):
    """Says whether a token is good."""

    async def verify_token(self, token: str) -> VerifiedToken | None:
        """What the token says, ``None`` if it is not a good one.

        Args:
            token: as the client sent it: anything at all.

        Raises:
            TokensUncheckable: nobody can say at the moment.
        """


class AnyTokenVerifier(Protocol):
    """A ``TokenVerifier``, or one written for the MCP SDK, which answers with its AccessToken."""

    async def verify_token(self, token: str) -> object:
        """What the token says, in a form that ``as_verified`` reads; ``None`` if it is no good."""


def as_verified(answer: object) -> VerifiedToken | None:
    """A verifier's answer in one form.

    The subject of an ``AccessToken`` is its ``subject``, else the claim ``sub``. If it has
    neither, a digest of the token stands for whoever holds it: a client acts for many people,
    so its id would let them share what belongs to each.

    Args:
        answer: a ``VerifiedToken``, an object with the attributes of the MCP SDK's ``AccessToken``
            (``token, client_id, scopes, expires_at, resource, subject, claims``; the last four
            may be missing), or ``None``.

    Raises:
        TypeError: it is something else.
    """
    if answer is None or isinstance(answer, VerifiedToken):
        return answer
    token = getattr(answer, "token", None)
    client_id = getattr(answer, "client_id", None)
    scopes = getattr(answer, "scopes", None)
    claims = getattr(answer, "claims", None) or {}
    if not (
        isinstance(token, str)
        and isinstance(client_id, str | None)
        and isinstance(scopes, Iterable | None)
        and not isinstance(scopes, str | bytes)
        and isinstance(claims, Mapping)
    ):
        # The object itself would put the token into the message.
        raise TypeError(
            f"a token verifier answered with a {type(answer).__qualname__}, which is neither a "
            "VerifiedToken nor like the MCP SDK's AccessToken (token and client_id strings, scopes "
            "a list of strings); return one of these, or None for a token that is not good"
        )
    subject = getattr(answer, "subject", None) or claims.get("sub")
    issuer = claims.get("iss")
    meant_for = getattr(answer, "resource", None) or claims.get("aud") or ()
    return VerifiedToken(
        subject=str(subject) if subject else _digest(token),
        issuer=str(issuer) if issuer else None,
        scopes=frozenset(scopes or ()),
        client_id=client_id or None,
        expires_at=read_time(getattr(answer, "expires_at", None)),
        audience=frozenset([meant_for] if isinstance(meant_for, str) else map(str, meant_for)),
        claims=MappingProxyType(dict(claims)),
    )


async def ask_verifier(
    verifier: AnyTokenVerifier,
    token: str,
    *,
    now: datetime,
    audience: str | Collection[str] | None = None,
) -> VerifiedToken | None:
    """Ask any verifier about a token.

    Args:
        verifier: one of backstay's, or one written for the MCP SDK.
        token: as the client sent it.
        now: aware. An ``AccessToken`` that has ended by then is not good; a ``VerifiedToken`` is
            taken as it is, for whoever made it has looked, and may allow for wrong clocks.
        audience: our own names. A token that is meant for others is not good, whatever the
            verifier says; one of which it does not say whom it is for is left to the verifier.
            ``None`` leaves all to it.

    Returns:
        What it says, ``None`` if it is not good.

    Raises:
        TokensUncheckable: nobody can say, or the verifier failed; ``__cause__`` tells how.
    """
    try:
        answer = await verifier.verify_token(token)
        found = as_verified(answer)
    except BackstayError:
        raise
    except Exception as error:
        raise TokensUncheckable(
            f"the token verifier {type(verifier).__qualname__} failed with "
            f"{type(error).__qualname__}; it has to return None for tokens that are not good"
        ) from error
    if found is None or (found is not answer and found.expired(now)):
        return None
    if (
        audience is not None
        and found.audience
        and found.audience.isdisjoint(read_audience(audience))
    ):
        _logger.info(
            "a token was refused: it is meant for %.200r, not for %.200r",
            sorted(found.audience),
            audience,
        )
        return None
    return found


def read_time(value: object) -> datetime | None:
    """A NumericDate (RFC 7519 §2): seconds since 1970, aware UTC. ``None`` stays ``None``.

    Raises:
        ValueError: it is no number, or no calendar has that time.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(  # noqa: TRY004  # what every reader of times has to catch
            f"a time is a number of seconds since 1970; got {value!r:.40}"
        )
    try:
        # NaN and infinity end here as well, and whole numbers that no float can hold.
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError, ValueError):
        raise ValueError(f"no calendar has the time {value!r:.40}") from None


def _digest(token: str) -> str:
    return f"token-{hashlib.sha256(token.encode(errors='surrogatepass')).hexdigest()[:32]}"
