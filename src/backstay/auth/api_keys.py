"""API keys: credentials that programs keep, named, scoped, and revocable one by one."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import re
import secrets
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from backstay.auth.audit import Audit
from backstay.auth.port import ApiKeyRecord, AuthStore
from backstay.auth.scopes import read_scopes
from backstay.auth.token import VerifiedToken
from backstay.clock import Clock, SystemClock
from backstay.errors import BadAuth, TokensUncheckable

__all__ = ["ApiKeys", "NewApiKey"]

_logger = logging.getLogger("backstay.auth")

_ID_BYTES: Final = 10
_SECRET_BYTES: Final = 32
_CHECK_CHARACTERS: Final = 6
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_MOST_KEPT: Final = 4096
_MOST_NAME: Final = 200
_MOST_TOUCH_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key that was just made.

    Attributes:
        key: the key itself, which nobody can show again. Not in the ``repr``.
        record: what is remembered of it.
    """

    key: str = field(repr=False)
    record: ApiKeyRecord


@dataclass(frozen=True, slots=True)
class _Kept:
    record: ApiKeyRecord
    until: float


class ApiKeys:
    """Makes API keys, checks them, and revokes them.

    A key is ``bsk_<id>_<secret>_<check>``: its id (16 characters) by which it is found and shown,
    256 bits of secret (43 characters), and six characters computed from the rest, so that a typing
    error, or a text that merely looks like a key, is refused without asking the store, and scanners
    of repositories can tell a key from noise. Only a digest of it is stored: SHA-256 will do where
    nothing can be guessed.

    Args:
        store: remembers them.
        prefix: what keys begin with: two to sixteen lower-case letters and digits.
        clock: what time it is. ``None``: the machine's.
        audit: is told when keys are made and revoked. ``None``: nobody is.
        cache_s: seconds for which a key that was found good is good without asking the store, and
            so for how long one that was revoked elsewhere may still be used here. 0: none.
        patience_s: seconds that finding a key may take.

    Raises:
        BadAuth: the prefix or a time is none that could work.
    """

    def __init__(
        self,
        store: AuthStore,
        *,
        prefix: str = "bsk",
        clock: Clock | None = None,
        audit: Audit | None = None,
        cache_s: float = 1.0,
        patience_s: float = 2.0,
    ) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9]{1,15}", prefix):
            raise BadAuth(
                f"prefix={prefix!r} is none for API keys: two to sixteen lower-case letters and "
                "digits, the first one a letter"
            )
        if not 0 <= cache_s < float("inf"):
            raise BadAuth(f"cache_s= is a number of seconds from 0 on; got {cache_s!r}")
        if not 0 < patience_s < float("inf"):
            raise BadAuth(f"patience_s= is a number of seconds above 0; got {patience_s!r}")
        self._store = store
        self._prefix = prefix
        self._clock = SystemClock() if clock is None else clock
        self._audit = audit
        self._cache_s = cache_s
        self._patience_s = patience_s
        self._form = re.compile(
            rf"({prefix}_([a-z2-7]{{16}})_[A-Za-z0-9_-]{{43}})_([0-9A-Za-z]{{6}})", re.ASCII
        )
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._revoked = 0

    async def create(
        self,
        owner: str,
        *,
        name: str,
        scopes: Iterable[str] | None = (),
        expires_at: datetime | None = None,
    ) -> NewApiKey:
        """A new key. Show it once, for it is not stored.

        Args:
            owner: the subject that it stands for.
            name: what people call it, 200 characters at most.
            scopes: what it allows. ``None`` and an empty list: nothing that needs a scope.
            expires_at: when it ends, aware. ``None``: it does not.

        Raises:
            ValueError: something of that will not do.
            TokensUncheckable: the store is out of reach.
        """
        now = self._clock.now()
        if not owner or not name or len(name) > _MOST_NAME:
            raise ValueError(
                f"an API key has an owner and a name of 1 to {_MOST_NAME} characters; got "
                f"{owner!r:.200} and {name!r:.200}"
            )
        if expires_at is not None and (expires_at.tzinfo is None or expires_at <= now):
            raise ValueError(f"an API key ends in the future, at an aware time; got {expires_at!r}")
        key_id = base64.b32encode(secrets.token_bytes(_ID_BYTES)).decode().lower()
        body = f"{self._prefix}_{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
        key = f"{body}_{_check(body)}"
        record = ApiKeyRecord(
            id=key_id,
            digest=_digest(key),
            name=name,
            owner=owner,
            scopes=tuple(sorted(read_scopes(scopes))),
            created_at=now,
            expires_at=expires_at,
        )
        await self._store.add_api_key(record)
        self._say("api_key_created", record)
        return NewApiKey(key, record)

    async def verify(self, key: str) -> VerifiedToken | None:
        """What a key says; ``None`` if there is no such key, or it does not count any more.

        Args:
            key: as the client sent it: anything at all.

        Returns:
            A token whose ``claims`` are ``sub``, ``scope`` (RFC 8693 §4.2), ``api_key`` (the key's
            id) and ``name``.

        Raises:
            TokensUncheckable: the store is out of reach.
        """
        found = self._form.fullmatch(key) if isinstance(key, str) else None
        if found is None or not hmac.compare_digest(_check(found[1]), found[3]):
            return None
        record = await self._find(found[2])
        if record is None or not hmac.compare_digest(record.digest, _digest(key)):
            return None
        now = self._clock.now()
        if record.revoked_at is not None or (
            record.expires_at is not None and record.expires_at <= now
        ):
            return None
        await self._touch(record, now)
        return VerifiedToken(
            subject=record.owner,
            scopes=frozenset(record.scopes),
            expires_at=record.expires_at,
            claims=MappingProxyType(
                {
                    "sub": record.owner,
                    "scope": " ".join(record.scopes),
                    "api_key": record.id,
                    "name": record.name,
                }
            ),
        )

    async def revoke(self, key_id: str) -> bool:
        """The key does not count any more: here at once, elsewhere after ``cache_s``.

        Args:
            key_id: its public part, ``record.id``.

        Returns:
            Whether it did.

        Raises:
            TokensUncheckable: the store is out of reach.
        """
        record = await self._store.find_api_key(key_id)
        did = await self._store.revoke_api_key(key_id, now=self._clock.now())
        # Whoever has asked the store before and gets his answer after this must not keep it.
        self._revoked += 1
        self._kept.pop(key_id, None)
        if did and record is not None:
            self._say("api_key_revoked", record)
        return did

    async def list(self, owner: str | None = None) -> Sequence[ApiKeyRecord]:
        """The keys, newest first, those that do not count any more included.

        Args:
            owner: only this subject's. ``None``: everybody's.

        Raises:
            TokensUncheckable: the store is out of reach.
        """
        return await self._store.api_keys(owner)

    # ------------------------------------------------------------------ asking the store

    async def _find(self, key_id: str) -> ApiKeyRecord | None:
        kept = self._kept.get(key_id)
        if kept is not None and self._clock.monotonic() < kept.until:
            self._kept.move_to_end(key_id)
            return kept.record
        revoked, until = self._revoked, self._clock.monotonic() + self._cache_s
        try:
            # A database that hangs must not hold up every request that shows a key.
            async with asyncio.timeout(self._patience_s):
                record = await self._store.find_api_key(key_id)
        except TimeoutError as error:
            raise TokensUncheckable(
                f"the store of API keys has not answered within {self._patience_s:g} s, so nobody "
                "can say whether a key is good"
            ) from error
        # What is not there is not kept: strangers could push out everybody's keys.
        if record is not None and self._cache_s and revoked == self._revoked:
            self._kept[key_id] = _Kept(record, until)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return record

    async def _touch(self, record: ApiKeyRecord, now: datetime) -> None:
        """Note that it was used, once a minute. The request goes on if that fails."""
        minute = now.replace(second=0, microsecond=0)
        if record.last_used_at is not None and record.last_used_at >= minute:
            return
        kept = self._kept.get(record.id)
        if kept is not None:  # first, so that one of many requests writes
            self._kept[record.id] = replace(kept, record=replace(record, last_used_at=minute))
        try:
            # Bounded, for the request itself may hold the lock that SQLite would wait for.
            async with asyncio.timeout(_MOST_TOUCH_S):
                await self._store.touch_api_key(record.id, now=now)
        except (TokensUncheckable, TimeoutError):
            _logger.warning("that API key %s was used could not be noted", record.id, exc_info=True)

    def _say(self, what: str, record: ApiKeyRecord) -> None:
        if self._audit is not None:
            self._audit.record(what, subject=record.owner, detail=f"{record.id} ({record.name})")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("ascii")).digest()


def _check(body: str) -> str:
    """CRC-32 in base 62, as others write it whose keys scanners find."""
    rest = zlib.crc32(body.encode("ascii"))
    characters = []
    for _ in range(_CHECK_CHARACTERS):
        rest, digit = divmod(rest, len(_BASE62))
        characters.append(_BASE62[digit])
    return "".join(reversed(characters))
