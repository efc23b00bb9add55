"""Facts about mapped classes: keys, columns and their Python types.

Nothing here asks a database: SQLAlchemy's mappers know it all, and keep what was worked out.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast

from backstay.errors import MissingExtra

try:
    from sqlalchemy import ColumnElement, and_, inspect, types
    from sqlalchemy.exc import NoInspectionAvailable
    from sqlalchemy.ext.hybrid import hybrid_property
    from sqlalchemy.orm import InstrumentedAttribute, Mapper
    from sqlalchemy.orm.exc import UnmappedColumnError
    from sqlalchemy.schema import Column, Table
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = [
    "SQL_TO_PYTHON_TYPE",
    "attribute_of",
    "fixed_names",
    "generates_key",
    "get_pk",
    "has_say",
    "kept",
    "key_names",
    "key_of",
    "key_where",
    "mapper_of",
    "pk_attributes",
    "python_type_of",
    "read_key",
    "settable_names",
]

SQL_TO_PYTHON_TYPE: Final[Mapping[type[types.TypeEngine[Any]], type]] = MappingProxyType(
    {
        types.BigInteger: int,
        types.Boolean: bool,
        types.Date: date,
        types.DateTime: datetime,
        types.Double: float,
        types.Float: float,
        types.Integer: int,
        types.Interval: timedelta,
        types.LargeBinary: bytes,
        types.Numeric: Decimal,
        types.SmallInteger: int,
        types.String: str,
        types.Text: str,
        types.Time: time,
        types.UUID: uuid.UUID,
        types.Unicode: str,
        types.UnicodeText: str,
        types.Uuid: uuid.UUID,
    }
)
"""Python's type for each of SQLAlchemy's plain ones. ``python_type_of`` knows the others too."""

T = TypeVar("T")

_SMALLEST, _GREATEST = -(2**63), 2**63 - 1

_KEPT = "backstay.db.mapping"
"""Where ``ClassManager.info`` has what was worked out."""

_EVENTS = (
    "before_insert",
    "after_insert",
    "before_update",
    "after_update",
    "before_delete",
    "after_delete",
)


def mapper_of(db_model: Any) -> Mapper[Any]:
    """The mapper of a mapped class, or of an alias of one.

    Raises:
        TypeError: it is neither.
    """
    try:
        mapper = getattr(inspect(db_model), "mapper", None)
    except NoInspectionAvailable:
        mapper = None
    if not isinstance(mapper, Mapper):
        raise TypeError(
            f"{db_model!r} is no mapped class: give a class that inherits from your declarative Base"
        )
    return mapper


def kept(mapper: Mapper[Any], name: str, work_out: Callable[[], T]) -> T:
    """What was worked out about a class once, as long as nothing is added to the class.

    The class keeps it itself, so it goes with the class.

    Args:
        mapper: of the class.
        name: of what it is.
        work_out: does it.
    """
    stored = mapper.class_manager.info.setdefault(_KEPT, {})
    attributes, found = stored.get(name, (None, None))
    if attributes is not mapper.attrs:  # SQLAlchemy makes new ones when an attribute is added
        found = work_out()
        stored[name] = (mapper.attrs, found)
    return cast("T", found)


# ------------------------------------------------------------------ keys


def key_names(db_model: Any) -> tuple[str, ...]:
    """The attributes that are the primary key, in the table's order."""
    mapper = mapper_of(db_model)
    return kept(
        mapper,
        "key",
        lambda: tuple(mapper.get_property_by_column(each).key for each in mapper.primary_key),
    )


def pk_attributes(db_model: type[Any]) -> tuple[InstrumentedAttribute[Any], ...]:
    """The same, as attributes for statements."""
    return tuple(getattr(db_model, name) for name in key_names(db_model))


def get_pk(db_model: type[Any]) -> InstrumentedAttribute[Any]:
    """The one attribute that is the primary key.

    Raises:
        ValueError: the primary key has several columns; ``pk_attributes`` gives them all.
    """
    found = pk_attributes(db_model)
    if len(found) != 1:
        raise ValueError(
            f"the primary key of {db_model.__name__} is {', '.join(each.key for each in found)}: "
            "no single column. Use pk_attributes(), and tuples as item_id"
        )
    return found[0]


def key_of(obj: object) -> tuple[Any, ...]:
    """The primary key's values of an object, always as a tuple; loads nothing of what is loaded."""
    return tuple(getattr(obj, name) for name in key_names(type(obj)))


def read_key(db_model: Any, item_id: Any) -> tuple[Any, ...]:
    """An ``item_id`` as the values of the primary key's columns.

    Text becomes an int or a UUID where the column is one, as texts come from addresses.

    Args:
        db_model: a mapped class.
        item_id: one value; for several columns a tuple or list of them, in the table's order.

    Raises:
        ValueError: there are more values or fewer than columns.
        LookupError: the text, or so great a number, can be no key of this table, so there is no
            such row.
    """
    columns = mapper_of(db_model).primary_key
    values = tuple(item_id) if isinstance(item_id, tuple | list) else (item_id,)
    if len(values) != len(columns):
        raise ValueError(
            f"the primary key of {mapper_of(db_model).class_.__name__} has {len(columns)} "
            f"column(s), {', '.join(key_names(db_model))}; got {item_id!r}: give a tuple of "
            "as many values"
        )
    return tuple(_read(column, value) for column, value in zip(columns, values, strict=True))


