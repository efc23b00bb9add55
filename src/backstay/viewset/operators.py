"""Ways to compare a column with what a client sends.

A condition is made once for all values of one shape, and the values are parameters: to make a
condition, and to let SQLAlchemy find out that it has seen it before, costs more than to run it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import ColumnElement, String, and_, bindparam, func

from backstay.viewset.operands import Form, Operand, parameter

__all__ = ["OPERATORS", "Operator", "occurs", "occurs_in"]


class Operator(Protocol):
    """One way to compare.

    Attributes:
        says: what it does, for ``"... where `price` is greater"``.
        needs: the kind of operand: ``"any"``, ``"ordered"``, ``"text"``, or ``"nothing"`` for true
            and false.
        takes_several: whether it compares with several values.
    """

    says: str
    needs: str
    takes_several: bool

    def shape(self, operand: Operand, value: Any) -> Hashable:
        """What the condition depends on, of a value."""

    def condition(self, column: Any, shape: Any, name: str) -> ColumnElement[bool]:
        """The condition for all values of that shape; its parameters' names begin with ``name``."""

    def parameters(self, operand: Operand, value: Any, name: str) -> Mapping[str, Any]:
        """A value as parameters of its shape's condition."""


class _Comparison:
    takes_several = False

    def __init__(self, says: str, compare: Callable[[Any, Any], Any], needs: str) -> None:
        self.says = says
        self.needs = needs
        self._compare = compare

    def shape(self, operand: Operand, value: Any) -> Form:
        return operand.form(value)

    def condition(self, column: Any, shape: Form, name: str) -> ColumnElement[bool]:
        found: ColumnElement[bool] = self._compare(column, parameter(name, shape, column.type))
        return found

    def parameters(self, operand: Operand, value: Any, name: str) -> Mapping[str, Any]:
        return {name: operand.value(value)}


class _Membership:
    takes_several = True
    needs = "any"

    def __init__(self, says: str, *, among: bool) -> None:
        self.says = says
        self._among = among

    def shape(self, operand: Operand, value: Sequence[Any]) -> tuple[Form, ...]:
        forms = [operand.form(each) for each in value]
        if Form.SINGLE in forms:
            return tuple(forms)  # each of them is a parameter of its own, that it can be cast
        return (next((each for each in forms if each is not Form.OWN), Form.OWN),)

    def condition(self, column: Any, shape: tuple[Form, ...], name: str) -> ColumnElement[bool]:
        values: Any
        if Form.SINGLE in shape:
            values = [
                parameter(f"{name}_{index}", form, column.type) for index, form in enumerate(shape)
            ]
        else:
            values = parameter(name, shape[0], column.type, several=True)
        found: ColumnElement[bool] = column.in_(values) if self._among else column.not_in(values)
        return found

    def parameters(self, operand: Operand, value: Sequence[Any], name: str) -> Mapping[str, Any]:
        values = [operand.value(each) for each in value]
        if Form.SINGLE in self.shape(operand, value):
            return {f"{name}_{index}": each for index, each in enumerate(values)}
        return {name: values}


class _Absence:
    says = "has no value (or has one, if false)"
    needs = "nothing"
    takes_several = False

    def shape(self, operand: Operand, value: bool) -> bool:
        return value

    def condition(self, column: Any, shape: bool, name: str) -> ColumnElement[bool]:
        found: ColumnElement[bool] = column.is_(None) if shape else column.is_not(None)
        return found

    def parameters(self, operand: Operand, value: bool, name: str) -> Mapping[str, Any]:
        return {}


class _Occurrence:
    """A text as a part of another, in any case."""

    needs = "text"
    takes_several = False

    def __init__(self, says: str, pattern: str) -> None:
        self.says = says
        self._pattern = pattern  # with a * where the text is

    def shape(self, operand: Operand, value: str) -> None:
        return None

    def condition(self, column: Any, shape: None, name: str) -> ColumnElement[bool]:
        found: ColumnElement[bool] = column.ilike(bindparam(name, type_=String()), escape="/")
        return found

    def parameters(self, operand: Operand, value: str, name: str) -> Mapping[str, Any]:
        return {name: self._pattern.replace("*", _escaped(value))}


class _ExactOccurrence(_Occurrence):
    """A text as a part of another, with its case.

    LIKE is exact about case in PostgreSQL, and not in SQLite; functions on texts are exact in
    both. LIKE stays beside them, because it is what an index serves.
    """

    def __init__(self, says: str, pattern: str, exact: Callable[[Any, Any], Any]) -> None:
        super().__init__(says, pattern)
        self._exact = exact

    def condition(self, column: Any, shape: None, name: str) -> ColumnElement[bool]:
        text = bindparam(f"{name}_text", type_=String())
        like = column.like(bindparam(name, type_=String()), escape="/")
        return and_(like, self._exact(column, text))

    def parameters(self, operand: Operand, value: str, name: str) -> Mapping[str, Any]:
        return {**super().parameters(operand, value, name), f"{name}_text": value}


def _has(column: Any, text: Any) -> Any:
    # replace() leaves a text alone that does not have it; and every text has the empty one.
    return (func.replace(column, text, "") != column) | (func.length(text) == 0)


def _begins(column: Any, text: Any) -> Any:
    return func.substr(column, 1, func.length(text)) == text


def _ends(column: Any, text: Any) -> Any:
    return func.substr(column, func.length(column) - func.length(text) + 1) == text


OPERATORS: Mapping[str, Operator] = {
    "eq": _Comparison("is this", operator.eq, "any"),
    "ne": _Comparison("is another than this", operator.ne, "any"),
    "gt": _Comparison("is greater", operator.gt, "ordered"),
    "gte": _Comparison("is this or greater", operator.ge, "ordered"),
    "lt": _Comparison("is less", operator.lt, "ordered"),
    "lte": _Comparison("is this or less", operator.le, "ordered"),
    "in": _Membership("is one of these", among=True),
    "not_in": _Membership("is none of these", among=False),
    "isnull": _Absence(),
    "contains": _ExactOccurrence("contains this", "%*%", _has),
    "icontains": _Occurrence("contains this, in any case", "%*%"),
    "startswith": _ExactOccurrence("begins with this", "*%", _begins),
    "istartswith": _Occurrence("begins with this, in any case", "*%"),
    "endswith": _ExactOccurrence("ends with this", "%*", _ends),
    "iendswith": _Occurrence("ends with this, in any case", "%*"),
}
"""What ``filter_fields`` may name. Rows without a value are found by ``isnull`` only."""


def occurs_in(column: Any, name: str) -> ColumnElement[bool]:
    """The condition that a text occurs in a column in any case; the parameter is ``occurs``."""
    found: ColumnElement[bool] = column.ilike(bindparam(name, type_=String()), escape="/")
    return found


def occurs(text: str) -> str:
    """A text as the parameter of ``occurs_in``."""
    return f"%{_escaped(text)}%"


def _escaped(text: str) -> str:
    """A text in a pattern of LIKE, where ``%`` and ``_`` mean themselves."""
    return text.replace("/", "//").replace("%", "/%").replace("_", "/_")
