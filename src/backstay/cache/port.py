"""What a back end of the cache has to do: bytes under text keys, each for a while."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

__all__ = ["CacheStore", "LocalStore", "LockingStore"]


@runtime_checkable
class CacheStore(Protocol):
    """Bytes under text keys, each with seconds to live.

    Everything in it may vanish at any moment: to make room, in a restart, by somebody's hand.
    What must never happen is that something else comes back than what was put there, that it
    comes after its time, or after it was deleted.

    Keys are printable ASCII of up to 300 characters, and begin with the cache's namespace. All
    methods may be called by any number of tasks of one event loop at once. One that cannot
    reach or use its back end raises ``CacheUnavailable`` (``OSError`` and ``TimeoutError`` count
    as well), and whoever called it lets it be for a moment; any other exception is about this
    call alone. None has to bound its own time: the caller cancels what takes too long.

    Implementations prove themselves with ``backstay.testing.cache_conformance.CacheConformance``.
    """

    @property
    def url(self) -> str:
        """Where it is, as it may be shown: without a password."""

    async def open(self) -> None:
        """Connect, and make what is missing. Opening twice does nothing."""

    async def close(self) -> None:
        """Let go of what ``open`` took. Closing twice does nothing; it may be opened again."""

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """What stands under each key, ``None`` for nothing; in one trip where there are trips."""

    async def set(self, key: str, value: bytes, ttl_s: float) -> None:
        """Put a value there. A store may decline to keep what is too large for it."""

    async def set_many(self, values: Mapping[str, bytes], ttl_s: float) -> None:
        """Put several there, all for the same time. Not necessarily all at once."""

    async def settle(self, keys: Sequence[str], value: bytes, ttl_s: float) -> list[bytes]:
        """What stands under each key; under those with nothing, ``value`` from now on.

        Atomic for each key: of any number of processes that do this at once, all get the same.
        """

    async def delete(self, keys: Sequence[str]) -> int:
        """Take values away. How many there were."""

    async def clear(self) -> int:
        """Take everything of this namespace away, and nothing else. About how many there were."""


@runtime_checkable
class LocalStore(CacheStore, Protocol):
    """A store in this process's memory, which can do without an event loop. Any thread may call."""

    def peek(self, keys: Sequence[str]) -> list[bytes | None]:
        """``get_many``, at once."""

    def put(self, values: Mapping[str, bytes], ttl_s: float) -> None:
        """``set_many``, at once."""

    def settle_now(self, keys: Sequence[str], value: bytes, ttl_s: float) -> list[bytes]:
        """``settle``, at once."""


@runtime_checkable
class LockingStore(CacheStore, Protocol):
    """A store that several processes use, and that can tell which of them is first."""

    async def lock(self, key: str, token: bytes, ttl_s: float) -> bool:
        """Take a lock, unless somebody has it. It is free again after ``ttl_s`` at the latest."""

    async def unlock(self, key: str, token: bytes) -> None:
        """Free the lock, if it is still the one taken with that token."""
