"""What goes with an object when it is deleted: what its class declares, loaded before, by levels.

SQLAlchemy follows the declared cascades by itself, but would load what it needs for that row by
row. ``passive_deletes`` leaves it to the database, as declared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from backstay.db.loading import Loading, Tree
from backstay.db.mapping import key_of, mapper_of
from backstay.db.refusals import BadNested
from backstay.db.relations import Relation, relations_of, standing_of
from backstay.db.rows import rows_with_keys
from backstay.errors import MissingExtra

try:
    from sqlalchemy.exc import CircularDependencyError
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Mapper, selectinload
    from sqlalchemy.sql.base import ExecutableOption
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = ["cascade_loading", "delete_with_cascades", "load_cascades"]


def cascade_loading(mapper: Mapper[Any], *way: Mapper[Any]) -> Loading:
    """What has to be loaded for objects of a class to be deleted; once around for trees of one class.

    Args:
        mapper: of the class.
        way: the classes that led here.
    """
    options: list[ExecutableOption] = []
    tree: Tree = {}
    for relation in _needed(mapper):
        further = Loading((), {})
        target = relation.target
        on_the_way = any(target.common_parent(each) for each in (*way, mapper))
        if relation.prop.cascade.delete and not on_the_way:
            further = cascade_loading(target, *way, mapper)
        option = selectinload(getattr(mapper.class_, relation.name))
        options.append(option.options(*further.options))  # type: ignore[arg-type]  # loader options all
        tree[relation.name] = further.tree
    return Loading(tuple(options), tree)


async def delete_with_cascades(session: AsyncSession, obj: Any) -> None:
    """Delete an object and what goes with it; the session is flushed, and not committed.

    Raises:
        BadNested: the rows lead around in a circle, so none of them can be deleted first.
    """
    await load_cascades(session, [obj])
    await session.delete(obj)
    try:
        await session.flush()
    except CircularDependencyError as error:
        raise BadNested(
            "is part of a circle of rows that belong to each other; take one out first"
        ) from error


async def load_cascades(session: AsyncSession, objects: Iterable[Any]) -> None:
    """Load what has to be for objects to be deleted, as deep as the rows go.

    Args:
        session: where they are.
        objects: have rows.
    """
    seen: set[int] = set()
    tried: set[int] = set()
    waiting = list(objects)
    while waiting:
        lacking = _lacking(waiting, seen, tried)
        for mapper, found in lacking.items():
            options = cascade_loading(mapper).options
            await rows_with_keys(session, mapper, [key_of(each) for each in found], options)
        waiting = [each for found in lacking.values() for each in found]
        # Whose row is gone stays without, and is not asked for again.
        tried.update(map(id, waiting))


def _lacking(objects: list[Any], seen: set[int], tried: set[int]) -> dict[Mapper[Any], list[Any]]:
    """Those that are reached and not loaded, by class."""
    found: dict[Mapper[Any], list[Any]] = defaultdict(list)
    waiting = list(objects)
    while waiting:
        obj = waiting.pop()
        if id(obj) in seen:
            continue
        mapper = mapper_of(type(obj))
        needed = _needed(mapper)
        if id(obj) not in tried and any(each.name not in vars(obj) for each in needed):
            found[mapper].append(obj)
            continue
        seen.add(id(obj))
        for relation in needed:
            if relation.prop.cascade.delete and relation.name in vars(obj):
                waiting.extend(standing_of(obj, relation))
    return found


def _needed(mapper: Mapper[Any]) -> list[Relation]:
    """The relations that SQLAlchemy follows, or whose rows it changes, when an object is deleted."""
    return [
        each
        for each in relations_of(mapper).values()
        if each.writable
        and not each.prop.passive_deletes
        and (each.kind != "to_one" or each.prop.cascade.delete)
    ]
