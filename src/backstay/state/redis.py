"""State in Redis: any number of machines, and values that Redis itself lets expire.

A single server, or what looks like one (Sentinel's master, a managed one); no cluster. How much a
crash of the server takes is Redis's ``appendonly`` to say, and ``maxmemory-policy`` may take more:
``noeviction`` or a ``volatile-`` one keeps what has no end.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Iterable
from typing import Any, cast

from backstay.errors import MissingExtra, StateMismatch, StateUnavailable

try:
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import RedisError, ResponseError
    from redis.exceptions import TimeoutError as RedisTimeoutError
except ImportError as error:  # pragma: no cover
    raise MissingExtra("redis", "redis") from error

from backstay.ledger.opening import without_password
from backstay.state.port import Ttl
from backstay.state.redis_scripts import ADD, CLEAR, KEYS, REMOVE, SWAP, SWEEP, WRITE

__all__ = ["RedisStore"]


class RedisStore:
    """Implements ``StateStore``.

    Expiry is Redis's own, in milliseconds (rounded up) by the server's clock.

    Args:
        url: ``redis://user:password@host:port/number``, or ``rediss://`` with TLS.
        prefix: in front of every name in Redis.
        patience_s: seconds to connect, for an answer, and for a free connection.
        connections: at most; each is made when it is first needed.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "backstay_",
        patience_s: float = 10.0,
        connections: int = 16,
    ) -> None:
        self._url = url
        self._patience_s = patience_s
        self._connections = connections
        self._values = f"{prefix}state:".encode()
        self._scopes = f"{prefix}state-keys:".encode()
        self._expiries = f"{prefix}state-expiries".encode()
        self._client: Redis | None = None
        self._scripts: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return without_password(self._url)

    # ------------------------------------------------------------------ life

    async def open(self) -> None:
        if self._client is not None:
            return
        try:
            pool = BlockingConnectionPool.from_url(
                self._url,
                max_connections=self._connections,
                timeout=self._patience_s,
                socket_timeout=self._patience_s,
                socket_connect_timeout=self._patience_s,
                # The client would send again what may have been done: an increment, twice.
                retry=Retry(NoBackoff(), 0),
                retry_on_error=[],
                decode_responses=False,
            )
        except ValueError as error:
            raise StateUnavailable(f"{self.url!r} is no address of a Redis: {error}") from error
        client = Redis(connection_pool=pool)
        self._scripts = {
            name: client.register_script(text)
            for name, text in (
                ("write", WRITE),
                ("remove", REMOVE),
                ("add", ADD),
                ("swap", SWAP),
                ("clear", CLEAR),
                ("keys", KEYS),
                ("sweep", SWEEP),
            )
        }
        self._client = client
        try:
            await self._repeat(lambda: cast("Awaitable[Any]", client.ping()))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()
            await client.connection_pool.disconnect()

    # ------------------------------------------------------------------ the port

    async def read(self, scope: bytes, key: bytes) -> str | None:
        client = self._opened()
        found = await self._repeat(lambda: client.get(self._values + _name(scope, key)))
        return None if found is None else found.decode()

    async def write(self, scope: bytes, key: bytes, value: str, ttl_s: float | None) -> None:
        await self._repeat(
            lambda: self._call("write", scope, key, value.encode(), _milliseconds(ttl_s))
        )

    async def remove(self, scope: bytes, key: bytes) -> bool:
        return bool(await self._once(self._call("remove", scope, key)))

    async def clear(self, scope: bytes) -> int:
        start = _name(scope, b"")
        script = self._script("clear")
        return int(
            await self._once(
                script(
                    keys=[self._scopes + scope, self._expiries], args=[self._values + start, start]
                )
            )
        )

    async def add(self, scope: bytes, key: bytes, by: int, ttl_s: float | None) -> int | None:
        found = await self._once(self._call("add", scope, key, by, _milliseconds(ttl_s)))
        return None if found is None else int(found)

    async def swap(
        self, scope: bytes, key: bytes, expected: str | None, value: str, ttl: Ttl
    ) -> bool:
        arguments = (
            value.encode(),
            b"" if ttl is ... else _milliseconds(ttl),
            b"1" if ttl is ... else b"0",
            b"0" if expected is None else b"1",
            b"" if expected is None else expected.encode(),
        )
        return bool(await self._once(self._call("swap", scope, key, *arguments)))

    async def keys(self, scope: bytes, prefix: bytes) -> list[bytes]:
        script = self._script("keys")
        start = self._values + _name(scope, b"")
        found: Iterable[bytes] = await self._repeat(
            lambda: script(keys=[self._scopes + scope], args=[start, prefix])
        )
        return sorted(found)

    async def sweep(self, limit: int) -> int:
        script = self._script("sweep")
        return int(
            await self._repeat(
                lambda: script(keys=[self._expiries], args=[self._values, self._scopes, limit])
            )
        )

    # ------------------------------------------------------------------ reaching the server

    def _call(self, script: str, scope: bytes, key: bytes, *arguments: Any) -> Awaitable[Any]:
        name = _name(scope, key)
        called: Awaitable[Any] = self._script(script)(
            keys=[self._values + name, self._scopes + scope, self._expiries],
            args=[key, name, *arguments],
        )
        return called

    def _script(self, name: str) -> Any:
        self._opened()
        return self._scripts[name]

    def _opened(self) -> Redis:
        if self._client is None:
            raise StateUnavailable(
                f"the state at {self.url} is not open: it is from the app's start to its end"
            )
        return self._client

    async def _repeat(self, call: Any) -> Any:
        """Do what is as good done twice; again, if the connection turns out to be lost."""
        try:
            return await call()
        except RedisTimeoutError as error:
            raise self._translated(error) from error
        except (RedisConnectionError, OSError):
            return await self._once(call())
        except RedisError as error:
            raise self._translated(error) from error

    async def _once(self, called: Awaitable[Any]) -> Any:
        try:
            return await called
        except (RedisError, OSError) as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> Exception:
        what = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, ResponseError) and "WRONGTYPE" in what:
            return StateMismatch(
                f"a name of the state at {self.url} is taken by something else ({what}); use "
                "another table_prefix=, or another database of this Redis"
            )
        if isinstance(error, ResponseError):
            return StateUnavailable(f"Redis at {self.url} refused: {what}; nothing was changed")
        return StateUnavailable(
            f"Redis at {self.url} does not answer: {what}; whether a change that was under way was "
            "made is not known"
        )


def _name(scope: bytes, key: bytes) -> bytes:
    """One name for both. The length keeps ``a`` + ``bc`` from being ``ab`` + ``c``."""
    return b"%d:%b%b" % (len(scope), scope, key)


def _milliseconds(ttl_s: float | None) -> bytes:
    return b"" if ttl_s is None else b"%d" % math.ceil(ttl_s * 1000)
