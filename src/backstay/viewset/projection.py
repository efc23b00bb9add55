"""From an output schema to what is selected, and from what was selected to JSON.

A schema whose fields are columns needs no objects: its columns, and no others, are selected, and
rows go through the schema's validators and serializers as FastAPI would have put them. Any other
schema is read from objects, with what it needs loaded beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, RootModel, TypeAdapter, ValidationError
from sqlalchemy import ColumnElement
from sqlalchemy.engine import Row
from sqlalchemy.sql.base import ExecutableOption

from backstay.db.loading import load_options
from backstay.db.mapping import mapper_of
from backstay.db.schemas import Path, paths_of, reads_freely
from backstay.errors import BadViewSet, DataError
from backstay.viewset.shortcut import Shortcut
from backstay.viewset.validators import compares_fields

__all__ = ["Projection", "Unfit", "value_of"]


class Unfit(DataError):
    """What is to be answered does not fit the schema of the answer.

    If it was written just now and is not committed, what was sent will not do.

    Args:
        schema: of the answer.
        error: what pydantic says.
    """

    def __init__(self, schema: type[BaseModel], error: ValidationError) -> None:
        self.errors = error.errors(include_url=False, include_input=False, include_context=False)
        first = self.errors[0]
        super().__init__(
            f"{schema.__name__} does not take {error.error_count()} of the values it is to answer, "
            f"the first at {'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}. Mend "
            "what is stored, or what the schema asks for"
        )


class Projection:
    """How a schema is read from a table.

    Attributes:
        plain: whether rows of ``columns`` are all that is needed.
        columns: what to select, under the names that the schema validates by. Empty if not plain.
        judges: whether the schema may refuse values together that it takes one by one.
        options: for a statement that selects objects. Empty if plain.
        many: the type of a list of the schema.
        fields: names that clients send fields by, by names of the mapped class's attributes.

    Raises:
        BadViewSet: a field has nothing that it could be read from.
    """

    def __init__(self, db_model: type[Any], schema: type[BaseModel]) -> None:
        if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
            raise BadViewSet(f"pydantic_model is a pydantic model's class; got {schema!r}")
        if issubclass(schema, RootModel):
            raise BadViewSet(
                f"pydantic_model is {schema.__name__}, a RootModel, which has no fields that columns "
                "could be; give a BaseModel"
            )
        self._schema = schema
        self.fields: dict[str, str] = {}
        self._sources: dict[str, str] = {}
        columns = self._columns(db_model)
        self.plain = columns is not None
        self.columns: tuple[ColumnElement[Any], ...] = tuple(columns or ())
        self._keys = tuple(str(each.key) for each in self.columns)
        self.options: tuple[ExecutableOption, ...] = (
            () if self.plain else tuple(load_options(db_model, schema))
        )
        self.judges = compares_fields(schema)
        self._shortcut = self._short_way(db_model)
        self._one = TypeAdapter(schema)
        self.many: Any = list[schema]  # type: ignore[valid-type]  # known at run time only
        self._many: TypeAdapter[Any] = TypeAdapter(self.many)

    def _columns(self, db_model: type[Any]) -> list[ColumnElement[Any]] | None:
        """The columns of a plain schema, ``None`` if it is none."""
        mapper = mapper_of(db_model)
        if not self._schema.__pydantic_complete__:
            self._schema.model_rebuild()
        found: list[ColumnElement[Any]] = []
        plain = not reads_freely(self._schema) and mapper.polymorphic_on is None
        for name in self._schema.model_fields:
            path = self._path(db_model, name)
            if path is None:
                continue
            said = attribute = str(path[0])
            if attribute in mapper.synonyms:
                attribute = mapper.synonyms[attribute].name
            if len(path) == 1:
                self._sources[name] = attribute
                self.fields[said] = self.fields[attribute] = _sent_name(self._schema, name)
            if len(path) == 1 and attribute in mapper.column_attrs:
                column = getattr(db_model, attribute)
                found.append(column if said == attribute else column.label(said))
            else:
                plain = False
        return found if plain else None

    def _path(self, db_model: type[Any], name: str) -> Path | None:
        """Where a field is read from; ``None`` if nowhere, so that it has its default.

        Raises:
            BadViewSet: it has no default.
        """
        paths = paths_of(self._schema, name)
        known = [path for path in paths if _has(db_model, str(path[0]))]
        if known:
            return known[0]
        if not self._schema.model_fields[name].is_required():
            return None
        remedy = "give the field a default, or the class a property of that name"
        if _has(db_model, name):
            remedy = (
                f"the field is read by its alias, {paths[0][0]!r}; say populate_by_name=True in "
                "model_config to have it read by its name too"
            )
        raise BadViewSet(
            f"{self._schema.__name__} has the field {name!r}, but {db_model.__name__} has no such "
            f"attribute; {remedy}"
        )

    def _short_way(self, db_model: type[Any]) -> Shortcut | None:
        if not self.plain:
            return None
        columns = {each.key: each.columns[0] for each in mapper_of(db_model).column_attrs}
        return Shortcut.of(self._schema, columns, self._sources)

    def dump_rows(self, rows: Sequence[Row[Any]]) -> bytes:
        """Rows of ``columns``, and maybe more behind them, as a JSON array.

        Raises:
            Unfit: a row does not fit the schema. So for all that follows.
        """
        if self._shortcut is not None:
            found = self._shortcut.dump_rows(rows)
            if found is not None:
                return found
        return self._many.dump_json(self._validated(self._many, self._values(rows)), by_alias=True)

    def dump_row(self, row: Row[Any]) -> bytes:
        """One row of ``columns``, and maybe more behind them, as a JSON object."""
        if self._shortcut is not None:
            found = self._shortcut.dump_row(row)
            if found is not None:
                return found
        (value,) = self._values([row])
        return self._one.dump_json(self._validated(self._one, value), by_alias=True)

    def dump_objects(self, objs: Sequence[Any]) -> bytes:
        """Objects, or whatever else the schema can be made of, as a JSON array."""
        return self._many.dump_json(self.models(objs), by_alias=True)

    def dump_object(self, obj: Any) -> bytes:
        """One object, or whatever else the schema can be made of, as JSON."""
        return self._one.dump_json(self._validated(self._one, obj), by_alias=True)

    def models(self, items: Sequence[Any]) -> list[BaseModel]:
        """Rows, or objects, as objects of the schema."""
        if self.plain and all(isinstance(each, Row) for each in items):
            items = self._values(items)
        found: list[BaseModel] = self._validated(self._many, items)
        return found

    def _values(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
        keys = self._keys
        return [dict(zip(keys, row)) for row in rows]  # noqa: B905  # strict= costs a tenth

    def _validated(self, adapter: TypeAdapter[Any], items: Any) -> Any:
        try:
            return adapter.validate_python(items, from_attributes=True)
        except ValidationError as error:
            raise Unfit(self._schema, error) from error


def _has(db_model: type[Any], name: str) -> bool:
    """Whether objects of a class have an attribute; of a class itself, some cannot be asked."""
    return any(name in vars(each) for each in db_model.__mro__)


def _sent_name(schema: type[BaseModel], name: str) -> str:
    """The name that clients know a field by when they send it."""
    return str(paths_of(schema, name)[0][0])


def value_of(item: Any, name: str) -> Any:
    """A value of a row, or of an object. A row has methods that columns may be called like."""
    return item._mapping[name] if isinstance(item, Row) else getattr(item, name)
