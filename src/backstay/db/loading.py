"""What of the tables a schema needs, as loader options: this, and nothing else, is loaded.

A schema's fields are looked up in the mapped class under the names that pydantic reads attributes
by. Nothing is loaded later, row by row: what was not asked for raises when it is read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

from backstay.db.mapping import kept, mapper_of
from backstay.db.relations import Relation, relations_of, standing_of
from backstay.db.schemas import field_paths, nested_schemas, reads_freely
from backstay.errors import MissingExtra

try:
    from sqlalchemy.ext.associationproxy import AssociationProxy
    from sqlalchemy.orm import Mapper, load_only, raiseload, selectinload, undefer
    from sqlalchemy.sql.base import ExecutableOption
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = [
    "BARE_DEPTH",
    "Loading",
    "MAX_DEPTH",
    "MAX_PATHS",
    "Tree",
    "lacks",
    "load_options",
    "loading_of",
    "together",
]

MAX_DEPTH: Final = 10
"""Relations below each other that are followed for a schema; trees in the data go that deep."""

MAX_PATHS: Final = 100
"""Relations in all, above which a schema that contains itself is not followed any deeper."""

BARE_DEPTH: Final = 3
"""The same without a schema."""

_EAGER = frozenset({"immediate", "joined", "selectin", "subquery"})


Tree = dict[str, "Tree"]
"""Relations by name, each with the relations behind it."""


@dataclass(frozen=True, slots=True)
class Loading:
    """How objects are loaded.

    Attributes:
        options: for ``select(...).options(...)``.
        tree: the relations that are loaded.
    """

    options: tuple[ExecutableOption, ...]
    tree: Tree


def load_options(
    db_model: Any, schema: type[Any] | None = None, *, narrow: bool = True
) -> tuple[ExecutableOption, ...]:
    """The options for ``select(db_model).options(...)`` that load what a schema needs.

    Each relation is one more query, however many rows there are (SQLAlchemy asks for 500 parents
    at a time). A schema that contains itself is followed as deep as the data goes, at most
    ``MAX_DEPTH``.

    A field that is a plain property, a hybrid or the like may read any column of its object, so
    all columns are loaded then, deferred ones too, and those relations that the class itself
    declares as eager (``lazy="selectin"``). The same holds for schemas with a validator that gets
    the whole object. Other relations that a property reads have to be fields of the schema.

    Args:
        db_model: a mapped class, or an alias of one.
        schema: a pydantic model that is filled from the attributes of objects. ``None`` loads the
            columns that the class loads by itself, and all relations: ``BARE_DEPTH`` deep, never
            back into a class that is on the way there already.
        narrow: load only the columns that the schema names, beside keys. ``False`` loads all,
            for objects that are going to be written.

    Raises:
        TypeError: ``db_model`` is not mapped.
        ValueError: the schema needs a relation that is declared so that it cannot be loaded with
            its object (``lazy="dynamic"``, ``"write_only"``).
    """
    return loading_of(db_model, schema, narrow=narrow).options


def loading_of(db_model: Any, schema: type[Any] | None = None, *, narrow: bool = True) -> Loading:
    """The same options, and what they load. Arguments and errors as ``load_options``."""
    mapper = mapper_of(db_model)
    if db_model is not mapper.class_:
        return _worked_out(db_model, schema, narrow=narrow)  # an alias; nobody has two alike
    # It takes longer than some queries, so the class keeps it: as long as the schema lives.
    all_of_them: WeakKeyDictionary[type[Any], Loading] = kept(
        mapper, f"loading {narrow}", WeakKeyDictionary
    )
    found = all_of_them.get(schema or mapper.class_)
    if found is None:
        found = all_of_them[schema or mapper.class_] = _worked_out(db_model, schema, narrow=narrow)
    return found


def lacks(obj: object, tree: Tree) -> bool:
    """Whether any relation of a tree is not loaded, here or behind those that are."""
    if not tree:
        return False
    loaded, relations = vars(obj), relations_of(type(obj))
    for name, inner in tree.items():
        if name not in loaded:  # getattr() would ask the database
            return True
        if inner and any(lacks(each, inner) for each in standing_of(obj, relations[name])):
            return True
    return False


def together(one: Loading, other: Loading) -> Loading:
    """What loads all that either of two loads, for objects of one class."""
    return Loading((*one.options, *other.options), _merged(one.tree, other.tree))


def _merged(one: Tree, other: Tree) -> Tree:
    names = one.keys() | other.keys()
    return {name: _merged(one.get(name, {}), other.get(name, {})) for name in names}


def _worked_out(entity: Any, schema: type[Any] | None, *, narrow: bool) -> Loading:
    mapper = mapper_of(entity)
    need = _needed(mapper, schema) if schema else _everything(mapper, (mapper,), BARE_DEPTH)
    options = _options(entity, need, narrow=narrow and schema is not None)
    # Only what would ask the database raises; the way back to a parent that is at hand does not.
    return Loading((*options, raiseload("*", sql_only=True)), _tree(need))


def _tree(need: _Need) -> Tree:
    return {name: _tree(behind) for name, behind in need.relations.items() if not behind.empty}


@dataclass(slots=True)
class _Need:
    """What is needed of the objects at one place.

    Attributes:
        mapper: of their class.
        way: the schemas that led here, one a relation.
        schemas: those they are read by.
        columns: attributes.
        relations: what is needed behind them.
        freely: whether anything may be read that the class itself has.
    """

    mapper: Mapper[Any]
    way: tuple[type[Any], ...] = ()
    schemas: set[type[Any]] = field(default_factory=set)
    columns: set[str] = field(default_factory=set)
    relations: dict[str, _Need] = field(default_factory=dict)
    freely: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing is, so that nobody has to go there."""
        return not (self.schemas or self.columns or self.relations or self.freely)


