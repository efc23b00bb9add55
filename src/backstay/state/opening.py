"""From a URL to the store that keeps the state there."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

from backstay.clock import Clock
from backstay.errors import BadState
from backstay.ledger.opening import without_password
from backstay.ledger.sqlite_connections import MEMORY, file_of
from backstay.state.memory import MemoryStore
from backstay.state.port import StateStore

__all__ = ["new_store", "open_store", "url_beside"]

_KINDS = {
    "memory": "memory",
    "postgres": "postgres",
    "postgresql": "postgres",
    "redis": "redis",
    "rediss": "redis",
    "sqlite": "sqlite",
}


def new_store(
    url: str,
    *,
    clock: Clock | None = None,
    prefix: str = "backstay_",
    schema: str | None = None,
    patience_s: float = 10.0,
) -> StateStore:
    """The store at a URL, not opened yet.

    Args:
        url: ``memory://`` for one process until it ends, ``sqlite:///file.db`` for the processes
            of one machine, ``postgresql://user@host/name`` or ``redis://host`` (``rediss://`` with
            TLS) for any. The driver it names (``+asyncpg``) does not matter here.
        clock: what time it is, for memory and SQLite. PostgreSQL and Redis go by the server's, so
            that machines agree; a clock that is no ``SystemClock`` counts for PostgreSQL too.
        prefix: in front of every table's name (in Redis, of every name): lower-case letters,
            digits and underscores.
        schema: PostgreSQL's schema of the tables, ``None`` for the first of the ``search_path``.
        patience_s: seconds to wait for a connection, an answer or somebody's lock.

    Raises:
        BadState: no store speaks to such a thing, or a name is none.
        MissingExtra: its driver is not installed.
    """
    kind = _KINDS.get(re.split(r"[+:]", url, maxsplit=1)[0]) if isinstance(url, str) else None
    if kind is None or "://" not in url:
        shown = without_password(url) if isinstance(url, str) else url
        raise BadState(
            f"{shown!r} is no address of a state; use "
            '"memory://", "sqlite:///file.db", "postgresql://user@host/name" or "redis://host"'
        )
    for what, name in (("prefix", prefix), ("schema", schema)):
        if name is not None and not re.fullmatch(r"[a-z_][a-z0-9_]{0,30}", name):
            raise BadState(
                f"{what}={name!r} is no plain name: lower-case letters, digits and underscores, "
                "31 at most"
            )
    if kind == "memory" or (kind == "sqlite" and file_of(url) == MEMORY):
        return MemoryStore(clock=clock)
    if kind == "redis":
        return _class("redis", "RedisStore")(url, prefix=prefix, patience_s=patience_s)
    options: dict[str, Any] = {"clock": clock, "prefix": prefix, "patience_s": patience_s}
    if kind == "postgres":
        return _class("postgres", "PostgresStore")(url, schema=schema, **options)
    return _class("sqlite", "SqliteStore")(url, **options)


def url_beside(database: str) -> str:
    """Where the state is kept if only a database was named.

    In that database, but for SQLite files. A file has one write lock, and a piece of work that has
    a transaction open in it could not change its state before the end; so the state of ``shop.db``
    lies in ``shop-state.db``.
    """
    if not database.startswith("sqlite") or file_of(database) == MEMORY:
        return database
    scheme, slashes, rest = database.partition("://")
    path, question, query = rest.partition("?")
    stem, dot, suffix = path.rpartition(".")
    if not dot or "/" in suffix:
        stem, dot, suffix = path, "", ""
    return f"{scheme}{slashes}{stem}-state{dot}{suffix}{question}{query}"


async def open_store(url: str, **options: Any) -> StateStore:
    """The same, opened. Whoever opens it closes it: ``await store.close()``."""
    store = new_store(url, **options)
    await store.open()
    return store


def _class(module: str, name: str) -> Callable[..., StateStore]:
    # Each loads its driver, so only the one that is wanted is imported.
    found: Callable[..., StateStore] = getattr(import_module(f"backstay.state.{module}"), name)
    return found
