"""Each test with the app's own drivers and connections; what it leaves is deleted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from backstay.db.database import Database
from backstay.errors import MissingExtra
from backstay.testing.write_turn import IsolationError

try:
    from sqlalchemy import (
        CompoundSelect,
        MetaData,
        Table,
        TableClause,
        and_,
        delete,
        event,
        exists,
        inspect,
        literal_column,
        select,
        text,
        union_all,
    )
    from sqlalchemy import table as table_named
    from sqlalchemy.engine import Connection
    from sqlalchemy.exc import IntegrityError
    from sqlalchemy.orm import Session
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = ["Name", "TruncateIsolation", "tables_in"]

_PASSES = 3
"""Deleting may write again, where triggers keep a log; that is deleted, too."""

_TABLES = {
    "sqlite": "SELECT NULL, name FROM sqlite_master WHERE type = 'table' "
    "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    "postgresql": "SELECT schemaname, tablename FROM pg_tables "
    "WHERE schemaname <> 'information_schema' AND schemaname NOT LIKE 'pg\\_%' ORDER BY 1, 2",
}

Name = tuple[str | None, str]
"""A table's schema and name."""


class TruncateIsolation:
    """Deletes rows from those tables that have any.

    Args:
        database: the app's, at the test database, its tables made.
        spares_rows: the rows that are there already (by migrations, say) stay; a test's change to
            one of those is not undone, and what it adds to a table that has such rows and no
            primary key stays as well. ``False`` deletes them now.
        spares_tables: tables that are somebody else's.
    """

    def __init__(
        self,
        database: Database,
        *,
        spares_rows: bool = False,
        spares_tables: Collection[Name] = (),
    ) -> None:
        self._database = database
        self._spares_tables = frozenset(spares_tables)
        self._given: dict[Name, tuple[Table, set[tuple[Any, ...]]]] = {}
        self._questions: dict[tuple[Name, ...], str] = {}
        self._watched: _WatchedSession | None = None
        if not spares_rows:
            self.clear()
            return
        with database.engine.connect() as connection:
            for name in self._filled(connection):
                table = Table(name[1], MetaData(), schema=name[0], autoload_with=connection)
                rows = (
                    connection.execute(select(*table.primary_key.columns)) if _keys(table) else ()
                )
                self._given[name] = table, {tuple(row) for row in rows}

    @contextmanager
    def one_test(self) -> Iterator[None]:
        """What was written inside is deleted at the end."""
        try:
            yield
        finally:
            self._watched = None
            self.clear()

    def new_session(self, make: Callable[..., Session]) -> Session:
        """A session for the test itself, which sees what the app has committed."""
        if self._database.dialect != "sqlite":
            return make()
        # SQLite's readers see the moment they began at, and its writers keep others waiting.
        session = make(bind=self._database.engine_to_read)
        self._watched = _WatchedSession(session)
        return session

    def require_committed(self) -> None:
        """End the transaction of the test's own session if it has only read.

        Raises:
            IsolationError: it has written, and whoever is asked next would wait for it.
        """
        if self._watched is not None:
            self._watched.require_committed()

    def close(self) -> None:
        """Nothing is held open."""

    def clear(self) -> None:
        """Delete every row that was not there at the beginning."""
        with self._database.engine.connect() as connection:
            for _ in range(_PASSES):
                names = [name for name in self._filled(connection) if name not in self._given]
                connection.rollback()
                if names:
                    self._delete(connection, names)
                elif not self._given:
                    return
                self._delete_new(connection)
                if not names:
                    return

    def _delete(self, connection: Connection, names: Sequence[Name]) -> None:
        deletes = [delete(_named(name)) for name in names]
        if self._database.dialect == "sqlite":
            raw: Any = connection.connection.driver_connection
            # Which is heard outside of a transaction only.
            raw.execute("PRAGMA foreign_keys=OFF")
            for each in deletes:
                connection.execute(each)
            connection.commit()
            raw.execute("PRAGMA foreign_keys=ON")
            return
        try:
            # One statement, at whose end PostgreSQL looks at what refers to what.
            connection.execute(deletes[-1].add_cte(*(each.cte() for each in deletes[:-1])))
        except IntegrityError:  # ON DELETE RESTRICT looks at once
            connection.rollback()
            for name in _children_first(connection, names):
                connection.execute(delete(_named(name)))
        connection.commit()

    def _delete_new(self, connection: Connection) -> None:
        for table, known in self._given.values():
            keys = _keys(table)
            if not keys:
                continue
            found = {tuple(row) for row in connection.execute(select(*keys))}
            for new in found - known:
                same = [key == value for key, value in zip(keys, new, strict=True)]
                connection.execute(table.delete().where(and_(*same)))
        connection.commit()

    def _filled(self, connection: Connection) -> list[Name]:
        """The tables that have rows, but for those that say what the others are."""
        names = [
            name
            for name in _without_bookkeeping(tables_in(connection))
            if name not in self._spares_tables
        ]
        filled: list[Name] = []
        # In pieces, since SQLite takes no more than 500 at a time.
        for start in range(0, len(names), 200):
            piece = tuple(names[start : start + 200])
            if piece not in self._questions:
                self._questions[piece] = _which_are_filled(piece, connection)
            filled += [piece[row[0]] for row in connection.exec_driver_sql(self._questions[piece])]
        return filled


