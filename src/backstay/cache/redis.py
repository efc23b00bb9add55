"""The cache in Redis: any number of processes and machines.

A single server, or what looks like one (Sentinel's master, a managed one); no cluster, whose
parts each know some of the keys. Redis may evict what it likes, whatever its ``maxmemory-policy``.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from backstay.errors import BadCache, CacheError, CacheUnavailable, MissingExtra
from backstay.ledger.opening import without_password

try:
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import RedisError
    from redis.exceptions import TimeoutError as RedisTimeoutError
except ImportError as error:  # pragma: no cover
    raise MissingExtra("redis", "redis") from error

__all__ = ["RedisStore"]

T = TypeVar("T")

# Has the client give bytes, even one that was told decode_responses=True.
_AS_BYTES: dict[str, Any] = {"NEVER_DECODE": []}
_CONNECTIONS = 32
_AT_A_TIME = 1000

_UNLOCK = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('DEL', KEYS[1])
end
return 0
"""


class RedisStore:
    """Implements ``CacheStore`` and ``LockingStore``.

    Expiry is Redis's own, in milliseconds by the server's clock.

    Args:
        where: ``redis://user:password@host:port/number``, ``rediss://`` with TLS, ``unix://``; or
            a client of ``redis.asyncio``, with or without ``decode_responses``. A client given is
            used as it is, and closed by whoever made it.
        namespace: what all keys begin with, before a colon: for ``clear``.

    Raises:
        BadCache: it is no address of a Redis.
    """

    def __init__(self, where: str | Any, *, namespace: str) -> None:
        self._namespace = namespace
        self._address: str | None = where if isinstance(where, str) else None
        self._client: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        if self._address is None:
            self._client = where
            self._url = _url_of(where)
        else:
            self._url = without_password(self._address)
            self._connect()  # an address that is none is said where it was given

    @property
    def url(self) -> str:
        return self._url

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        if self._address is None:
            self._forget_connections_of_a_closed_loop()
        elif self._client is None or self._loop is not loop:
            self._connect()
        self._loop = loop

    async def close(self) -> None:
        if self._address is not None:
            client, self._client = self._client, None
            if client is not None:
                await client.aclose()
                await client.connection_pool.disconnect()

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        client = self._opened()
        found: list[bytes | None] = await self._do(
            lambda: client.execute_command("MGET", *keys, **_AS_BYTES)
        )
        return found

    async def set(self, key: str, value: bytes, ttl_s: float) -> None:
        client = self._opened()
        await self._do(lambda: client.execute_command("SET", key, value, "PX", _ms(ttl_s)))

    async def set_many(self, values: Mapping[str, bytes], ttl_s: float) -> None:
        if len(values) == 1:
            [(key, value)] = values.items()
            await self.set(key, value, ttl_s)
            return
        client = self._opened()

        async def set_all() -> None:
            pipeline = client.pipeline(transaction=False)
            for key, value in values.items():
                pipeline.execute_command("SET", key, value, "PX", _ms(ttl_s))
            await pipeline.execute()

        await self._do(set_all)

    async def settle(self, keys: Sequence[str], value: bytes, ttl_s: float) -> list[bytes]:
        client = self._opened()

        async def set_and_get() -> list[bytes | None]:
            pipeline = client.pipeline(transaction=False)
            for key in keys:
                pipeline.execute_command("SET", key, value, "PX", _ms(ttl_s), "NX")
            pipeline.execute_command("MGET", *keys, **_AS_BYTES)
            found: list[bytes | None] = (await pipeline.execute())[-1]
            return found

        for _ in range(3):
            found = await self._do(set_and_get)
            standing = [each for each in found if each is not None]
            if len(standing) == len(keys):  # or one of them expired in between
                return standing
        raise CacheError(
            f"Redis at {self._url} keeps nothing: what was set is gone at once; look at its "
            "maxmemory, and at who deletes keys there"
        )

    async def delete(self, keys: Sequence[str]) -> int:
        client = self._opened()
        return int(await self._do(lambda: client.execute_command("UNLINK", *keys)))

    async def clear(self) -> int:
        client = self._opened()
        count = 0
        batch: list[Any] = []

        async def every_key() -> None:
            nonlocal count
            batch.clear()
            async for key in client.scan_iter(match=f"{self._namespace}:*", count=_AT_A_TIME):
                batch.append(key)
                if len(batch) >= _AT_A_TIME:
                    count += int(await client.execute_command("UNLINK", *batch))
                    batch.clear()
            if batch:
                count += int(await client.execute_command("UNLINK", *batch))

        await self._do(every_key)
        return count

    async def lock(self, key: str, token: bytes, ttl_s: float) -> bool:
        client = self._opened()
        # Once: a second time it would be told that the lock is taken, by itself.
        return bool(
            await self._once(
                lambda: client.execute_command("SET", key, token, "PX", _ms(ttl_s), "NX")
            )
        )

    async def unlock(self, key: str, token: bytes) -> None:
        client = self._opened()
        await self._do(lambda: client.execute_command("EVAL", _UNLOCK, 1, key, token))

    # ------------------------------------------------------------------ reaching the server

    def _connect(self) -> None:
        assert self._address is not None
        try:
            pool = BlockingConnectionPool.from_url(
                self._address,
                max_connections=_CONNECTIONS,
                timeout=None,  # whoever asks bounds that
                retry=Retry(NoBackoff(), 0),  # what may be asked again is asked again below
                retry_on_error=[],
                decode_responses=False,
            )
        except ValueError as error:
            raise BadCache(f"{self._url!r} is no address of a Redis: {error}") from error
        self._client = Redis(connection_pool=pool)

    def _opened(self) -> Any:
        if self._client is None:
            raise CacheUnavailable(f"the cache at {self._url} is not open")
        return self._client

    def _forget_connections_of_a_closed_loop(self) -> None:
        """A client made for a module is used by one event loop after another in tests."""
        if self._loop is not None and self._loop.is_closed():
            reset = getattr(getattr(self._client, "connection_pool", None), "reset", None)
            if reset is not None:
                reset()

    async def _do(self, call: Callable[[], Awaitable[T]]) -> T:
        """Ask; again, if the connection turns out to be lost: all of this is as good done twice."""
        try:
            return await call()
        except RedisTimeoutError as error:
            raise self._unavailable(error) from error
        except (RedisConnectionError, OSError):
            return await self._once(call)
        except RedisError as error:
            raise self._refused(error) from error

    async def _once(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            return await call()
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            raise self._unavailable(error) from error
        except RedisError as error:
            raise self._refused(error) from error

    def _unavailable(self, error: Exception) -> CacheUnavailable:
        what = " ".join(str(error).split()) or type(error).__name__
        return CacheUnavailable(f"Redis at {self._url} does not answer: {what}")

    def _refused(self, error: Exception) -> CacheError:
        return CacheError(f"Redis at {self._url} refused: {error}")


def _ms(ttl_s: float) -> int:
    return max(1, math.ceil(ttl_s * 1000))


def _url_of(client: Any) -> str:
    """Where a client's connections go, as it may be shown."""
    options = getattr(getattr(client, "connection_pool", None), "connection_kwargs", None) or {}
    if path := options.get("path"):
        return f"unix://{path}"
    return (
        f"redis://{options.get('host', '?')}:{options.get('port', 6379)}/{options.get('db') or 0}"
    )
