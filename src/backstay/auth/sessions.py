"""Logins, what comes of them, and how they end."""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NoReturn

from backstay.auth.audit import Audit
from backstay.auth.hooks import Hooks
from backstay.auth.login_check import LoginCheck
from backstay.auth.port import AuthStore, RefreshRecord, Revocation, Turn
from backstay.auth.revocation import Revocations
from backstay.auth.token import VerifiedToken
from backstay.auth.token_issuer import TokenBody, TokenIssuer
from backstay.auth.token_policy import TokenPolicy
from backstay.clock import Clock
from backstay.errors import GrantRefused, TokensUncheckable

__all__ = ["Grant", "Sessions"]

_logger = logging.getLogger("backstay.auth")

_REFRESH_TOKEN = re.compile(r"bsr_[A-Za-z0-9_-]{43}", re.ASCII)
_MARGIN = timedelta(minutes=1)
"""A revocation is remembered for so much longer than the tokens that it is about."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a client gets. Nothing shows the tokens by accident.

    Attributes:
        access_token: shown with every request.
        refresh_token: exchanged for the next grant; ``None`` if there are none.
        expires_in_s: seconds that the access token counts.
        scopes: what it allows.
        session: the login that it comes from.
    """

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in_s: int
    scopes: frozenset[str]
    session: str


