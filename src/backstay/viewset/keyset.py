"""Pages by what the last row was, rather than by how many came before it.

What is asked of the database is "the first rows after this one". That costs the same on every
page, given an index, and no row is repeated or missed because others come and go meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from sqlalchemy import (
    ColumnElement,
    and_,
    bindparam,
    false,
    or_,
    tuple_,
    type_coerce,
)
from sqlalchemy.types import UserDefinedType

from backstay.viewset.operands import Form, is_single, parameter
from backstay.viewset.ordering import Order, Term

__all__ = ["Keyset"]


class _Raw(UserDefinedType[Any]):
    """Values as the driver gives and takes them.

    SQLAlchemy's types may change a value on its way: a decimal number of SQLite's is rounded to
    the column's scale, a time that the database set itself is written with another number of
    digits. Compared with what is stored, such a value is a little more or less, and a row is
    repeated or missed.
    """

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Not for columns; SQLAlchemy wants one to show the type."""
        return "RAW"


class Keyset:
    """The position of rows in an order, and the rows on either side of a position.

    Args:
        order: complete: no two rows are equal in it.
    """

    def __init__(self, order: Order) -> None:
        self._terms = order.terms
        self._parameters = [
            _parameter(f"keyset_{index}", each) for index, each in enumerate(self._terms)
        ]

    def __len__(self) -> int:
        """How many values a position has."""
        return len(self._terms)

    @cached_property
    def columns(self) -> tuple[ColumnElement[Any], ...]:
        """What a row's position is selected by."""
        return tuple(_raw(each).label(f"keyset_{index}") for index, each in enumerate(self._terms))

    def condition(
        self, values: Sequence[Any], *, backward: bool = False, inclusive: bool = False
    ) -> ColumnElement[bool]:
        """The rows after a position.

        It depends on ``values`` only by which of them are ``None``; the others are parameters,
        ``parameters(values)``.

        Args:
            values: one for each term.
            backward: the rows before it instead.
            inclusive: and the row that is there.
        """
        if self._is_uniform and None not in values:
            return self._in_one_comparison(backward=backward, inclusive=inclusive)
        clauses: list[ColumnElement[bool]] = []
        equal: list[ColumnElement[bool]] = []
        for index, value in enumerate(values):
            beyond = self._beyond(index, value, backward=backward)
            if beyond is not None:
                clauses.append(and_(*equal, beyond))
            equal.append(self._equal(index, value))
        if inclusive:
            clauses.append(and_(*equal))
        found = or_(*clauses) if clauses else false()
        bound = self._bound(values[0], backward=backward)
        return found if bound is None else and_(bound, found)

    def parameters(self, values: Sequence[Any]) -> dict[str, Any]:
        """For a statement with ``condition(values)``."""
        return {f"keyset_{index}": value for index, value in enumerate(values) if value is not None}

    @property
    def _is_uniform(self) -> bool:
        directions = {each.descending for each in self._terms}
        return len(directions) == 1 and not any(each.nullable for each in self._terms)

    def _in_one_comparison(self, *, backward: bool, inclusive: bool) -> ColumnElement[bool]:
        # (a, b) > (:a, :b), which an index on both columns serves as it stands.
        left: Any = _side([_raw(each) for each in self._terms])
        right: Any = _side(self._parameters)
        if self._terms[0].descending is not backward:
            return left <= right if inclusive else left < right  # type: ignore[no-any-return]  # operators of columns
        return left >= right if inclusive else left > right  # type: ignore[no-any-return]  # as above

    def _equal(self, index: int, value: Any) -> ColumnElement[bool]:
        column = _raw(self._terms[index])
        return column.is_(None) if value is None else column == self._parameters[index]

    def _beyond(self, index: int, value: Any, *, backward: bool) -> ColumnElement[bool] | None:
        """Rows on the far side in one term; ``None`` if there are none."""
        term = self._terms[index]
        column = _raw(term)
        if value is None:  # those without a value are the last ones
            return column.is_not(None) if backward else None
        parameter = self._parameters[index]
        greater = term.descending is backward
        beyond = column > parameter if greater else column < parameter
        return or_(beyond, column.is_(None)) if term.nullable and not backward else beyond

    def _bound(self, value: Any, *, backward: bool) -> ColumnElement[bool] | None:
        """What follows from the rest, and lets a database begin in the middle of an index."""
        term = self._terms[0]
        if len(self._terms) == 1 or value is None or (term.nullable and not backward):
            return None
        column, parameter = _raw(term), self._parameters[0]
        return column >= parameter if term.descending is backward else column <= parameter


def _raw(term: Term) -> ColumnElement[Any]:
    return type_coerce(term.expression, _Raw())


def _parameter(name: str, term: Term) -> ColumnElement[Any]:
    # A number of 4 bytes is read as one of 8, and has to go back as it came.
    if is_single(term.expression.type):
        return parameter(name, Form.SINGLE, term.expression.type)
    return bindparam(name, type_=_Raw())


def _side(parts: Sequence[Any]) -> Any:
    return parts[0] if len(parts) == 1 else tuple_(*parts)
