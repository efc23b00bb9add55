"""``AlembicEnv``: the whole ``env.py`` of Alembic, for a database manager."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from configparser import ConfigParser
from logging.config import fileConfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backstay.db.autogenerate import Autogenerate
from backstay.db.migration_turn import MigrationTurn, Violation
from backstay.db.server_defaults import compare_as_kept
from backstay.errors import MissingExtra

try:
    from sqlalchemy import Connection, Engine, MetaData
    from sqlalchemy.ext.asyncio import AsyncConnection
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

if TYPE_CHECKING:
    from alembic.config import Config

    from backstay.db.database import Database
    from backstay.db.manager import BaseDatabaseManager

__all__ = ["AlembicEnv"]

_VIOLATIONS_SHOWN = 5


class AlembicEnv:
    """Runs the migrations of a manager's database. In ``env.py``, under the imports of the models:
    ``AlembicEnv(DatabaseManager).run()``.

    The database is the manager's: the ``sqlalchemy.url`` of ``alembic.ini`` is not looked at, so
    that no password has to be written there. The sync driver is used if it is installed, else the
    async one, also while an event loop is running. ``config.attributes["connection"]`` may bring a
    connection instead (a sync one: ``await connection.run_sync(...)`` has it for async engines).

    Compared are columns, types and server defaults, of the models' schemas; backstay's own tables
    are not. PostgreSQL: each migration is a transaction, and several processes migrate one after
    the other. SQLite: all migrations are one transaction in batch mode, in which foreign keys are
    not enforced but checked at the end.

    Args:
        DatabaseManager: whose database, and whose ``Base`` has the models.
        models: the module, or modules, or classes, of the models. It is enough to have imported
            them; naming them here keeps linters from taking the import for a leftover.
        empty_revisions: whether ``alembic revision --autogenerate`` writes a file when there is
            nothing to be written in it.
        wait_s: seconds to wait for another process that migrates the same database. ``None``: as
            long as it takes.
        check_foreign_keys: whether SQLite is asked, before migrations are committed, for rows that
            refer to others in vain.
        options: more for Alembic's ``context.configure``: ``version_table``, ``include_object``...
            Hooks are asked besides ours, everything else takes the place of ours.

    Raises:
        TypeError: that is no manager.
    """

    def __init__(
        self,
        DatabaseManager: BaseDatabaseManager,  # noqa: N803  # its name where people come from
        models: object = None,
        *,
        empty_revisions: bool = False,
        wait_s: float | None = 600.0,
        check_foreign_keys: bool = True,
        **options: Any,
    ) -> None:
        metadata = getattr(getattr(DatabaseManager, "Base", None), "metadata", None)
        if not isinstance(metadata, MetaData) or not hasattr(DatabaseManager, "database"):
            raise TypeError(
                "AlembicEnv takes a MainDatabaseManager, the object and not its class; got "
                f"{DatabaseManager!r}"
            )
        self._database: Database = DatabaseManager.database
        self._metadata = metadata
        self._empty_revisions = empty_revisions
        self._wait_s = wait_s
        self._check_foreign_keys = check_foreign_keys
        self._options = options
        self._applied = 0
        self.models = models

    def run(self) -> None:
        """What the ``alembic`` command was asked for. Only inside of ``env.py``.

        Raises:
            MissingExtra: Alembic is not installed, or no driver is.
            alembic.util.CommandError: it cannot be done; Alembic's commands show it as a line.
        """
        context = _context()
        _configure_logging(context.config)
        if context.is_offline_mode():
            self.run_migrations_offline()
        else:
            self.run_migrations_online()

    def run_migrations_offline(self) -> None:
        """Write the statements instead of executing them (``--sql``); connects to nothing."""
        context = _context()
        dialect = self._database.dialect
        context.configure(
            **{
                "dialect_name": dialect,
                "target_metadata": self._metadata,
                "literal_binds": True,
                "dialect_opts": {"paramstyle": "named"},
                **_transactions(dialect),
                **self._options,
            }
        )
        with context.begin_transaction():
            context.run_migrations()

    def run_migrations_online(self) -> None:
        """Run them on a connection.

        Raises:
            TypeError: ``config.attributes["connection"]`` is no sync connection.
        """
        given = _context().config.attributes.get("connection")
        if given is not None:
            self._migrate(_required_sync(given))
            return
        engine = self._sync_engine()
        if engine is None:
            _complete(self._migrate_async)
            return
        with engine.connect() as connection:
            self._migrate(connection)

    # ------------------------------------------------------------------ connections

    def _sync_engine(self) -> Engine | None:
        """``None`` if no driver for sync code is installed, or known."""
        try:
            return self._database.engine
        except (MissingExtra, ValueError):
            return None

    async def _migrate_async(self, apart: bool) -> None:
        database = self._database
        if not apart:
            async with database.async_engine.connect() as connection:
                await connection.run_sync(self._migrate)
            # Its other connections would belong to an event loop that is over.
            await database.async_engine.dispose()
            return
        # The engine that there is belongs to the event loop that waits for this one.
        async with (
            database.redirected(database.address),
            database.async_engine.connect() as connection,
        ):
            await connection.run_sync(self._migrate)

    # ------------------------------------------------------------------ on a connection

    def _migrate(self, connection: Connection) -> None:
        from alembic.util import CommandError

        context = _context()
        is_outer = connection.in_transaction()
        context.configure(connection=connection, **self._online_options(connection))
        migration = context.get_context()
        if "compare_server_default" not in self._options:
            compare_as_kept(migration)
        self._applied = 0
        if migration.opts.get("dont_mutate"):
            context.run_migrations()  # `alembic current`: waits for nobody
        else:
            name = f"{migration.version_table_schema or ''}.{migration.version_table}"
            turn = MigrationTurn(connection, name, wait_s=self._wait_s)
            try:
                with turn.taken(), context.begin_transaction():
                    context.run_migrations()
                    if self._applied and self._check_foreign_keys:
                        _require_whole(turn.violations())
            except TimeoutError as late:
                raise CommandError(str(late)) from late
        if not is_outer and connection.in_transaction():
            connection.rollback()  # what is left has only read

    def _online_options(self, connection: Connection) -> dict[str, Any]:
        options = dict(self._options)
        dialect = connection.dialect.name
        hooks = Autogenerate(
            self._metadata,
            connection,
            skips_empty=not self._empty_revisions and _is_autogenerating(_context().config),
            include_name=options.pop("include_name", None),
            render_item=options.pop("render_item", None),
            process_revision_directives=options.pop("process_revision_directives", None),
        )
        return {
            "target_metadata": self._metadata,
            "compare_type": True,
            "compare_server_default": True,
            "render_as_batch": dialect == "sqlite",
            "include_schemas": hooks.include_schemas,
            "include_name": hooks.include_name,
            "render_item": hooks.render_item,
            "process_revision_directives": hooks.process_revision_directives,
            "on_version_apply": [self._note_applied, *_listed(options.pop("on_version_apply", ()))],
            **_transactions(dialect),
            **options,
        }

    def _note_applied(self, **_: object) -> None:
        self._applied += 1


def _context() -> Any:
    """Alembic's context, which is there while ``env.py`` runs."""
    try:
        from alembic import context
    except ImportError as missing:
        raise MissingExtra("migrations", "alembic") from missing
    return context


