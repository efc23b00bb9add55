"""Relations of mapped classes: where they lead, who owns whom, and what may be done with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from backstay.db.mapping import attribute_of, kept, mapper_of
from backstay.errors import MissingExtra

try:
    from sqlalchemy.orm import Mapper, RelationshipProperty
    from sqlalchemy.orm.collections import collection_adapter
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = ["Relation", "relations_of", "standing_of"]


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation of a mapped class, and what its declaration allows.

    Attributes:
        name: the attribute.
        prop: SQLAlchemy's own description.
        target: the mapper of what it leads to.
        many: whether it is a collection.
        kind: ``"to_one"`` (the foreign key is here), ``"to_children"`` (it is there) or
            ``"to_many"`` (both are in a table between).
        owned: whether what it leads to belongs to the object: its cascade has ``delete-orphan``,
            or it is to children and has ``delete``.
        orphans: whether what it owned is deleted when it is left out: ``delete-orphan``.
        saves: whether new rows may be made through it: ``save-update``.
        optional: whether a related row can be let go: deleted as an orphan, or its foreign key
            may be NULL.
        fixed: the foreign key: by its name at the end that holds it, the name at the other end.
            Empty for ``"to_many"``.
    """

    name: str
    prop: RelationshipProperty[Any]
    target: Mapper[Any]
    many: bool
    kind: str
    owned: bool
    orphans: bool
    saves: bool
    optional: bool
    fixed: Mapping[str, str]

    @property
    def readable(self) -> bool:
        """Whether it can be loaded together with the object."""
        return self.prop.lazy not in {"dynamic", "write_only"}

    @property
    def writable(self) -> bool:
        """Whether what it leads to may be set through it."""
        return not self.prop.viewonly and self.readable

    @property
    def collection(self) -> type[Any]:
        """What its collection is at the bottom: ``list``, ``set``, ``dict`` or ``object``."""
        made = self.prop.collection_class
        example = [] if made is None else made()
        return next((each for each in (list, set, dict) if isinstance(example, each)), object)


def relations_of(db_model: Any) -> Mapping[str, Relation]:
    """The relations of a mapped class, by name."""
    mapper = mapper_of(db_model)
    return kept(
        mapper,
        "relations",
        lambda: MappingProxyType({each.key: _relation(each) for each in mapper.relationships}),
    )


def standing_of(obj: object, relation: Relation) -> list[Any]:
    """What a relation of an object leads to now, be it a collection or not."""
    value = getattr(obj, relation.name)
    if relation.many:
        return list(collection_adapter(value))  # the members, of dicts too
    return [] if value is None else [value]


def _relation(prop: RelationshipProperty[Any]) -> Relation:
    kind = {"MANYTOONE": "to_one", "ONETOMANY": "to_children"}.get(prop.direction.name, "to_many")
    holder, other = (prop.parent, prop.mapper) if kind == "to_one" else (prop.mapper, prop.parent)
    pairs = [] if kind == "to_many" else prop.synchronize_pairs
    named = [(attribute_of(holder, there), attribute_of(other, here)) for here, there in pairs]
    fixed = {there: here for there, here in named if there is not None and here is not None}
    return Relation(
        name=prop.key,
        prop=prop,
        target=prop.mapper,
        many=bool(prop.uselist),
        kind=kind,
        owned=prop.cascade.delete_orphan or (kind == "to_children" and prop.cascade.delete),
        orphans=prop.cascade.delete_orphan,
        saves=prop.cascade.save_update,
        optional=(kind == "to_children" and prop.cascade.delete_orphan)
        or all(
            bool(getattr(there, "nullable", True)) and not getattr(there, "primary_key", False)
            for _, there in pairs
        ),
        fixed=MappingProxyType(fixed),
    )