class Sessions:
    """Gives tokens to those who may have them, and takes them back.

    Args:
        store: remembers refresh tokens.
        login_check: whether a name and its password are good.
        hooks: what the app says about its users.
        issuer: writes access tokens.
        revocations: access tokens that do not count any more.
        policy: the terms.
        clock: what time it is.
        audit: hears of everything.
    """

    def __init__(
        self,
        store: AuthStore,
        *,
        login_check: LoginCheck,
        hooks: Hooks,
        issuer: TokenIssuer,
        revocations: Revocations,
        policy: TokenPolicy,
        clock: Clock,
        audit: Audit,
    ) -> None:
        self._store = store
        self._login_check = login_check
        self._hooks = hooks
        self._issuer = issuer
        self._revocations = revocations
        self._policy = policy
        self._clock = clock
        self._audit = audit

    async def login(
        self,
        username: str,
        password: str,
        *,
        scopes: Collection[str] = (),
        address: str | None = None,
    ) -> Grant:
        """Tokens for a name and its password.

        Args:
            username: becomes the subject of the tokens.
            password: shown to ``check_auth`` and to nobody else.
            scopes: those asked for, of which the user gets what he may have. Empty: all of them.
            address: the client's, for the log and for slowing down those who guess.

        Raises:
            GrantRefused: 401, the password is not that user's.
            RateLimited: too many wrong ones were tried.
            TokensUncheckable: the store is out of reach.
            BadAuth: a hook answers what it must not.
        """
        # Taken before anything else is asked: who logs out everywhere from now on ends this, too.
        begun_at = self._beginning(username)
        if not await self._login_check.passes(username, password, address):
            self._audit.record("login_refused", subject=username, client=address)
            raise GrantRefused(
                "invalid_grant", "Incorrect username or password.", status=401, challenge="Bearer"
            )
        grant = await self._begin(username, scopes, begun_at)
        self._audit.record("login", subject=username, client=address, session=grant.session)
        return grant

    async def begin(self, subject: str, *, scopes: Collection[str] = ()) -> Grant:
        """Tokens for a user whom the app knows otherwise: by another service's login, in a test.

        Args:
            subject: whose they are.
            scopes: those asked for. Empty: all that the user may have.

        Raises:
            TokensUncheckable: the store is out of reach.
            BadAuth: ``add_jwt_body`` answers what it must not.
        """
        grant = await self._begin(subject, scopes, self._beginning(subject))
        self._audit.record("login", subject=subject, session=grant.session, detail="by the app")
        return grant

    async def refresh(
        self, refresh_token: str, *, scopes: Collection[str] = (), address: str | None = None
    ) -> Grant:
        """The next tokens of a session (RFC 6749 §6), once for each refresh token.

        Args:
            refresh_token: the latest of the session. An older one is a copy that somebody made, so
                it ends the session, for whoever has the others (RFC 9700 §4.14.2).
            scopes: fewer than the session has. Empty: all of them.
            address: the client's, for the log.

        Raises:
            GrantRefused: 400, it does not count.
            TokensUncheckable: the store is out of reach.
            BadAuth: a hook answers what it must not.
        """
        # Before the exchange: who logs out everywhere meanwhile ends the new access token, too.
        begun_at = self._clock.now()
        digest = self._digest(refresh_token)
        record = None if digest is None else await self._store.find_refresh(digest)
        if digest is None or record is None:
            self._refuse(None, address, "unknown")
        # Asked before the exchange: if one of them fails, the client still has a token that counts.
        if await self._ended(record) or not await self._hooks.check_refresh(record.subject):
            await self.end(record.session, subject=record.subject, detail="not allowed any more")
            self._refuse(record, address, "not allowed any more")
        body = await self._hooks.add_jwt_body(record.subject)
        token, successor = self._new_refresh(record)
        try:
            done = await self._store.rotate_refresh(
                digest, successor, now=successor.issued_at, reuse_s=self._policy.refresh_reuse_s
            )
        except TokensUncheckable as error:
            # The store does all of it or nothing. Whether it did, nobody can say.
            _logger.warning(
                "a refresh token of session %s was not exchanged, as far as is known: %s. Should it "
                "have been after all, its next use counts as that of a copy and ends the session "
                "(unless REFRESH_REUSE_SECONDS allows it)",
                record.session,
                error,
            )
            raise
        if done.turn is Turn.REUSED:
            await self.end(record.session, subject=record.subject, detail="reused refresh token")
            self._audit.record(
                "refresh_reused", subject=record.subject, client=address, session=record.session
            )
        if done.turn is not Turn.DONE:
            self._refuse(record, address, done.turn.value)
        grant = self._grant(
            record,
            # What the user may have now, of what the session was given, of what is asked for.
            _fewer(frozenset(record.scopes) & frozenset(body.scopes), scopes),
            body,
            issued_at=max(begun_at, record.begun_at),
            refresh_token=token,
        )
        self._audit.record(
            "token_refreshed", subject=record.subject, client=address, session=record.session
        )
        return grant

    async def end(self, session: str, *, subject: str, detail: str = "") -> None:
        """End one session: none of its tokens counts any more.

        Raises:
            TokensUncheckable: the store is out of reach.
        """
        now = self._clock.now()
        # First here, then there: should the store fail, this process at least knows.
        with self._ended_at_last("session", session):
            await self._revocations.revoke(self._revocation("session", session, now))
            await self._store.end_session(session, now=now)
        self._audit.record("session_ended", subject=subject, session=session, detail=detail)

    async def end_all(self, subject: str, *, detail: str = "") -> int:
        """End all sessions of a subject: of what was given until now, nothing counts any more.

        Returns:
            How many there were.

        Raises:
            TokensUncheckable: the store is out of reach.
        """
        # Before it: who is logging in just now looks for this once his session can be found. After
        # it: an exchange that came first is writing an access token with the time it began. The
        # sessions' own are for access tokens of a machine whose clock is ahead of this one's.
        with self._ended_at_last("subject", subject):
            await self._revocations.revoke(self._revocation("subject", subject, self._clock.now()))
            ended = await self._store.end_sessions(subject, now=self._clock.now())
            now = self._clock.now()
            await self._revocations.revoke(
                self._revocation("subject", subject, now),
                *(self._revocation("session", each, now) for each in ended),
            )
        self._audit.record("sessions_ended", subject=subject, detail=detail or f"{len(ended)}")
        return len(ended)

    async def revoke(self, access: VerifiedToken) -> None:
        """One access token does not count any more; its session goes on.

        Args:
            access: one of ours. Nothing is remembered of one that does not count as it is.

        Raises:
            TokensUncheckable: the store is out of reach.
        """
        now = self._clock.now()
        session, token = str(access.claims["sid"]), str(access.claims["jti"])
        if await self._revocations.revoked(
            session=session,
            subject=access.subject,
            issued_at=access.claims["iat_us"] / 1_000_000,
            token=token,
        ):
            # It does not count as it is. One that was ended has nothing left to fill the store with.
            return
        await self._revocations.revoke(
            Revocation("token", token, now, (access.expires_at or now) + self._leeway + _MARGIN)
        )
        self._audit.record("token_revoked", subject=access.subject, session=session)

    async def revoke_refresh(self, refresh_token: str) -> bool:
        """End the session of a refresh token (RFC 7009 §2.1).

        Returns:
            Whether it was one of ours.

        Raises:
            TokensUncheckable: the store is out of reach.
        """
        digest = self._digest(refresh_token)
        record = None if digest is None else await self._store.find_refresh(digest)
        if record is None:
            return False
        await self.end(record.session, subject=record.subject, detail="revoked by the client")
        return True

    # ------------------------------------------------------------------ what these have in common

    async def _begin(self, subject: str, scopes: Collection[str], begun_at: datetime) -> Grant:
        body = await self._hooks.add_jwt_body(subject)
        granted = _fewer(frozenset(body.scopes), scopes)
        first = RefreshRecord(
            digest=b"",
            session=secrets.token_urlsafe(16),
            subject=subject,
            scopes=tuple(sorted(granted)),
            issued_at=begun_at,
            expires_at=begun_at,
            begun_at=begun_at,
        )
        token = None
        if self._policy.gives_refresh_tokens:
            token, first = self._new_refresh(first)
        grant = self._grant(first, granted, body, issued_at=begun_at, refresh_token=token)
        if token is not None:
            await self._store.add_refresh(first)
            # Somebody may have logged out everywhere since, and not have found this session yet.
            await self._revocations.read()
            if await self._ended(first):
                await self.end(first.session, subject=subject, detail="begun too late")
                self._refuse(first, None, "begun too late")
        return grant

    def _beginning(self, subject: str) -> datetime:
        """The time at which a session begins, later than that up to which nothing counts.

        The two may be of different machines, or the same moment.
        """
        now = self._clock.now()
        up_to = self._revocations.revoked_up_to(subject)
        if up_to is None or not now <= up_to <= now + self._leeway:
            return now
        return up_to + timedelta(microseconds=1)

    async def _ended(self, record: RefreshRecord) -> bool:
        return await self._revocations.revoked(
            session=record.session,
            subject=record.subject,
            issued_at=record.begun_at.timestamp(),
        )

    def _new_refresh(self, before: RefreshRecord) -> tuple[str, RefreshRecord]:
        """The refresh token that comes after one, and its record."""
        token = f"bsr_{secrets.token_urlsafe(32)}"
        now = self._clock.now()
        record = replace(
            before,
            digest=hashlib.sha256(token.encode()).digest(),
            issued_at=now,
            expires_at=now + timedelta(seconds=self._policy.refresh_s),
            used_at=None,
        )
        return token, record

    def _grant(
        self,
        record: RefreshRecord,
        scopes: frozenset[str],
        body: TokenBody,
        *,
        issued_at: datetime,
        refresh_token: str | None,
    ) -> Grant:
        token = self._issuer.write(
            record.subject, session=record.session, scopes=scopes, body=body, issued_at=issued_at
        )
        return Grant(token, refresh_token, int(self._policy.access_s), scopes, record.session)

    @contextmanager
    def _ended_at_last(self, kind: str, value: str) -> Iterator[None]:
        """Sessions whose end the store has not heard of end as soon as it hears anything.

        Whoever wanted that may have no token any more with which he could ask again.
        """
        try:
            yield
        except BaseException:
            revocation = self._revocation(kind, value, self._clock.now())
            lasts = timedelta(seconds=self._policy.refresh_s)
            self._revocations.revoke_soon(
                replace(revocation, expires_at=revocation.expires_at + lasts)
            )
            raise

    def _revocation(self, kind: str, value: str, at: datetime) -> Revocation:
        lasts = timedelta(seconds=self._policy.access_s) + self._leeway + _MARGIN
        return Revocation(kind, value, at, at + lasts)

    @property
    def _leeway(self) -> timedelta:
        return timedelta(seconds=self._policy.leeway_s)

    @staticmethod
    def _digest(refresh_token: str) -> bytes | None:
        """What it is remembered by, ``None`` if it is none of ours."""
        if not _REFRESH_TOKEN.fullmatch(refresh_token):
            return None
        return hashlib.sha256(refresh_token.encode()).digest()

    def _refuse(self, record: RefreshRecord | None, address: str | None, why: str) -> NoReturn:
        """Say no, the same to everybody; why is for the log."""
        self._audit.record(
            "refresh_refused",
            subject=None if record is None else record.subject,
            client=address,
            session=None if record is None else record.session,
            detail=why,
        )
        raise GrantRefused("invalid_grant", "The refresh token is not valid any more.")


def _fewer(allowed: frozenset[str], wanted: Collection[str]) -> frozenset[str]:
    """Of what is allowed, what is wanted; all of it if nobody said (RFC 6749 §3.3)."""
    return allowed & frozenset(wanted) if wanted else allowed
