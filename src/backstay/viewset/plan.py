"""What is worked out from a view set's class once, so that requests do not have to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from sqlalchemy import (
    ColumnElement,
    Select,
    bindparam,
    delete,
    false,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.engine import Row
from sqlalchemy.orm import InstrumentedAttribute, raiseload
from sqlalchemy.types import Boolean, DateTime

from backstay.db.mapping import has_say, settable_names
from backstay.errors import BadViewSet, ItemNotFound, VersionMismatch, VersionRequired
from backstay.viewset.access import Access, outcome_of
from backstay.viewset.filters import FilterSet
from backstay.viewset.inputs import Inputs
from backstay.viewset.keeping import Keeping
from backstay.viewset.keys import Key
from backstay.viewset.names import Names
from backstay.viewset.ordering import Ordering
from backstay.viewset.projection import Projection, value_of
from backstay.viewset.schemas import derive_inputs
from backstay.viewset.versions import etag_of, matches

if TYPE_CHECKING:
    from backstay.context import Context
    from backstay.viewset.declaration import Declaration

__all__ = ["Plan"]


class Plan:
    """The facts behind a view set.

    Attributes:
        db_model: the mapped class.
        names: what its items are called.
        key: the primary key.
        projection: from rows and objects to JSON.
        inputs: what clients may send.
        keeping: its cache.
        filters, ordering: what a list may be asked for.
        version: the attribute that counts changes, ``None`` if there is none.
        soft_delete: the attribute that says a row is deleted, ``None`` if rows are deleted.
        live: the condition that a row is not deleted; empty if rows are.

    Raises:
        BadViewSet: the class says something that cannot be.
    """

    def __init__(self, view: Declaration) -> None:
        self._view = view
        model = view.db_model
        try:
            self._mapper = inspect(model)
            self._table = self._mapper.local_table
        except Exception as error:
            raise BadViewSet(
                f"{type(view).__name__}.db_model is {model!r}, which is no mapped class of "
                "SQLAlchemy's"
            ) from error
        self.db_model = model
        self.names = Names.of(view)
        self.key = Key(model)
        self.version = self._attribute("version_field", view.version_field)
        self.soft_delete = self._attribute("soft_delete", view.soft_delete)
        self.live: tuple[ColumnElement[bool], ...] = self._live()
        self.projection = Projection(model, view.pydantic_model)
        self.inputs = self._inputs(view)
        self.keeping = Keeping(view)
        self.filters = FilterSet.build(
            model, view.pydantic_model, view.filter_fields, view.search_fields
        )
        self.ordering = Ordering.build(
            model, view.pydantic_model, view.ordering_fields, view.ordering
        )

    # ------------------------------------------------------------------ rows

    @cached_property
    def columns(self) -> tuple[ColumnElement[Any], ...]:
        """What a statement selects or returns: the output schema's columns, key and version."""
        named = {each.key: each for each in self.projection.columns}
        wanted = [*self.key.columns, *([] if self.version is None else [self.version])]
        return (
            *self.projection.columns,
            *(each.label(each.key) for each in wanted if each.key not in named),
        )

    @cached_property
    def select(self) -> Select[Any]:
        """All rows that are not deleted, with the output schema's columns or as objects."""
        if self.projection.plain:
            return select(*self.columns).where(*self.live)
        return select(self._view.db_model).where(*self.live).options(*self.projection.options)

    def one(self, item_id: Any) -> tuple[ColumnElement[bool], ...]:
        """The condition that a row is this item, and not deleted.

        Raises:
            ItemNotFound: no row can have such a key.
        """
        try:
            return (self.key.is_(item_id), *self.live)
        except LookupError:
            raise self.not_found(item_id) from None

    async def find(self, access: Access, item_id: Any, *conditions: ColumnElement[bool]) -> Any:
        """One item, as a row or an object, as ``select`` says.

        Raises:
            ItemNotFound: there is none, or a condition hides it.
        """
        if conditions or self.key.is_composite or not self.projection.plain:
            statement = self.select.where(*self.one(item_id), *conditions)
            return await self._first(access, statement, item_id)
        rows = await access.rows(self._select_one, {"item_id": item_id})
        if not rows:
            raise self.not_found(item_id)
        return rows[0]

    @cached_property
    def _select_one(self) -> Select[Any]:
        (column,) = self.key.columns
        return self.select.where(column == bindparam("item_id", type_=column.type))

    async def object(self, access: Access, item_id: Any, *conditions: ColumnElement[bool]) -> Any:
        """One item as an object without relations.

        Raises:
            ItemNotFound: as ``find``.
        """
        statement = select(self._view.db_model).where(*self.one(item_id), *conditions)
        found = await access.objects(statement.options(raiseload("*")))
        if not found:
            raise self.not_found(item_id)
        return found[0][0]

    async def written(self, access: Access, obj: Any) -> Any:
        """The row or object that was just written, as the database has it now."""
        statement = self.select.where(self.key.is_(self.key.of(obj)))
        if not self.projection.plain:
            statement = statement.execution_options(populate_existing=True)
        return await self._first(access, statement, self.key.of(obj))

    async def all_written(self, access: Access, made: Sequence[Any]) -> list[Any]:
        """What was just written, in the same order; what the class made of its own stays."""
        model = self._view.db_model
        return [
            await self.written(access, each) if isinstance(each, model) else each for each in made
        ]

    def dump(self, items: Sequence[Any]) -> bytes:
        """A list of rows, or of objects, as JSON."""
        if self.projection.plain and all(isinstance(each, Row) for each in items):
            return self.projection.dump_rows(items)
        return self.projection.dump_objects(items)

    async def _first(self, access: Access, statement: Select[Any], item_id: Any) -> Any:
        if self.projection.plain:
            rows = await access.rows(statement)
            if rows:
                return rows[0]
        else:
            found = await access.objects(statement)
            if found:
                return found[0][0]
        raise self.not_found(item_id)

    def not_found(self, item_id: Any) -> ItemNotFound:
        """The answer for items that are not there."""
        return ItemNotFound(f"There is no {self.names.noun} {item_id}.")

    # ------------------------------------------------------------------ what is written

    @cached_property
    def _writable(self) -> frozenset[str]:
        """The attributes that can be set at all."""
        relations = self._mapper.relationships.keys() if self._view.deep_schema else ()
        return settable_names(self._mapper) | frozenset(relations)

    @cached_property
    def _defaulted(self) -> frozenset[str]:
        """Attributes whose columns know a value by themselves."""
        return frozenset(
            each.key
            for each in self._mapper.column_attrs
            if any(
                column.default is not None or column.server_default is not None
                for column in each.columns
                if hasattr(column, "server_default")
            )
        )

    def attributes_of(self, item: BaseModel) -> dict[str, Any]:
        """What to write for a new item: all of its fields that the table has.

        ``None`` that nobody has sent leaves the value to the column's own default.
        """
        said = self.sent_attributes_of(item)
        return {
            name: value
            for name, value in self.inputs.values(item).items()
            if name in said
            or (name in self._writable and (value is not None or name not in self._defaulted))
        }

    def sent_attributes_of(self, item: BaseModel) -> dict[str, Any]:
        """What to write for a change: the fields that were sent."""
        found = self.inputs.values(item, sent_only=True)
        return {name: value for name, value in found.items() if name in self._writable}

    # ------------------------------------------------------------------ one statement, by itself

    @cached_property
    def _is_simple(self) -> bool:
        """Whether the class makes nothing of its own of the values it is given."""
        original = getattr(self._mapper.class_.__init__, "_sa_original_init", None)
        return getattr(original, "__module__", "").startswith("sqlalchemy.orm.")

    @property
    def has_say(self) -> bool:
        """Whether the class, or who listens to it, has a say in how rows are written now."""
        return has_say(self._mapper)

    @property
    def writes_alone(self) -> bool:
        """Whether an item can be written by one statement that also returns the answer."""
        return self._is_simple and self.projection.plain and not self._view.deep_schema

    def may_commit_unread(self, own_model: type[BaseModel] | None) -> bool:
        """Whether an item may be committed before it was read through the output schema.

        Not if what was sent may be what the schema refuses: it has a say about all fields together,
        or clients send something of the class's own making. A row that cannot be shown would make
        every list that it is in an error.
        """
        return self.writes_alone and not self.projection.judges and own_model is None

    @property
    def deletes_alone(self) -> bool:
        """Whether an item can be deleted by one statement: nothing declared depends on it."""
        return self.soft_delete is not None or not self._mapper.relationships

    @cached_property
    def insert_many(self) -> Any:
        """``insert`` for several at once, whose rows come in the order of its parameters."""
        return insert(self._table).returning(*self.columns, sort_by_parameter_order=True)

    @cached_property
    def insert(self) -> Any:
        """``INSERT ... RETURNING``; its parameters are ``values_of(item)``."""
        return insert(self._table).returning(*self.columns)

    def values_of(self, item: BaseModel, *, sent_only: bool = False) -> dict[str, Any]:
        """``attributes_of(item)``, named as statements on the table name them."""
        found = self.sent_attributes_of(item) if sent_only else self.attributes_of(item)
        return {self._column_keys[name]: value for name, value in found.items()}

    @cached_property
    def _column_keys(self) -> dict[str, str]:
        return {each.key: each.columns[0].key for each in self._mapper.column_attrs}

    async def update_alone(
        self, access: Access, item_id: Any, item: BaseModel, if_match: str | None
    ) -> Any:
        """Change an item by one statement.

        Raises:
            ItemNotFound, VersionMismatch: it is not there, or not that version.
        """
        values = self.values_of(item, sent_only=True)
        if not values:
            row = await self.find(access, item_id)
            self.require_match(row, if_match)
            return row
        if self.version is not None:
            values[self._column_keys[self.version.key]] = self._next_version()
        conditions = await self._version_is(access, item_id, if_match)
        statement = (
            update(self._table)
            .where(*self.one(item_id), *conditions)
            .values(values)
            .returning(*self.columns)
        )
        rows = await access.write(statement)
        if rows:
            return rows[0]
        await self._explain_miss(access, item_id, if_match)
        raise self.not_found(item_id)

    async def delete_alone(self, access: Access, item_id: Any, if_match: str | None) -> None:
        """Delete an item, or mark it, by one statement.

        Raises:
            ItemNotFound, VersionMismatch: it is not there, or not that version.
        """
        where = (*self.one(item_id), *await self._version_is(access, item_id, if_match))
        statement: Any
        if self.soft_delete is None:
            statement = delete(self._table).where(*where)
        else:
            mark = {self._column_keys[name]: each for name, each in self.deletion_mark().items()}
            statement = update(self._table).where(*where).values(mark)
        if not await access.write(statement.returning(*self.key.columns)):
            await self._explain_miss(access, item_id, if_match)
            raise self.not_found(item_id)

    # ------------------------------------------------------------------ versions

    def require_match_said(self, if_match: str | None) -> None:
        """Refuse a change that does not say which version it changes, where that is required.

        Raises:
            VersionRequired: it does not.
        """
        if if_match is None and self._view.require_if_match and self.version is not None:
            raise VersionRequired(
                f"Say which version of the {self.names.noun} you change: send its ETag as If-Match."
            )

    def require_match(self, item: Any, if_match: str | None) -> None:
        """Refuse to change what is not the version that is meant.

        Raises:
            VersionMismatch: it is another one.
        """
        if self.version is None or if_match is None:
            return
        tag = etag_of(value_of(item, self.version.key))
        if not matches(if_match, tag):
            raise VersionMismatch(
                f"The {self.names.noun} has been changed meanwhile: its version is {tag}, "
                f"not {if_match}. Read it again and repeat your change."
            )

    async def _version_is(
        self, access: Access, item_id: Any, if_match: str | None
    ) -> tuple[ColumnElement[bool], ...]:
        """The condition that the row is the version that is meant, found by reading it first."""
        if self.version is None or if_match is None:
            return ()
        rows = await access.rows(select(self.version).where(*self.one(item_id)))
        if not rows:
            raise self.not_found(item_id)
        self.require_match(rows[0], if_match)
        return (self.version == rows[0][0],)

    async def _explain_miss(self, access: Access, item_id: Any, if_match: str | None) -> None:
        if self.version is not None and if_match is not None:
            rows = await access.rows(select(self.version).where(*self.one(item_id)))
            if rows:  # changed between our look and our write
                self.require_match(rows[0], if_match)
                raise VersionMismatch(
                    f"The {self.names.noun} was changed at the same moment. Read it again "
                    "and repeat your change."
                )

    def set_next_version(self, obj: Any, before: Any) -> None:
        """Count a change of an object whose version was ``before``, unless its class counts."""
        if self.version is None or self._mapper.version_id_col is not None:
            return
        if getattr(obj, self.version.key) == before:
            setattr(obj, self.version.key, self._next_version())

    def _next_version(self) -> Any:
        assert self.version is not None
        return datetime.now(UTC) if isinstance(self.version.type, DateTime) else self.version + 1

    # ------------------------------------------------------------------ what the class said

    async def conditions(self, ctx: Context) -> list[ColumnElement[bool]]:
        """What ``visible`` says, as a list that may be empty."""
        found: ColumnElement[bool] | None = await outcome_of(self._view.visible(ctx))
        return [] if found is None else [found]

    def deletion_mark(self) -> dict[str, Any]:
        """What marks a row as deleted."""
        assert self.soft_delete is not None
        if isinstance(self.soft_delete.type, Boolean):
            return {self.soft_delete.key: True}
        now = datetime.now(UTC)
        if not self.soft_delete.type.timezone:
            now = now.replace(tzinfo=None)
        return {self.soft_delete.key: now}

    def problems_of_changes(self, *more: int) -> tuple[int, ...]:
        """The statuses that changes may be refused with."""
        found = [404, *more]
        if self._view.overrides("visible", "check_object"):
            found.append(403)
        if self.version is not None:
            found.append(412)
            if self._view.require_if_match:
                found.append(428)
        return tuple(sorted(found))

    def _live(self) -> tuple[ColumnElement[bool], ...]:
        column = self.soft_delete
        if column is None:
            return ()
        if isinstance(column.type, Boolean):
            return (column.is_(false()),)
        if isinstance(column.type, DateTime):
            return (column.is_(None),)
        raise BadViewSet(
            f"{type(self._view).__name__}.soft_delete names {column.key!r}, which is of type "
            f"{column.type!r}; a deleted row is marked in a DateTime or a Boolean column"
        )

    def _attribute(self, option: str, name: str | None) -> InstrumentedAttribute[Any] | None:
        if name is None:
            return None
        if name not in self._mapper.column_attrs:
            known = ", ".join(sorted(each.key for each in self._mapper.column_attrs))
            raise BadViewSet(
                f"{type(self._view).__name__}.{option} names {name!r}, but "
                f"{self._view.db_model.__name__} has only the columns {known}"
            )
        found: InstrumentedAttribute[Any] = getattr(self._view.db_model, name)
        return found

    def _inputs(self, view: Declaration) -> Inputs:
        hidden = [name for name in (view.version_field, view.soft_delete) if name is not None]
        derived = derive_inputs(
            view.db_model,
            view.pydantic_model,
            read_only=[*view.read_only, *hidden],
            deep=view.deep_schema,
        )
        return Inputs(
            create=view.create_model or derived.create,
            update=view.update_model or derived.update,
            patch=view.patch_model or derived.patch,
            attributes=derived.attributes,
        )
