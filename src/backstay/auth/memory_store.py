"""Sessions, revocations and API keys in this process's memory, gone when it ends."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from backstay.auth.port import ApiKeyRecord, RefreshRecord, Revocation, Rotation, Turn
from backstay.auth.rotation import Family, judge_turn
from backstay.errors import BadAuth

__all__ = ["MemoryAuthStore"]


class MemoryAuthStore:
    """An ``AuthStore`` for one process: for development, tests, and services of one process.

    May be used from several threads and event loops. It grows until ``prune`` is called, which an
    app does now and then while it runs.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens: dict[bytes, RefreshRecord] = {}
        self._families: dict[str, Family] = {}
        # Each with the time at which it was last noted.
        self._revocations: dict[tuple[str, str], tuple[Revocation, datetime]] = {}
        self._api_keys: dict[str, ApiKeyRecord] = {}

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do: what it remembers is there if it is opened again."""

    # ------------------------------------------------------------------ sessions

    async def add_refresh(self, record: RefreshRecord) -> None:
        with self._lock:
            if record.digest in self._tokens or record.session in self._families:
                raise BadAuth(
                    f"session {record.session!r} or its token is remembered already: a login makes "
                    "new ones of both, and rotate_refresh() goes on with a session"
                )
            self._tokens[record.digest] = record
            self._families[record.session] = Family(record.digest, None, ended=False)

    async def rotate_refresh(
        self, digest: bytes, successor: RefreshRecord, *, now: datetime, reuse_s: float = 0.0
    ) -> Rotation:
        with self._lock:
            record = self._tokens.get(digest)
            if record is None:
                return Rotation(Turn.UNKNOWN, None)
            family = self._families[record.session]
            turn = judge_turn(record, family, now=now, reuse_s=reuse_s)
            if turn is not Turn.DONE:
                return Rotation(turn, record)
            if successor.digest in self._tokens:
                raise BadAuth("the successor of a refresh token has to be a new one")
            spent = self._tokens.get(family.latest)
            if spent is not None:
                self._tokens[spent.digest] = replace(spent, used_at=now)
            self._tokens[successor.digest] = replace(
                successor,
                session=record.session,
                subject=record.subject,
                scopes=record.scopes,
                begun_at=record.begun_at,
                used_at=None,
            )
            self._families[record.session] = Family(successor.digest, digest, ended=False)
            return Rotation(turn, record)

    async def find_refresh(self, digest: bytes) -> RefreshRecord | None:
        with self._lock:
            record = self._tokens.get(digest)
            if record is None or self._families[record.session].ended:
                return None
            return record

    async def end_session(self, session: str, *, now: datetime) -> bool:
        with self._lock:
            return self._end(session, now)

    async def end_sessions(self, subject: str, *, now: datetime) -> list[str]:
        with self._lock:
            theirs = {each.session for each in self._tokens.values() if each.subject == subject}
            return [session for session in sorted(theirs) if self._end(session, now)]

    async def sessions(self, subject: str, *, now: datetime) -> Sequence[RefreshRecord]:
        with self._lock:
            living = [
                record
                for record in self._tokens.values()
                if record.subject == subject
                and record.expires_at > now
                and self._families[record.session].latest == record.digest
                and not self._families[record.session].ended
            ]
        living.sort(key=lambda each: each.session)
        return sorted(living, key=lambda each: each.begun_at, reverse=True)

    def _end(self, session: str, now: datetime) -> bool:
        """Holds the lock."""
        family = self._families.get(session)
        if family is None or family.ended:
            return False
        self._families[session] = replace(family, ended=True)
        latest = self._tokens.get(family.latest)
        return latest is not None and latest.expires_at > now

    # ------------------------------------------------------------------ revocations

    async def revoke(self, *revocations: Revocation, now: datetime) -> None:
        with self._lock:
            for each in revocations:
                key = each.kind, each.value
                before, noted_at = self._revocations.get(key, (each, now))
                self._revocations[key] = each.joined(before), max(noted_at, now)

    async def revocations(
        self, *, now: datetime, since: datetime | None = None
    ) -> Sequence[Revocation]:
        with self._lock:
            return [
                each
                for each, noted_at in self._revocations.values()
                if each.expires_at > now and (since is None or noted_at >= since)
            ]

    # ------------------------------------------------------------------ API keys

    async def add_api_key(self, record: ApiKeyRecord) -> None:
        with self._lock:
            if record.id in self._api_keys:
                raise BadAuth(f"there is an API key {record.id!r} already")
            self._api_keys[record.id] = record

    async def find_api_key(self, key_id: str) -> ApiKeyRecord | None:
        with self._lock:
            return self._api_keys.get(key_id)

    async def api_keys(self, owner: str | None = None) -> Sequence[ApiKeyRecord]:
        with self._lock:
            found = [
                each for each in self._api_keys.values() if owner is None or each.owner == owner
            ]
        found.sort(key=lambda each: each.id)
        return sorted(found, key=lambda each: each.created_at, reverse=True)

    async def revoke_api_key(self, key_id: str, *, now: datetime) -> bool:
        with self._lock:
            record = self._api_keys.get(key_id)
            if record is None or record.revoked_at is not None:
                return False
            self._api_keys[key_id] = replace(record, revoked_at=now)
            return record.expires_at is None or record.expires_at > now

    async def touch_api_key(self, key_id: str, *, now: datetime) -> None:
        minute = now.replace(second=0, microsecond=0)
        with self._lock:
            record = self._api_keys.get(key_id)
            if record is not None and (record.last_used_at is None or record.last_used_at < minute):
                self._api_keys[key_id] = replace(record, last_used_at=minute)

    # ------------------------------------------------------------------ tidying up

    async def prune(self, *, now: datetime) -> int:
        """As the port says. API keys stay, ended or not: people look at their list."""
        with self._lock:
            tokens = [key for key, each in self._tokens.items() if each.expires_at <= now]
            for digest in tokens:
                del self._tokens[digest]
            going_on = {each.session for each in self._tokens.values()}
            self._families = {
                session: each for session, each in self._families.items() if session in going_on
            }
            revocations = [
                key for key, (each, _) in self._revocations.items() if each.expires_at <= now
            ]
            for key in revocations:
                del self._revocations[key]
            return len(tokens) + len(revocations)
