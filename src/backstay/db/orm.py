"""``OrmAsync``: reading and writing mapped objects with few words, deep if asked."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from pydantic import BaseModel

from backstay.db.base_orm import BaseOrm, Data, loading_of_written, require_columns
from backstay.db.deletion import cascade_loading, delete_with_cascades
from backstay.db.drafts import Draft, read_draft
from backstay.db.loading import Loading, together
from backstay.db.mapping import (
    SQL_TO_PYTHON_TYPE,
    fixed_names,
    get_pk,
    has_say,
    key_names,
    key_of,
    key_where,
    mapper_of,
    read_key,
)
from backstay.db.nested import deep_instance, write_change, write_new
from backstay.db.refusals import BadNested, ChangedMeanwhile
from backstay.db.rows import current, named_by
from backstay.db.settling import Linkable
from backstay.db.sharing import same
from backstay.errors import MissingExtra

try:
    from sqlalchemy import delete, select, update
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = ["BaseOrm", "OrmAsync", "OrmAsyncItem", "SQL_TO_PYTHON_TYPE", "deep_instance", "get_pk"]

T = TypeVar("T")


class OrmAsyncItem(BaseOrm):
    """Reading and writing one object, found by its primary key.

    ``item_id`` is the key's value; where the key has several columns, a tuple in their order.
    """

    async def get_item(
        self,
        db_model: type[T],
        item_id: Any,
        deep: bool = False,
        schema: type[BaseModel] | None = None,
    ) -> T | None:
        """The object with that key, ``None`` if there is none. ``deep`` and ``schema`` as ``get``."""
        try:
            key = read_key(db_model, item_id)
        except LookupError:
            return None
        query = select(db_model).where(key_where(db_model, key))
        return cast("T | None", await self.get(query, deep, schema=schema))

    async def create_item(
        self,
        obj: T,
        deep: bool = False,
        schema: type[BaseModel] | None = None,
    ) -> T:
        """Write a new object, with the new objects behind it.

        Args:
            obj: of a mapped class.
            deep: load all that is related, as ``load_options`` says.
            schema: what of it is to be loaded.

        Returns:
            The same object, with what the database filled in.
        """
        async with self._writing():
            self.asession.add(obj)
            await self.asession.flush()
            await self._finish(obj, loading_of_written(obj, schema) if deep or schema else None)
        return obj

    async def create_nested(
        self,
        db_model: type[T],
        data: Data,
        schema: type[BaseModel] | None = None,
        *,
        linkable: Linkable | None = None,
    ) -> T:
        """Write a new object and what it owns, from nested data. See ``backstay.db.nested``.

        Args:
            db_model: a mapped class.
            data: nested mappings, or a pydantic model.
            schema: what is to be loaded afterwards; ``None`` as ``load_options`` says.
            linkable: which rows may be linked to; ``None`` for all.

        Raises:
            NestedError: the data cannot be written like that.
        """
        async with self._writing():
            draft = await write_new(self.asession, db_model, data, linkable)
            return cast("T", await self._finish(draft.obj, _loading_of_draft(draft, schema)))

    async def update_item(
        self,
        db_model: type[T],
        item_id: Any,
        update_item: Data,
        deep: bool = False,
        schema: type[BaseModel] | None = None,
        *,
        linkable: Linkable | None = None,
    ) -> T | None:
        """Change the object with that key. What is not named stays as it is.

        By one statement, unless its class has a say: it counts versions, validates, listens to
        its events, or inherits.

        Args:
            db_model: a mapped class.
            item_id: its primary key.
            update_item: values by attribute; of a model, what was sent. The primary key may be
                there, and be the same.
            deep: write what the object owns too, and links. See ``backstay.db.nested``.
            schema: what of it is to be loaded afterwards.
            linkable: which rows may be linked to anew; ``None`` for all.

        Returns:
            The changed object, ``None`` if there is none.

        Raises:
            NestedError: the data cannot be written like that.
            ChangedMeanwhile: somebody else has deleted or changed a row meanwhile.
        """
        try:
            key = read_key(db_model, item_id)
        except LookupError:
            return None
        if not deep:
            draft = read_draft(mapper_of(db_model), update_item)
            require_columns(draft)
            _require_key(draft, key)
            if self._may_bypass(db_model, draft):
                query = update(db_model).where(key_where(db_model, key))
                async with self._writing():
                    return cast(
                        "T | None", await self._update(query, db_model, draft.values, schema)
                    )
        async with self._writing():
            written = await write_change(self.asession, db_model, key, update_item, linkable)
            if written is None:
                await self._finish()
                return None
            loading = _loading_of_draft(written, schema) if deep or schema else None
            return cast("T", await self._finish(written.obj, loading))

    async def delete_item(
        self,
        db_model: type[Any],
        item_id: Any,
        deep: bool = False,
    ) -> int:
        """Delete the object with that key.

        Args:
            db_model: a mapped class.
            item_id: its primary key.
            deep: delete it through its class, which has its declared cascades followed: its
                children go too where they say so, rows that link it go, what it only links to
                stays. ``False`` deletes the row by one statement, and has the database's
                ``ON DELETE`` say what becomes of others.

        Returns:
            How many there were: 1 or 0.

        Raises:
            BadNested: the rows to be deleted lead around in a circle.
        """
        try:
            key = read_key(db_model, item_id)
        except LookupError:
            return 0
        mapper = mapper_of(db_model)
        if not deep and len(mapper.tables) == 1:
            return await self.delete(delete(db_model).where(key_where(db_model, key)))
        async with self._writing():
            obj = await current(self.asession, mapper, key, cascade_loading(mapper), lock=True)
            if obj is not None:
                await delete_with_cascades(self.asession, obj)
            await self._finish()
        return int(obj is not None)

    async def eager_refresh(self, obj: T, schema: type[BaseModel] | None = None) -> T:
        """Load an object again, with all that is related, or what a schema needs.

        Raises:
            ChangedMeanwhile: its row is not there any more.
        """
        await self.asession.flush()
        found = await current(
            self.asession, mapper_of(type(obj)), key_of(obj), loading_of_written(obj, schema)
        )
        if found is None:
            raise ChangedMeanwhile(f"the {type(obj).__name__} is not there any more")
        return cast("T", found)

    def _may_bypass(self, db_model: type[Any], draft: Draft) -> bool:
        """Whether a row may be changed without an object, because nobody would notice."""
        mapper, names = draft.mapper, draft.values.keys()
        return not (
            has_say(mapper)
            or names & fixed_names(mapper)
            or names - mapper.column_attrs.keys()
            or any(bool(getattr(db_model, name).dispatch.set) for name in names)
            or bool(self.asession.sync_session.dispatch.before_flush)
        )


class OrmAsync(OrmAsyncItem):
    """Reading and writing in one session. ``BaseOrm`` says what its arguments are."""


# ---------------------------------------------------------------------- data


def _require_key(draft: Draft, key: tuple[Any, ...]) -> None:
    """The primary key is never changed; the same one in the data does no harm."""
    for name, value in zip(key_names(draft.mapper), key, strict=True):
        said = draft.values.pop(name, None)
        if said is not None and not same(value, said):
            raise BadNested("cannot be changed", (name,))


def _loading_of_draft(draft: Draft, schema: type[BaseModel] | None) -> Loading:
    """What is loaded after a deep write: what the schema says, without one also what was written."""
    found = loading_of_written(draft.obj, schema)
    return found if schema is not None else together(found, named_by(draft.mapper, [draft]))