def _read(column: ColumnElement[Any], value: Any) -> Any:
    wanted = python_type_of(column)
    if isinstance(value, str) and wanted in {int, uuid.UUID}:
        try:
            value = wanted(value)
        except ValueError:
            raise LookupError(value) from None
    if isinstance(value, int) and not _SMALLEST <= value <= _GREATEST:
        raise LookupError(value)  # no database has it, and drivers fail in their own ways
    return value


def key_where(db_model: type[Any], key: tuple[Any, ...]) -> ColumnElement[bool]:
    """The condition that a row has this primary key."""
    return and_(*(one == value for one, value in zip(pk_attributes(db_model), key, strict=True)))


def generates_key(mapper: Mapper[Any], *, given: frozenset[str] = frozenset()) -> bool:
    """Whether something else than the client makes the primary keys of new rows.

    Not so for natural keys (``sku``), which have no default and count nothing up: whoever makes
    the row has to say them.

    Args:
        mapper: of the class.
        given: attributes of the key that a parent gives.
    """
    return any(
        _generated(column)
        for name, column in zip(key_names(mapper), mapper.primary_key, strict=True)
        if name not in given
    )


def _generated(column: ColumnElement[Any]) -> bool:
    assert isinstance(column, Column)  # the parts of a mapper's primary key are
    if column.default is not None or column.server_default is not None:
        return True
    return isinstance(column.table, Table) and column.table.autoincrement_column is column


# ------------------------------------------------------------------ columns


def python_type_of(column: Any) -> Any:
    """The Python type of a column's values, ``Any`` where nobody can say (JSON, types of your own).

    Args:
        column: a column, an attribute of a mapped class, or a type of SQLAlchemy's.
    """
    sql_type = column if isinstance(column, types.TypeEngine) else column.type
    if isinstance(sql_type, types.JSON | types.TypeDecorator):
        return Any
    try:
        found = sql_type.python_type
    except NotImplementedError:
        found = object
    if found is not object:
        return found
    known = (SQL_TO_PYTHON_TYPE.get(each) for each in type(sql_type).__mro__)
    return next((each for each in known if each is not None), Any)


def settable_names(mapper: Mapper[Any]) -> frozenset[str]:
    """The attributes that are plain values to set: columns, synonyms, composites, hybrids with setters."""
    return kept(mapper, "settable", lambda: _settable_names(mapper))


def _settable_names(mapper: Mapper[Any]) -> frozenset[str]:
    columns = (
        each.key for each in mapper.column_attrs if any(isinstance(c, Column) for c in each.columns)
    )
    synonyms = (each.key for each in mapper.synonyms if each.name in mapper.column_attrs)
    hybrids = (
        name
        for name, each in mapper.all_orm_descriptors.items()
        if isinstance(each, hybrid_property) and each.fset is not None and each.__name__ == name
    )
    return frozenset((*columns, *synonyms, *mapper.composites.keys(), *hybrids))


def fixed_names(mapper: Mapper[Any]) -> frozenset[str]:
    """The attributes that only the database or SQLAlchemy writes, once a row is there.

    The primary key, what tells classes of one table apart, the version that SQLAlchemy counts,
    and what the database computes.
    """
    return kept(mapper, "fixed", lambda: _fixed_names(mapper))


def _fixed_names(mapper: Mapper[Any]) -> frozenset[str]:
    special = [*mapper.primary_key, mapper.polymorphic_on, mapper.version_id_col]
    names = {attribute_of(mapper, column) for column in special if column is not None}
    computed = {
        each.key
        for each in mapper.column_attrs
        if any(
            not isinstance(column, Column)
            or column.computed is not None
            or (column.identity is not None and column.identity.always)
            for column in each.columns
        )
    }
    return frozenset(name for name in names | computed if name is not None)


def attribute_of(mapper: Mapper[Any], column: ColumnElement[Any]) -> str | None:
    """The name of the attribute that is this column, ``None`` if the class has none."""
    try:
        return mapper.get_property_by_column(column).key
    except UnmappedColumnError:
        return None


def has_say(mapper: Mapper[Any]) -> bool:
    """Whether a class has a say in how its rows are written, so that they go through its objects.

    It does if it counts versions, validates attributes, listens to its own events, or shares its
    rows with other classes by inheritance.
    """
    return (
        bool(mapper.validators)
        or mapper.inherits is not None
        or mapper.polymorphic_on is not None
        or mapper.version_id_col is not None
        or len(mapper.tables) != 1
        or any(bool(getattr(mapper.dispatch, name)) for name in _EVENTS)
    )
