"""What clients may send, derived from the schema of what they are answered.

Of each field, its type, constraints, aliases, defaults and validators stay. Fields that clients must
not write are not there: sent all the same, as by a client that sends back what it has read, they are
ignored, and so is everything else that is no field, unless the schema forbids it. How values are
shown (serializers, ``exclude``) is the answer's business, so it is left out.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Mapping
from itertools import count
from typing import Any, Final, ForwardRef, Literal

from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo
from sqlalchemy.orm import Mapper
from sqlalchemy.schema import Column
from sqlalchemy.types import TypeEngine

from backstay.db.mapping import (
    fixed_names,
    generates_key,
    key_names,
    mapper_of,
    settable_names,
)
from backstay.db.relations import Relation, relations_of
from backstay.db.schemas import Path, nested_schemas, paths_of
from backstay.errors import BadViewSet
from backstay.viewset.annotations import replaced, without_serializers
from backstay.viewset.configuration import config_of, names_of
from backstay.viewset.inputs import Inputs
from backstay.viewset.validators import (
    ABSENT,
    Input,
    NestedInput,
    drops_known,
    forgets_absent,
    needs_what_is_new,
    of_fields,
    of_model,
)

__all__ = ["Inputs", "derive_inputs"]

Verb = Literal["create", "update", "patch", "nested"]

_SUFFIXES: Final[Mapping[Verb, str]] = {
    "create": "Create",
    "update": "Update",
    "patch": "Patch",
    "nested": "Nested",
}
_NESTED: Final[tuple[Verb, ...]] = ("nested",)

_KEPT: Final = "backstay.viewset.schemas"
"""Where ``ClassManager.info`` has what was derived: view sets of one schema share it."""

_NAMES: Final = "backstay.viewset.schemas.names"
"""Where it has the names of all models derived for the class."""


def derive_inputs(
    db_model: type[Any],
    schema: type[BaseModel],
    *,
    read_only: Collection[str] = (),
    deep: bool = False,
) -> Inputs:
    """What clients may send to make and change rows that are answered by a schema.

    Not written are: primary keys that the database generates, and any primary key once its row is
    there; versions that SQLAlchemy counts, discriminators and computed columns; what is no
    attribute that can be set; and what the schema says is read only, by
    ``Field(json_schema_extra={"readOnly": True})``, or, for changes, by ``Field(frozen=True)``.

    Args:
        db_model: the mapped class.
        schema: what is answered.
        read_only: fields of the schema, or attributes of the class, that clients do not write,
            wherever the class appears in nested data.
        deep: whether nested schemas are written into their own tables. Each of their rows may
            say its key; one that does not is new, and has to be whole.

    Returns:
        The same models for the same arguments.

    Raises:
        BadViewSet: ``read_only`` names what there is not.
    """
    if not schema.__pydantic_complete__:
        schema.model_rebuild()
    mapper = mapper_of(db_model)
    unwritten = frozenset(read_only)
    _require_known(mapper, schema, unwritten)
    kept: dict[Any, Inputs] = mapper.class_manager.info.setdefault(_KEPT, {})
    found = kept.get((schema, unwritten, deep))
    if found is None:
        derivation = _Derivation(mapper, unwritten, deep=deep)
        found = kept[schema, unwritten, deep] = derivation.inputs(schema)
    return found


class _Derivation:
    """The models that are made together, each once: schemas may contain themselves."""

    def __init__(self, mapper: Mapper[Any], read_only: frozenset[str], *, deep: bool) -> None:
        self._mapper = mapper
        self._read_only = read_only
        self._deep = deep
        self._nested: dict[tuple[Any, type[BaseModel], frozenset[str]], str] = {}
        self._made: dict[str, type[BaseModel]] = {}

    def inputs(self, schema: type[BaseModel]) -> Inputs:
        """All that belongs to one schema."""
        mapper = self._mapper
        verbs: tuple[Verb, ...] = ("create", "update", "patch")
        names = _new_names(mapper, schema, verbs)
        made = {
            verb: self._model(mapper, schema, verb, name)
            for verb, name in zip(verbs, names, strict=True)
        }
        for each in self._made.values():
            each.model_rebuild(force=True, _types_namespace=self._made)
        return Inputs(
            create=made["create"],
            update=made["update"],
            patch=made["patch"],
            attributes={
                name: found
                for name, found in _attributes(mapper, schema).items()
                if found is not None and found != name
            },
        )

    def _model(
        self,
        mapper: Mapper[Any],
        schema: type[BaseModel],
        verb: Verb,
        name: str,
        given: frozenset[str] = frozenset(),
    ) -> type[BaseModel]:
        """The model for one verb. ``given`` is what a parent gives: the foreign key to it."""
        fields = self._fields(mapper, schema, verb, given)
        kept = frozenset(fields)
        partial = verb in {"patch", "nested"}
        validators = of_fields(schema, kept, partial=partial)
        if verb == "nested":
            validators["needs_what_is_new"] = needs_what_is_new(*_needed(mapper, schema, kept))
        elif verb != "patch":
            validators |= of_model(schema, kept)
        if partial:
            validators["forgets_absent"] = forgets_absent()
        if schema.model_config.get("extra") == "forbid":
            validators["drops_known"] = drops_known(names_of(schema, without=kept))
        definitions: dict[str, Any] = dict(fields)
        made: type[BaseModel] = create_model(
            name,
            __base__=NestedInput if verb == "nested" else Input,
            __cls_kwargs__=config_of(schema, kept, _types(mapper, schema, kept)),
            __doc__=schema.__doc__ if "__doc__" in vars(schema) else None,
            __module__=schema.__module__,
            __validators__=validators,
            **definitions,
        )
        self._made[name] = made
        return made

    def _fields(
        self, mapper: Mapper[Any], schema: type[BaseModel], verb: Verb, given: frozenset[str]
    ) -> dict[str, tuple[Any, FieldInfo]]:
        """The fields that may be sent, with their annotations."""
        writable = _writable(mapper, verb, given)
        relations = relations_of(mapper.class_) if self._deep else {}
        fields = {}
        for name, attribute in _attributes(mapper, schema).items():
            info = schema.model_fields[name]
            if attribute is None or self._is_read_only(mapper, name, attribute, info, verb):
                continue
            if attribute in relations and relations[attribute].writable:
                annotation = self._relation(relations[attribute], info.annotation)
            elif attribute in writable:
                annotation = info.annotation
            else:
                continue
            fields[name] = (without_serializers(annotation), _input_field(info, verb))
        return fields

    def _relation(self, relation: Relation, annotation: Any) -> Any:
        """A relation's annotation, with what may be written in place of what is answered."""
        return replaced(
            annotation,
            {
                schema: ForwardRef(self._nested_name(relation, schema))
                for schema in nested_schemas(annotation)
            },
        )

    def _nested_name(self, relation: Relation, schema: type[BaseModel]) -> str:
        given = frozenset(relation.fixed) if relation.kind == "to_children" else frozenset()
        key = (relation.target, schema, given)
        if key not in self._nested:
            (self._nested[key],) = _new_names(relation.target, schema, _NESTED)
            self._model(relation.target, schema, "nested", self._nested[key], given)
        return self._nested[key]

    def _is_read_only(
        self, mapper: Mapper[Any], name: str, attribute: str, info: FieldInfo, verb: Verb
    ) -> bool:
        extra = info.json_schema_extra
        return (
            # Also where rows of the class are nested, or whoever nests them could write it.
            (
                not self._read_only.isdisjoint({name, attribute})
                and mapper.common_parent(self._mapper)
            )
            or (isinstance(extra, dict) and bool(extra.get("readOnly")))
            or (bool(info.frozen) and verb in {"update", "patch"})
        )


