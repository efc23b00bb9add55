"""One database, and engines for it that are made when they are first needed."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping
from typing import Any

from backstay.db.address import Address, read_url, require_shared
from backstay.errors import MissingExtra

try:
    from sqlalchemy import event
    from sqlalchemy.engine import URL, Connection, Engine, create_engine
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
    from sqlalchemy.orm import Session
except ImportError as missing:
    raise MissingExtra("db", missing.name or "greenlet") from missing

__all__ = ["Database"]


class Database:
    """A database for async and for sync code.

    A SQLite file is opened in WAL mode with foreign keys enforced, and every transaction takes
    the write lock when it begins: one that reads and then writes never fails because somebody
    else has written in between, but waits at its start. One that only reads may ask not to:
    ``session.connection(execution_options={"sqlite_begin": "DEFERRED"})`` as its first statement.

    Args:
        database: a URL (drivers are chosen as ``Address.of`` says), or an engine of your own,
            which is used as it is and not closed. The engine for the other kind of code is made
            from its URL.
        busy_timeout_s: seconds that SQLite waits for another writer before it gives up.
        options: for ``create_engine`` and ``create_async_engine``: ``pool_size``, ``echo``.

    Raises:
        ValueError: it is no URL of a database, or it is in memory, where every connection would
            have a database of its own.
        TypeError: it is neither a URL nor an engine.
    """

    def __init__(
        self,
        database: str | URL | Engine | AsyncEngine,
        *,
        busy_timeout_s: float = 10.0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._engine: Engine | None = None
        self._async_engine: AsyncEngine | None = None
        self._given: Engine | AsyncEngine | None = None
        if isinstance(database, Engine | AsyncEngine):
            self._given = database
            self._url = database.url
        elif isinstance(database, str | URL):
            self._url = read_url(database)
            require_shared(self._url)
        else:
            raise TypeError(
                f"a database is a URL or a SQLAlchemy engine; got {database!r} of type "
                f"{type(database).__qualname__}"
            )
        self._busy_timeout_s = busy_timeout_s
        self._options = dict(options or {})
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Its URL, without the password."""
        return self._url.render_as_string(hide_password=True)

    @property
    def dialect(self) -> str:
        """SQLAlchemy's name for the kind of database: ``"sqlite"``, ``"postgresql"``."""
        return self._url.get_backend_name()

    @property
    def async_engine(self) -> AsyncEngine:
        """The engine for async code. Belongs to the event loop it is first used in.

        Raises:
            MissingExtra: no async driver for this database is installed.
            ValueError: none is known.
        """
        if isinstance(self._given, AsyncEngine):
            return self._given
        with self._lock:
            if self._async_engine is None:
                address = Address.of(self._url, asynchronous=True)
                require_shared(address.url)
                engine = create_async_engine(address.url, **self._options_for(address))
                self._prepare(engine.sync_engine)
                self._async_engine = engine
            return self._async_engine

    @property
    def engine(self) -> Engine:
        """The engine for sync code, in any thread.

        Raises:
            MissingExtra, ValueError: as ``async_engine``.
        """
        if isinstance(self._given, Engine):
            return self._given
        with self._lock:
            if self._engine is None:
                address = Address.of(self._url, asynchronous=False)
                require_shared(address.url)
                engine = create_engine(address.url, **self._options_for(address))
                self._prepare(engine)
                self._engine = engine
            return self._engine

    def session(self, **options: Any) -> AsyncSession:
        """A new session for async code; whoever opens it closes it.

        Args:
            options: for ``AsyncSession``; its objects stay readable after a commit unless
                ``expire_on_commit=True``.
        """
        return AsyncSession(self.async_engine, **{"expire_on_commit": False, **options})

    def sync_session(self, **options: Any) -> Session:
        """The same for sync code."""
        return Session(self.engine, **{"expire_on_commit": False, **options})

    async def close(self) -> None:
        """Close the engines made here. Using the database again makes new ones."""
        with self._lock:
            asynchronous, self._async_engine = self._async_engine, None
            sync, self._engine = self._engine, None
        if sync is not None:
            sync.dispose()
        if asynchronous is not None:
            await asynchronous.dispose()

    def _options_for(self, address: Address) -> dict[str, Any]:
        connect_args = dict(address.connect_args)
        options: dict[str, Any] = {}
        if self.dialect == "sqlite":
            # Sessions for threads are opened in one thread and may be committed in another.
            connect_args |= {"timeout": self._busy_timeout_s, "check_same_thread": False}
        else:
            # A server that was restarted is noticed when a connection is taken, not in the middle.
            options["pool_pre_ping"] = True
        options |= self._options
        options["connect_args"] = {**connect_args, **options.get("connect_args", {})}
        return options

    def _prepare(self, engine: Engine) -> None:
        if self.dialect == "sqlite":
            event.listen(engine, "connect", _set_up_sqlite)
            event.listen(engine, "begin", _begin_sqlite)


def _set_up_sqlite(connection: Any, _: object) -> None:
    # Python's sqlite3 begins transactions by itself, late and without the write lock, so that a
    # transaction that has read cannot write any more once another connection has ("database is
    # locked", at once, whatever the timeout: its view of the data is out of date). SQLAlchemy's
    # documentation ("Pysqlite: serializable isolation / savepoints") has the way out: switch that
    # off, and emit BEGIN where SQLAlchemy begins.
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA foreign_keys=ON")
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.fetchone()
        except sqlite3.OperationalError:
            # Somebody else is using the file in another mode just now. It is only slower so, and
            # the mode is the file's: the next connection to ask changes it for all.
            pass
    finally:
        cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    how = connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")
    connection.exec_driver_sql(f"BEGIN {how}")
