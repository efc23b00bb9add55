"""From a URL, a database or a client of Redis to what processes share there."""

from __future__ import annotations

from typing import Any, Final

from backstay.clock import Clock
from backstay.errors import BadIntegration
from backstay.integration.stability.shared.memory_store import MemoryStore
from backstay.integration.stability.shared.port import SharedStore
from backstay.integration.stability.shared.shared_states import SharedStates

__all__ = ["new_store", "open_shared_states"]

_HOW: Final = (
    '"redis://host", a client of redis.asyncio, "postgresql://user@host/name", '
    '"sqlite:///file.db", the app\'s database manager, or "memory" in tests'
)


def open_shared_states(
    where: Any,
    *,
    clock: Clock | None = None,
    key_prefix: str = "backstay",
    timeout_s: float = 0.25,
    lease_s: float = 5.0,
) -> SharedStates:
    """What processes share in some place: for ``sp.CircuitBreaker(shared=)`` and its like.

    Nothing is connected yet; the first call does that, or ``open()``, or ``async with``.

    Args:
        where: the URL of a Redis (``redis://``, ``rediss://``, ``unix://``) or of a database
            (SQLite for one machine, PostgreSQL for any); a client of ``redis.asyncio``; a
            ``Database``, a ``MainDatabaseManager``, an engine of SQLAlchemy's; ``"memory"`` for
            this process alone; or a ``SharedStore``. What is given ready-made is closed by whoever
            made it. PostgreSQL is reached by connections of its own.
        clock: what time it is here, ``None`` for the machine's. PostgreSQL and Redis go by their
            own, unless this is no ``SystemClock``.
        key_prefix: in front of every name there, and of the tables'.
        timeout_s: seconds to wait for an answer before a call goes on without.
        lease_s: seconds after which another process may try if the one that does has died.

    Raises:
        BadIntegration: it is none of these, or a number makes no sense.
        MissingExtra: what it needs is not installed.
    """
    store = new_store(where, clock=clock, key_prefix=key_prefix)
    return SharedStates(store, clock=clock, timeout_s=timeout_s, lease_s=lease_s)


def new_store(
    where: Any, *, clock: Clock | None = None, key_prefix: str = "backstay"
) -> SharedStore:
    """The store alone, not opened yet; see ``open_shared_states``."""
    if isinstance(where, str):
        kind = where.partition(":")[0].partition("+")[0]
        if kind == "memory":
            return MemoryStore(clock)
        if kind in {"redis", "rediss", "unix"}:
            return _at_redis(where, clock, key_prefix)
        if kind in {"sqlite", "postgresql", "postgres"}:
            return _in_database(where, clock, key_prefix)
        # Not the whole: there may be a password in it.
        raise BadIntegration(f"{kind!r} is no place that processes share; use {_HOW}")
    if any(
        each.__name__ == "Redis" and each.__module__.startswith("redis.asyncio")
        for each in type(where).__mro__
    ):
        return _at_redis(where, clock, key_prefix)
    if all(callable(getattr(where, each, None)) for each in ("trip", "lease", "settle", "take")):
        store: SharedStore = where
        return store
    return _in_database(where, clock, key_prefix)


def _at_redis(where: Any, clock: Clock | None, key_prefix: str) -> SharedStore:
    from backstay.integration.stability.shared.redis_store import RedisStore

    return RedisStore(where, clock=clock, prefix=key_prefix)


def _in_database(where: Any, clock: Clock | None, key_prefix: str) -> SharedStore:
    from backstay.db.database import Database
    from backstay.db.manager import BaseDatabaseManager
    from backstay.integration.stability.shared.database_store import DatabaseStore

    given = where.database if isinstance(where, BaseDatabaseManager) else where
    if isinstance(given, Database):
        return DatabaseStore(given, clock=clock, prefix=f"{key_prefix}_")
    try:
        # Nobody waits for long, so nothing should stand in line for long either.
        database = Database(given, busy_timeout_s=1.0, options=_options_of(given))
    except (TypeError, ValueError) as error:
        # What it says may repeat the URL, and with it a password.
        raise BadIntegration(
            f"processes share nothing in this {type(where).__qualname__}; use {_HOW}"
        ) from error
    return DatabaseStore(database, clock=clock, prefix=f"{key_prefix}_", owned=True)


def _options_of(given: Any) -> dict[str, int]:
    """For connections that are made here."""
    return {"pool_size": 4, "max_overflow": 0} if isinstance(given, str) else {}
