"""Orders of a list: which may be asked for, and that each of them is complete.

``?sort=-price,name``: the dearest first, equals by name, and what is equal still by primary key,
so that pages never repeat or miss a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy import ColumnElement, inspect, select

from backstay.errors import BadViewSet
from backstay.viewset.paths import Way, way_of
from backstay.viewset.queries import QueryParameter

__all__ = ["Order", "Ordering", "Term"]

_MAX_KEPT = 100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Term:
    """One of the things that rows are ordered by.

    Attributes:
        name: as clients write it.
        expression: a column's attribute or a SQL expression.
        descending: whether the greatest comes first.
        nullable: whether there may be no value. Rows without one come last, in both
            directions and in every database.
        hidden: whether clients do not see it.
    """

    name: str
    expression: Any
    descending: bool
    nullable: bool
    hidden: bool

    def clause(self, *, backward: bool = False) -> ColumnElement[Any]:
        """For ``order_by``; ``backward`` for the opposite order."""
        descending = self.descending is not backward
        clause: ColumnElement[Any] = self.expression.desc() if descending else self.expression.asc()
        # Said only where there can be nulls: an index serves a plain clause in every database.
        if self.nullable:
            clause = clause.nulls_first() if backward else clause.nulls_last()
        return clause


@dataclass(frozen=True, kw_only=True, eq=False)
class Order:
    """An order in which no two rows are equal.

    Attributes:
        terms: the last of them are the primary key.
    """

    terms: tuple[Term, ...]

    @cached_property
    def text(self) -> str:
        """As a client would write it: ``"-price,name,id"``."""
        return ",".join(f"{'-' if each.descending else ''}{each.name}" for each in self.terms)

    @cached_property
    def clauses(self) -> tuple[ColumnElement[Any], ...]:
        """For ``order_by``."""
        return tuple(each.clause() for each in self.terms)

    @cached_property
    def backward(self) -> tuple[ColumnElement[Any], ...]:
        """The opposite order."""
        return tuple(each.clause(backward=True) for each in self.terms)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.text}>"


class Ordering:
    """What a list may be ordered by. ``build`` makes one.

    Attributes:
        parameters: ``sort``, for a ``ListQuery``; empty if nothing is offered.
    """

    def __init__(
        self, ways: Mapping[str, Way], default: Sequence[tuple[Way, bool]], key: Sequence[Term]
    ) -> None:
        self._ways = dict(ways)
        self._key = tuple(key)
        self._default = self._order(default)
        # An Order is kept, so that statements made for it can be.
        self._orders: dict[tuple[str, ...], Order] = {}
        self.parameters: tuple[QueryParameter, ...] = (self._parameter(),) if ways else ()

    @classmethod
    def build(
        cls,
        db_model: type[Any],
        schema: type[BaseModel],
        ordering_fields: Sequence[str] = (),
        default: str | Sequence[str] = (),
    ) -> Ordering:
        """The orders of a view set.

        Args:
            db_model: the mapped class.
            schema: what is answered. Its aliases may be listed like any name.
            ordering_fields: what clients may name. ``customer.name`` goes through a relation
                that leads to one row.
            default: the order when nobody asks for one: ``"-created_at"``, ``["rank", "-price"]``
                or ``"rank,-price"``. Then, and after whatever is asked for, comes the primary key.

        Raises:
            BadViewSet: a name leads nowhere, or to something without an order.
        """
        if isinstance(ordering_fields, str):
            raise BadViewSet(
                f"ordering_fields is a list of names; got the string {ordering_fields!r}"
            )
        listed = [
            _orderable(way_of(db_model, schema, each, option="ordering_fields"))
            for each in ordering_fields
        ]
        names = default.split(",") if isinstance(default, str) else default
        defaults = []
        for each in filter(None, (name.strip() for name in names)):
            name = each.removeprefix("-")
            way = _orderable(way_of(db_model, schema, name, option="ordering"))
            defaults.append((way, name != each))
        return cls({way.name: way for way in listed}, defaults, _key_terms(db_model, schema))

    def read(self, values: Mapping[str, Any]) -> Order:
        """The order that is asked for.

        Args:
            values: as ``ListQuery.read`` gives them.
        """
        asked = tuple(values.get("sort", ()))
        if not asked or not self._ways:
            return self._default
        order = self._orders.get(asked)
        if order is None:
            names = [(each.removeprefix("-"), each.startswith("-")) for each in asked]
            order = self._order([(self._ways[name], descending) for name, descending in names])
            if len(self._orders) >= _MAX_KEPT:
                self._orders.clear()
            self._orders[asked] = order
        return order

    @property
    def hidden(self) -> tuple[str, ...]:
        """What rows may be ordered by that clients do not see."""
        orders = [self._order([(way, False)]) for way in self._ways.values()]
        terms = [each for order in (self._default, *orders) for each in order.terms]
        return tuple(dict.fromkeys(each.name for each in terms if each.hidden))

    def _order(self, wanted: Sequence[tuple[Way, bool]]) -> Order:
        terms: dict[str, Term] = {}
        for way, descending in wanted:
            # What was named before decides; naming it again changes nothing.
            terms.setdefault(way.name, _term(way, descending=descending))
        named = {id(each.expression) for each in terms.values()}
        # Whoever reads backwards in one direction only can be served by one index.
        all_descending = bool(terms) and all(each.descending for each in terms.values())
        key = [
            Term(
                name=each.name,
                expression=each.expression,
                descending=all_descending,
                nullable=False,
                hidden=each.hidden,
            )
            for each in self._key
            if id(each.expression) not in named
        ]
        return Order(terms=(*terms.values(), *key))

    def _parameter(self) -> QueryParameter:
        names = [name for each in self._ways for name in (each, f"-{each}")]
        return QueryParameter(
            name="sort",
            type=Literal[tuple(names)],
            description="What to order by; `-` for the greatest first. Those without a value "
            f"come last. Otherwise by `{self._default.text}`.",
            at_most=len(names),
        )


def _term(way: Way, *, descending: bool) -> Term:
    expression = way.attribute if not way.relations else _related_value(way)
    return Term(
        name=way.name,
        expression=expression,
        descending=descending,
        nullable=way.nullable,
        hidden=way.field is None,
    )


def _related_value(way: Way) -> Any:
    """A related row's value as an expression, which never multiplies rows as a join might."""
    owner = way.relations[0].property.parent
    return select(way.attribute).where(*way.relations).correlate(owner).scalar_subquery()


def _orderable(way: Way) -> Way:
    if any(each.property.uselist for each in way.relations):
        raise BadViewSet(
            f"{way.name!r} goes through a relation to many rows, which have no one value to order "
            "by"
        )
    if way.is_relation or isinstance(way.type, sa.JSON | sa.ARRAY):
        what = "a relation" if way.is_relation else f"of type {way.type!r}"
        raise BadViewSet(f"{way.name!r} is {what}, by which rows cannot be ordered")
    return way


def _key_terms(db_model: type[Any], schema: type[BaseModel]) -> list[Term]:
    mapper = inspect(db_model)
    keys = [mapper.get_property_by_column(column).key for column in mapper.primary_key]
    return [
        Term(
            name=key,
            expression=way.attribute,
            descending=False,
            nullable=False,
            hidden=way.field is None,
        )
        for key in keys
        for way in [way_of(db_model, schema, key, option="the primary key")]
    ]
