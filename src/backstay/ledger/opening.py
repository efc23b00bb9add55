"""From a database URL to the engine that keeps its jobs."""

from __future__ import annotations

import importlib
import re
from typing import Any

from backstay.clock import Clock, SystemClock
from backstay.errors import BadJob
from backstay.ledger.port import Ledger

__all__ = ["DEFAULT_URL", "new_ledger", "url_of", "without_password"]

DEFAULT_URL = "sqlite:///backstay.db"

_ENGINES = {
    "memory": ("backstay.ledger.sqlite", "SqliteLedger"),
    "sqlite": ("backstay.ledger.sqlite", "SqliteLedger"),
    "postgres": ("backstay.ledger.postgres", "PostgresLedger"),
    "postgresql": ("backstay.ledger.postgres", "PostgresLedger"),
}


def new_ledger(
    database: str | Any = DEFAULT_URL,
    *,
    clock: Clock | None = None,
    prefix: str = "backstay_",
    schema: str | None = None,
    patience_s: float | None = None,
) -> Ledger:
    """The ledger in a database, not opened yet.

    Args:
        database: a URL as SQLAlchemy writes it; the driver it names (``+asyncpg``, ``+aiosqlite``)
            does not matter here. ``memory://`` lives and dies with the ledger. A SQLAlchemy
            ``Engine`` or ``AsyncEngine``, or anything with such a ``url``, stands for its URL.
        clock: ``None`` or a ``SystemClock`` measures by the database's clock where it has one.
        prefix: in front of every table's name: lower-case letters, digits and underscores.
        schema: PostgreSQL's schema of the tables, ``None`` for the first of the ``search_path``.
        patience_s: seconds to wait for other connections' locks on a SQLite file, or for
            PostgreSQL to let us in, before ``LedgerUnavailable``; ``None``: 30, and 10 or what
            the URL says.

    Raises:
        BadJob: no engine speaks to such a database, or a name is none.
    """
    url = url_of(database)
    kind = re.split(r"[+:]", url, maxsplit=1)[0]
    if kind not in _ENGINES or "://" not in url:
        raise BadJob(
            f"database={without_password(url)!r} is no address of a ledger; "
            'use "sqlite:///file.db", "postgresql://user@host/name" or "memory://"'
        )
    for what, name in (("prefix", prefix), ("schema", schema)):
        if name is not None and not re.fullmatch(r"[a-z_][a-z0-9_]{0,30}", name):
            raise BadJob(
                f"{what}={name!r} is no plain name: lower-case letters, digits and underscores, "
                "31 at most"
            )
    module, name = _ENGINES[kind]
    engine = getattr(importlib.import_module(module), name)
    now = None if clock is None or isinstance(clock, SystemClock) else clock.now
    ledger: Ledger = engine(url, now=now, prefix=prefix, schema=schema, patience_s=patience_s)
    return ledger


def url_of(database: object) -> str:
    """The URL as text, password included."""
    if isinstance(database, str):
        return database
    url = getattr(database, "url", None)
    url = getattr(database, "database_url", None) if url is None else url
    if url is None:
        raise BadJob(
            f"database={database!r} is neither a URL nor an engine with one; "
            'use "sqlite:///file.db" or "postgresql://user@host/name"'
        )
    render = getattr(url, "render_as_string", None)
    return str(render(hide_password=False)) if callable(render) else str(url)


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", url)