def _everything(mapper: Mapper[Any], way: tuple[Mapper[Any], ...], depth: int) -> _Need:
    need = _Need(mapper, schemas={object})
    if depth:
        for relation in relations_of(mapper).values():
            target = relation.target
            if relation.readable and not any(target.common_parent(each) for each in way):
                need.relations[relation.name] = _everything(target, (*way, target), depth - 1)
    return need


def _needed(mapper: Mapper[Any], schema: type[Any]) -> _Need:
    """What a schema needs, breadth first, so that bounds cut all branches at one depth."""
    root = _Need(mapper)
    waiting = deque([(root, schema)])
    # One more than the data goes, to see that there is nothing.
    places, deepest = 0, MAX_DEPTH + 1
    while waiting:
        need, each = waiting.popleft()
        if each in need.schemas or (each in need.way and len(need.way) > deepest):
            continue
        places += not need.schemas
        if places > MAX_PATHS:
            deepest = min(deepest, len(need.way))
        need.schemas.add(each)
        need.freely = need.freely or reads_freely(each)
        for path, annotation in field_paths(each):
            for place in _follow(need, path, each):
                inner = nested_schemas(annotation)
                place.freely = place.freely or not inner
                waiting.extend((place, one) for one in inner)
    return root


def _follow(need: _Need, path: Sequence[str | int], schema: type[Any]) -> Iterator[_Need]:
    """Note one path of attributes as needed; yield the place it ends at if that is a relation."""
    name, *rest = [each for each in path if isinstance(each, str)]
    mapper = need.mapper
    if name in mapper.synonyms:
        name = mapper.synonyms[name].name
    if name in mapper.relationships:
        place = _behind(need, relations_of(mapper)[name], schema)
        if rest:
            yield from _follow(place, rest, schema)
        else:
            yield place
    elif name in mapper.column_attrs:
        need.columns.add(name)
    elif name in mapper.composites:
        need.columns.update(each.key for each in mapper.composites[name].props)
    elif isinstance(proxy := mapper.all_orm_descriptors.get(name), AssociationProxy):
        yield from _follow(need, (proxy.target_collection, proxy.value_attr, *rest), schema)
    elif any(name in vars(each) for each in mapper.class_.__mro__):
        need.freely = True  # hasattr() would ask hybrids, some of which have nothing to say


def _behind(need: _Need, relation: Relation, schema: type[Any]) -> _Need:
    if not relation.readable:
        raise ValueError(
            f"{need.mapper.class_.__name__}.{relation.name} is declared "
            f"lazy={relation.prop.lazy!r}, so it cannot be loaded together with its object: take "
            "it out of the schema, or declare it otherwise"
        )
    found = need.relations.get(relation.name)
    if found is None:
        found = need.relations[relation.name] = _Need(relation.target, way=(*need.way, schema))
    return found


def _options(entity: Any, need: _Need, *, narrow: bool) -> list[ExecutableOption]:
    mapper, relations = need.mapper, relations_of(need.mapper)
    followed = {name: behind for name, behind in need.relations.items() if not behind.empty}
    options: list[ExecutableOption] = []
    if narrow and not need.freely:
        names = _columns(mapper, need, [relations[name] for name in followed])
        options.append(load_only(*(getattr(entity, name) for name in names), raiseload=True))
    else:
        deferred = [
            each.key
            for each in mapper.column_attrs
            if each.deferred and (need.freely or each.key in need.columns)
        ]
        options.extend(undefer(getattr(entity, name)) for name in deferred)
    for name, behind in followed.items():
        inner = _options(relations[name].target.class_, behind, narrow=narrow)
        options.append(selectinload(getattr(entity, name)).options(*inner))  # type: ignore[arg-type]  # loader options all
    if need.freely:
        options.extend(
            selectinload(getattr(entity, relation.name))
            for relation in relations.values()
            if relation.name not in followed and relation.prop.lazy in _EAGER
        )
    return options


def _columns(mapper: Mapper[Any], need: _Need, relations: Sequence[Relation]) -> list[str]:
    """The columns that are needed, and what SQLAlchemy needs to find its way between them."""
    needed = set(need.columns)
    keys: list[Any] = [*mapper.primary_key, mapper.version_id_col, mapper.polymorphic_on]
    for relation in relations:
        keys.extend(relation.prop.local_columns)
    for prop in mapper.column_attrs:
        if any(column is key for column in prop.columns for key in keys):
            needed.add(prop.key)
    return sorted(needed)
