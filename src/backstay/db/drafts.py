"""Nested data as a tree of drafts: read, checked against the mapped classes, and nothing asked yet."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from backstay.db.loading import MAX_DEPTH
from backstay.db.mapping import fixed_names, key_names, settable_names
from backstay.db.refusals import BadNested
from backstay.db.relations import Relation, relations_of
from backstay.db.schemas import paths_of
from backstay.errors import MissingExtra

try:
    from sqlalchemy.orm import Mapper
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = ["Draft", "Loc", "read_draft"]

Loc = tuple[str | int, ...]
"""Where something stands in the data: names of fields, and positions in lists."""


@dataclass(slots=True, eq=False)
class Draft:
    """What the data says about one object.

    Attributes:
        mapper: of its class.
        loc: where in the data.
        values: plain attributes that were sent.
        defaults: plain attributes that a schema fills in if the object is new.
        related: what was sent for relations.
        obj: the object, as soon as there is one. Given by the data itself if that is an object.
        written: whether the object is to be as the draft says, and made if there is none; else it
            stays as it is.
    """

    mapper: Mapper[Any]
    loc: Loc
    values: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    related: dict[str, list[Draft] | Draft | None] = field(default_factory=dict)
    obj: Any = None
    written: bool = False

    def behind(self, name: str) -> list[Draft]:
        """The drafts behind a relation, be it a collection or not."""
        found = self.related[name]
        if isinstance(found, list):
            return found
        return [] if found is None else [found]

    def sent_key(self) -> dict[str, Any]:
        """The parts of the primary key that the data says, some by what they link to.

        Raises:
            BadNested: a part is something that no column holds, a list for example.
        """
        found = {}
        for name in key_names(self.mapper):
            value = self.values.get(name)
            if value is None:
                value = self._linked(name)
            if not isinstance(value, Hashable):
                raise BadNested("a key is one plain value", (*self.loc, name))
            if value is not None:
                found[name] = value
        return found

    def _linked(self, name: str) -> Any:
        for relation in relations_of(self.mapper).values():
            draft = self.related.get(relation.name)
            if relation.kind == "to_one" and name in relation.fixed and isinstance(draft, Draft):
                other = relation.fixed[name]
                return draft.value(other)
        return None

    def value(self, name: str) -> Any:
        """What the object has or is going to have there, ``None`` if nobody can say yet."""
        if name in self.values:
            return self.values[name]
        return None if self.obj is None else getattr(self.obj, name)


def read_draft(mapper: Mapper[Any], data: Any, *, loc: Loc = (), depth: int = 0) -> Draft:
    """Read nested data.

    Args:
        mapper: of the class that it is about.
        data: a mapping of attributes, a pydantic model, or an object of the class. Values of
            relations are the same again, in lists for collections.
        loc: where it stands in the whole.
        depth: how many relations led here.

    Raises:
        BadNested: it names what the class does not have, has another shape than the class, or is
            more than ``MAX_DEPTH`` relations deep.
    """
    if depth > MAX_DEPTH:
        raise BadNested(f"nested more than {MAX_DEPTH} deep; write it in several steps", loc)
    if isinstance(data, mapper.class_):
        return Draft(mapper, loc, obj=data)
    sent, defaults = _fields(mapper, data, loc)
    mapper = _class_said(mapper, sent)
    draft = Draft(mapper, loc)
    relations, plain = relations_of(mapper), settable_names(mapper) | fixed_names(mapper)
    for said, value in sent.items():
        name = mapper.synonyms[said].name if said in mapper.synonyms else said
        if name in relations:
            draft.related[name] = _read_related(relations[name], value, (*loc, name), depth)
        elif name in plain:
            draft.values[name] = _plain(value)
        else:
            raise _unknown(mapper, name, loc)
    draft.defaults = {name: _plain(value) for name, value in defaults.items() if name in plain}
    return draft


def _read_related(
    relation: Relation, value: Any, loc: Loc, depth: int
) -> list[Draft] | Draft | None:
    if not relation.writable:
        raise BadNested("is there to be read only; leave it out", loc)
    if not relation.many:
        return (
            None if value is None else read_draft(relation.target, value, loc=loc, depth=depth + 1)
        )
    if relation.collection not in {list, set}:
        raise BadNested(
            "cannot be written together with its parent: only lists and sets can",
            loc,
            hint=f"Its collection_class is {relation.prop.collection_class!r}",
        )
    if not isinstance(value, list | tuple | set | frozenset):
        raise BadNested(f"is a list, empty for none; got {type(value).__name__}", loc)
    return [
        read_draft(relation.target, each, loc=(*loc, index), depth=depth + 1)
        for index, each in enumerate(value)
    ]


def _fields(
    mapper: Mapper[Any], data: Any, loc: Loc
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What was sent, and what a schema has besides."""
    if isinstance(data, Mapping):
        return data, {}
    if not isinstance(data, BaseModel):
        raise BadNested(f"is an object with fields; got {type(data).__name__}", loc)
    schema, sent, defaults = type(data), {}, {}
    for field_name in schema.model_fields:
        value = getattr(data, field_name)
        if field_name in data.model_fields_set:
            sent[_attribute(mapper, schema, field_name)] = value
        elif value is not None:  # a None that nobody sent leaves it to the column's own default
            defaults[_attribute(mapper, schema, field_name)] = value
    sent.update(data.model_extra or {})
    return sent, defaults


def _attribute(mapper: Mapper[Any], schema: type[BaseModel], field_name: str) -> str:
    """The attribute that a field is written to: its own name, else the one it is read from."""
    candidates = [field_name, *(str(path[0]) for path in paths_of(schema, field_name))]
    known = mapper.all_orm_descriptors
    return next((each for each in candidates if each in known), field_name)


def _class_said(mapper: Mapper[Any], sent: Mapping[str, Any]) -> Mapper[Any]:
    """The class of a row among those that share its table, if the data says which."""
    if mapper.polymorphic_on is None:
        return mapper
    for prop in mapper.column_attrs:
        if any(column is mapper.polymorphic_on for column in prop.columns):
            identity = sent.get(prop.key)
            said = mapper.polymorphic_map.get(identity) if isinstance(identity, Hashable) else None
            if said is not None and said.isa(mapper):
                return said
    return mapper


def _plain(value: Any) -> Any:
    """A value for a column: models inside it, for JSON, are mappings there."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple) and any(isinstance(each, BaseModel) for each in value):
        return [_plain(each) for each in value]
    if isinstance(value, dict) and any(isinstance(each, BaseModel) for each in value.values()):
        return {name: _plain(each) for name, each in value.items()}
    return value


def _unknown(mapper: Mapper[Any], name: Any, loc: Loc) -> BadNested:
    known = sorted({*settable_names(mapper), *mapper.relationships.keys()})
    return BadNested(
        "there is no such field",
        (*loc, str(name)),
        hint=f"{mapper.class_.__name__} has {', '.join(known)}",
    )