def _new_names(
    mapper: Mapper[Any], schema: type[BaseModel], verbs: Collection[Verb]
) -> tuple[str, ...]:
    """Names for models: the schema's, with the verb, and a number if that is taken.

    Two models of one name would have long ones in OpenAPI, with modules and underscores.
    """
    taken: set[str] = mapper.class_manager.info.setdefault(_NAMES, set())
    # Generic schemas have brackets in their names.
    name = re.sub(r"\W+", "_", schema.__name__).strip("_")
    for number in count(1):
        suffix = "" if number == 1 else str(number)
        names = tuple(f"{name}{_SUFFIXES[verb]}{suffix}" for verb in verbs)
        if taken.isdisjoint(names):
            break
    taken.update(names)
    return names


# ------------------------------------------------------------------ fields


def _attributes(mapper: Mapper[Any], schema: type[BaseModel]) -> dict[str, str | None]:
    """The attribute that each field is read from; ``None`` for what is only part of one."""
    known = mapper.all_orm_descriptors.keys()
    found: dict[str, str | None] = {}
    for name in schema.model_fields:
        paths: list[Path] = [each for each in paths_of(schema, name) if each[0] in known]
        path = paths[0] if paths else (name,)
        attribute = str(path[0])
        if attribute in mapper.synonyms:
            attribute = mapper.synonyms[attribute].name
        found[name] = attribute if len(path) == 1 else None
    return found


