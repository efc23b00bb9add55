"""PostgreSQL's enum types in migrations: made before they are used, dropped after.

Alembic makes one with each table that uses it, and never drops or changes one: to go down and up
again fails, and so do a second table of the same type and a new column of a new one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backstay.errors import MissingExtra

try:
    from sqlalchemy import Connection, MetaData, inspect
    from sqlalchemy.dialects.postgresql import ARRAY, ENUM
    from sqlalchemy.types import TypeDecorator
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

if TYPE_CHECKING:
    from alembic.operations.ops import MigrateOperation, MigrationScript

__all__ = ["EnumTypes"]

_log = logging.getLogger("backstay.db.migrations")

Key = tuple[str | None, str]


@dataclass(frozen=True, slots=True)
class _EnumType:
    """One, by its written name."""

    written: str
    labels: tuple[str, ...]

    def creation(self) -> str:
        return f"CREATE TYPE {self.written} AS ENUM ({', '.join(map(_literal, self.labels))})"

    def removal(self) -> str:
        return f"DROP TYPE {self.written}"

    def additions(self, labels: Sequence[str]) -> Iterator[str]:
        """Statements after which it has these labels, in their order."""
        for number, label in enumerate(labels):
            if label not in self.labels:
                place = f"AFTER {_literal(labels[number - 1])}" if number else ""
                if not number and self.labels:
                    place = f"BEFORE {_literal(self.labels[0])}"
                yield f"ALTER TYPE {self.written} ADD VALUE {_literal(label)} {place}".rstrip()


class EnumTypes:
    """What becomes of them in one revision. Does nothing in other databases.

    Args:
        metadata: of the models.
        connection: to the database as it is.
    """

    def __init__(self, metadata: MetaData, connection: Connection) -> None:
        self._metadata = metadata
        self._connection = connection
        self._is_used = connection.dialect.name == "postgresql"
        self._there: dict[Key, _EnumType] = {}
        self._elsewhere: set[Key] = set()

    def settle(self, script: MigrationScript) -> None:
        """Add to a generated revision what its enum types need."""
        if not self._is_used:
            return
        from alembic.operations import ops

        self._there = self._found()
        wanted = self._of(
            column for table in self._metadata.tables.values() for column in table.columns
        )
        for upgrade, downgrade in zip(
            script.upgrade_ops_list, script.downgrade_ops_list, strict=True
        ):
            done = list(_flat(upgrade.ops))
            with_tables = self._of(
                each
                for op in done
                if isinstance(op, ops.CreateTableOp)
                for each in op.columns
                if hasattr(each, "type")
            )
            alone = self._of(
                op.column for op in done if isinstance(op, ops.AddColumnOp)
            ) | self._of_types(
                op.modify_type
                for op in done
                if isinstance(op, ops.AlterColumnOp) and op.modify_type is not None
            )
            dropped = self._of(
                column
                for op in done
                if isinstance(op, ops.DropTableOp | ops.DropColumnOp)
                for column in _columns_of(op.reverse())
            )
            first = {key: one for key, one in alone.items() if key not in self._there}
            made = {key: one for key, one in with_tables.items() if key not in self._there} | first
            gone = {
                key: self._there[key] for key in dropped if key in self._there and key not in wanted
            }
            self._elsewhere |= first.keys()
            upgrade.ops[:0] = _executed(one.creation() for one in first.values())
            upgrade.ops += _executed(self._changes(wanted))
            upgrade.ops += _executed(one.removal() for one in gone.values())
            downgrade.ops[:0] = _executed(one.creation() for one in gone.values())
            downgrade.ops += _executed(one.removal() for one in made.values())

    def rendered(self, type_: Any, imports: set[str]) -> str | None:
        """How a type is written that is there when its table is made; ``None``: as usual."""
        if not self._is_used or isinstance(type_, TypeDecorator | ARRAY):
            return None
        found = self._enum(type_)
        if found is None:
            return None
        key = self._key(found)
        if key not in self._there and key not in self._elsewhere:
            return None
        imports.add("from sqlalchemy.dialects import postgresql")
        schema = f", schema={found.schema!r}" if found.schema else ""
        labels = ", ".join(map(repr, found.enums))
        return f"postgresql.ENUM({labels}, name={str(found.name)!r}{schema}, create_type=False)"

    # ------------------------------------------------------------------ inside

    def _changes(self, wanted: dict[Key, _EnumType]) -> Iterator[str]:
        for key, one in wanted.items():
            there = self._there.get(key)
            if there is None or there.labels == one.labels:
                continue
            kept = tuple(label for label in one.labels if label in there.labels)
            if kept == there.labels:
                yield from there.additions(one.labels)
            else:
                _log.warning(
                    "the enum type %s has the labels %s, its model has %s: PostgreSQL can add "
                    "labels and rename them, and neither remove nor reorder them; write that "
                    "migration by hand",
                    one.written,
                    ", ".join(map(repr, there.labels)),
                    ", ".join(map(repr, one.labels)),
                )

    def _found(self) -> dict[Key, _EnumType]:
        inspector: Any = inspect(self._connection)
        found = {}
        for each in inspector.get_enums(schema="*"):
            default = each["schema"] == self._connection.dialect.default_schema_name
            type_ = ENUM(
                *each["labels"], name=each["name"], schema=None if default else each["schema"]
            )
            found[self._key(type_)] = self._described(type_)
        return found

    def _of(self, columns: Iterable[Any]) -> dict[Key, _EnumType]:
        return self._of_types(each.type for each in columns)

    def _of_types(self, types: Iterable[Any]) -> dict[Key, _EnumType]:
        enums = filter(None, map(self._enum, types))
        return {self._key(each): self._described(each) for each in enums}

    def _enum(self, type_: Any) -> ENUM | None:
        """The enum type that values of a type are of; ``None``: of none that we would make."""
        found = type_.dialect_impl(self._connection.dialect)
        if isinstance(found, TypeDecorator):
            found = found.load_dialect_impl(self._connection.dialect)
        if isinstance(found, ARRAY):
            return self._enum(found.item_type)
        return found if isinstance(found, ENUM) and found.name and found.create_type else None

    def _key(self, found: ENUM) -> Key:
        schema = found.schema
        default = self._connection.dialect.default_schema_name
        return (None if schema == default else schema, str(found.name))

    def _described(self, found: ENUM) -> _EnumType:
        preparer: Any = self._connection.dialect.identifier_preparer
        return _EnumType(preparer.format_type(found), tuple(found.enums))


def _flat(operations: Iterable[MigrateOperation]) -> Iterator[MigrateOperation]:
    for each in operations:
        yield from _flat(each.ops) if hasattr(each, "ops") else (each,)


def _columns_of(reverse: Any) -> list[Any]:
    """The columns of what would undo a drop."""
    columns = getattr(reverse, "columns", None)
    if columns is None:
        return [reverse.column]
    return [each for each in columns if hasattr(each, "type")]


def _literal(label: str) -> str:
    return "'" + label.replace("'", "''").replace(":", r"\:") + "'"  # text() would see parameters


def _executed(statements: Iterable[str]) -> list[MigrateOperation]:
    from alembic.operations import ops

    return [ops.ExecuteSQLOp(each) for each in statements]