def _transactions(dialect: str) -> dict[str, Any]:
    """PostgreSQL: one for each migration, so that a long way does not hold all its locks to the end.

    SQLite: one for all. Its write lock, which comes with it, keeps other processes out from the
    moment the current revision is read. Alembic takes SQLite for a database without transactions
    for DDL, which is so with Python's own way of beginning them only.
    """
    if dialect == "sqlite":
        return {"transactional_ddl": True}
    return {"transaction_per_migration": True}


def _configure_logging(config: Config) -> None:
    """What ``alembic.ini`` says, if this is the ``alembic`` command and no program with logs of its own."""
    file = config.config_file_name
    if config.cmd_opts is None or file is None or not Path(file).is_file():
        return
    parser = ConfigParser(interpolation=None)
    parser.read(file, encoding="utf-8")
    if {"loggers", "handlers", "formatters"} <= set(parser.sections()):
        fileConfig(parser, disable_existing_loggers=False)


def _is_autogenerating(config: Config) -> bool:
    """Whether a file is what this is about: ``alembic check`` wants to see the empty revision."""
    return bool(
        getattr(config.cmd_opts, "autogenerate", False)
        or config.attributes.get("skip_empty_revisions")
    )


def _listed(callbacks: Any) -> list[Any]:
    return [callbacks] if callable(callbacks) else list(callbacks or ())


def _required_sync(connection: object) -> Connection:
    if isinstance(connection, Connection):
        return connection
    remedy = ""
    if isinstance(connection, AsyncConnection):
        remedy = (
            ": for async engines write  await connection.run_sync(upgrade),  where "
            'def upgrade(connection) sets config.attributes["connection"] = connection and calls '
            'command.upgrade(config, "head")'
        )
    raise TypeError(
        f'config.attributes["connection"] has to be a sync Connection; got a '
        f"{type(connection).__qualname__}{remedy}"
    )


def _require_whole(violations: list[Violation]) -> None:
    if not violations:
        return
    from alembic.util import CommandError

    shown = ", ".join(
        f"{table} (row {row}) to {target}" if row is not None else f"{table} to {target}"
        for table, row, target in violations[:_VIOLATIONS_SHOWN]
    )
    more = len(violations) - _VIOLATIONS_SHOWN
    raise CommandError(
        "after these migrations, rows would refer to rows that are not there: "
        f"{shown}{f' and {more} more' if more > 0 else ''}. Nothing was changed. Let a migration "
        "mend them, or pass AlembicEnv(..., check_foreign_keys=False)"
    )


def _complete(work: Callable[[bool], Coroutine[Any, Any, None]]) -> None:
    """Run async work to its end from sync code, in a thread of its own if a loop is running here."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work(False))
        return
    raised: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work(True))
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="backstay-migrations")
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
