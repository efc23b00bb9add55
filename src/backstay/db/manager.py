"""``MainDatabaseManager``: engines, sessions, models' base and FastAPI dependencies in one place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from backstay.db.address import Address
from backstay.db.database import Database
from backstay.db.dependencies import (
    carried_through,
    end_with_request,
    joined,
    only_reads,
)
from backstay.db.exhaustion import exhaustion_as_ours
from backstay.db.tables import (
    check_names,
    clear_tables,
    create_tables,
    drop_tables,
    new_base,
)
from backstay.db.turns import close_for_good
from backstay.errors import MissingExtra, NotInDevelopment

try:
    from sqlalchemy import MetaData
    from sqlalchemy.engine import URL, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
    from sqlalchemy.orm import Session, sessionmaker
except ImportError as missing:
    raise MissingExtra("db", missing.name or "greenlet") from missing

if TYPE_CHECKING:
    from backstay.db.orm import OrmAsync

__all__ = [
    "BaseDatabaseManager",
    "DatabaseAsyncSessionMixin",
    "DatabaseSyncSessionMixin",
    "MainDatabaseManager",
]


class BaseDatabaseManager:
    """What both halves of a manager stand on.

    Attributes:
        database: the engines; ``ctx.db.database`` of an app that was given the manager.
        DEV_STATUS: whether tables may be created, dropped and emptied by it.
        Base: the class that models derive from. It is the manager's own.
    """

    database: Database
    DEV_STATUS: bool
    Base: Any

    def check_dev(self, operation: str = "this operation") -> None:
        """Refuse outside development.

        Args:
            operation: what was asked for, for the message.

        Raises:
            NotInDevelopment: ``DEV_STATUS`` is not true.
        """
        if not self.DEV_STATUS:
            raise NotInDevelopment(
                f"{operation} changes the tables of {self.database.url!r}, which this manager may "
                "do in development only: make it with MainDatabaseManager(url, DEV_STATUS=True), "
                "or use migrations"
            )

    def _spared(self, operation: str, names: Collection[str] | None) -> frozenset[str]:
        self.check_dev(operation)
        return check_names(self.Base.metadata, names or ())


class DatabaseSyncSessionMixin(BaseDatabaseManager):
    """Engine, sessions and dependencies for sync code.

    Attributes:
        session: makes sessions: ``with manager.session() as session``.
    """

    session: sessionmaker[Session]

    @property
    def database_url(self) -> str:
        """The URL for sync code, driver and password included."""
        return _told(Address.of(self.database.address, asynchronous=False))

    @property
    def engine(self) -> Engine:
        """The engine for sync code."""
        return self.database.engine

    def get_session(
        self,
        connection: HTTPConnection = None,  # type: ignore[assignment]  # FastAPI knows the plain class only
    ) -> Iterator[Session]:
        """A session, as a dependency or a generator; closed at the end, committed by whoever writes.

        In GET and HEAD requests it begins without SQLite's write lock. Where a request waits in
        vain for a connection, with this and the other dependencies, it fails with
        ``DatabaseUnavailable``.
        """
        session = self.session(bind=self._engine_for(connection))
        try:
            with exhaustion_as_ours():
                yield session
        finally:
            close_for_good(session)

    def get_session_transaction(
        self,
        connection: HTTPConnection = None,  # type: ignore[assignment]  # as above
    ) -> Iterator[Session]:
        """A session in a transaction, as a dependency or a generator.

        In a request it is committed before the answer leaves, and a commit that fails fails the
        request; whatever the endpoint raises, an ``HTTPException`` too, rolls it back. In an app
        that was given this manager it is ``ctx.db.sync_session``, one for the whole request.

        Elsewhere it is committed when the generator comes to its end, and rolled back if it does
        not: by an exception, or by ``break``.
        """
        if connection is not None:
            with exhaustion_as_ours():
                yield self._session_of(connection)
            return
        with self.session() as session:
            yield session
            session.commit()

    def get_metadata(self) -> MetaData:
        """What tables the database has now, whoever's they are."""
        metadata = MetaData()
        metadata.reflect(bind=self.engine)
        return metadata

    def create_all(self) -> None:
        """Make the tables of ``Base`` that are missing.

        Raises:
            NotInDevelopment: outside of development.
        """
        self.check_dev("create_all()")
        with self.engine.begin() as connection:
            create_tables(connection, self.Base.metadata)

    def drop_all(self) -> None:
        """Drop the tables of ``Base``, and no others.

        Raises:
            NotInDevelopment: outside of development.
        """
        self.check_dev("drop_all()")
        with self.engine.begin() as connection:
            drop_tables(connection, self.Base.metadata)

    def clear_all(self, exclude_tables_name: Collection[str] | None = None) -> None:
        """Delete every row of the tables of ``Base``, in one transaction.

        Args:
            exclude_tables_name: tables to spare; ``None`` spares none.

        Raises:
            NotInDevelopment: outside of development.
            TypeError, ValueError: those are no names of tables.
        """
        spared = self._spared("clear_all()", exclude_tables_name)
        with self.engine.begin() as connection:
            clear_tables(connection, self.Base.metadata, spared)

    def _session_of(self, connection: HTTPConnection) -> Session:
        """The session of a request, which ends it."""
        db = joined(self.database, connection)
        if db is not None:
            return db.sync_session
        session = self.session(bind=self._engine_for(connection))

        async def commit() -> None:
            if session.in_transaction():
                await carried_through(run_in_threadpool(session.commit))

        async def close() -> None:
            await carried_through(run_in_threadpool(close_for_good, session))

        end_with_request(connection, commit=commit, close=close)
        return session

    def _engine_for(self, connection: HTTPConnection | None) -> Engine:
        return self.database.engine_to_read if only_reads(connection) else self.database.engine


