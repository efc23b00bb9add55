"""Whether a name and a password belong together, asked no more often than somebody may guess."""

from __future__ import annotations

import re

from backstay.auth.audit import Audit
from backstay.auth.auth_throttle import LoginThrottle
from backstay.auth.hooks import Hooks
from backstay.errors import RateLimited

__all__ = ["LoginCheck"]

_MAX_USERNAME = 256
_MAX_PASSWORD = 4096

# Databases stumble over the zero, and half of a surrogate pair is no character that could be
# written. A form has them if it says that it is written in Python's unicode_escape.
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")


class LoginCheck:
    """Asks ``check_auth``, and counts what it refuses.

    Args:
        hooks: what the app says about its users.
        throttle: slows down those who guess; ``None`` lets them.
        audit: hears of those that were slowed down.
    """

    def __init__(self, hooks: Hooks, *, throttle: LoginThrottle | None, audit: Audit) -> None:
        self._hooks = hooks
        self._throttle = throttle
        self._audit = audit

    async def passes(self, username: str, password: str, address: str | None) -> bool:
        """Whether ``check_auth`` says yes.

        Args:
            username: as the client wrote it.
            password: as the client wrote it.
            address: the client's, ``None`` if it has none.

        Raises:
            RateLimited: too many wrong ones were tried.
            BadAuth: ``check_auth`` says neither yes nor no.
        """
        # No name and no password looks like that.
        if (
            not 0 < len(username) <= _MAX_USERNAME
            or len(password) > _MAX_PASSWORD
            or _UNWRITABLE.search(username + password)
        ):
            return False
        if self._throttle is None:
            return await self._hooks.check_auth(username, password)
        return await self._in_turn(self._throttle, username, password, address)

    async def _in_turn(
        self, throttle: LoginThrottle, username: str, password: str, address: str | None
    ) -> bool:
        try:
            await throttle.check(username, address)
        except RateLimited:
            self._audit.record("throttled", subject=username, client=address)
            raise
        known = False
        try:
            known = await self._hooks.check_auth(username, password)
        finally:
            # One that fails in the middle counts as wrong: nobody knows what it would have said.
            if known:
                await throttle.succeeded(username, address)
            else:
                await throttle.failed(username, address)
        return known
