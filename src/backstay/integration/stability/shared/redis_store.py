"""Circuits and buckets in Redis: one script a step, for any number of machines.

A single server, or what looks like one (Sentinel's master, a managed one); no cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from backstay.clock import Clock, SystemClock
from backstay.errors import BadIntegration, MissingExtra
from backstay.integration.stability.shared.memory_store import microseconds
from backstay.integration.stability.shared.port import (
    Ending,
    Lease,
    Pace,
    SharedCircuit,
    StoreUnavailable,
    Taken,
)
from backstay.integration.stability.shared.redis_scripts import (
    GIVE_BACK,
    LEASE,
    LOOK,
    RENEW,
    SETTLE,
    TAKE,
    TRIP,
)

try:
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import RedisError
    from redis.exceptions import TimeoutError as RedisTimeoutError
except ImportError as missing:
    raise MissingExtra("redis", missing.name or "redis") from missing

__all__ = ["RedisStore"]

_CONNECTIONS: Final = 16


class RedisStore:
    """Implements ``SharedStore``.

    Redis goes by its own clock, and lets what no longer matters expire.

    Args:
        redis: the URL, ``redis://user:password@host:port/number`` (``rediss://`` with TLS,
            ``unix://``), or a client of ``redis.asyncio``, whose connections are used and left
            open.
        clock: if it is no ``SystemClock``, it counts instead of the server's, but for what Redis
            lets expire.
        prefix: in front of every name in Redis.

    Raises:
        BadIntegration: that is no URL of a Redis.
    """

    def __init__(
        self, redis: str | Redis, *, clock: Clock | None = None, prefix: str = "backstay"
    ) -> None:
        self._owned = isinstance(redis, str)
        if isinstance(redis, str):
            try:
                pool = BlockingConnectionPool.from_url(
                    redis,
                    max_connections=_CONNECTIONS,
                    timeout=None,  # who asks has one for everything
                    retry=Retry(NoBackoff(), 0),
                    retry_on_error=[],
                )
            except ValueError as error:
                raise BadIntegration(f"this is no address of a Redis: {error}") from error
            redis = Redis(connection_pool=pool)
        self._client = redis
        self._pool: Any = redis.connection_pool
        self._clock = None if clock is None or isinstance(clock, SystemClock) else clock
        self._circuits = f"{prefix}:circuit:".encode()
        self._buckets = f"{prefix}:bucket:".encode()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scripts: dict[str, Any] = {
            text: redis.register_script(text)
            for text in (LOOK, TRIP, LEASE, RENEW, SETTLE, TAKE, GIVE_BACK)
        }

    @property
    def url(self) -> str:
        options = self._pool.connection_kwargs
        if options.get("path"):
            return f"unix://{options['path']}"
        return (
            f"redis://{options.get('host', '?')}:{options.get('port', 6379)}/"
            f"{options.get('db') or 0}"
        )

    async def open(self) -> None:
        await self._repeat(self._client.ping)

    async def close(self) -> None:
        if self._owned:
            self._move_here()
            await self._pool.disconnect()

    # ------------------------------------------------------------------ circuits

    async def look(self, names: Sequence[bytes]) -> list[SharedCircuit]:
        if not names:
            return []
        found = await self._run(LOOK, [self._circuits + each.hex().encode() for each in names])
        return [_told(each) for each in found]

    async def trip(self, name: bytes, *, epoch: int, reset_s: float) -> SharedCircuit:
        return _told(await self._of_circuit(TRIP, name, epoch, microseconds(reset_s)))

    async def lease(self, name: bytes, *, lease_s: float) -> Lease:
        granted, circuit = await self._of_circuit(LEASE, name, microseconds(lease_s))
        return Lease(bool(granted), _told(circuit))

    async def renew(self, name: bytes, *, epoch: int, lease_s: float) -> bool:
        return bool(await self._of_circuit(RENEW, name, epoch, microseconds(lease_s)))

    async def settle(
        self, name: bytes, *, epoch: int, ending: Ending, reset_s: float
    ) -> SharedCircuit:
        reset_us = microseconds(reset_s)
        return _told(await self._of_circuit(SETTLE, name, epoch, ending.value, reset_us))

    # ------------------------------------------------------------------ buckets

    async def take(self, name: bytes, pace: Pace, *, count: int, max_wait_s: float) -> Taken:
        room_us = microseconds(max_wait_s) + pace.slack_us
        found = await self._run(
            TAKE, [self._buckets + name.hex().encode()], count, pace.each_us, room_us
        )
        full_at, granted, now = map(int, found)
        return Taken(granted, max(0, full_at - pace.slack_us - now) / 1_000_000, full_at)

    async def give_back(self, name: bytes, pace: Pace, *, mark: int) -> None:
        script = self._scripts[GIVE_BACK]
        keys = [self._buckets + name.hex().encode()]
        await self._repeat(lambda: script(keys=keys, args=[mark, pace.each_us]))

    async def prune(self, at_most: int) -> int:
        return 0  # the server lets it expire by itself

    # ------------------------------------------------------------------ reaching the server

    async def _of_circuit(self, script: str, name: bytes, *arguments: Any) -> Any:
        return await self._run(script, [self._circuits + name.hex().encode()], *arguments)

    async def _run(self, script: str, keys: Sequence[bytes], *arguments: Any) -> Any:
        now = "" if self._clock is None else microseconds(self._clock.now().timestamp())
        call = self._scripts[script]
        return await self._repeat(lambda: call(keys=keys, args=[now, *arguments]))

    async def _repeat(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Ask, and once more if the connection turns out to be lost: all of it may be repeated."""
        self._move_here()
        try:
            return await call()
        except RedisTimeoutError as error:
            raise self._unavailable(error) from error
        except (RedisConnectionError, OSError):
            # The server has most likely ended the others, too.
            await self._pool.disconnect(inuse_connections=False)
        except RedisError as error:
            raise self._unavailable(error) from error
        try:
            return await call()
        except (RedisError, OSError) as error:
            raise self._unavailable(error) from error

    def _move_here(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None and self._loop.is_closed():
                self._pool.reset()  # its connections were that loop's
            self._loop = loop

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        what = " ".join(str(error).split()) or type(error).__name__
        return StoreUnavailable(f"the circuits and buckets at {self.url} are out of reach: {what}")


def _told(found: Sequence[Any]) -> SharedCircuit:
    epoch, opened_until, leased_until, now = found
    is_open = bool(opened_until)
    return SharedCircuit(
        int(epoch),
        is_open,
        max(0, int(opened_until) - int(now)) / 1_000_000 if is_open else 0.0,
        max(0, int(leased_until) - int(now)) / 1_000_000,
    )