class DatabaseAsyncSessionMixin(BaseDatabaseManager):
    """Engine, sessions and dependencies for async code; names begin with an ``a``.

    Attributes:
        asession: makes sessions: ``async with manager.asession() as session``.
    """

    asession: async_sessionmaker[AsyncSession]

    @property
    def adatabase_url(self) -> str:
        """The URL for async code, driver and password included."""
        return _told(Address.of(self.database.address, asynchronous=True))

    @property
    def aengine(self) -> AsyncEngine:
        """The engine for async code."""
        return self.database.async_engine

    async def aget_session(
        self,
        connection: HTTPConnection = None,  # type: ignore[assignment]  # FastAPI knows the plain class only
    ) -> AsyncIterator[AsyncSession]:
        """A session, as ``get_session`` gives."""
        async with self.asession(bind=self._aengine_for(connection)) as session:
            with exhaustion_as_ours():
                yield session

    async def aget_session_transaction(
        self,
        connection: HTTPConnection = None,  # type: ignore[assignment]  # as above
    ) -> AsyncIterator[AsyncSession]:
        """A session in a transaction, as ``get_session_transaction`` gives: ``ctx.db.session``."""
        if connection is not None:
            with exhaustion_as_ours():
                yield self._asession_of(connection)
            return
        async with self.asession() as session:
            yield session
            await session.commit()

    async def aget_orm(
        self,
        connection: HTTPConnection = None,  # type: ignore[assignment]  # as above
    ) -> AsyncIterator[OrmAsync]:
        """``OrmAsync`` in such a transaction.

        Outside of a request each of its writes is committed as it is made.
        """
        from backstay.db.orm import OrmAsync

        if connection is not None:
            with exhaustion_as_ours():
                yield OrmAsync(self._asession_of(connection), commit=False)
            return
        async with self.asession() as session:
            yield OrmAsync(session)
            await session.commit()

    async def acreate_all(self) -> None:
        """As ``create_all``."""
        self.check_dev("acreate_all()")
        async with self.aengine.begin() as connection:
            await connection.run_sync(create_tables, self.Base.metadata)

    async def adrop_all(self) -> None:
        """As ``drop_all``."""
        self.check_dev("adrop_all()")
        async with self.aengine.begin() as connection:
            await connection.run_sync(drop_tables, self.Base.metadata)

    async def aclear_all(self, exclude_tables_name: Collection[str] | None = None) -> None:
        """As ``clear_all``."""
        spared = self._spared("aclear_all()", exclude_tables_name)
        async with self.aengine.begin() as connection:
            await connection.run_sync(clear_tables, self.Base.metadata, spared)

    async def dispose(self) -> None:
        """Close all connections, sync ones too. Using the manager again opens new ones."""
        await self.database.close()

    def _asession_of(self, connection: HTTPConnection) -> AsyncSession:
        """The session of a request, which ends it."""
        db = joined(self.database, connection)
        if db is not None:
            return db.session
        session = self.asession(bind=self._aengine_for(connection))
        end_with_request(
            connection,
            commit=lambda: carried_through(session.commit()),
            close=lambda: carried_through(session.close()),
        )
        return session

    def _aengine_for(self, connection: HTTPConnection | None) -> AsyncEngine:
        if only_reads(connection):
            return self.database.async_engine_to_read
        return self.database.async_engine


