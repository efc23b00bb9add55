"""The rows that nested data is about, loaded by one query for each relation that it names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from backstay.db.drafts import Draft
from backstay.db.loading import Loading, Tree, lacks
from backstay.db.mapping import key_of, key_where, pk_attributes
from backstay.db.relations import relations_of
from backstay.errors import MissingExtra

try:
    from sqlalchemy import ColumnElement, select, tuple_
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Mapper, raiseload, selectinload, undefer
    from sqlalchemy.sql.base import ExecutableOption
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = ["current", "named_by", "rows_with_keys"]

CHUNK: Final = 500
"""Keys in one query: SQLAlchemy's own number for ``selectinload``, and below every driver's bound."""


async def current(
    session: AsyncSession,
    mapper: Mapper[Any],
    key: tuple[Any, ...],
    loading: Loading,
    *,
    lock: bool = False,
) -> Any:
    """The object with that key as it is now, whatever the session has read of it before.

    Args:
        session: where it is.
        mapper: of its class.
        key: values of the primary key.
        loading: what is loaded with it.
        lock: where the database locks rows, nobody else changes it, or gives it children, until
            the transaction is over.

    Returns:
        ``None`` if there is none.
    """
    # What is waiting in the session would be lost when rows are read again.
    await session.flush()
    statement = select(mapper.class_).where(key_where(mapper.class_, key))
    statement = statement.options(*loading.options, raiseload("*", sql_only=True))
    if lock:
        statement = statement.with_for_update(of=mapper.class_)
    again = statement.execution_options(populate_existing=True)
    obj = (await session.scalars(again)).unique().one_or_none()
    if obj is not None and lacks(obj, loading.tree):
        # A row that is met on two ways is read again on the second, and forgets what the first
        # one led to. Without populate_existing, only what is missing is filled in.
        (await session.scalars(statement)).unique().all()
    return obj


def named_by(mapper: Mapper[Any], drafts: Sequence[Draft]) -> Loading:
    """All that drafts of one class name, for ``current``."""
    return Loading(tuple(_options(mapper, drafts)), _tree(drafts))


async def rows_with_keys(
    session: AsyncSession,
    mapper: Mapper[Any],
    keys: Sequence[tuple[Any, ...]],
    options: Iterable[ExecutableOption] = (),
    *,
    among: ColumnElement[bool] | None = None,
) -> dict[tuple[Any, ...], Any]:
    """The objects of one class that have these keys, by key.

    Args:
        session: where they are.
        mapper: of their class.
        keys: values of the primary key.
        options: what is loaded with them.
        among: a condition that rows have to meet; ``None`` for all.
    """
    columns = pk_attributes(mapper.class_)
    selected = select(mapper.class_).options(*options, raiseload("*", sql_only=True))
    if among is not None:
        selected = selected.where(among)
    found = {}
    for start in range(0, len(keys), CHUNK):
        chunk = keys[start : start + CHUNK]
        if len(columns) == 1:
            condition = columns[0].in_([key[0] for key in chunk])
        else:
            condition = tuple_(*columns).in_(chunk)
        for obj in (await session.scalars(selected.where(condition))).unique():
            found[key_of(obj)] = obj
    return found


def _tree(drafts: Iterable[Draft]) -> Tree:
    """The relations that drafts name."""
    behind = _behind(drafts)
    return {name: _tree(inner) for name, inner in behind.items()}


def _behind(drafts: Iterable[Draft]) -> dict[str, list[Draft]]:
    behind: dict[str, list[Draft]] = defaultdict(list)
    for draft in drafts:
        for name in draft.related:
            behind[name].extend(draft.behind(name))
    return behind


def _options(mapper: Mapper[Any], drafts: Iterable[Draft]) -> list[ExecutableOption]:
    """The loader options for all that drafts of one class name."""
    drafts = list(drafts)
    entity, relations = mapper.class_, relations_of(mapper)
    named = {name for draft in drafts for name in draft.values}
    options: list[ExecutableOption] = [
        undefer(getattr(entity, prop.key))
        for prop in mapper.column_attrs
        if prop.deferred and prop.key in named
    ]
    for name, inner in _behind(drafts).items():
        further = _options(relations[name].target, inner)
        options.append(selectinload(getattr(entity, name)).options(*further))  # type: ignore[arg-type]  # loader options all
    return options