class _WatchedSession:
    """A session of a test's on SQLite, and whether it has written."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._changes = 0
        event.listen(session, "after_begin", self._begun)

    def _begun(self, _: Session, __: object, connection: Connection) -> None:
        self._changes = _total_changes(connection)

    def require_committed(self) -> None:
        if not self._session.in_transaction():
            return
        if _total_changes(self._session.connection()) != self._changes:
            raise IsolationError(
                "a session of the test's has written and not committed, and the app would wait "
                "for the end of its transaction: commit it before the request"
            )
        if not (self._session.new or self._session.dirty or self._session.deleted):
            self._session.rollback()


def _total_changes(connection: Connection) -> int:
    raw: Any = connection.connection.driver_connection
    changes: int = raw.total_changes
    return changes


def tables_in(connection: Connection) -> list[Name]:
    """Every table of the database, but for its own."""
    found = connection.execute(text(_TABLES[connection.dialect.name]))
    return [(row[0], row[1]) for row in found]


def _which_are_filled(names: Sequence[Name], connection: Connection) -> str:
    """A query whose rows are the numbers of those that have any."""
    asked: CompoundSelect[Any] = union_all(
        *(
            select(literal_column(str(number))).where(
                exists(select(literal_column("1")).select_from(_named(name)))
            )
            for number, name in enumerate(names)
        )
    )
    return str(asked.compile(dialect=connection.dialect))


def _without_bookkeeping(names: list[Name]) -> list[Name]:
    """Without Alembic's version, and what durable tasks and state know about themselves."""
    there = set(names)
    spared = {name for name in names if name[1] == "alembic_version"}
    for schema, name in names:
        prefix = name.removesuffix("meta")
        if prefix != name and (
            (schema, f"{prefix}jobs") in there or (schema, prefix.removesuffix("_")) in there
        ):
            # Queues and workers are written down by whoever runs, not by a test.
            spared |= {(schema, prefix + each) for each in ("meta", "queues", "workers")}
    return [name for name in names if name not in spared]


def _children_first(connection: Connection, names: Sequence[Name]) -> list[Name]:
    ordered: list[Name] = []
    inspector = inspect(connection)
    for schema in dict.fromkeys(schema for schema, _ in names):
        for table, _ in inspector.get_sorted_table_and_fkc_names(schema):
            if table is not None and (schema, table) in names:
                ordered.append((schema, table))
    return ordered[::-1]


def _keys(table: Table) -> list[Any]:
    return list(table.primary_key.columns)


def _named(name: Name) -> TableClause:
    schema, own = name
    return table_named(own, schema=schema)
