"""From one database URL to the drivers that fit: one for async code, one for threads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from backstay.errors import MissingExtra

try:
    from sqlalchemy.engine import URL, make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError
except ImportError as missing:
    raise MissingExtra("db", "sqlalchemy") from missing

__all__ = ["Address", "read_url", "require_shared"]

# The names SQLAlchemy has for drivers, the preferred one first, with the package each needs.
_ASYNC = {
    "sqlite": {"aiosqlite": "aiosqlite"},
    "postgresql": {"asyncpg": "asyncpg", "psycopg": "psycopg"},
}
_SYNC = {
    "sqlite": {"pysqlite": "sqlite3"},
    "postgresql": {"psycopg": "psycopg", "psycopg2": "psycopg2", "pg8000": "pg8000"},
}
_ALIASES = {"postgres": "postgresql"}


@dataclass(frozen=True, slots=True)
class Address:
    """How to reach a database with one driver.

    Attributes:
        url: for ``create_engine`` or ``create_async_engine``.
        connect_args: what the driver does not take from the URL.
    """

    url: URL
    connect_args: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, url: str | URL, *, asynchronous: bool) -> Address:
        """The address for async code, or for sync code.

        A driver in the URL is used where it fits. ``sqlite`` means aiosqlite and the standard
        library's, ``postgresql`` means asyncpg and psycopg; ``postgresql+psycopg`` serves both.
        Options that the two PostgreSQL drivers spell differently (``sslmode``,
        ``connect_timeout``, ``application_name``, ``options``) are translated.

        Raises:
            ValueError: it is no URL, or no driver of this database's is known that fits.
            MissingExtra: none of those that would fit is installed.
        """
        found = read_url(url)
        backend, _, driver = found.drivername.partition("+")
        candidates = (_ASYNC if asynchronous else _SYNC).get(backend)
        if candidates is None:
            return cls(_as_it_is(found, asynchronous))
        if driver in candidates:
            candidates = {driver: candidates[driver]}
        name = _installed(candidates)
        address = cls(found.set(drivername=f"{backend}+{name}"))
        return address._for_asyncpg() if name == "asyncpg" else address._for_libpq(backend)

    def _for_asyncpg(self) -> Address:
        query = dict(self.url.query)
        args: dict[str, Any] = {}
        settings: dict[str, str] = {}
        if "sslmode" in query:
            query.setdefault("ssl", query.pop("sslmode"))
        if "connect_timeout" in query:
            args["timeout"] = float(_last(query.pop("connect_timeout")))
        if "application_name" in query:
            settings["application_name"] = _last(query.pop("application_name"))
        if "options" in query:
            # As libpq writes it: -c search_path=shop -c statement_timeout=5000
            settings |= dict(re.findall(r"-c\s*([\w.]+)=(\S+)", _last(query.pop("options"))))
        if settings:
            args["server_settings"] = settings
        return Address(self.url.set(query=query), args)

    def _for_libpq(self, backend: str) -> Address:
        query = dict(self.url.query)
        if backend != "postgresql" or "ssl" not in query:
            return self
        mode = {"true": "require", "false": "disable"}.get(_last(query["ssl"]), _last(query["ssl"]))
        query.pop("ssl")
        query.setdefault("sslmode", mode)
        return Address(self.url.set(query=query), self.connect_args)


def read_url(url: str | URL) -> URL:
    """A database's URL.

    Raises:
        ValueError: it is none, or SQLAlchemy knows no such database.
    """
    try:
        found = make_url(url)
    except ArgumentError:
        raise ValueError(
            f'{url!r} is no database URL; use "sqlite:///file.db" or "postgresql://user@host/name"'
        ) from None
    backend, plus, driver = found.drivername.partition("+")
    backend = _ALIASES.get(backend, backend)
    if backend not in _SYNC:
        try:
            found.get_dialect()
        except NoSuchModuleError:
            raise ValueError(
                f"SQLAlchemy knows no database {backend!r}, which {_shown(found)!r} names; "
                'use "sqlite:///file.db" or "postgresql://user@host/name"'
            ) from None
    return found.set(drivername=f"{backend}{plus}{driver}")


def require_shared(url: URL) -> None:
    """Refuse a SQLite database that is nowhere but in the memory of one connection.

    Raises:
        ValueError: it is.
    """
    if url.get_backend_name() != "sqlite":
        return
    name = url.database or ""
    if not name or ":memory:" in name or "mode=memory" in name or url.query.get("mode") == "memory":
        raise ValueError(
            f"{_shown(url)!r} is in memory, where every connection would have a database of its "
            "own; use a file, or pass an engine of your own and use sessions of its kind only"
        )


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=True)


def _installed(candidates: dict[str, str]) -> str:
    for name, package in candidates.items():
        if find_spec(package) is not None:
            return name
    raise MissingExtra("db", next(iter(candidates.values())))


def _as_it_is(url: URL, asynchronous: bool) -> URL:
    """For databases that are not ours to choose drivers for."""
    kind = "async" if asynchronous else "sync"
    try:
        fits = url.get_dialect().is_async is asynchronous
    except (NoSuchModuleError, ImportError):
        fits = False
    if not fits:
        raise ValueError(
            f"{url.drivername!r} is no driver for {kind} code that is known here; "
            f"name one in the URL, or pass an {'AsyncEngine' if asynchronous else 'Engine'}"
        )
    return url


def _last(value: str | Sequence[str]) -> str:
    return value if isinstance(value, str) else value[-1]
