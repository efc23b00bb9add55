"""Reading and writing by statements: what every way of using the ORM has in common."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from pydantic import BaseModel

from backstay.db.drafts import Draft, read_draft
from backstay.db.loading import Loading, load_options, loading_of
from backstay.db.mapping import mapper_of
from backstay.db.refusals import BadNested, ChangedMeanwhile, SeveralRows
from backstay.db.relations import relations_of, standing_of
from backstay.db.rows import current
from backstay.errors import MissingExtra

try:
    from sqlalchemy import Delete, Executable, Select, Update, inspect, select
    from sqlalchemy.engine import CursorResult
    from sqlalchemy.exc import MultipleResultsFound
    from sqlalchemy.ext.asyncio import AsyncSession
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = ["BaseOrm", "Data", "loading_of_written", "require_columns"]

Data = Mapping[str, Any] | BaseModel
"""Values by attribute. Of a model, what was sent."""


class BaseOrm:
    """Reading and writing by statements.

    Args:
        asession: all that is done is done in it.
        commit: whether each write is committed, and rolled back if it fails. ``False`` flushes it
            and leaves the transaction to whoever owns it. Objects can be read afterwards, even
            if the session expires them on commit.
    """

    def __init__(self, asession: AsyncSession, *, commit: bool = True) -> None:
        self.asession = asession
        self._commits = commit

    async def get(
        self,
        query: Any,
        deep: bool = False,
        db_model: type[Any] | None = None,
        schema: type[BaseModel] | None = None,
    ) -> Any:
        """The one object that a query finds.

        Args:
            query: ``select(...)``, or a mapped class.
            deep: load related objects too: what ``schema`` names, without one as ``load_options``
                says.
            db_model: what the query is about, if it does not say so itself.
            schema: a pydantic model; exactly what it needs is loaded.

        Returns:
            The object, ``None`` if there is none. Of a query for columns, the first one's value.

        Raises:
            SeveralRows: it finds more than one.
        """
        query = _loaded(query, deep=deep, db_model=db_model, schema=schema)
        result = await self.asession.execute(query)
        try:
            return (result.unique() if _finds_objects(query) else result).scalar_one_or_none()
        except MultipleResultsFound as error:
            raise SeveralRows(
                "get() found several rows where there was to be one: narrow the query down, add "
                ".order_by(...).limit(1) to have the first, or call get_list()"
            ) from error

    async def get_list(
        self,
        query: Any,
        deep: Any = False,
        db_model: Any = None,
        schema: type[BaseModel] | None = None,
    ) -> list[Any]:
        """The objects that a query finds, each once. Of a query for columns, the first one's values.

        Arguments as ``get``. ``get_list(db_model, query, deep)``, the order of older versions, is
        understood too.
        """
        if isinstance(deep, Executable):
            query, deep, db_model = deep, bool(db_model), query
        query = _loaded(query, deep=deep, db_model=db_model, schema=schema)
        result = await self.asession.execute(query)
        return list((result.unique() if _finds_objects(query) else result).scalars().all())

    async def update(self, query: Update, update_data: Data) -> Any:
        """Change the rows that a query finds, by one statement.

        Args:
            query: ``update(...).where(...)``.
            update_data: values by attribute; of a model, what was sent.

        Returns:
            The changed object, ``None`` if the query finds none, the first one the database
            names if it finds several. Of a query for a table, its row.

        Raises:
            BadNested: an attribute is no column.
        """
        entity = query.entity_description.get("entity")
        if entity is None:
            table = query.entity_description["table"]
            values = (
                dict(update_data)
                if isinstance(update_data, Mapping)
                else update_data.model_dump(exclude_unset=True)
            )
            async with self._writing():
                rows = await self.asession.execute(query.values(values).returning(*table.c))
                row = rows.first()
                await self._finish()
            return row
        draft = read_draft(mapper_of(entity), update_data)
        require_columns(draft)
        for name in draft.values:
            if name not in draft.mapper.column_attrs and name not in draft.mapper.composites:
                raise BadNested("is no column, which is all that a statement sets", (name,))
        async with self._writing():
            return await self._update(query, entity, draft.values)

    async def delete(self, query: Delete) -> int:
        """Delete the rows that a query finds, by one statement.

        Returns:
            How many there were.
        """
        async with self._writing():
            result = cast("CursorResult[Any]", await self.asession.execute(query))
            await self._finish()
        return result.rowcount

    # ------------------------------------------------------------------ transactions

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[None]:
        try:
            yield
        except Exception:
            if self._commits:
                await self.asession.rollback()
            raise

    async def _finish(self, obj: Any = None, loading: Loading | None = None) -> Any:
        """Flush or commit; have the object as the database has it, and what is to be loaded."""
        await self.asession.flush()
        if obj is not None:
            await self._complete(obj, loading)
        if self._commits:
            await self._commit(obj)
        return obj

    async def _commit(self, obj: Any) -> None:
        """Commit, and keep the object readable even if the session expires what it has.

        Reading it again afterwards would cost a query, and begin a transaction that nobody ends.
        """
        session = self.asession.sync_session
        if obj is None or not session.expire_on_commit:
            await self.asession.commit()
            return
        session.expire_on_commit = False
        try:
            await self.asession.commit()
        finally:
            session.expire_on_commit = True
        kept = _within_reach(obj)
        for each in session.identity_map.values():
            if id(each) not in kept:
                session.expire(each)

    async def _complete(self, obj: Any, loading: Loading | None) -> None:
        """Load what the database filled in itself, and what else is to be loaded."""
        if loading is not None:
            key = inspect(obj).identity
            if await current(self.asession, mapper_of(type(obj)), key, loading) is None:
                raise ChangedMeanwhile(f"the {type(obj).__name__} is not there any more")
        elif names := inspect(obj).expired_attributes - _relation_names(obj):
            await self.asession.refresh(obj, names)

    async def _update(
        self,
        query: Update,
        entity: Any,
        values: Mapping[str, Any],
        schema: type[BaseModel] | None = None,
    ) -> Any:
        if values:
            changed = query.values({getattr(entity, name): each for name, each in values.items()})
            # The object may be in the session with what it had before.
            options = {"populate_existing": True}
            rows = await self.asession.execute(changed.returning(entity), execution_options=options)
        else:
            found = select(entity)
            rows = await self.asession.execute(
                found if query.whereclause is None else found.where(query.whereclause)
            )
        obj = rows.scalars().first()
        loading = None if obj is None or schema is None else loading_of_written(obj, schema)
        return await self._finish(obj, loading)


# ---------------------------------------------------------------------- queries


def _loaded(
    query: Any, *, deep: bool, db_model: type[Any] | None, schema: type[BaseModel] | None
) -> Any:
    """The query, with the options that load what is to be loaded."""
    if not isinstance(query, Executable):
        query = select(query)
    if not deep and schema is None:
        return query
    entity = _entity(query) or db_model
    if entity is None:
        raise ValueError(
            "deep reads need a query for objects, select(YourModel); this one finds columns. "
            "Say what it is about with db_model="
        )
    return query.options(*load_options(entity, schema))


def _entity(query: Any) -> Any:
    """What a query's objects are of, ``None`` if it does not find objects."""
    first = next(iter(getattr(query, "column_descriptions", ())), None)
    if first is None or first["expr"] is not first["entity"]:
        return None
    return first["entity"]


def _finds_objects(query: Select[Any]) -> bool:
    # Eager joins find an object once for each of its children; values that are alike stay.
    return _entity(query) is not None


def require_columns(draft: Draft) -> None:
    """Refuse relations, where only columns are written.

    Raises:
        BadNested: it names one.
    """
    for name in draft.related:
        raise BadNested("is a relation, which is written with deep=True only", (name,))


def _relation_names(obj: object) -> set[str]:
    return set(mapper_of(type(obj)).relationships.keys())


def _within_reach(obj: object) -> set[int]:
    """The identities of an object and of all that its loaded relations lead to."""
    found: set[int] = set()
    waiting = [obj]
    while waiting:
        each = waiting.pop()
        if id(each) not in found:
            found.add(id(each))
            for relation in relations_of(type(each)).values():
                if relation.name in vars(each):
                    waiting.extend(standing_of(each, relation))
    return found


def loading_of_written(obj: object, schema: type[BaseModel] | None) -> Loading:
    """What is loaded of an object that was written: all columns, so that it lacks nothing it had."""
    return loading_of(type(obj), schema, narrow=False)
