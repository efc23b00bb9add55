"""Filters of a list: what may be asked for, and conditions made of it.

``?status=paid&price__gte=10&customer__country__in=NL,BE&search=blue%20teapot``
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError
from sqlalchemy import BindParameter, ColumnElement, and_, not_, or_
from sqlalchemy.orm import RelationshipProperty
from sqlalchemy.sql.visitors import cloned_traverse

from backstay.errors import BadViewSet
from backstay.viewset.operands import MAX_TEXT, Operand, operand_of, without_nul
from backstay.viewset.operators import OPERATORS, Operator, occurs, occurs_in
from backstay.viewset.paths import Way, public_names, way_of
from backstay.viewset.queries import QueryParameter

__all__ = ["Conditions", "FilterSet", "MAX_SEARCH", "MAX_VALUES"]

MAX_VALUES = 100
"""How many values ``in`` and ``not_in`` take."""

MAX_SEARCH = 200
"""Characters of a ``search``."""

_MAX_WORDS = 10
_MAX_KEPT = 200


_Condition: TypeAlias = tuple[tuple[Any, ...], ColumnElement[bool]]
"""Relations, and what holds behind them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a list is filtered by.

    Attributes:
        clauses: all of them have to hold. Questions of the same form share one tuple.
        parameters: values of the parameters in them.
    """

    clauses: tuple[ColumnElement[bool], ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filter:
    parameter: QueryParameter
    way: Way
    operator: Operator
    operand: Operand
    key: str  # what its SQL parameters' names begin with

    def shape(self, value: Any) -> Hashable:
        return self.operator.shape(self.operand, value)

    def condition(self, shape: Hashable) -> ColumnElement[bool]:
        """On the class that the way ends at."""
        if self.way.is_relation:
            return _related(self.way.attribute, exists=shape is False)
        return self.operator.condition(self.way.attribute, shape, self.key)

    def parameters(self, value: Any) -> Mapping[str, Any]:
        return self.operator.parameters(self.operand, value, self.key)


class FilterSet:
    """What a list may be filtered by. ``build`` makes one.

    Names and values: ``price__gte=10`` compares with an operator, ``status=paid`` (or
    ``status__eq=paid``) asks for equality. ``in`` and ``not_in`` take several values, separated by
    commas or by repeating the parameter; a value with a comma in it is put in double quotes.
    Through relations, conditions hold for a related row: ``lines__sku=A&lines__pieces__gte=2``
    finds orders that have *one* line for which both hold, and each of them once.

    ``contains``, ``startswith``, ``endswith`` mind the case everywhere, their namesakes with ``i``
    and ``search`` do not; SQLite knows the case of ASCII letters only. ``%`` and ``_`` mean
    themselves. Times without a zone are UTC.

    Attributes:
        parameters: what a query string may say, for a ``ListQuery``.
        refused: fields that are no filters, for ``ListQuery(refuse=...)``.
    """

    def __init__(
        self, filters: Iterable[_Filter], searched: Sequence[Way], refused: frozenset[str]
    ) -> None:
        self._filters = {each.parameter.name: each for each in filters}
        self._searched = tuple(searched)
        self._clauses_of = lru_cache(maxsize=_MAX_KEPT)(self._make_clauses)
        self.refused = refused
        self.parameters = (
            *(each.parameter for each in self._filters.values()),
            *(
                _spelled_out(each.parameter)
                for each in self._filters.values()
                if each.operator is OPERATORS["eq"]
            ),
            *([_search_parameter(searched)] if searched else ()),
        )

    @classmethod
    def build(
        cls,
        db_model: type[Any],
        schema: type[BaseModel],
        filter_fields: Sequence[str] | Mapping[str, Sequence[str]] = (),
        search_fields: Sequence[str] = (),
    ) -> FilterSet:
        """The filters of a view set.

        Args:
            db_model: the mapped class.
            schema: what is answered. Its aliases may be listed like any name.
            filter_fields: names, which may be compared by equality; or names with operators.
                What the schema does not show may be listed too. ``customer.email`` goes
                through a relation.
            search_fields: texts that ``?search=`` looks into.

        Raises:
            BadViewSet: a name leads nowhere, or cannot be compared like that.
        """
        for option, value in (("filter_fields", filter_fields), ("search_fields", search_fields)):
            if isinstance(value, str):
                raise BadViewSet(f"{option} is a list of names; got the string {value!r}")
        if not isinstance(filter_fields, Mapping):
            filter_fields = dict.fromkeys(filter_fields, ("eq",))
        aliases: dict[tuple[str, ...], Any] = {}

        def way(name: str, option: str) -> Way:
            return way_of(db_model, schema, name, option=option, aliases=aliases)

        wanted = [
            (way(name, "filter_fields"), operator)
            for name, operators in filter_fields.items()
            for operator in _listed(name, operators)
        ]
        filters = [_filter(each, how, f"filter_{i}") for i, (each, how) in enumerate(wanted)]
        searched = [_searchable(way(name, "search_fields")) for name in search_fields]
        return cls(filters, searched, public_names(schema))

    def conditions(self, values: Mapping[str, Any]) -> Conditions:
        """What is asked for.

        Args:
            values: as ``ListQuery.read`` gives them; what is no filter is ignored.
        """
        shape: list[tuple[str, Hashable]] = []
        parameters: dict[str, Any] = {}
        for name in values:
            if (found := self._filters.get(name)) is not None:
                shape.append((name, found.shape(values[name])))
                parameters.update(found.parameters(values[name]))
        words = self._words(values)
        parameters.update((f"search_{index}", occurs(word)) for index, word in enumerate(words))
        if not parameters and not shape:
            return _NOTHING_ASKED
        shape.sort(key=lambda each: each[0])
        return Conditions(clauses=self._clauses_of(tuple(shape), len(words)), parameters=parameters)

    def clauses(self, values: Mapping[str, Any]) -> list[ColumnElement[bool]]:
        """The same as conditions that have their values in them."""
        found = self.conditions(values)

        def fill(place: BindParameter[Any]) -> None:
            if place.key in found.parameters:
                place.value = found.parameters[place.key]
                place.required = False

        return [cloned_traverse(each, {}, {"bindparam": fill}) for each in found.clauses]

    def describe(self, values: Mapping[str, Any]) -> str:
        """What is asked for, as JSON that is equal for equal questions.

        For cursors, which hold for one question only, and for keys of caches.
        """
        told: dict[str, Any] = {}
        for name in values:
            if (found := self._filters.get(name)) is not None:
                told[name] = _json_of(found.parameter, values[name])
        if words := self._words(values):
            told["search"] = words
        return json.dumps(told, sort_keys=True, separators=(",", ":"))

    def _words(self, values: Mapping[str, Any]) -> list[str]:
        return values.get("search", "").split() if self._searched else []

    def _make_clauses(
        self, shape: tuple[tuple[str, Hashable], ...], words: int
    ) -> tuple[ColumnElement[bool], ...]:
        asked = [(self._filters[name], each) for name, each in shape]
        clauses = _through([(each.way.relations, each.condition(how)) for each, how in asked])
        for index in range(words):
            clauses.append(or_(*self._finds(f"search_{index}")))
        return tuple(clauses)

    def _finds(self, name: str) -> list[ColumnElement[bool]]:
        return [
            clause
            for way in self._searched
            for clause in _through([(way.relations, occurs_in(way.attribute, name))])
        ]


_NOTHING_ASKED = Conditions()


def _listed(name: str, operators: Sequence[str]) -> Sequence[str]:
    listed = [operators] if isinstance(operators, str) else list(operators)
    for each in listed:
        if each not in OPERATORS:
            raise BadViewSet(
                f"filter_fields gives {name!r} the operator {each!r}; there are "
                f"{', '.join(OPERATORS)}"
            )
    return listed


def _filter(way: Way, operator_name: str, key: str) -> _Filter:
    operator = OPERATORS[operator_name]
    operand = _operand(way, operator_name, operator)
    name = way.name if operator_name == "eq" else f"{way.name}__{operator_name}"
    shown = way.field
    about = f"{shown.description.rstrip('.')}. " if shown and shown.description else ""
    parameter = QueryParameter(
        name=name,
        type=operand.type,
        description=f"{about}Only those where `{way.name}` {operator.says}.",
        at_most=MAX_VALUES if operator.takes_several else None,
        examples=() if shown is None else tuple(shown.examples or ()),
        is_filter=True,
    )

    return _Filter(parameter=parameter, way=way, operator=operator, operand=operand, key=key)


def _operand(way: Way, operator_name: str, operator: Operator) -> Operand:
    if operator.needs == "nothing":
        return Operand(bool)
    operand = None
    if not way.is_relation:
        operand = operand_of(way.type, None if way.field is None else way.field.annotation)
    if operand is None:
        what = "a relation" if way.is_relation else f"of type {way.type!r}"
        raise BadViewSet(
            f"filter_fields gives {way.name!r} the operator {operator_name!r}, but that is {what}, "
            "which cannot be compared with what a query string says; 'isnull' is possible"
        )
    if (operator.needs == "ordered" and not operand.is_ordered) or (
        operator.needs == "text" and not operand.is_text
    ):
        raise BadViewSet(
            f"filter_fields gives {way.name!r} the operator {operator_name!r}, which needs "
            f"{'an order' if operator.needs == 'ordered' else 'a text'}; that is {way.type!r}"
        )
    if operator.needs == "text":
        # A part of a text need not be one of the texts that the schema allows.
        part = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(without_nul)]
        return Operand(part, is_text=True)
    return operand


def _spelled_out(parameter: QueryParameter) -> QueryParameter:
    return QueryParameter(
        name=f"{parameter.name}__eq", type=parameter.type, is_filter=True, same_as=parameter.name
    )


def _search_parameter(searched: Sequence[Way]) -> QueryParameter:
    text = Annotated[
        str,
        Field(max_length=MAX_SEARCH),
        AfterValidator(without_nul),
        AfterValidator(_few_words),
    ]
    fields = ", ".join(f"`{each.name}`" for each in searched)
    return QueryParameter(
        name="search",
        type=text,
        description=f"Words that all have to occur, in any case, in {fields}.",
        is_filter=True,
    )


def _few_words(text: str) -> str:
    words = text.split()
    if len(words) > _MAX_WORDS:
        raise PydanticCustomError(
            "too_many_words",
            "A search has {most} words at most",
            {"most": _MAX_WORDS},
        )
    return " ".join(words)


def _searchable(way: Way) -> Way:
    operand = None if way.is_relation else operand_of(way.type, None)
    if operand is None or not operand.is_text:
        raise BadViewSet(
            f"search_fields names {way.name!r}, which is no text that can be searched: {way.type!r}"
        )
    return way


def _json_of(parameter: QueryParameter, value: Any) -> Any:
    dump = parameter.adapter.dump_python
    if parameter.at_most is None:
        return dump(value, mode="json")
    found = {json.dumps(dump(each, mode="json")) for each in value}
    return sorted(found)


def _through(
    conditions: Sequence[_Condition],
) -> list[ColumnElement[bool]]:
    """Conditions on related rows as conditions on the rows themselves.

    Those that go through the same relation hold for the same related row.
    """
    clauses = [condition for relations, condition in conditions if not relations]
    groups: dict[str, tuple[Any, list[_Condition]]] = {}
    for relations, condition in conditions:
        if relations:
            first = relations[0]
            groups.setdefault(first.key, (first, []))[1].append((relations[1:], condition))
    for relation, inner in groups.values():
        clauses.append(_related(relation, and_(*_through(inner))))
    return clauses


def _related(
    relation: Any, condition: ColumnElement[bool] | None = None, *, exists: bool = True
) -> ColumnElement[bool]:
    found: RelationshipProperty[Any] = relation.property
    clause: ColumnElement[bool] = (
        relation.any(condition) if found.uselist else relation.has(condition)
    )
    return clause if exists else not_(clause)