def _types(
    mapper: Mapper[Any], schema: type[BaseModel], kept: Collection[str]
) -> list[TypeEngine[Any]]:
    """The types of the columns behind fields."""
    written = {each for name, each in _attributes(mapper, schema).items() if name in kept}
    return [
        column.type
        for each in mapper.column_attrs
        if each.key in written
        for column in each.columns
    ]


def _writable(mapper: Mapper[Any], verb: Verb, given: frozenset[str]) -> frozenset[str]:
    """The plain attributes that a client may write."""
    fixed = fixed_names(mapper)
    keys = frozenset(key_names(mapper.class_))
    if verb == "nested":
        # The key says which row is meant, or is a new row's natural key.
        fixed -= keys
    elif verb == "create" and not generates_key(mapper):
        fixed -= keys
    return settable_names(mapper) - fixed - given


def _input_field(info: FieldInfo, verb: Verb) -> FieldInfo:
    """A field as it is sent. What it is when it need not be and is not, nobody asks."""
    made = copy.copy(info)
    made.exclude = None
    if hasattr(made, "exclude_if"):  # since pydantic 2.12
        made.exclude_if = None
    made.metadata = without_serializers(info.metadata)
    # A nested row that is new gets the schema's defaults; what is changed stays as it is.
    if verb == "patch" or (verb == "nested" and info.is_required()):
        made.default = ...
        made.default_factory = _absent
        made.validate_default = False
    return made


def _absent() -> Any:
    return ABSENT


# ------------------------------------------------------------------ what is refused


def _require_known(mapper: Mapper[Any], schema: type[BaseModel], read_only: frozenset[str]) -> None:
    known = {
        *schema.model_fields,
        *schema.model_computed_fields,
        *mapper.all_orm_descriptors.keys(),
    }
    unknown = sorted(read_only - known)
    if unknown:
        raise BadViewSet(
            f"read_only names {', '.join(map(repr, unknown))}, but neither {schema.__name__} has "
            f"such a field nor {mapper.class_.__name__} such an attribute; one of "
            f"{', '.join(sorted(schema.model_fields))}?"
        )


def _needed(
    mapper: Mapper[Any], schema: type[BaseModel], kept: Collection[str]
) -> tuple[list[str], list[str]]:
    """The fields without which there is no new row, and those that say which row is meant."""
    attributes = _attributes(mapper, schema)
    keys = frozenset(key_names(mapper.class_))
    optional = {
        each.key
        for each in mapper.column_attrs
        for column in each.columns
        if isinstance(column, Column)
        and (column.nullable or column.default is not None or column.server_default is not None)
    }
    needed = [
        name
        for name, info in schema.model_fields.items()
        if name in kept and info.is_required() and attributes[name] not in keys | optional
    ]
    return needed, [name for name in kept if attributes[name] in keys]
