"""From what ``add_limits`` is given to the store that keeps the counts there."""

from __future__ import annotations

from typing import Any, Final

from backstay.clock import Clock
from backstay.errors import BadLimit, MissingExtra
from backstay.limits.memory import MemoryCounts
from backstay.limits.port import CountStore

__all__ = ["new_store"]

_HOW: Final = (
    '"memory", "redis://host", a client of redis.asyncio, "postgresql://user@host/name", '
    '"sqlite:///file.db", or the app\'s database manager'
)
_CONNECTIONS: Final = 32


def new_store(storage: Any, *, clock: Clock, key_prefix: str = "backstay") -> CountStore:
    """The store in some place, not opened yet.

    Args:
        storage: ``"memory"``; a URL of a Redis (``redis://``, ``rediss://``, ``unix://``) or of a
            database; a client of ``redis.asyncio``; a ``Database``, a ``MainDatabaseManager``, an
            engine of SQLAlchemy's; an asynchronous storage of the library ``limits``; or a
            ``CountStore``. What is given ready-made is closed by whoever made it.
        clock: what time it is.
        key_prefix: in front of every name there, and of the tables'.

    Raises:
        BadLimit: it is none of these.
        MissingExtra: what it needs is not installed.
    """
    if isinstance(storage, str):
        kind = storage.partition(":")[0].partition("+")[0]
        if storage == "memory" or kind == "memory":
            return MemoryCounts(clock)
        if kind in {"redis", "rediss", "unix"}:
            return _at_redis(storage, clock, key_prefix)
        if kind in {"sqlite", "postgresql", "postgres"}:
            return _in_database(storage, clock, key_prefix)
        # Not the whole: there may be a password in it.
        raise BadLimit(f"{kind!r} is no place to count limits in; use {_HOW}")
    if _is_a("limits.aio.storage", "Storage", storage):
        from backstay.limits.library import LibraryCounts

        return LibraryCounts(storage, url=type(storage).__name__, clock=clock)
    if _is_a("redis.asyncio", "Redis", storage):
        return _with_client(storage, clock, key_prefix)
    if all(hasattr(storage, each) for each in ("hit", "check", "clear", "is_local")):
        store: CountStore = storage
        return store
    return _in_database(storage, clock, key_prefix)


def _is_a(module: str, name: str, value: object) -> bool:
    """Whether it is one of those, without importing a library for the answer."""
    return any(
        each.__name__ == name and each.__module__.startswith(module) for each in type(value).__mro__
    )


def _in_database(storage: Any, clock: Clock, key_prefix: str) -> CountStore:
    from backstay.db.database import Database
    from backstay.db.manager import BaseDatabaseManager
    from backstay.limits.database import DatabaseCounts

    given = storage.database if isinstance(storage, BaseDatabaseManager) else storage
    owned = not isinstance(given, Database)
    if isinstance(given, Database):
        database = given
    else:
        try:
            database = Database(given, options={"pool_size": 8, "max_overflow": 8})
        except (TypeError, ValueError) as error:
            # What it says may repeat the URL, and with it a password.
            raise BadLimit(
                f"limits cannot be counted in this {type(storage).__qualname__}; use {_HOW}"
            ) from error
    return DatabaseCounts(database, clock=clock, prefix=f"{key_prefix}_", owned=owned)


def _at_redis(url: str, clock: Clock, key_prefix: str) -> CountStore:
    try:
        from redis.asyncio import BlockingConnectionPool
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError as missing:
        raise MissingExtra("redis", missing.name or "redis") from missing
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=None,  # the limiter has one for everything
            retry=Retry(NoBackoff(), 0),  # what was counted should not be counted again
            retry_on_error=[],
        )
    except ValueError as error:
        raise BadLimit(f"this is no address of a Redis: {error}; use {_HOW}") from error
    return _over(pool, clock, key_prefix, owned=True)


def _with_client(client: Any, clock: Clock, key_prefix: str) -> CountStore:
    return _over(client.connection_pool, clock, key_prefix, owned=False)


def _over(pool: Any, clock: Clock, key_prefix: str, *, owned: bool) -> CountStore:
    from backstay.limits.library import LibraryCounts

    try:
        from limits.aio.storage import RedisStorage
    except ImportError as missing:
        raise MissingExtra("limits", missing.name or "limits") from missing
    options = pool.connection_kwargs
    where = (
        f"unix://{options['path']}"
        if options.get("path")
        else f"redis://{options.get('host', '?')}:{options.get('port', 6379)}/{options.get('db') or 0}"
    )
    storage = RedisStorage(
        "async+redis://", implementation="redispy", key_prefix=key_prefix, connection_pool=pool
    )
    return LibraryCounts(storage, url=where, clock=clock, pool=pool, owned=owned)
