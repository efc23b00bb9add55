"""What a back end of the state has to do: few operations, each of them atomic."""

from __future__ import annotations

from types import EllipsisType
from typing import Protocol, TypeAlias

__all__ = ["StateStore", "Ttl"]

Ttl: TypeAlias = "float | EllipsisType | None"
"""Seconds to live, ``None`` for ever, ``...`` for as long as what stood there had left."""


class StateStore(Protocol):
    """Texts under a scope and a key, each with a time at which it is gone.

    Scopes and keys are bytes, compared as bytes, any of them, up to the sizes of
    ``backstay.state.bounds``: two scopes never share an entry. Values are texts of JSON without
    lone surrogates and NULs. What has expired is not there, whether or not it has been swept.

    All may be called from one event loop by any number of tasks at once, and any number of
    processes may use one database. Implementations prove themselves with
    ``backstay.testing.state_conformance.StateConformance``.

    Every method but ``close`` raises ``StateUnavailable`` if the database cannot be reached or
    written, or the store is not open. Whether a change was made is then unknown only if the
    message says so.
    """

    @property
    def url(self) -> str:
        """Where the state is, as it may be shown: without a password."""

    async def open(self) -> None:
        """Connect, and make what is missing. Opening twice does nothing.

        Raises:
            StateMismatch: what stands there is not ours, or of a newer version.
        """

    async def close(self) -> None:
        """Disconnect, after what is under way. Closing twice does nothing."""

    async def read(self, scope: bytes, key: bytes) -> str | None:
        """The value, ``None`` if there is none or its time is over."""

    async def write(self, scope: bytes, key: bytes, value: str, ttl_s: float | None) -> None:
        """Put a value there, for so many seconds; ``None``: for ever, whatever was said before."""

    async def remove(self, scope: bytes, key: bytes) -> bool:
        """Take it away. Whether there was one."""

    async def clear(self, scope: bytes) -> int:
        """Take everything of a scope away. How much there was, what had expired not counted."""

    async def add(self, scope: bytes, key: bytes, by: int, ttl_s: float | None) -> int | None:
        """Add to a whole number; where there is none, ``by`` is written.

        Args:
            scope: whose.
            key: of what.
            by: how much, within 64 bits.
            ttl_s: seconds to live from now on; ``None``: what it has left, for ever if it is new.

        Returns:
            The sum. ``None`` if what is there is no whole number, or the sum is beyond what this
            back end can add: nothing has changed, and the caller goes by ``swap``.
        """

    async def swap(
        self, scope: bytes, key: bytes, expected: str | None, value: str, ttl: Ttl
    ) -> bool:
        """Put a value there if ``expected`` is what is there, ``None`` for nothing.

        A value is its own version: it does not matter whether it has been another meanwhile.

        Returns:
            Whether it was; if not, nothing has changed.
        """

    async def keys(self, scope: bytes, prefix: bytes) -> list[bytes]:
        """The keys of a scope that begin so, in the order of their bytes."""

    async def sweep(self, limit: int) -> int:
        """Forget some of what has expired, ``limit`` at most; how many. Any process, any time."""
