"""The cache over cashews, where an app has that already: https://pypi.org/project/cashews/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backstay.errors import BadCache, CacheUnavailable

__all__ = ["CashewsStore"]


class CashewsStore:
    """Implements ``CacheStore`` over ``cashews.Cache`` (7.x), which must have been set up.

    What it keeps its values in, how it writes them (pickled, in Redis) and who closes it are
    its owner's affair. Its back ends swallow their errors unless told otherwise, so this looks
    whether what matters was done.

    Args:
        cache: cashews' ``Cache``.
        namespace: what all keys begin with, before a colon: for ``clear``.

    Raises:
        BadCache: it was not set up, so that it would refuse every call.
    """

    def __init__(self, cache: Any, *, namespace: str) -> None:
        if not cache.is_setup():
            raise BadCache(
                'cashews\' Cache was given before its setup; call cache.setup("mem://") first, '
                "with the address you want"
            )
        self._cache = cache
        self._namespace = namespace

    @property
    def url(self) -> str:
        return "cashews"

    async def open(self) -> None:
        """Nothing: cashews opens itself."""

    async def close(self) -> None:
        """Nothing: it is closed by whoever made it."""

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        found = await self._cache.get_many(*keys)
        if len(found) != len(keys):  # its back ends do so when they fail
            raise CacheUnavailable(f"cashews gave {len(found)} values for {len(keys)} keys")
        return [each if isinstance(each, bytes) else None for each in found]

    async def set(self, key: str, value: bytes, ttl_s: float) -> None:
        if not await self._cache.set(key, value, expire=ttl_s):
            raise CacheUnavailable("cashews did not set a value, and says no more than that")

    async def set_many(self, values: Mapping[str, bytes], ttl_s: float) -> None:
        # One by one: its set_many does not say whether it was done.
        for key, value in values.items():
            await self.set(key, value, ttl_s)

    async def settle(self, keys: Sequence[str], value: bytes, ttl_s: float) -> list[bytes]:
        return [await self._settle(key, value, ttl_s) for key in keys]

    async def _settle(self, key: str, value: bytes, ttl_s: float) -> bytes:
        for _ in range(2):  # in memory, an expired value stands in the way until it is looked at
            if await self._cache.set(key, value, expire=ttl_s, exist=False):
                return value
            [standing] = await self.get_many([key])
            if standing is not None:
                return standing
        raise CacheUnavailable("cashews keeps nothing, and does not say why")

    async def delete(self, keys: Sequence[str]) -> int:
        return sum([bool(await self._cache.delete(key)) for key in keys])

    async def clear(self) -> int:
        names = [name async for name in self._cache.scan(f"{self._namespace}:*")]
        return await self.delete(
            [name.decode() if isinstance(name, bytes) else name for name in names]
        )