class MainDatabaseManager(DatabaseSyncSessionMixin, DatabaseAsyncSessionMixin):
    """Everything about one database, for sync and for async code.

    There may be several. Nothing connects before it has to, and a driver that is missing is
    complained about by what needs it. ``add_database(app, manager)`` gives it to an app.

    Args:
        database_url: ``sqlite:///shop.db``, ``postgresql://user@host/shop``, ``postgres://``, with
            a driver (``+asyncpg``, ``+psycopg``) or without; or a ``Database``, whose own options
            hold then.
        pool_size: connections kept open, by each of the two engines.
        max_overflow: connections beyond those, while they are needed.
        echo: log every statement.
        DEV_STATUS: allow ``create_all``, ``drop_all``, ``clear_all`` and their async twins.
        base: a ``DeclarativeBase`` (or SQLModel) class of your own for models. ``None`` makes
            one, whose constraints have names.
        busy_timeout_s: seconds that SQLite waits for another writer.
        options: more for SQLAlchemy's ``create_engine``.

    Raises:
        TypeError, ValueError: as for ``Database``.
    """

    def __init__(
        self,
        database_url: str | URL | Database,
        *,
        pool_size: int = 10,
        max_overflow: int = 0,
        echo: bool = False,
        DEV_STATUS: bool = False,  # noqa: N803  # its name where people come from
        base: type | None = None,
        busy_timeout_s: float = 10.0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(database_url, Database):
            self.database = database_url
        else:
            self.database = Database(
                database_url,
                busy_timeout_s=busy_timeout_s,
                options={
                    "pool_size": pool_size,
                    "max_overflow": max_overflow,
                    "echo": echo,
                    **(options or {}),
                },
            )
        self.DEV_STATUS = DEV_STATUS
        self.Base = new_base() if base is None else base
        self.session = _Sessions(lambda: self.database.engine)
        self.asession = _AsyncSessions(lambda: self.database.async_engine)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.database.url}>"


class _Sessions(sessionmaker[Session]):
    """Binds sessions to the engine there is when they are made, which tests exchange."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        super().__init__(expire_on_commit=False)
        self._engine = engine

    def __call__(self, **options: Any) -> Session:
        if "bind" not in options:
            options["bind"] = self._engine()
        return super().__call__(**options)


class _AsyncSessions(async_sessionmaker[AsyncSession]):
    """The same for async code."""

    def __init__(self, engine: Callable[[], AsyncEngine]) -> None:
        super().__init__(expire_on_commit=False)
        self._engine = engine

    def __call__(self, **options: Any) -> AsyncSession:
        if "bind" not in options:
            options["bind"] = self._engine()
        return super().__call__(**options)


def _told(address: Address) -> str:
    return address.url.render_as_string(hide_password=False)
