"""``SettingTest``: which app is tested, in which database, and how its tests are kept apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from backstay.db.manager import MainDatabaseManager
from backstay.errors import MissingExtra
from backstay.jobs.part import DurablePart
from backstay.testing.rollback_isolation import RollbackIsolation
from backstay.testing.scratch_database import ScratchDatabase
from backstay.testing.truncate_isolation import Name, TruncateIsolation, tables_in
from backstay.testing.write_turn import IsolationError
from backstay.web.installation import installed

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from fastapi import FastAPI
    from sqlalchemy import MetaData
    from sqlalchemy.engine import URL, Connection
    from sqlalchemy.orm import Session

__all__ = ["IsolationKind", "SettingTest"]

IsolationKind = Literal["rollback", "truncate"]
_KINDS = ("rollback", "truncate")


class _Isolation(Protocol):
    def one_test(self) -> AbstractContextManager[None]: ...

    def new_session(self, make: Callable[..., Session]) -> Session: ...

    def require_committed(self) -> None: ...

    def close(self) -> None: ...


class SettingTest:
    """What the fixtures of ``backstay.testing.pytest_plugin`` work with. Make one in ``conftest.py``.

    The app goes on using its own manager, which leads to the test database while tests run; the
    driver, the pool's size and so on stay the manager's.

    Args:
        DatabaseManager: where the tests run: a ``MainDatabaseManager``, or a URL. May be the app's
            own manager, if that is at a test database already.
        app: the app. Its manager is the one given to ``add_database(app, manager)``, or
            ``app.state.DATABASE_MANAGER``; if it has neither, ``DatabaseManager`` is.
        alembic_migrate: make the tables by ``alembic upgrade head``; ``False`` makes them from the
            models, anew at each run, and leaves tables of others alone.
        keepdb: leave the database when all tests are through, to look at or to save the time;
            ``False`` drops it, before as well as afterwards.
        isolation: ``"rollback"``: each test in a transaction that is never committed.
            ``"truncate"``: with real commits; what a test has written is deleted.
        lifespan: whether the app is started for each ``"test"``, or once for the ``"session"``,
            which is faster if starting takes long, and lets tests see what others left in memory.
        alembic_ini: Alembic's configuration.
        wait_s: with ``"rollback"``, seconds that a session waits for another's transaction to
            end before it is called a mistake.

    Attributes:
        instance: the one made last: the fixtures', since nothing else leads from a ``conftest.py``
            to the fixtures of another module.
        before_use: prepares the database when somebody needs it first; the fixtures' affair.
        next_isolation: how the running test wants to be isolated; ``None``: as all are.

    Raises:
        IsolationError: the database's name does not say that it is for tests.
        ValueError: an option is none of those.
    """

    instance: ClassVar[SettingTest | None] = None

    def __init__(
        self,
        DatabaseManager: MainDatabaseManager | str | URL,  # noqa: N803  # its name where people come from
        app: FastAPI,
        alembic_migrate: bool = False,  # as above
        keepdb: bool = True,  # as above
        *,
        isolation: IsolationKind = "rollback",
        lifespan: Literal["test", "session"] = "test",
        alembic_ini: str | Path = "alembic.ini",
        wait_s: float = 10.0,
    ) -> None:
        _require_kind(isolation)
        if lifespan not in {"test", "session"}:
            raise ValueError(f'lifespan= is "test" or "session"; got {lifespan!r}')
        if not isinstance(DatabaseManager, MainDatabaseManager):
            DatabaseManager = MainDatabaseManager(DatabaseManager)  # noqa: N806  # as above
        self.DatabaseManager = DatabaseManager
        self.app = app
        self.alembic_migrate = alembic_migrate
        self.keepdb = keepdb
        self.isolation: IsolationKind = isolation
        self.lifespan = lifespan
        self._scratch = ScratchDatabase(DatabaseManager.database.address)
        self._alembic_ini = Path(alembic_ini)
        self._wait_s = wait_s
        self._isolations: dict[str, _Isolation] = {}
        self._strangers: frozenset[Name] = frozenset()
        self._prepared: ExitStack | None = None
        self._test: ExitStack | None = None
        self._current: _Isolation | None = None
        self.before_use: Callable[[], object] | None = None
        self.next_isolation: IsolationKind | None = None
        SettingTest.instance = self

    @property
    def manager(self) -> MainDatabaseManager:
        """The app's manager, whose models and sessions the tests use."""
        if getattr(self.app.state, "backstay", None) is not None:
            backstay = installed(self.app)
            if backstay.has("db"):
                part: Any = backstay.part("db")
                found: MainDatabaseManager = part.manager
                return found
        return getattr(self.app.state, "DATABASE_MANAGER", None) or self.DatabaseManager

    # ------------------------------------------------------------------ for all tests together

    @contextmanager
    def prepared(self, worker: str | None = None) -> Iterator[None]:
        """Make the test database and its tables, and lead the app there, until the end.

        Args:
            worker: the name of this process among several, each of which has its own database.

        Raises:
            IsolationError: it cannot be made, or there is nothing to make in it.
            MissingExtra: migrations need Alembic, which is not there.
        """
        scratch = self._scratch.for_worker(worker)
        database = self.manager.database
        with ExitStack() as stack:
            if not self.keepdb:
                scratch.drop()
                stack.callback(scratch.drop)
            scratch.create()
            stack.enter_context(database.redirected(scratch.url))
            stack.callback(self._close_isolations)
            self._lead_jobs(scratch.url, stack)
            self._make_tables()
            self._prepared = stack
            try:
                yield
            finally:
                self.leave()
                self._prepared = None

    # ------------------------------------------------------------------ for one test

    def isolate(self) -> None:
        """From now on what is written is undone by ``leave``. A second call changes nothing.

        Raises:
            IsolationError: the test database is not prepared.
            ValueError: the test wants to be isolated in a way that there is not.
        """
        if self._test is not None:
            return
        if self._prepared is None and self.before_use is not None:
            self.before_use()
        if self._prepared is None:
            raise IsolationError(
                "the test database is not prepared: load the fixtures, by "
                'pytest_plugins = ["backstay.testing.pytest_plugin"] in conftest.py'
            )
        kind = self.next_isolation or self.isolation
        _require_kind(kind)
        if kind not in self._isolations:
            self._isolations[kind] = self._new_isolation(kind)
        self._current = self._isolations[kind]
        stack = ExitStack()
        stack.enter_context(self._current.one_test())
        self._test = stack

    def leave(self) -> None:
        """Undo what was written since ``isolate``; nothing, if that was not called."""
        stack, self._test = self._test, None
        self._current = None
        if stack is not None:
            stack.close()

    def new_session(self) -> Session:
        """A session for the running test itself, of the app's manager; whoever opens it closes it."""
        self.isolate()
        assert self._current is not None
        return self._current.new_session(self.manager.session)

    def require_committed(self) -> None:
        """Refuse to go on while a session of this thread has written and not committed.

        Raises:
            IsolationError: one has, and whoever is asked next would wait for it.
        """
        if self._current is not None:
            self._current.require_committed()

    @property
    def holds_sqlite(self) -> bool:
        """Whether a transaction of the running test keeps others from writing to a SQLite file."""
        rollback = self._current is not None and self._current is self._isolations.get("rollback")
        return rollback and self.manager.database.dialect == "sqlite"

    # ------------------------------------------------------------------ inside

    def _new_isolation(self, kind: IsolationKind) -> _Isolation:
        database = self.manager.database
        if kind == "rollback":
            return RollbackIsolation(database, wait_s=self._wait_s)
        return TruncateIsolation(database, spares_rows=True, spares_tables=self._strangers)

    def _close_isolations(self) -> None:
        isolations, self._isolations = self._isolations, {}
        for each in isolations.values():
            each.close()

    def _lead_jobs(self, url: URL, stack: ExitStack) -> None:
        """Durable tasks of a test have no business in the real ledger."""
        if getattr(self.app.state, "backstay", None) is None:
            return
        backstay = installed(self.app)
        if not backstay.has("durable"):
            return
        durable = backstay.part("durable")
        assert isinstance(durable, DurablePart)
        before = durable.database
        if str(before).startswith("memory"):
            return
        plain = url.set(drivername=url.get_backend_name())
        durable.use(plain.render_as_string(hide_password=False))
        stack.callback(durable.use, before)

    def _make_tables(self) -> None:
        manager = self.manager
        metadatas = [manager.Base.metadata]
        if self.DatabaseManager is not manager:
            metadatas.append(self.DatabaseManager.Base.metadata)
        if self.alembic_migrate:
            self._migrate()  # what else there is, migrations have made
            return
        if not any(each.tables for each in metadatas):
            raise IsolationError(
                "the models of the app's manager have no tables: import them before SettingTest "
                "is made, and see that they derive from the Base of the manager that was given to "
                "add_database(app, manager) (or is app.state.DATABASE_MANAGER)"
            )
        with manager.engine.begin() as connection:
            self._strangers = _tables_of_others(connection, metadatas)
            for each in metadatas:
                each.drop_all(connection)
                each.create_all(connection)
        # What an earlier run has left of durable tasks, if it was killed.
        TruncateIsolation(manager.database, spares_tables=self._strangers)

    def _migrate(self) -> None:
        try:
            from alembic import command
            from alembic.config import Config
        except ImportError as missing:
            raise MissingExtra("migrations", "alembic") from missing
        if not self._alembic_ini.is_file():
            raise IsolationError(
                f"alembic_migrate=True needs {str(self._alembic_ini)!r}, which is not there (seen "
                f"from {Path.cwd()}); name it: SettingTest(..., alembic_ini=...)"
            )
        config = Config(str(self._alembic_ini))
        address = self.manager.database_url.replace("%", "%%")
        config.set_main_option("sqlalchemy.url", address)
        with self.manager.engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()


def _require_kind(kind: str) -> None:
    if kind not in _KINDS:
        raise ValueError(f"tests are isolated by {' or '.join(map(repr, _KINDS))}; got {kind!r}")


def _tables_of_others(connection: Connection, metadatas: list[MetaData]) -> frozenset[Name]:
    """What stands in the database already and is neither a model's nor ours."""
    default = connection.dialect.default_schema_name
    if connection.dialect.name == "sqlite":
        default = None
    own = {
        (table.schema or default, table.name) for each in metadatas for table in each.sorted_tables
    }
    return frozenset(
        name
        for name in tables_in(connection)
        if name not in own and not name[1].startswith("backstay_")
    )
