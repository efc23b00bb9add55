"""Names that clients use, as ways through the mapped classes: ``customer__email``."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo
from sqlalchemy import inspect
from sqlalchemy.ext.associationproxy import AssociationProxyExtensionType
from sqlalchemy.orm import ColumnProperty, RelationshipProperty, aliased
from sqlalchemy.types import NullType, TypeEngine

from backstay.errors import BadViewSet

__all__ = ["Way", "plain_type", "public_names", "way_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Where a name leads.

    Attributes:
        name: as clients write it, with ``__`` between its parts.
        relations: the relations on the way, from the view set's class on, each to an alias of
            the class that it leads to.
        attribute: where it ends: a column's attribute, an expression, or a relation.
        field: the schema's field there; ``None`` if the schema does not show it.
    """

    name: str
    relations: tuple[Any, ...]
    attribute: Any
    field: FieldInfo | None

    @property
    def is_relation(self) -> bool:
        """Whether it ends at a relation."""
        return isinstance(getattr(self.attribute, "property", None), RelationshipProperty)

    @property
    def type(self) -> TypeEngine[Any]:
        """The column's."""
        found = getattr(self.attribute, "type", None)
        return found if isinstance(found, TypeEngine) else NullType()

    @property
    def nullable(self) -> bool:
        """Whether there may be no value; of what is not a plain column nobody knows."""
        found = getattr(self.attribute, "property", None)
        if self.relations or not isinstance(found, ColumnProperty):
            return True
        return bool(getattr(found.columns[0], "nullable", True))


def way_of(
    db_model: type[Any],
    schema: type[BaseModel],
    name: str,
    *,
    option: str,
    aliases: dict[tuple[str, ...], Any] | None = None,
) -> Way:
    """Where a name leads that a view set lists.

    Args:
        db_model: the mapped class that it begins at.
        schema: the output schema; its fields' aliases are names too.
        name: an attribute, a field or an alias; through relations with ``.`` or ``__``.
        option: the view set's attribute that lists it, for messages.
        aliases: of related classes by the relations on the way. Ways that are to go through the
            same rows share it; ``None``: this one goes by itself.

    Raises:
        BadViewSet: it leads nowhere.
    """
    known = {} if aliases is None else aliases
    whole = _step(db_model, schema, name)[1] is not None
    parts = [name] if whole else re.split(r"\.|__", name)
    relations: list[Any] = []
    model: type[Any] = db_model
    owner: Any = db_model
    shown: type[BaseModel] | None = schema
    field: FieldInfo | None = None
    attribute: Any = None
    key: str | None = None
    passed: tuple[str, ...] = ()
    for index, part in enumerate(parts):
        field, key = _step(model, shown, part)
        if key is None:
            raise BadViewSet(
                f"{option} names {name!r}, but {model.__name__} has no attribute {part!r}; it has "
                f"{', '.join(sorted(inspect(model).all_orm_descriptors.keys()))}"
            )
        attribute = getattr(owner, key)
        if index == len(parts) - 1:
            break
        related = getattr(attribute, "property", None)
        if not isinstance(related, RelationshipProperty):
            raise BadViewSet(
                f"{option} names {name!r}, but {part!r} is no relation of {model.__name__}'s"
            )
        model = related.mapper.class_
        passed = (*passed, key)
        owner = known.setdefault(passed, aliased(model))
        relations.append(attribute.of_type(owner))
        shown = _nested(field)
    _refuse_proxy(model, key, name=name, option=option)
    return Way(name="__".join(parts), relations=tuple(relations), attribute=attribute, field=field)


def _refuse_proxy(model: type[Any], key: str | None, *, name: str, option: str) -> None:
    descriptor: Any = inspect(model).all_orm_descriptors[key or ""]
    if descriptor.extension_type is AssociationProxyExtensionType.ASSOCIATION_PROXY:
        raise BadViewSet(
            f"{option} names {name!r}, an association proxy; name what it stands for, through the "
            f"relation: '{descriptor.target_collection}.{descriptor.value_attr}'"
        )


def public_names(schema: type[BaseModel]) -> frozenset[str]:
    """What clients may think fields are called."""
    return frozenset(
        name for key, field in schema.model_fields.items() for name in _names(key, field)
    )


def plain_type(annotation: Any) -> Any:
    """A type without ``None`` and without constraints; ``None`` if it is a choice of several."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return plain_type(get_args(annotation)[0])
    if origin in {Union, types.UnionType}:
        rest = [each for each in get_args(annotation) if each is not types.NoneType]
        return plain_type(rest[0]) if len(rest) == 1 else None
    return annotation


def _step(
    model: type[Any], schema: type[BaseModel] | None, name: str
) -> tuple[FieldInfo | None, str | None]:
    """The schema's field and the class's attribute behind one part of a name."""
    known = inspect(model).all_orm_descriptors
    for key, field in schema.model_fields.items() if schema is not None else ():
        if name in _names(key, field):
            shown = None if field.exclude else field
            for candidate in (key, *_sources(field), name):
                if candidate in known:
                    return shown, candidate
    return None, name if name in known else None


def _names(key: str, field: FieldInfo) -> set[str]:
    return {key, *_sources(field)} | {
        each for each in (field.serialization_alias, field.alias) if each is not None
    }


def _sources(field: FieldInfo) -> Iterator[str]:
    """What a field's value is read from, besides its own name."""
    alias = field.validation_alias
    for each in alias.choices if isinstance(alias, AliasChoices) else [alias]:
        if isinstance(each, str):
            yield each


def _nested(field: FieldInfo | None) -> type[BaseModel] | None:
    """The schema of what a relation's field shows."""
    if field is None:
        return None
    found = plain_type(field.annotation)
    for candidate in (found, *map(plain_type, get_args(found))):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
