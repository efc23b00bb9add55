"""From an address, or what an app has already, to the store that keeps the cache there."""

from __future__ import annotations

import re
from typing import Any

from backstay.cache.memory import MemoryStore
from backstay.cache.port import CacheStore
from backstay.clock import Clock
from backstay.errors import BadCache, BadState

__all__ = ["store_of"]

_HOW = (
    '"memory://", "sqlite:///cache.db", "postgresql://user@host/name", "redis://host", a client of '
    "redis.asyncio, cashews' Cache, or a CacheStore of your own"
)


def store_of(
    where: str | CacheStore | Any, *, namespace: str, max_bytes: int, clock: Clock
) -> CacheStore:
    """The store at an address, not opened yet.

    Args:
        where: ``None`` or ``"memory://"`` for one process, ``"sqlite:///cache.db"`` for the
            processes of one machine, ``"postgresql://…"`` and ``"redis://…"`` for any; a client of
            ``redis.asyncio``, cashews' ``Cache``, or a store, which is used as it is.
        namespace: what all keys begin with.
        max_bytes: of a store in memory.
        clock: of a store in memory or in SQLite.

    Raises:
        BadCache: it is none of these.
        MissingExtra: its driver is not installed.
    """
    if where is None:
        return MemoryStore(max_bytes=max_bytes, clock=clock)
    if isinstance(where, str):
        return _at(where, namespace=namespace, max_bytes=max_bytes, clock=clock)
    modules = {each.__module__.partition(".")[0] for each in type(where).__mro__}
    if "cashews" in modules:
        from backstay.cache.cashews import CashewsStore

        return CashewsStore(where, namespace=namespace)
    if isinstance(where, CacheStore):
        return where
    if callable(getattr(where, "execute_command", None)) and hasattr(where, "pipeline"):
        _require_redis(where)
        from backstay.cache.redis import RedisStore

        return RedisStore(where, namespace=namespace)
    raise BadCache(
        f"{where!r} of type {type(where).__qualname__} is no place for a cache; use {_HOW}"
    )


def _at(url: str, *, namespace: str, max_bytes: int, clock: Clock) -> CacheStore:
    kind = re.split(r"[+:]", url, maxsplit=1)[0] if "://" in url else ""
    if kind == "memory":
        return MemoryStore(max_bytes=max_bytes, clock=clock)
    if kind in {"redis", "rediss", "unix"}:
        from backstay.cache.redis import RedisStore

        return RedisStore(url, namespace=namespace)
    if kind in {"sqlite", "postgres", "postgresql"}:
        from backstay.cache.state_store import StateCacheStore

        try:
            return StateCacheStore(url, namespace=namespace, clock=clock)
        except BadState as error:
            raise BadCache(str(error).replace("state", "cache")) from error
    from backstay.ledger.opening import without_password

    raise BadCache(f"{without_password(url)!r} is no address of a cache; use {_HOW}")


def _require_redis(client: Any) -> None:
    from inspect import iscoroutinefunction

    if "Cluster" in type(client).__name__:
        raise BadCache(
            f"{type(client).__qualname__} is a client of a cluster, whose parts each know some of "
            "the keys; the cache needs a single Redis (a replicated one will do)"
        )
    if not iscoroutinefunction(getattr(client, "execute_command", None)):
        raise BadCache(
            f"{type(client).__module__}.{type(client).__qualname__} is the client that blocks; "
            "use the one of redis.asyncio: redis.asyncio.from_url(...)"
        )
