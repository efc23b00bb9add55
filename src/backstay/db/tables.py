"""The tables of one ``MetaData``: made, dropped and emptied through a connection."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any

from backstay.errors import MissingExtra

try:
    from sqlalchemy import CheckConstraint, Constraint, MetaData, Table, inspect, text
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import DeclarativeBase
    from sqlalchemy.schema import sort_tables_and_constraints
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = ["check_names", "clear_tables", "create_tables", "drop_tables", "new_base"]


def new_base() -> type[DeclarativeBase]:
    """A base class for models, with tables of its own.

    Every constraint gets a name that follows from what it is about. Migrations need that: SQLite
    cannot change a constraint but through Alembic's batch mode, which finds it by its name.
    """

    class Base(DeclarativeBase):
        metadata = MetaData(
            naming_convention={
                "pk": "pk_%(table_name)s",
                "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
                "ix": "ix_%(column_0_N_label)s",
                "uq": "uq_%(table_name)s_%(column_0_N_name)s",
                "ck": "ck_%(table_name)s_%(condition)s",
                "condition": _condition,
            }
        )

    return Base


def _condition(constraint: Constraint, _: Table) -> str:
    """For conditions, which have no columns to be named for. Those that are named stay as they are."""
    assert isinstance(constraint, CheckConstraint)
    said = str(constraint.sqltext)
    return hashlib.blake2b(said.encode(), digest_size=4).hexdigest()


def create_tables(connection: Connection, metadata: MetaData) -> None:
    """Make those that are missing."""
    metadata.create_all(connection)


def drop_tables(connection: Connection, metadata: MetaData) -> None:
    """Drop those that are there, and nobody else's."""
    metadata.drop_all(connection)


def check_names(metadata: MetaData, names: Collection[str]) -> frozenset[str]:
    """The names of tables to be spared.

    Raises:
        TypeError: it is one string.
        ValueError: there is no such table; a misspelt name would cost its rows.
    """
    if isinstance(names, str):
        raise TypeError(f"exclude_tables_name is a list of tables' names; got the string {names!r}")
    known = {table.name for table in metadata.sorted_tables} | metadata.tables.keys()
    unknown = sorted(set(names) - known)
    if unknown:
        raise ValueError(
            f"exclude_tables_name names {', '.join(map(repr, unknown))}, but the tables are "
            f"{', '.join(sorted(metadata.tables)) or 'none'}"
        )
    return frozenset(names)


def clear_tables(connection: Connection, metadata: MetaData, spared: frozenset[str]) -> None:
    """Delete every row, those that refer to others first; nobody else's tables are touched.

    Raises:
        IntegrityError: a table that is spared refers to one that is not.
    """
    there: dict[str | None, set[str]] = {}
    inspector = inspect(connection)
    tables: list[Table] = []
    in_circle = False
    for table, constraints in sort_tables_and_constraints(metadata.tables.values()):  # type: ignore[no-untyped-call]  # SQLAlchemy's own gap
        if table is None:
            in_circle = bool(constraints)
            continue
        if table.schema not in there:
            there[table.schema] = set(inspector.get_table_names(schema=table.schema))
        if table.name in there[table.schema] and not {table.name, table.key} & spared:
            tables.append(table)
    if in_circle:
        if connection.dialect.name == "postgresql":
            _truncate(connection, tables)
            return
        if connection.dialect.name == "sqlite":
            # Until the commit, when all of them are empty.
            connection.execute(text("PRAGMA defer_foreign_keys=ON"))
    for table in reversed(tables):
        connection.execute(table.delete())


def _truncate(connection: Connection, tables: list[Table]) -> None:
    """All at once, which PostgreSQL allows whatever refers to what among them."""
    preparer: Any = connection.dialect.identifier_preparer
    names = ", ".join(preparer.format_table(table) for table in tables)
    if names:
        connection.execute(text(f"TRUNCATE {names}"))
