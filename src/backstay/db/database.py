"""One database, and engines for it that are made when they are first needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

from backstay.db.address import read_url, require_shared
from backstay.db.engines import Engines
from backstay.errors import MissingExtra

try:
    from sqlalchemy import Executable
    from sqlalchemy.engine import URL, Connection, Engine, Row
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
    from sqlalchemy.orm import Session
    from sqlalchemy.schema import ExecutableDDLElement
except ImportError as missing:
    raise MissingExtra("db", missing.name or "greenlet") from missing

__all__ = ["Database", "Meanwhile"]

Parameters = Mapping[str, Any]


class Database:
    """A database for async and for sync code.

    A SQLite file is opened in WAL mode with foreign keys enforced, and every transaction takes
    the write lock when it begins: one that reads and then writes never fails because somebody
    else has written in between, but waits at its start. One that only reads may ask not to, by
    ``session(reading=True)``; so may an engine or connection of your own by its execution option
    ``sqlite_begin="DEFERRED"`` (or ``"EXCLUSIVE"``, or ``"NONE"`` for no ``BEGIN`` at all).

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
        self._unused = Session()
        self._busy_timeout_s = busy_timeout_s
        self._options = dict(options or {})
        if isinstance(database, Engine | AsyncEngine):
            given = _pair(database)
            self._engines = Engines(
                database.url, given=given, options=options, busy_timeout_s=busy_timeout_s
            )
        elif isinstance(database, str | URL):
            self._engines = self._engines_at(database)
        else:
            raise TypeError(
                f"a database is a URL or a SQLAlchemy engine; got {database!r} of type "
                f"{type(database).__qualname__}"
            )

    @property
    def url(self) -> str:
        """Its URL, without the password."""
        return self._engines.url.render_as_string(hide_password=True)

    @property
    def address(self) -> URL:
        """Its URL with the password, for who has to connect by himself."""
        return self._engines.url

    @property
    def dialect(self) -> str:
        """SQLAlchemy's name for the kind of database: ``"sqlite"``, ``"postgresql"``."""
        return self._engines.dialect

    def pools(self) -> Mapping[str, Any]:
        """The connection pools made so far (SQLAlchemy's ``Pool``), by ``"sync"`` and ``"async"``.

        Asking makes none.
        """
        return self._engines.pools()

    @property
    def sessions_are_watched(self) -> bool:
        """Whether somebody listens to all sessions: to filter what they read, or to note what they
        write. Then ``fetch`` and ``write``, which do without a session, would pass them by.
        """
        events = self._unused.dispatch
        return bool(
            events.do_orm_execute
            or events.before_flush
            or events.after_flush
            or events.after_flush_postexec
        )

    @property
    def async_engine(self) -> AsyncEngine:
        """The engine for async code. Belongs to the event loop it is first used in; when that
        is closed, there is a new one.

        Raises:
            MissingExtra: no async driver for this database is installed.
            ValueError: none is known.
        """
        return self._engines.async_engine

    @property
    def engine(self) -> Engine:
        """The engine for sync code, in any thread.

        Raises:
            MissingExtra, ValueError: as ``async_engine``.
        """
        return self._engines.engine

    @property
    def async_engine_to_read(self) -> AsyncEngine:
        """``async_engine``, whose transactions begin without SQLite's write lock.

        They may write all the same. SQLite then refuses if they have read before and somebody
        else has written meanwhile ("database is locked"), at once, however long the timeout.
        """
        engine: AsyncEngine = self._engines.to_read(self._engines.async_engine)
        return engine

    @property
    def engine_to_read(self) -> Engine:
        """The same for sync code."""
        engine: Engine = self._engines.to_read(self._engines.engine)
        return engine

    def session(self, *, reading: bool = False, **options: Any) -> AsyncSession:
        """A new session for async code; whoever opens it closes it.

        Args:
            reading: begin as ``async_engine_to_read`` does.
            options: for ``AsyncSession``; its objects stay readable after a commit unless
                ``expire_on_commit=True``.
        """
        engine = self.async_engine_to_read if reading else self.async_engine
        return AsyncSession(engine, **{"expire_on_commit": False, **options})

    def sync_session(self, *, reading: bool = False, **options: Any) -> Session:
        """The same for sync code."""
        engine = self.engine_to_read if reading else self.engine
        return Session(engine, **{"expire_on_commit": False, **options})

    async def fetch(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> Sequence[Row[Any]]:
        """The rows of one statement that reads, by the cheapest way there is.

        No session, no transaction around it: PostgreSQL hears the statement and nothing else,
        SQLite runs it in a thread and takes no lock that a writer would wait for. Whoever needs
        to see what a session has written and not committed asks that session: ``ctx.db.fetch``.

        Args:
            statement: a ``select()`` or a ``text()`` that only reads. ORM entities give rows of
                their columns.
            parameters: for its ``bindparam``.

        Raises:
            TypeError: it writes; use a session, or ``write``.
        """
        if getattr(statement, "is_dml", False) or isinstance(statement, ExecutableDDLElement):
            raise TypeError(
                f"fetch() is for statements that read, and {type(statement).__name__} writes: it "
                "would be committed by itself. Execute it in a session (ctx.db.session), or give "
                "it to write(), which means just that"
            )

        def read(connection: Connection) -> Sequence[Row[Any]]:
            return connection.execute(statement, parameters).all()

        return await self._engines.read(read)

    async def write(
        self, statement: Executable, parameters: Parameters | Sequence[Parameters] | None = None
    ) -> Sequence[Row[Any]]:
        """Execute one statement that is a transaction of its own, committed when this returns.

        Cancelled while it runs, it is committed or not, as with any commit.

        Args:
            statement: an ``insert()``, ``update()``, ``delete()``, or a ``text()``.
            parameters: for its ``bindparam``; several for one execution each, all or none.

        Returns:
            The rows of its ``RETURNING``; none without.
        """

        def execute(connection: Connection) -> Sequence[Row[Any]]:
            result = connection.execute(statement, parameters)
            return result.all() if result.returns_rows else ()

        if parameters is None or isinstance(parameters, Mapping):
            return await self._engines.write(execute)
        return await self._engines.transact(execute)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for several statements that read.

        With SQLite they see the data as it was at the first one, and hold up no writer; with
        PostgreSQL each sees it as it is then, without a transaction around them.
        """
        engines = self._engines
        engine = engines.async_engine
        view: AsyncEngine = (
            engines.to_read(engine) if engines.dialect == "sqlite" else engines.alone(engine)
        )
        async with view.connect() as connection:
            yield connection

    def apart(self, *, connections: int, of_sqlite: bool = False) -> Database:
        """The same database by connections of its own, for what cannot wait for requests to give
        theirs back.

        Where engines are somebody else's, nobody knows how to make another; and SQLite has one
        writer however many there are. Then it is this one.

        Args:
            connections: how many at most.
            of_sqlite: also there: for what is open longer than this one.

        Returns:
            Another, which whoever asked closes; or this one.
        """
        if not self._engines.are_own or "poolclass" in self._options:
            return self
        if self.dialect == "sqlite":
            if not of_sqlite:
                return self
            return Database(
                self.address, busy_timeout_s=self._busy_timeout_s, options=self._options
            )
        options = {**self._options, "pool_size": connections, "max_overflow": 0}
        return Database(self.address, busy_timeout_s=self._busy_timeout_s, options=options)

    async def close(self) -> None:
        """Close the engines made here. Using the database again makes new ones."""
        await self._engines.close()

    # ------------------------------------------------------------------ another one meanwhile

    def redirected(self, url: str | URL) -> Meanwhile:
        """Be another database for a while, for everybody who holds this one. For tests.

        ``with`` or ``async with``; may be nested. Sessions opened before stay where they are.

        Args:
            url: where to go. Its engines are made with the same options, and closed at the end:
                by ``async with`` in the event loop they were used in, which asyncpg needs.

        Raises:
            ValueError: as for ``Database``.
        """
        return Meanwhile(self, self._engines_at(url))

    def override_engines(
        self, *, engine: Engine | None = None, async_engine: AsyncEngine | None = None
    ) -> Meanwhile:
        """Use these engines for everything for a while, ``fetch`` included. For tests.

        They are used as they are: no isolation level and no way of beginning is set on their
        connections, and they are not closed.

        Args:
            engine: for sync code. ``None`` leaves it as it is.
            async_engine: the same for async code.

        Raises:
            TypeError: neither is given, or one is no engine.
        """
        if not isinstance(engine, Engine | None) or not isinstance(
            async_engine, AsyncEngine | None
        ):
            raise TypeError(
                f"engine= takes an Engine and async_engine= an AsyncEngine; got {engine!r} and "
                f"{async_engine!r}"
            )
        given = engine or async_engine
        if given is None:
            raise TypeError("override_engines() needs engine=, async_engine= or both")
        engines = Engines(
            given.url, given=(engine, async_engine), otherwise=self._engines, as_they_are=True
        )
        return Meanwhile(self, engines)

    def _engines_at(self, url: str | URL) -> Engines:
        found = read_url(url)
        require_shared(found)
        return Engines(found, options=self._options, busy_timeout_s=self._busy_timeout_s)

    def _swap(self, engines: Engines) -> Engines:
        before, self._engines = self._engines, engines
        return before

    def __repr__(self) -> str:
        return f"<Database {self.url}>"


class Meanwhile:
    """Other engines for a ``Database``, as a ``with`` or ``async with`` block."""

    def __init__(self, database: Database, engines: Engines) -> None:
        self._database = database
        self._engines = engines
        self._before: Engines | None = None
        self._closing: asyncio.Task[None] | None = None

    def __enter__(self) -> Database:
        self._before = self._database._swap(self._engines)
        return self._database

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()
        self._closing = self._engines.close_now()

    async def __aenter__(self) -> Database:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()
        await self._engines.close()

    def _leave(self) -> None:
        assert self._before is not None
        self._database._swap(self._before)


def _pair(engine: Engine | AsyncEngine) -> tuple[Engine | None, AsyncEngine | None]:
    return (engine, None) if isinstance(engine, Engine) else (None, engine)
