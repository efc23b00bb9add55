"""The short way from rows to JSON, for schemas that would change nothing on it.

The values of such a schema's fields are what pydantic's serializers take as they are: validating them
first, one by one, makes copies and nothing else. The serializers check each value's type, so one that
is of another type than its column says, as SQLite lets happen, is noticed; the long way then decides.

Constraints of the schema (``ge=0``, ``max_length=50``) hold for what clients send. What is stored all
the same, by other ways, is answered.
"""

from __future__ import annotations

import datetime as dt
import decimal
import types
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel, Strict, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticSerializationError
from sqlalchemy import ColumnElement
from sqlalchemy.schema import Column
from typing_extensions import TypedDict

from backstay.db.mapping import python_type_of

__all__ = ["Shortcut"]

_TYPES: Final = frozenset(
    {
        *(bool, bytes, decimal.Decimal, dt.date, dt.datetime, dt.time, dt.timedelta),
        *(float, int, str, uuid.UUID),
    }
)
"""Values of these are the same before and after validation."""

_REFUSING: Final = (
    *(annotated_types.Ge, annotated_types.Gt, annotated_types.Le, annotated_types.Lt),
    *(annotated_types.MaxLen, annotated_types.MinLen, annotated_types.MultipleOf, Strict),
)
"""Constraints, which refuse values or let them pass as they are."""

_REFUSING_OPTIONS: Final = frozenset(
    {"allow_inf_nan", "decimal_places", "max_digits", "pattern", "strict"}
)
"""The same, where pydantic has no class for them."""

_HARMLESS: Final = frozenset(
    {
        *("alias_generator", "arbitrary_types_allowed", "defer_build", "extra", "from_attributes"),
        *("frozen", "json_schema_extra", "populate_by_name", "protected_namespaces"),
        *("serialize_by_alias", "title", "use_attribute_docstrings", "use_enum_values"),
        *("validate_assignment", "validate_by_alias", "validate_by_name", "validate_default"),
    }
)
"""Configuration that does not touch values of these types."""


class Shortcut:
    """Rows as JSON, without a schema's objects in between."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        shape: Any = TypedDict("shape", dict(fields))  # type: ignore[misc]  # known at run time only
        self._names = tuple(fields)
        self._one: TypeAdapter[Any] = TypeAdapter(shape)
        self._many: TypeAdapter[Any] = TypeAdapter(list[shape])

    @classmethod
    def of(
        cls,
        schema: type[BaseModel],
        columns: Mapping[str, ColumnElement[Any]],
        sources: Mapping[str, str],
    ) -> Shortcut | None:
        """The one for a schema, ``None`` if it has a say in what is answered.

        Args:
            schema: what is answered.
            columns: of the mapped class, by attributes.
            sources: the attribute that each field is read from, in the order of the rows' values.
        """
        decorators = schema.__pydantic_decorators__
        has_say = (
            decorators.field_validators
            or decorators.model_validators
            or decorators.field_serializers
            or decorators.model_serializers
            or decorators.root_validators
            or decorators.validators
            or schema.model_computed_fields
            or schema.__pydantic_post_init__
            or not _written(schema).isdisjoint({"__init__", "__get_pydantic_core_schema__"})
        )
        if has_say or schema.model_config.keys() - _HARMLESS:
            return None
        if (
            schema.model_config.get("extra") == "allow"
            or sources.keys() != schema.model_fields.keys()
        ):
            return None
        fields: dict[str, Any] = {}
        for name, attribute in sources.items():
            info = schema.model_fields[name]
            if not _passes(info, columns[attribute]):
                return None
            fields[info.serialization_alias or name] = info.annotation
        return cls(fields) if len(fields) == len(sources) else None

    def dump_rows(self, rows: Iterable[Sequence[Any]]) -> bytes | None:
        """Rows as a JSON array, ``None`` if a value is not what its column says."""
        names = self._names
        values = [dict(zip(names, row)) for row in rows]  # noqa: B905  # strict= costs a tenth
        try:
            return self._many.dump_json(values, warnings="error")
        except PydanticSerializationError:
            return None

    def dump_row(self, row: Sequence[Any]) -> bytes | None:
        """One row as a JSON object, ``None`` as above."""
        value = dict(zip(self._names, row))  # noqa: B905  # as above
        try:
            return self._one.dump_json(value, warnings="error")
        except PydanticSerializationError:
            return None


def _passes(info: FieldInfo, column: Any) -> bool:
    """Whether validating a column's values leaves them as they are."""
    kind, takes_none = _optional(info.annotation)
    return bool(
        kind in _TYPES
        and isinstance(column, Column)
        and python_type_of(column) is kind
        and (takes_none or not column.nullable)
        and not info.exclude
        and not getattr(info, "exclude_if", None)
        and all(_only_refuses(each) for each in info.metadata)
    )


def _optional(annotation: Any) -> tuple[Any, bool]:
    """The type behind ``X | None``, and whether that is what it was."""
    if get_origin(annotation) in {Union, types.UnionType}:
        inner = [each for each in get_args(annotation) if each is not type(None)]
        if len(inner) == 1:
            return inner[0], True
    return (annotation if isinstance(annotation, type) else None), False


def _only_refuses(metadata: Any) -> bool:
    if isinstance(metadata, _REFUSING):
        return True
    if type(metadata).__name__ != "_PydanticGeneralMetadata":
        return False
    return _REFUSING_OPTIONS.issuperset(vars(metadata))


def _written(schema: type[BaseModel]) -> set[str]:
    """What a schema's own classes define, without pydantic's."""
    return {
        name
        for cls in schema.__mro__
        if issubclass(cls, BaseModel) and not cls.__module__.startswith("pydantic.")
        for name in vars(cls)
    }
