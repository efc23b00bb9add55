"""The engines of one address: made when they are first needed, closed together."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from backstay.db.address import Address, require_shared
from backstay.db.lane import Lane
from backstay.db.liveness import watch_connections
from backstay.db.turns import take_turns
from backstay.errors import MissingExtra

try:
    from sqlalchemy import Uuid, event
    from sqlalchemy.engine import URL, Connection, Dialect, Engine, create_engine
    from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
    from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool
    from sqlalchemy.util import greenlet_spawn
except ImportError as missing:
    raise MissingExtra("db", missing.name or "greenlet") from missing

__all__ = ["Engines"]

T = TypeVar("T")

_READERS = 8
"""Threads in which SQLite is read at most; all but one only while statements are slow."""


class Engines:
    """Engines for async and for sync code, and the cheapest way to run one statement.

    Args:
        url: where the database is.
        options: for ``create_engine`` and ``create_async_engine``.
        busy_timeout_s: seconds that SQLite waits for another writer.
        given: engines of somebody else's, which are used and never closed.
        otherwise: has those that are not given. ``None`` makes them from the URL.
        as_they_are: no option of a connection's is changed, not even for reads: what is given
            are a test's, inside a transaction of its own.

    Attributes:
        are_own: whether they are made here, and none is somebody else's.
    """

    def __init__(
        self,
        url: URL,
        *,
        options: Mapping[str, Any] | None = None,
        busy_timeout_s: float = 10.0,
        given: tuple[Engine | None, AsyncEngine | None] = (None, None),
        otherwise: Engines | None = None,
        as_they_are: bool = False,
    ) -> None:
        self.url = url
        self.dialect = url.get_backend_name()
        self.as_they_are = as_they_are
        self._options = dict(options or {})
        self._busy_timeout_s = busy_timeout_s
        self._given_engine, self._given_async_engine = given
        self._otherwise = otherwise
        self._engine: Engine | None = None
        self._async_engine: AsyncEngine | None = None
        self._async_loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._lanes: dict[tuple[asyncio.AbstractEventLoop, bool], Lane] = {}
        self._views: dict[tuple[object, str], Any] = {}
        self.are_own = given == (None, None)
        self._is_own_sqlite = self.are_own and self.dialect == "sqlite"
        # Two hops from thread to thread for a whole statement, where an async driver for SQLite
        # makes two for each of its steps.
        self._in_threads = self._is_own_sqlite or (
            self._given_engine is not None and self._given_async_engine is None
        )

    @property
    def engine(self) -> Engine:
        """The engine for sync code, in any thread.

        Raises:
            MissingExtra: no driver for this database is installed.
            ValueError: none is known.
        """
        if self._given_engine is not None:
            return self._given_engine
        if self._otherwise is not None:
            return self._otherwise.engine
        engine = self._engine
        if engine is None:
            with self._lock:
                engine = self._engine
                if engine is None:
                    address = self._address(asynchronous=False)
                    engine = create_engine(address.url, **self._options_for(address, QueuePool))
                    self._prepare(engine)
                    take_turns(engine)
                    self._engine = engine
        return engine

    @property
    def async_engine(self) -> AsyncEngine:
        """The engine for async code. Belongs to the event loop it is first used in.

        Raises:
            MissingExtra, ValueError: as ``engine``.
        """
        if self._given_async_engine is not None:
            return self._given_async_engine
        if self._otherwise is not None:
            return self._otherwise.async_engine
        engine = self._async_engine
        if engine is None or (self._async_loop is not None and self._async_loop.is_closed()):
            return self._made_for_this_loop()
        if self._async_loop is None:
            self._async_loop = _this_loop()
        return engine

    def _made_for_this_loop(self) -> AsyncEngine:
        with self._lock:
            engine, loop = self._async_engine, self._async_loop
            # aiosqlite's connections are at home in threads of their own, not in a loop.
            usable = loop is None or not loop.is_closed() or self.dialect == "sqlite"
            if engine is None or not usable:
                address = self._address(asynchronous=True)
                options = self._options_for(address, AsyncAdaptedQueuePool)
                engine = self._async_engine = create_async_engine(address.url, **options)
                self._prepare(engine.sync_engine)
                self._views.clear()
            self._async_loop = _this_loop()
            return engine

    def pools(self) -> dict[str, Any]:
        """The connection pools there are so far, ``"sync"`` and ``"async"``. Makes none."""
        engines: dict[str, Any] = {
            "sync": self._given_engine or self._engine,
            "async": self._given_async_engine or self._async_engine,
        }
        return {name: engine.pool for name, engine in engines.items() if engine is not None}

    def view(self, engine: Any, **option: str) -> Any:
        """The same engine and pool, whose connections begin with that option.

        SQLite's ``sqlite_begin`` says how a transaction begins; ``isolation_level`` as in
        SQLAlchemy. Made once: it is the options' checking that costs.
        """
        if self.as_they_are:
            return engine
        ((name, value),) = option.items()
        found = self._views.get((engine, value))
        if found is None:
            found = self._views[engine, value] = engine.execution_options(**{name: value})
        return found

    def to_read(self, engine: Any) -> Any:
        """The engine whose transactions begin without SQLite's write lock."""
        return self.view(engine, sqlite_begin="DEFERRED") if self.dialect == "sqlite" else engine

    def alone(self, engine: Any) -> Any:
        """The engine where a statement needs no transaction around it to be one."""
        if self.dialect == "sqlite":
            # SQLAlchemy's AUTOCOMMIT would leave pysqlite's own way of beginning switched on.
            return self.view(engine, sqlite_begin="NONE")
        return self.view(engine, isolation_level="AUTOCOMMIT")

    # ------------------------------------------------------------------ one statement

    async def read(self, call: Callable[[Connection], T]) -> T:
        """Have ``call`` read with a connection, by the least that has to travel."""
        if self._in_threads:
            return await self._lane(writing=False).run(call)
        return await greenlet_spawn(_within, self.alone(self.async_engine).sync_engine, call)

    async def write(self, call: Callable[[Connection], T]) -> T:
        """Have ``call`` execute one statement, which is committed when this returns."""
        if self._is_own_sqlite:
            return await self._lane(writing=True).run(call)
        if self._in_threads or self.as_they_are or self.dialect == "sqlite":
            return await self.transact(call)
        return await greenlet_spawn(_within, self.alone(self.async_engine).sync_engine, call)

    async def transact(self, call: Callable[[Connection], T]) -> T:
        """Have ``call`` execute in a transaction, which is committed when this returns."""
        if self._in_threads:
            return await asyncio.to_thread(_within_transaction, self.engine, call)
        return await greenlet_spawn(_within_transaction, self.async_engine.sync_engine, call)

    def _lane(self, *, writing: bool) -> Lane:
        loop = asyncio.get_running_loop()
        lane = self._lanes.get((loop, writing))
        if lane is None:
            with self._lock:
                for key in [key for key in self._lanes if key[0].is_closed()]:
                    self._lanes.pop(key).stop()
            engine = self.engine
            # One writer at a time is all that SQLite has: those of one process wait in line here
            # instead of asking again and again for the lock.
            lane = self._lanes[loop, writing] = Lane(
                self._kept_connection if self._is_own_sqlite else engine.connect,
                loop,
                size=1 if writing else _READERS,
                keep=self._is_own_sqlite,
            )
        return lane

    def _kept_connection(self) -> Connection:
        connection = self.alone(self.engine).connect()
        assert isinstance(connection, Connection)
        connection.detach()  # it is the thread's from now on, and none of the pool's
        return connection

    # ------------------------------------------------------------------ the end

    async def close(self) -> None:
        """Close what was made here. Using it again makes new ones."""
        sync, asynchronous, lanes, _ = self._taken()
        if sync is not None or lanes:
            await asyncio.to_thread(self._close_threads, sync, lanes)
        if asynchronous is not None:
            await asynchronous.dispose()

    def close_now(self) -> asyncio.Task[None] | None:
        """The same from sync code.

        Returns:
            What goes on closing, where an event loop is running in this thread. Connections
            that belong to a loop that is closed already can only be let go of.
        """
        sync, asynchronous, lanes, loop = self._taken()
        self._close_threads(sync, lanes)
        if asynchronous is None:
            return None
        if loop is not None and loop.is_closed() and self.dialect != "sqlite":
            asynchronous.sync_engine.dispose(close=False)
            return None
        running = _this_loop()
        if running is not None:
            return running.create_task(asynchronous.dispose())
        asyncio.run(asynchronous.dispose())
        return None

    def _taken(
        self,
    ) -> tuple[Engine | None, AsyncEngine | None, list[Lane], asyncio.AbstractEventLoop | None]:
        with self._lock:
            taken = (
                self._engine,
                self._async_engine,
                list(self._lanes.values()),
                self._async_loop,
            )
            self._engine = self._async_engine = self._async_loop = None
            self._lanes = {}
            self._views = {}
        return taken

    def _close_threads(self, engine: Engine | None, lanes: list[Lane]) -> None:
        for lane in lanes:
            lane.stop()
        for lane in lanes:
            lane.join(self._busy_timeout_s + 1.0)
        if engine is not None:
            engine.dispose()

    # ------------------------------------------------------------------ making them

    def _address(self, *, asynchronous: bool) -> Address:
        address = Address.of(self.url, asynchronous=asynchronous)
        require_shared(address.url)
        return address

    def _options_for(self, address: Address, pool: type) -> dict[str, Any]:
        connect_args = dict(address.connect_args)
        options: dict[str, Any] = {}
        if self.dialect == "sqlite":
            # Sessions for threads are opened in one thread and may be committed in another.
            connect_args |= {"timeout": self._busy_timeout_s, "check_same_thread": False}
            connect_args["factory"] = _Connection
            # What SQLAlchemy takes for files by itself, but not every version for async ones.
            options["poolclass"] = pool
        options |= self._options
        options["connect_args"] = {**connect_args, **options.get("connect_args", {})}
        return options

    def _prepare(self, engine: Engine) -> None:
        if self.dialect == "sqlite":
            event.listen(engine, "connect", _set_up_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            engine.dialect.colspecs = {**engine.dialect.colspecs, Uuid: _UuidOrText}
        elif "pool_pre_ping" not in self._options and "poolclass" not in self._options:
            # A server that was restarted is noticed when a connection is taken, not in the middle.
            watch_connections(engine)


class _Connection(sqlite3.Connection):
    """Its transaction is over when it is closed.

    SQLite keeps it, and the write lock, until the last cursor is gone; and a request that was
    cancelled has cursors in its traceback for as long as somebody keeps that.
    """

    def close(self) -> None:
        try:
            if self.in_transaction:
                self.rollback()
        finally:
            super().close()


def _within(engine: Engine, call: Callable[[Connection], T]) -> T:
    with engine.connect() as connection:
        return call(connection)


def _within_transaction(engine: Engine, call: Callable[[Connection], T]) -> T:
    with engine.begin() as connection:
        return call(connection)


def _this_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class _UuidOrText(Uuid[Any]):
    """A UUID in SQLite, compared with a text as well, as PostgreSQL's drivers let one do."""

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        process = super().bind_processor(dialect)
        if process is None:
            return None
        return lambda value: process(uuid.UUID(value) if isinstance(value, str) else value)


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
    if how != "NONE":
        connection.exec_driver_sql(f"BEGIN {how}")
