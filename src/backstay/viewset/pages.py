"""One page on its way: the statement that reads it, and the answer made of its rows."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from sqlalchemy import ColumnElement, Select, func, select

from backstay.viewset.cursors import Cursors
from backstay.viewset.filters import Conditions
from backstay.viewset.ordering import Order

__all__ = ["Page", "Question", "Statements", "Window", "count_of"]

_MAX_KEPT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a list is asked for.

    Attributes:
        base: all rows there are, without an order: columns of one class, or its objects. No
            DISTINCT, GROUP BY or LIMIT.
        order: complete.
        values: what the query string says, as ``ListQuery.read`` gives it.
        filters: what ``FilterSet.conditions`` says.
        where: whatever else holds for this request only. Without it, the statement of an
            earlier question of the same form is used again, which is a good deal faster.
        cursors: signs and reads cursors; ``None`` if there are none.
        audience: what the cursors are good for: ``audience_of(path, filters, order, user)``.
    """

    base: Select[Any]
    order: Order
    values: Mapping[str, Any]
    filters: Conditions = field(default_factory=Conditions)
    where: Sequence[ColumnElement[bool]] = ()
    cursors: Cursors | None = None
    audience: str = ""

    @property
    def conditions(self) -> tuple[ColumnElement[bool], ...]:
        """All that has to hold."""
        return (*self.filters.clauses, *self.where)

    @property
    def form(self) -> Hashable:
        """What the statements depend on; ``None`` if that is this one question."""
        return None if self.where else (self.base, self.order, self.filters.clauses)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Rows, and what is said about them.

    Attributes:
        rows: in order. Behind the columns that were asked for there may be more of them, which
            are not for clients.
        total: how many there are on all pages; ``None``: nobody has counted.
        links: cursors of other pages by relation: ``"next"``, ``"prev"``.
        dump: makes the answer of the items' JSON, an array.
        dump_models: makes the answer of the items as objects of the output schema, for
            paginators whose ``takes_models`` is true.
    """

    rows: Sequence[Any]
    total: int | None = None
    links: Mapping[str, str] = field(default_factory=dict)
    dump: Callable[[bytes], bytes]
    dump_models: Callable[[Sequence[Any]], bytes] | None = None

    def headers(self, query_string: bytes) -> dict[str, str]:
        """``Link`` to the other pages (RFC 8288), relative to the address of this one.

        Args:
            query_string: of this page's request. Filters and order stay as they are.
        """
        if not self.links:
            return {}
        kept = [
            (name, value)
            for name, value in parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)
            if name != "cursor"
        ]
        targets = (
            f'<?{urlencode([*kept, ("cursor", cursor)])}>; rel="{relation}"'
            for relation, cursor in self.links.items()
        )
        return {"Link": ", ".join(targets)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How one page is read.

    Attributes:
        statement: gives its rows, and maybe one more.
        parameters: of both statements.
        count: gives the number of all rows, for when ``page(rows)`` cannot tell it. ``None``: the
            answer does not say.
        skipped: how many rows come before it, as far as that is known.
    """

    statement: Select[Any]
    parameters: Mapping[str, Any]
    finish: Callable[[Sequence[Any], int | None], Page]
    count: Select[Any] | None = None
    skipped: int = 0

    def must_count(self, rows: Sequence[Any]) -> bool:
        """Whether ``count`` has to be asked, because no row is there to tell."""
        return self.count is not None and not rows and self.skipped > 0

    def page(self, rows: Sequence[Any], total: int | None = None) -> Page:
        """The page.

        Args:
            rows: what ``statement`` gave.
            total: what ``count`` gave, if it had to be asked.
        """
        return self.finish(rows, total)


class Statements:
    """Statements that were made before, for questions that differ by parameters alone."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, Any] = {}

    def get(self, form: Hashable, variant: Hashable, make: Callable[[], Any]) -> Any:
        """What was made for that form and variant.

        Args:
            form: the question's; for ``None`` it is made anew.
            variant: whatever else it depends on.
            make: makes it.
        """
        if form is None:
            return make()
        found = self._kept.get((form, variant))
        if found is None:
            found = make()
            if len(self._kept) >= _MAX_KEPT:  # somebody tries out all there is; begin again
                self._kept.clear()
            self._kept[form, variant] = found
        return found


def count_of(base: Select[Any], where: Sequence[ColumnElement[bool]] = ()) -> Select[Any]:
    """The number of rows of a statement on one class, without reading any column of it."""
    entity = base.column_descriptions[0].get("entity")
    froms = base.get_final_froms() if entity is None else [entity]
    conditions = [*([] if base.whereclause is None else [base.whereclause]), *where]
    return select(func.count()).select_from(*froms).where(*conditions)
