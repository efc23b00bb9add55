"""Access tokens that do not count any more, as this process knows them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextvars import Context as Variables
from datetime import datetime, timedelta
from typing import TypeAlias

from backstay.auth.port import AuthStore, Revocation
from backstay.clock import Clock
from backstay.errors import TokensUncheckable

__all__ = ["Revocations"]

_logger = logging.getLogger("backstay.auth")

_ByKey: TypeAlias = dict[tuple[str, str], Revocation]
"""By kind and value."""


class Revocations:
    """A copy of the store's revocations, read again when somebody asks and it has become old.

    So a token costs no query, and a revocation counts at once in this process and within
    ``delay_s`` in the others. While the store is out of reach the copy goes on being used for
    ``tolerate_s``; then nobody can say any more which tokens count, and none does.

    Only what is new is read, however many there are; and everything now and then, which also
    forgets what has expired.

    Args:
        store: remembers them for everybody, and answers soon (``PatientStore``).
        clock: measures how old the copy is.
        delay_s: seconds that it is used before it is read again.
        tolerate_s: seconds that it is used at most.
        overlap_s: seconds before the last reading from which on a revocation may be new: it was
            noted by a machine whose clock is behind, or took so long to be written.
        whole_s: seconds after which everything is read again.
    """

    def __init__(
        self,
        store: AuthStore,
        clock: Clock,
        *,
        delay_s: float,
        tolerate_s: float = 30.0,
        overlap_s: float = 70.0,
        whole_s: float = 300.0,
    ) -> None:
        self._store = store
        self._clock = clock
        self._delay_s = delay_s
        self._tolerate_s = tolerate_s
        self._overlap = timedelta(seconds=overlap_s)
        self._whole_s = whole_s
        self._readings = 0
        self._latest = 0
        self._read_at: float | None = None
        self._whole_at: float | None = None
        self._read_up_to: datetime | None = None
        self._tried_at: float | None = None
        self._failing = False
        self._reading: asyncio.Task[bool] | None = None
        self._known: _ByKey = {}
        # Those of this process that were not in the store when it was last read, and of them those
        # that could not be written.
        self._own: _ByKey = {}
        self._unwritten: _ByKey = {}

    async def revoke(self, *revocations: Revocation) -> None:
        """Remember them, here at once.

        Raises:
            TokensUncheckable: the store is out of reach. Until the next reading that succeeds, and
                writes them first, only this process knows of them.
        """
        _join(self._own, revocations)
        _join(self._known, revocations)
        try:
            await self._store.revoke(*revocations, now=self._clock.now())
        except BaseException:  # whoever logs out and does not wait for the answer, too
            self.revoke_soon(*revocations)
            raise

    def revoke_soon(self, *revocations: Revocation) -> None:
        """Remember them here at once, and in the store before it is read next."""
        for known in (self._own, self._known, self._unwritten):
            _join(known, revocations)

    async def revoked(
        self, *, session: str, subject: str, issued_at: float, token: str | None = None
    ) -> bool:
        """Whether a token, or everything of its session or subject, does not count any more.

        Args:
            session: its ``sid``.
            subject: its ``sub``.
            issued_at: seconds since 1970.
            token: its ``jti``; ``None`` asks about a session alone.

        Raises:
            TokensUncheckable: the store has been out of reach for too long.
        """
        if self._read_at is None or self._clock.monotonic() - self._read_at >= self._delay_s:
            await self._read_again()
        known = self._known
        if not known:
            return False
        if ("session", session) in known or (token is not None and ("token", token) in known):
            return True
        whole = known.get(("subject", subject))
        return whole is not None and issued_at <= whole.at.timestamp()

    async def read(self) -> None:
        """Read the store now, whatever is known: what was revoked before this is known after it.

        Raises:
            TokensUncheckable: it is out of reach.
        """
        if not await self._read():
            raise TokensUncheckable("the revocations could not be read; see the log for why")

    def revoked_up_to(self, subject: str) -> datetime | None:
        """The time up to which the subject's tokens do not count, as far as is known here."""
        whole = self._known.get(("subject", subject))
        return None if whole is None else whole.at

    async def _read_again(self) -> None:
        now = self._clock.monotonic()
        # Whoever comes while the store is failing is not to wait for that, if he need not.
        if self._failing and self._tried_at is not None and self._usable(now):
            if now - self._tried_at >= self._delay_s:
                self._start_reading()
            return
        if not self._failing or self._tried_at is None or now - self._tried_at >= self._delay_s:
            await asyncio.shield(self._start_reading())
        if not self._usable(self._clock.monotonic()):
            raise TokensUncheckable(
                "the store of revocations has been out of reach for more than "
                f"{self._tolerate_s:g} s, so a token may have been revoked; see the log of "
                "backstay.auth for why"
            )

    def _usable(self, now: float) -> bool:
        return self._read_at is not None and now - self._read_at < self._tolerate_s

    def _start_reading(self) -> asyncio.Task[bool]:
        """One reading for all who ask meanwhile; in the event loop that is running now."""
        loop = asyncio.get_running_loop()
        if self._reading is None or self._reading.done() or self._reading.get_loop() is not loop:
            # In a context of its own (PEP 567): it is not the work of whoever asks first.
            self._reading = loop.create_task(self._read(), context=Variables())
        return self._reading

    async def _read(self) -> bool:
        self._readings += 1
        number, begun, now = self._readings, self._clock.monotonic(), self._clock.now()
        self._tried_at = begun
        since = self._since(begun, now)
        try:
            await self._write_again(now)
            found = await self._store.revocations(now=now, since=since)
        except Exception as error:
            if not self._failing:
                _logger.warning("the revocations could not be read: %r", error)
            self._failing = True
            self._tried_at = self._clock.monotonic()
            return False
        if number < self._latest:
            return True  # somebody who began later was faster
        new = {(each.kind, each.value): each for each in found}
        # What was revoked here while the store was being read may not have been in it yet; what
        # another process has revoked since counts for more.
        self._own = {
            key: each
            for key, each in self._own.items()
            if each.expires_at > now and (key not in new or new[key].at < each.at)
        }
        if since is None:
            self._known = new
            self._whole_at = begun
        else:
            self._known.update(new)
        self._known.update(self._own)
        self._failing = False
        self._latest, self._read_at, self._read_up_to = number, begun, now
        return True

    def _since(self, begun: float, now: datetime) -> datetime | None:
        """From when on there may be something new, ``None`` if everything is to be read."""
        if self._whole_at is None or self._read_up_to is None:
            return None
        if begun - self._whole_at >= self._whole_s:
            return None
        # A clock that was set back is right now, and was wrong then.
        return min(self._read_up_to, now) - self._overlap

    async def _write_again(self, now: datetime) -> None:
        again = {key: each for key, each in self._unwritten.items() if each.expires_at > now}
        if again:
            await self._store.revoke(*again.values(), now=now)
        # Others may have come meanwhile.
        self._unwritten = {
            key: each
            for key, each in self._unwritten.items()
            if each.expires_at > now and again.get(key) != each
        }


def _join(known: _ByKey, revocations: Iterable[Revocation]) -> None:
    for each in revocations:
        key = each.kind, each.value
        known[key] = each.joined(known.get(key, each))
