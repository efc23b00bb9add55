"""Access tokens that do not count any more, as this process knows them."""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context as Variables
from datetime import datetime

from backstay.auth.port import AuthStore, Revocation
from backstay.clock import Clock
from backstay.errors import TokensUncheckable

__all__ = ["Revocations"]

_logger = logging.getLogger("backstay.auth")


class Revocations:
    """A copy of the store's revocations, read again when somebody asks and it has become old.

    So a token costs no query, and a revocation counts at once in this process and within
    ``delay_s`` in the others. While the store is out of reach the copy goes on being used for
    ``tolerate_s``; then nobody can say any more which tokens count, and none does.

    Args:
        store: remembers them for everybody.
        clock: measures how old the copy is.
        delay_s: seconds that it is used before it is read again.
        tolerate_s: seconds that it is used at most.
        patience_s: seconds that reading it may take.
    """

    def __init__(
        self,
        store: AuthStore,
        clock: Clock,
        *,
        delay_s: float,
        tolerate_s: float = 30.0,
        patience_s: float = 2.0,
    ) -> None:
        self._store = store
        self._clock = clock
        self._delay_s = delay_s
        self._tolerate_s = tolerate_s
        self._patience_s = patience_s
        self._read_at: float | None = None
        self._tried_at: float | None = None
        self._failing = False
        self._reading: asyncio.Task[bool] | None = None
        self._own: dict[tuple[str, str], Revocation] = {}
        self._known: dict[tuple[str, str], Revocation] = {}

    async def revoke(self, *revocations: Revocation) -> None:
        """Remember them, here at once.

        Raises:
            TokensUncheckable: the store is out of reach; only this process knows of them.
        """
        for each in revocations:
            self._own[each.kind, each.value] = each
            self._known[each.kind, each.value] = each
        for each in revocations:
            await self._store.revoke(each)

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
        begun = self._tried_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._patience_s):
                found = await self._store.revocations(now=self._clock.now())
        except Exception as error:
            if not self._failing:
                _logger.warning("the revocations could not be read: %r", error)
            self._failing = True
            self._tried_at = self._clock.monotonic()
            return False
        if self._read_at is not None and begun < self._read_at:
            return True  # somebody who began later was faster
        now = self._clock.now()
        known = {(each.kind, each.value): each for each in found}
        # What was revoked here while the store was being read may not have been in it yet; what
        # another process has revoked since counts for more.
        self._own = {
            key: each
            for key, each in self._own.items()
            if each.expires_at > now and (key not in known or known[key].at < each.at)
        }
        self._known = known | self._own
        self._failing = False
        self._read_at = begun
        return True
