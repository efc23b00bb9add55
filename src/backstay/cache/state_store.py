"""The cache in a SQLite file or in PostgreSQL: nothing to install that is not there already.

Over the stores of ``backstay.state``, in a table of its own (``backstay_cache_state``). Values
are bytes, which JSON has no word for, so they travel as Base64.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from backstay.clock import Clock, SystemClock
from backstay.errors import (
    CacheError,
    CacheUnavailable,
    StateError,
    StateMismatch,
    StateUnavailable,
)
from backstay.ledger.opening import without_password
from backstay.state.opening import new_store
from backstay.state.sweeping import Sweeper

__all__ = ["StateCacheStore"]

T = TypeVar("T")

_SWEEP_EVERY_S = 60.0


class StateCacheStore:
    """Implements ``CacheStore`` and ``LockingStore``.

    Args:
        url: ``sqlite:///cache.db`` or ``postgresql://user@host/name``, as for ``add_state``.
        namespace: of the keys, which also names the scope in the table.
        clock: as ``backstay.state.new_store`` takes it.
        prefix: in front of the table's name.

    Raises:
        BadState, MissingExtra: as ``backstay.state.new_store``.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str,
        clock: Clock | None = None,
        prefix: str = "backstay_cache_",
    ) -> None:
        self._store = new_store(url, clock=clock, prefix=prefix)
        self._url = without_password(url)
        self._scope = f"cache:{namespace}".encode()
        self._clock = clock if clock is not None else SystemClock()
        self._sweeper: Sweeper | None = None
        # SQLite answers at once, and all of it one after another: tasks would only cost time.
        self._at_once = url.startswith("sqlite")

    @property
    def url(self) -> str:
        return self._url

    async def open(self) -> None:
        with self._seam():
            await self._store.open()
        if self._sweeper is None:
            self._sweeper = Sweeper(self._store, self._clock, _SWEEP_EVERY_S)
            self._sweeper.start()

    async def close(self) -> None:
        sweeper, self._sweeper = self._sweeper, None
        if sweeper is not None:
            await sweeper.stop()
        with self._seam():
            await self._store.close()

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        with self._seam():
            texts = await self._all(self._store.read(self._scope, key.encode()) for key in keys)
        return [None if text is None else _bytes_of(text) for text in texts]

    async def set(self, key: str, value: bytes, ttl_s: float) -> None:
        with self._seam():
            await self._store.write(self._scope, key.encode(), _text_of(value), ttl_s)

    async def set_many(self, values: Mapping[str, bytes], ttl_s: float) -> None:
        with self._seam():
            await self._all(
                self._store.write(self._scope, key.encode(), _text_of(value), ttl_s)
                for key, value in values.items()
            )

    async def settle(self, keys: Sequence[str], value: bytes, ttl_s: float) -> list[bytes]:
        with self._seam():
            return await self._all(
                self._settle(key.encode(), _text_of(value), ttl_s) for key in keys
            )

    async def _settle(self, key: bytes, text: str, ttl_s: float) -> bytes:
        while True:
            if await self._store.swap(self._scope, key, None, text, ttl_s):
                standing: str | None = text
            else:
                standing = await self._store.read(self._scope, key)
            if standing is not None:  # or it expired in between
                return _bytes_of(standing) or b""

    async def delete(self, keys: Sequence[str]) -> int:
        with self._seam():
            return sum(
                await self._all(self._store.remove(self._scope, key.encode()) for key in keys)
            )

    async def clear(self) -> int:
        with self._seam():
            return await self._store.clear(self._scope)

    async def lock(self, key: str, token: bytes, ttl_s: float) -> bool:
        with self._seam():
            return await self._store.swap(self._scope, key.encode(), None, _text_of(token), ttl_s)

    async def unlock(self, key: str, token: bytes) -> None:
        with self._seam():
            # A swap changes nothing if the lock is somebody else's by now; what it leaves is
            # nobody's, and can be taken away without a look.
            if await self._store.swap(self._scope, key.encode(), _text_of(token), '""', 1.0):
                await self._store.remove(self._scope, key.encode())

    async def _all(self, calls: Iterable[Awaitable[T]]) -> list[T]:
        """Each result, in order. One failure is everybody's."""
        if self._at_once:
            return [await call for call in calls]
        return list(await asyncio.gather(*calls))

    @contextmanager
    def _seam(self) -> Iterator[None]:
        try:
            yield
        except (StateUnavailable, StateMismatch) as error:
            raise CacheUnavailable(str(error)) from error
        except StateError as error:
            raise CacheError(str(error)) from error


def _text_of(value: bytes) -> str:
    return f'"{base64.b64encode(value).decode()}"'


def _bytes_of(text: str) -> bytes | None:
    """``None`` if somebody else has written there."""
    try:
        return base64.b64decode(text[1:-1], validate=True)
    except (binascii.Error, ValueError):
        return None
