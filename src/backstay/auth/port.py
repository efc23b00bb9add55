"""What guarding has to remember, and the port of whoever remembers it.

No token and no key is ever stored, only what tells whether one is right: digests of secrets that
are too long to be guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol

__all__ = ["ApiKeyRecord", "AuthStore", "RefreshRecord", "Revocation", "Rotation", "Turn"]


@dataclass(frozen=True, slots=True)
class RefreshRecord:
    """One refresh token (RFC 6749 §1.5).

    Attributes:
        digest: SHA-256 of the token, 32 bytes.
        session: of all tokens that came from one login; the ``sid`` of their access tokens.
        subject: whose it is.
        scopes: what its access tokens may allow, sorted.
        issued_at: aware UTC.
        expires_at: aware UTC.
        begun_at: when its session began, aware UTC.
        used_at: when it was exchanged for the next one, ``None`` if it was not.
    """

    digest: bytes
    session: str
    subject: str
    scopes: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime
    begun_at: datetime
    used_at: datetime | None = None


class Turn(StrEnum):
    """What came of exchanging a refresh token."""

    DONE = "done"
    UNKNOWN = "unknown"
    """There is no such token."""
    EXPIRED = "expired"
    REUSED = "reused"
    """It was exchanged before: somebody has a copy (RFC 9700 §4.14.2)."""
    REVOKED = "revoked"
    """Its session was ended."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """What came of exchanging a refresh token, and the token's record as it was before.

    Attributes:
        turn: what came of it.
        record: of the token that was given, ``None`` if there is none.
    """

    turn: Turn
    record: RefreshRecord | None


@dataclass(frozen=True, slots=True)
class Revocation:
    """Access tokens that do not count any more though they have not ended.

    Attributes:
        kind: ``"token"`` (its ``jti``), ``"session"`` (its ``sid``) or ``"subject"`` (its ``sub``).
        value: that ``jti``, ``sid`` or ``sub``.
        at: tokens issued up to then do not count, aware UTC; later ones of a subject do.
        expires_at: when the last of these tokens has ended anyway, aware UTC.
    """

    kind: str
    value: str
    at: datetime
    expires_at: datetime

    def joined(self, other: Revocation) -> Revocation:
        """Both in one, whichever came first. They are of the same kind and value."""
        return replace(
            self,
            at=max(self.at, other.at),
            expires_at=max(self.expires_at, other.expires_at),
        )


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """One API key.

    Attributes:
        id: its public part, by which it is found and shown.
        digest: SHA-256 of the whole key, 32 bytes.
        name: what people call it.
        owner: the subject it stands for.
        scopes: what it allows, sorted.
        created_at: aware UTC.
        expires_at: aware UTC, ``None`` if it does not end.
        revoked_at: aware UTC, ``None`` if it counts.
        last_used_at: aware UTC, to the minute; ``None`` if it never was.
    """

    id: str
    digest: bytes
    name: str
    owner: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


class AuthStore(Protocol):
    """Remembers sessions, revocations and API keys. Times are given, never asked for.

    Any method raises ``TokensUncheckable`` if the store is out of reach.
    """

    async def open(self) -> None:
        """Make ready: tables and the like. Harmless if that was done before."""

    async def close(self) -> None:
        """Let go of what ``open`` took."""

    async def add_refresh(self, record: RefreshRecord) -> None:
        """A login: remember its first refresh token."""

    async def rotate_refresh(
        self, digest: bytes, successor: RefreshRecord, *, now: datetime, reuse_s: float = 0.0
    ) -> Rotation:
        """Exchange one refresh token for the next, atomically: of two that try, one succeeds.

        Args:
            digest: of the token that was given.
            successor: the next token; its ``session``, ``subject``, ``scopes`` and ``begun_at`` are
                taken from the old one's record.
            now: aware UTC.
            reuse_s: seconds after its exchange within which a token may be exchanged once more,
                for clients that lost the answer. 0: never.
        """

    async def find_refresh(self, digest: bytes) -> RefreshRecord | None:
        """The record of a refresh token, ``None`` if there is none or its session was ended."""

    async def end_session(self, session: str, *, now: datetime) -> bool:
        """None of the session's refresh tokens counts any more. Returns whether one did."""

    async def end_sessions(self, subject: str, *, now: datetime) -> list[str]:
        """The same for all sessions of a subject. Returns those that were ended."""

    async def sessions(self, subject: str, *, now: datetime) -> Sequence[RefreshRecord]:
        """The latest refresh token of each session that has not ended, newest session first."""

    async def revoke(self, *revocations: Revocation, now: datetime) -> None:
        """Remember them, and that this was done at ``now``.

        Of those of the same kind and value the later ``at`` and ``expires_at`` count, in whatever
        order they come, and the later ``now``.
        """

    async def revocations(
        self, *, now: datetime, since: datetime | None = None
    ) -> Sequence[Revocation]:
        """Those that have not expired.

        Args:
            now: aware UTC.
            since: only those that ``revoke`` was called for at that time or later, by the clocks of
                its callers. ``None``: all.
        """

    async def add_api_key(self, record: ApiKeyRecord) -> None:
        """Remember a new key."""

    async def find_api_key(self, key_id: str) -> ApiKeyRecord | None:
        """The record of a key, ``None`` if there is none."""

    async def api_keys(self, owner: str | None = None) -> Sequence[ApiKeyRecord]:
        """All keys, newest first. ``owner``: only this subject's."""

    async def revoke_api_key(self, key_id: str, *, now: datetime) -> bool:
        """The key does not count any more. Returns whether it did."""

    async def touch_api_key(self, key_id: str, *, now: datetime) -> None:
        """The key was used."""

    async def prune(self, *, now: datetime) -> int:
        """Forget what has ended and is of no use any more. Returns how many records that were."""
