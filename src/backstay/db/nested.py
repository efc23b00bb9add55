"""Deep writes: an object and what it owns, from nested data, in one go.

What an object *owns* (a relation whose cascade has ``delete-orphan``, or to children with
``delete``) is written with it: children are made, changed and, as orphans, deleted. Everything
else is only *linked* to: data with a primary key names a row that is there and stays as it is.

All that can be checked is checked before anything is changed.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from backstay.db.deletion import load_cascades
from backstay.db.drafts import Draft, read_draft
from backstay.db.mapping import kept, key_of, mapper_of
from backstay.db.refusals import BadNested, ChangedMeanwhile
from backstay.db.relations import relations_of
from backstay.db.rows import current, named_by
from backstay.db.settling import LeftOut, Linkable, Settling
from backstay.errors import MissingExtra

try:
    from sqlalchemy.exc import CircularDependencyError
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.ext.orderinglist import OrderingList
    from sqlalchemy.orm import Mapper, Session
    from sqlalchemy.orm.exc import StaleDataError
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = ["create_nested", "deep_instance", "update_nested", "write_change", "write_new"]

T = TypeVar("T")

NestedData = Mapping[str, Any] | BaseModel


def deep_instance(db_model: type[T], pydantic_data: NestedData) -> T:
    """A new object with new objects behind all of its relations; nothing is looked up or written.

    Args:
        db_model: a mapped class.
        pydantic_data: its attributes; nested models, mappings or lists of them for relations.

    Raises:
        BadNested: the data does not fit the class.
    """
    draft = read_draft(mapper_of(db_model), pydantic_data)
    _all_new(draft)
    made: T = _applied(draft)
    return made


async def create_nested(
    session: AsyncSession,
    db_model: type[T],
    data: NestedData,
    *,
    linkable: Linkable | None = None,
) -> T:
    """Write a new object, with new children, linked to rows that are there.

    In a relation that the object does not own, data with a primary key links to that row, which
    has to be there and is not changed; without one a new row is made, if the relation's cascade
    has ``save-update``. What it owns is new.

    Args:
        session: it is flushed, and not committed.
        db_model: a mapped class.
        data: a mapping, or a pydantic model, whose defaults count for what was not sent. Keys
            are the class's attributes.
        linkable: says for a class which of its rows may be linked to, as a condition; others are
            not there for this. ``None`` for all.

    Returns:
        The object, with its key.

    Raises:
        BadNested: the data does not fit the class.
        UnknownRelated: a row to link to is not there.
        ForeignChild: a key was said of a child, which the new object cannot have yet.
        SharedRow: beside a key stand values that are not that row's.
    """
    made: T = (await write_new(session, db_model, data, linkable)).obj
    return made


async def update_nested(
    session: AsyncSession, obj: T, data: NestedData, *, linkable: Linkable | None = None
) -> T:
    """Change an object and what it owns. What the data does not name stays as it is.

    Children are found by their primary keys among those that the object has now; the one child of
    a relation to one also without. Those without a key are new. A collection that is sent is all
    that there is afterwards: what it leaves out is deleted if the cascade has ``delete-orphan``,
    else let go if its foreign key may be NULL, else the change is refused. Links work as for
    ``create_nested``, and a collection of links is replaced; nothing but the links is deleted.
    ``None`` lets go of what a relation to one leads to.

    Args:
        session: it is flushed, and not committed.
        obj: has a row. It and its children are read again, and the row is locked.
        data: as for ``create_nested``; of a model, only what was sent.
        linkable: as for ``create_nested``. What is linked already may stay so.

    Returns:
        The same object. What the database fills in itself in an UPDATE has to be refreshed, and
        relations that the data does not name have to be loaded again: ``OrmAsync`` does both.

    Raises:
        BadNested, UnknownRelated, SharedRow: as ``create_nested``.
        ForeignChild: a child was named that the object does not have.
        ChangedMeanwhile: the row, or that of a child, was deleted or changed by somebody else.
    """
    if await write_change(session, type(obj), key_of(obj), data, linkable) is None:
        raise ChangedMeanwhile(
            f"the {type(obj).__name__} with the key {key_of(obj)!r} is not there any more"
        )
    return obj


async def write_new(
    session: AsyncSession,
    db_model: type[Any],
    data: NestedData,
    linkable: Linkable | None = None,
) -> Draft:
    """``create_nested``; the draft knows what the data has named, and the object."""
    draft, settling = read_draft(mapper_of(db_model), data), Settling(linkable)
    settling.new(draft)
    await session.flush()
    await settling.look_up(session)
    await _write(session, draft, settling)
    return draft


async def write_change(
    session: AsyncSession,
    db_model: type[Any],
    key: tuple[Any, ...],
    data: NestedData,
    linkable: Linkable | None = None,
) -> Draft | None:
    """``update_nested`` of the object with that primary key; ``None`` if there is none."""
    mapper = mapper_of(db_model)
    draft, settling = read_draft(mapper, data), Settling(linkable)
    obj = await current(session, mapper, key, named_by(mapper, [draft]), lock=True)
    if obj is None:
        return None
    settling.changed(draft, obj)
    await settling.look_up(session)
    await _write(session, draft, settling)
    return draft


async def _write(session: AsyncSession, draft: Draft, settling: Settling) -> None:
    orphans = [each.child for each in settling.left_out if each.relation.orphans]
    await load_cascades(session, orphans)
    try:
        early = [each for each in settling.left_out if each.relation.kind == "to_children"]
        if early and settling.makes:
            # SQLAlchemy inserts before it deletes; a new child may need what its predecessor has.
            await session.run_sync(_leave_out, early)
            await session.flush()
        await session.run_sync(_put, draft)
        await session.flush()
    except StaleDataError as error:
        raise ChangedMeanwhile(
            f"somebody else has deleted or changed what was to be written: {error}"
        ) from error
    except CircularDependencyError as error:
        raise BadNested("leads back to where it began, so nothing can be written first") from error


def _leave_out(session: Session, left_out: list[LeftOut]) -> None:
    with session.no_autoflush:
        for each in left_out:
            standing = getattr(each.parent, each.relation.name)
            if each.relation.many:
                standing.remove(each.child)  # lists and sets alike
            else:
                setattr(each.parent, each.relation.name, None)


def _put(session: Session, draft: Draft) -> None:
    with session.no_autoflush:
        session.add(_applied(draft))


# ---------------------------------------------------------------------- objects


def _all_new(draft: Draft) -> None:
    draft.written = True
    draft.values = {**draft.defaults, **draft.values}
    for name in draft.related:
        for inner in draft.behind(name):
            _all_new(inner)


def _applied(draft: Draft) -> Any:
    """The object as the draft wants it; and so behind relations."""
    if not draft.written:
        return draft.obj
    values = dict(draft.values)
    for name in draft.related:
        values[name] = _collected(draft, name)
    if draft.obj is None:
        draft.obj = _made(draft.mapper, values)
    else:
        for name, value in values.items():
            setattr(draft.obj, name, value)
    for name in draft.related:
        collection = getattr(draft.obj, name)
        if isinstance(collection, OrderingList):
            collection.reorder()  # the order that was sent; what stays keeps its number else
    return draft.obj


def _collected(draft: Draft, name: str) -> Any:
    relation = relations_of(draft.mapper)[name]
    objects = [_applied(each) for each in draft.behind(name)]
    if relation.many:
        return relation.collection(objects)
    return objects[0] if objects else None


def _made(mapper: Mapper[Any], values: dict[str, Any]) -> Any:
    """A new object. What its ``__init__`` does not take is set afterwards."""
    taken = kept(mapper, "constructor", lambda: _taken(mapper))
    obj = mapper.class_(**{name: each for name, each in values.items() if name in taken})
    for name, each in values.items():
        if name not in taken:
            setattr(obj, name, each)
    return obj


def _taken(mapper: Mapper[Any]) -> frozenset[str]:
    """What the constructor takes. Those that take anything take what is mapped, and no hybrids."""
    parameters = inspect.signature(mapper.class_).parameters.values()
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
        return frozenset(mapper.attrs.keys())
    return frozenset(each.name for each in parameters)
