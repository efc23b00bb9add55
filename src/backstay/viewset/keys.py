"""The primary key of a table as part of an address: ``/orders/17``, ``/lines/17,teapot``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from sqlalchemy import ColumnElement, and_, inspect
from sqlalchemy.types import TypeEngine

from backstay.viewset.projection import value_of

__all__ = ["Key"]

_SMALLEST, _GREATEST = -(2**63), 2**63 - 1


class Key:
    """The primary key of a mapped class.

    Attributes:
        names: of its attributes, in the table's order.
        columns: these attributes, for statements.
        type: what ``item_id`` is: the column's Python type; for composite keys a text, values
            separated by commas.
    """

    def __init__(self, db_model: type[Any]) -> None:
        mapper = inspect(db_model)
        properties = [mapper.get_property_by_column(column) for column in mapper.primary_key]
        self.names = tuple(each.key for each in properties)
        self.columns = tuple(getattr(db_model, name) for name in self.names)
        types = [_python_type(column.type) for column in mapper.primary_key]
        self.type: Any = types[0] if len(types) == 1 else str
        self._parts = [TypeAdapter(each) for each in types]

    @property
    def is_composite(self) -> bool:
        """Whether it has more than one column."""
        return len(self.names) > 1

    def read(self, item_id: Any) -> Any:
        """What the database knows the item by: a value, or a tuple of them.

        Raises:
            LookupError: no row can have such a key.
        """
        if not self.is_composite:
            return item_id
        parts = str(item_id).split(",")
        if len(parts) != len(self._parts):
            raise LookupError(item_id)
        try:
            return tuple(
                adapter.validate_strings(part)
                for adapter, part in zip(self._parts, parts, strict=True)
            )
        except ValidationError:
            raise LookupError(item_id) from None

    def is_(self, item_id: Any) -> ColumnElement[bool]:
        """The condition that a row is this one.

        Raises:
            LookupError: no row can have such a key.
        """
        value = self.read(item_id)
        if not self.is_composite:
            return self.columns[0] == value  # type: ignore[no-any-return]  # of an attribute's operators
        return and_(*(column == part for column, part in zip(self.columns, value, strict=True)))

    def of(self, obj: Any) -> Any:
        """The key of an object: a value, or a tuple of them."""
        values = tuple(getattr(obj, name) for name in self.names)
        return values if self.is_composite else values[0]

    def path_of(self, obj: Any) -> str:
        """The last part of the address of an object (or of a row with these names)."""
        return ",".join(str(value_of(obj, name)) for name in self.names)


def _python_type(column_type: TypeEngine[Any]) -> Any:
    try:
        found = column_type.python_type
    except NotImplementedError:
        return str
    if found is int:
        # Beyond 64 bits there is no row, and drivers fail in their own ways.
        return Annotated[int, Field(ge=_SMALLEST, le=_GREATEST)]
    return found
