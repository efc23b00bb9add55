"""Small real things that the cache's tests share: a store that fails when told, a producer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from backstay.cache import Cache, Fill, Outcome
from backstay.cache.filling import Produce
from backstay.cache.memory import MemoryStore
from backstay.errors import CacheUnavailable
from backstay.testing import FakeClock

__all__ = ["Maker", "Shaky", "filled"]


class Shaky:
    """A store that others could reach too, in memory, and fails when it is told to.

    Attributes:
        error: what every call raises; ``None``: it works.
        hang: every call waits for this first.
        calls: the names of what was asked, in order.
        opened: how often it was opened, and not closed since.
    """

    def __init__(self, clock: FakeClock) -> None:
        self.inner = MemoryStore(clock=clock)
        self.error: Exception | None = None
        self.hang: asyncio.Event | None = None
        self.calls: list[str] = []
        self.opened = 0

    @property
    def url(self) -> str:
        return "shaky://"

    def break_down(self) -> None:
        """As a server does that is gone."""
        self.error = CacheUnavailable("nobody there")

    async def _asked(self, what: str) -> None:
        self.calls.append(what)
        if self.hang is not None:
            await self.hang.wait()
        if self.error is not None:
            raise self.error

    async def open(self) -> None:
        await self._asked("open")
        self.opened += 1

    async def close(self) -> None:
        self.opened = 0

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        await self._asked("get_many")
        await asyncio.sleep(0)
        return self.inner.peek(keys)

    async def set(self, key: str, value: bytes, ttl_s: float) -> None:
        await self._asked("set")
        self.inner.put({key: value}, ttl_s)
        await asyncio.sleep(0)

    async def set_many(self, values: Mapping[str, bytes], ttl_s: float) -> None:
        await self._asked("set_many")
        self.inner.put(values, ttl_s)

    async def settle(self, keys: Sequence[str], value: bytes, ttl_s: float) -> list[bytes]:
        await self._asked("settle")
        return self.inner.settle_now(keys, value, ttl_s)

    async def delete(self, keys: Sequence[str]) -> int:
        await self._asked("delete")
        return await self.inner.delete(keys)

    async def clear(self) -> int:
        await self._asked("clear")
        return await self.inner.clear()

    async def lock(self, key: str, token: bytes, ttl_s: float) -> bool:
        await self._asked("lock")
        return self.inner.settle_now([key], token, ttl_s) == [token]

    async def unlock(self, key: str, token: bytes) -> None:
        await self._asked("unlock")
        if self.inner.peek([key]) == [token]:
            await self.inner.delete([key])


class Maker:
    """Makes values, one after another, and waits or fails when told.

    Attributes:
        made: how many were begun.
        gate: each waits for this; ``None``: none does.
        error: what each raises in the end; ``None``: it works.
        keep: whether it gives something to keep.
    """

    def __init__(self, *, gate: asyncio.Event | None = None) -> None:
        self.made = 0
        self.gate = gate
        self.error: Exception | None = None
        self.keep = True
        self.tags: Sequence[str] = ()
        self.began = asyncio.Event()

    async def __call__(self) -> Fill | None:
        self.made += 1
        number = self.made
        self.began.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Fill(b"%d" % number, tags=self.tags) if self.keep else None


async def filled(
    cache: Cache,
    make: Produce,
    *,
    key: str = "k",
    tags: Sequence[str] = (),
    ttl_s: float = 100.0,
    stale_s: float | None = None,
) -> Outcome:
    """One question."""
    return await cache.get_or_fill(key, make, ttl_s=ttl_s, stale_s=stale_s, tags=tags)
