"""Passwords: hashed with Argon2id, and checked, beside the event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from backstay.errors import BadAuth, MissingExtra

if TYPE_CHECKING:
    from pwdlib import PasswordHash

__all__ = ["Passwords"]

T = TypeVar("T")

_logger = logging.getLogger("backstay.auth")

# What is hashed once to have a hash that no password has. Nothing is kept behind it.
_NOBODYS = "nobody's password"


class Passwords:
    """Hashes and checks passwords, a few at a time.

    One check takes some hundred milliseconds and, with Argon2's defaults (RFC 9106 §4, the second
    recommended option), 64 MiB; so they happen in threads of their own, and wait in line for them.
    A request that is given up while it waits leaves the line; what a thread has begun it finishes,
    and nobody takes its place before.

    Passwords are compared in Unicode's NFKC form (NIST SP 800-63B §3.1.1.2): one that was typed on
    another keyboard is the same. A hash that was made of the bare text by somebody else counts,
    too. Whatever is in a password, it is right or wrong, and never an error.

    Args:
        hasher: pwdlib's ``PasswordHash``, whose first hasher makes new hashes while all are
            understood: ``PasswordHash((Argon2Hasher(), BcryptHasher()))`` takes over bcrypt's.
            ``None``: ``PasswordHash.recommended()``, Argon2id.
        max_parallel: threads, and so checks at the same time. ``None``: as many as the process has
            cores.
        max_length: characters of a password. Longer ones are nobody's, and cost no more to refuse.

    Raises:
        BadAuth: a number is none that could work.
        MissingExtra: the extra ``auth`` is not installed.
    """

    def __init__(
        self,
        hasher: PasswordHash | None = None,
        *,
        max_parallel: int | None = None,
        max_length: int = 1024,
    ) -> None:
        for what, value in (("max_parallel", max_parallel), ("max_length", max_length)):
            if value is not None and (isinstance(value, bool) or value < 1):
                raise BadAuth(f"{what}= is a number from 1 on; got {value!r}")
        self._hasher = _recommended() if hasher is None else hasher
        self._max_length = max_length
        self._threads = ThreadPoolExecutor(
            max_parallel or _cores(), thread_name_prefix="backstay-passwords"
        )
        self._lock = threading.Lock()
        self._dummy: str | None = None

    async def hash(self, password: str) -> str:
        """The hash to keep of a new password; it says how it was made.

        Raises:
            ValueError: the password is empty or too long. The message may be shown to whoever
                chose it.
        """
        if not password:
            raise ValueError("A password must not be empty.")
        if len(password) > self._max_length:
            raise ValueError(f"A password has {self._max_length} characters at most.")
        return await self._run(lambda: self._hasher.hash(_normal(password)))

    async def verify(self, password: str, hash: str | None) -> bool:  # noqa: A002  # what it is
        """Whether that is the password.

        Args:
            password: as it was sent: anything at all.
            hash: what ``hash`` returned, or another tool. ``None``: there is no such user, which
                takes as long to find out as that a password is wrong. So does a hash that no
                hasher knows, of which a warning is logged. One that was made in another way than
                new ones are takes its own time, until ``verify_and_update`` has replaced it.
        """
        return (await self._run(lambda: self._verify(password, hash)))[0]

    async def verify_and_update(
        self,
        password: str,
        hash: str | None,  # noqa: A002  # as above
    ) -> tuple[bool, str | None]:
        """The same, and the hash to keep from now on.

        Args:
            password: as for ``verify``.
            hash: as for ``verify``.

        Returns:
            Whether it is the password; and a new hash if it is, and the old one was made in
            another way than one would be now. ``None`` if there is nothing to change.
        """

        def check() -> tuple[bool, str | None]:
            good, outdated = self._verify(password, hash)
            return good, self._renewed(password) if outdated else None

        return await self._run(check)

    def close(self) -> None:
        """Let the threads end when they have done what is waiting. Does not block."""
        self._threads.shutdown(wait=False)

    # ------------------------------------------------------------------ in the threads

    async def _run(self, call: Callable[[], T]) -> T:
        # Not asyncio.to_thread under a semaphore: whoever is cancelled would give the semaphore
        # back while the thread goes on.
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def _verify(self, password: str, known: str | None) -> tuple[bool, bool]:
        """Whether it is right, and whether the hash is outdated."""
        # First of all and for everybody: whoever asks first must not wait longer for a stranger.
        dummy = self._dummy_hash()
        possible = 0 < len(password) <= self._max_length
        if not possible:
            password = _NOBODYS
        normal = _normal(password)
        candidates = [normal]
        if (bare := password.encode("utf-8", "surrogatepass")) != normal:
            candidates.append(bare)
        usable = known is not None and self._knows(known)
        if known is not None and not usable:
            _logger.warning(
                "a stored password hash is of a kind that none of the hashers knows, so nobody can "
                "log in with it: give Passwords(hasher=) a PasswordHash that has one for it"
            )
        target = known if known is not None and usable else dummy
        # All of them, whichever is right: the time says nothing.
        found = [self._matches(each, target) for each in candidates]
        good = possible and usable and any(found)
        return good, good and (not found[0] or self._outdated(target))

    def _renewed(self, password: str) -> str | None:
        try:
            return self._hasher.hash(_normal(password))
        except ValueError:
            return None  # too long for bcrypt, should new hashes be of that kind: the old one stays

    def _matches(self, candidate: bytes, target: str) -> bool:
        try:
            return bool(self._hasher.verify(candidate, target))
        except ValueError:
            # bcrypt refuses more than 72 bytes, which nothing that it hashed had.
            return False

    def _knows(self, known: str) -> bool:
        return any(each.identify(known) for each in self._hasher.hashers)

    def _outdated(self, known: str) -> bool:
        current = self._hasher.current_hasher
        return not current.identify(known) or current.check_needs_rehash(known)

    def _dummy_hash(self) -> str:
        """Made as any other is made, so that it takes as long to check."""
        with self._lock:
            if self._dummy is None:
                self._dummy = self._hasher.hash(_NOBODYS)
            return self._dummy


def _normal(password: str) -> bytes:
    # Lone surrogates, which JSON may carry, are wrong and no error.
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def _recommended() -> PasswordHash:
    try:
        from pwdlib import PasswordHash
    except ImportError as missing:
        raise MissingExtra("auth", "pwdlib") from missing
    from pwdlib.exceptions import HasherNotAvailable

    try:
        return PasswordHash.recommended()
    except HasherNotAvailable as missing:
        raise MissingExtra("auth", "argon2") from missing


def _cores() -> int:
    # Not os.cpu_count(): a container may have fewer than its machine.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
