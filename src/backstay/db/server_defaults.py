"""Whether a column's default in a database is the one that its model has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backstay.errors import MissingExtra

try:
    from sqlalchemy import Column, Connection, text
    from sqlalchemy.exc import SQLAlchemyError
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext

__all__ = ["compare_as_kept"]

_TRIAL = "backstay_trial_of_a_default"


def compare_as_kept(context: MigrationContext) -> None:
    """Have Alembic compare the defaults of columns in the database's own words.

    PostgreSQL keeps ``{}`` as ``'{}'::json``. Alembic evaluates what it finds and what the model
    says and compares the values, which fails for types without equality, as JSON is, and finds a
    difference each time where a function gives another value each time, as for UUIDs. Here the
    model's default is given to PostgreSQL, for a temporary table that is never committed, and its
    words are compared with its words. SQLite keeps what it was told, which Alembic misses where a
    text has a quote in it.

    Set on this context's implementation alone. The option ``compare_server_default`` would be the
    place, but with a function there Alembic (1.20) stumbles over computed columns.
    """
    connection, impl = context.connection, context.impl
    if connection is None or connection.dialect.name not in {"postgresql", "sqlite"}:
        return
    as_alembic = impl.compare_server_default
    kept_by = _kept_by_postgresql if connection.dialect.name == "postgresql" else _kept_by_sqlite

    def compare(
        inspected: Column[Any], column: Column[Any], rendered: str | None, kept: str | None
    ) -> bool:
        counts_up = column is column.table.autoincrement_column
        if kept is None or rendered is None or kept == rendered or counts_up:
            return bool(as_alembic(inspected, column, rendered, kept))  # type: ignore[no-untyped-call]  # Alembic's own gap
        # Where it cannot be tried, as the type is new, or nothing may be made here, it is another
        # one for all that can be seen.
        return kept_by(connection, column) != _bare(kept)

    impl.compare_server_default = compare  # type: ignore[method-assign]  # for this context only


def _bare(expression: str) -> str:
    """Without the parentheses around all of it that SQLite wants around expressions."""
    bare = expression.strip()
    return bare[1:-1].strip() if bare[:1] == "(" and _closes(bare) == len(bare) - 1 else bare


def _closes(expression: str) -> int:
    """Where the parenthesis at the start is closed; -1 if nowhere."""
    depth, in_text = 0, False
    for place, sign in enumerate(expression):
        if sign == "'":
            in_text = not in_text
        elif not in_text:
            depth += {"(": 1, ")": -1}.get(sign, 0)
            if depth == 0:
                return place
    return -1


def _default_of(connection: Connection, column: Column[Any]) -> str:
    dialect: Any = connection.dialect
    return str(dialect.ddl_compiler(dialect, None).get_column_default_string(column))


def _kept_by_sqlite(connection: Connection, column: Column[Any]) -> str:
    return _bare(_default_of(connection, column))


def _kept_by_postgresql(connection: Connection, column: Column[Any]) -> str | None:
    kind = column.type.compile(connection.dialect)
    making = (
        f"CREATE TEMPORARY TABLE {_TRIAL} (value {kind} DEFAULT {_default_of(connection, column)})"
    )
    asking = text(
        "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = CAST(:name AS regclass)"
    )
    found: str | None = None
    try:
        trial = connection.begin_nested()
        try:
            connection.exec_driver_sql(making)  # the compiler has written % for the driver
            found = connection.scalar(asking, {"name": f"pg_temp.{_TRIAL}"})
        finally:
            trial.rollback()
    except SQLAlchemyError:
        return None
    return None if found is None else _bare(found)
