"""The paginators there are: by number, by skipping, by cursor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Annotated, Any

from fastapi.encoders import jsonable_encoder
from pydantic import BaseModel, Field, model_validator
from pydantic_core import to_json
from sqlalchemy import BigInteger, ColumnElement, Select, bindparam

from backstay.errors import BadCursor, BadViewSet
from backstay.viewset.base_paginator import (
    MAX_SKIPPED,
    BasePaginatorClass,
    numbered,
    size_parameter,
)
from backstay.viewset.cursors import Position, require_sealing
from backstay.viewset.keyset import Keyset
from backstay.viewset.ordering import Order, Ordering
from backstay.viewset.pages import Page, Question, Window
from backstay.viewset.queries import QueryParameter, refused

__all__ = [
    "BasePaginatorClass",
    "CursorPaginator",
    "DefaultPaginator",
    "LimitOffsetPaginator",
]

_KEPT_KEYSETS = 100
_CURSOR_CHARACTERS = 32_768


class DefaultPaginator(BasePaginatorClass):
    """Pages by number, and how many there are: ``{page, size, count, pages, items}``.

    ``count`` is the number of all items that the filters leave, and not that of this page. It is
    read by the same statement as the page, so that the two agree.
    """

    class Schema(BaseModel):
        """A page of a list."""

        page: int = Field(description="Which page this is; the first is 1.")
        size: int = Field(description="How many items a page has.")
        count: int = Field(description="How many items there are on all pages.")
        pages: int = Field(description="How many pages there are.")
        items: list[Any]

        @model_validator(mode="before")
        @classmethod
        def _count_pages(cls, values: Any) -> Any:
            # For a json() from the days when there was no such field.
            if isinstance(values, dict) and "pages" not in values and values.get("size"):
                return {**values, "pages": -(-values.get("count", 0) // values["size"])}
            return values

    @staticmethod
    def json(page: int, size: int, response: Any, *, total: int | None = None) -> dict[str, Any]:
        """What is answered.

        Args:
            page: its number, from 1.
            size: how many items a page has.
            response: the items.
            total: how many there are on all pages; ``None`` takes these for all.
        """
        items = jsonable_encoder(response)
        count = len(items) if total is None else total
        return {
            "page": page,
            "size": size,
            "count": count,
            "pages": -(-count // size),
            "items": items,
        }

    @cached_property
    def takes_models(self) -> bool:
        return type(self).json is not DefaultPaginator.json

    def _dump(self, page: int, size: int, total: int | None, items: bytes) -> bytes:
        assert total is not None
        return b'{"page":%d,"size":%d,"count":%d,"pages":%d,"items":%b}' % (
            page,
            size,
            total,
            -(-total // size),
            items,
        )

    def _check(self) -> None:
        if self.Schema is not DefaultPaginator.Schema and not self.takes_models:
            raise BadViewSet(
                f"{type(self).__name__} has a Schema of its own, but no json(page, size, response, "
                "*, total) that makes it"
            )


class LimitOffsetPaginator(BasePaginatorClass):
    """A plain list, and which part of it: ``?skip=20&limit=10``.

    Args:
        default_limit: how many, if the request does not say. ``None``: the class's.
        max_limit: how many a request may ask for. ``None``: the class's.
    """

    default_limit: int = 100
    max_limit: int = 1000

    def __init__(self, *, default_limit: int | None = None, max_limit: int | None = None) -> None:
        super().__init__()
        self.max_limit = self.max_limit if max_limit is None else max_limit
        limit = self.default_limit if default_limit is None else default_limit
        self.default_limit = min(limit, self.max_limit)

    @cached_property
    def parameters(self) -> tuple[QueryParameter, ...]:
        return (
            QueryParameter(
                name="skip",
                type=Annotated[int, Field(ge=0, le=MAX_SKIPPED)],
                default=0,
                description="How many items to leave out at the beginning.",
            ),
            QueryParameter(
                name="limit",
                type=Annotated[int, Field(ge=1, le=self.max_limit)],
                default=self.default_limit,
                description="How many items at most.",
            ),
        )

    @cached_property
    def takes_models(self) -> bool:
        return False

    @cached_property
    def counts(self) -> bool:
        return False

    def schema_for(self, item_schema: type[BaseModel]) -> Any:
        return list[item_schema]  # type: ignore[valid-type]  # known at run time only

    def window(self, question: Question) -> Window:
        statement, _ = self._statements.get(
            question.form, None, partial(numbered, question, counts=False)
        )
        skip, limit = question.values["skip"], question.values["limit"]
        return Window(
            statement=statement,
            parameters={**question.filters.parameters, "page_limit": limit, "page_offset": skip},
            skipped=skip,
            finish=lambda rows, _: Page(rows=rows, dump=lambda items: items),
        )

    def _check(self) -> None:
        pass


class CursorPaginator(BasePaginatorClass):
    """Pages one after another: ``?size=50``, then ``?size=50&cursor=...``.

    Each page costs the same, however far it is, and rows that come and go meanwhile make no row
    repeat or go missing. Nothing is counted. Answers are ``{items, next, previous, size}``;
    ``next`` and ``previous`` are cursors, ``null`` where there is nothing more, and ``Link``
    headers (RFC 8288) have them too. A cursor is good for the same filters, order and user.

    A cursor holds what rows are ordered by: signed, and encrypted where the schema does not show
    it (the primary key too), which needs the extra ``secrets``. It is no place for long texts:
    cursors of more than 32 KB are refused.

    Its ``window`` needs ``Question.cursors``, which has the key that they are signed with.
    """

    class Schema(BaseModel):
        """A page of a list."""

        items: list[Any]
        next: str | None = Field(description="The cursor of the next page; null on the last one.")
        previous: str | None = Field(
            description="The cursor of the page before; null on the first one."
        )
        size: int = Field(description="How many items a page has.")

    def __init__(self) -> None:
        super().__init__()
        # By order; an Ordering makes few of them.
        self._keysets: dict[Order, Keyset] = {}

    @cached_property
    def parameters(self) -> tuple[QueryParameter, ...]:
        return (
            QueryParameter(
                name="cursor",
                type=Annotated[str, Field(max_length=_CURSOR_CHARACTERS)],
                description="Where to go on: `next` or `previous` of a page that was answered to "
                "the same question. Left out: at the beginning.",
            ),
            size_parameter(self.default_size, self.max_size),
        )

    @cached_property
    def takes_models(self) -> bool:
        return False

    @cached_property
    def counts(self) -> bool:
        return False

    def check(self, ordering: Ordering) -> None:
        if ordering.hidden:
            require_sealing()

    def window(self, question: Question) -> Window:
        """How the page that is asked for is read.

        Raises:
            RequestValidationError: the cursor is none, or belongs to another question.
            BadViewSet: there is nothing to sign cursors with.
        """
        position = self._position(question)
        keyset = self._keyset(question.order)
        size = question.values["size"]
        parameters: dict[str, Any] = {**question.filters.parameters, "page_limit": size + 1}
        shape: tuple[bool, ...] | None = None
        if position is not None:
            parameters |= keyset.parameters(position.values)
            nulls = (each is None for each in position.values)
            shape = (position.backward, position.inclusive, *nulls)
        statement = self._statements.get(
            question.form, shape, partial(_after, question, keyset, position)
        )
        return Window(
            statement=statement,
            parameters=parameters,
            finish=lambda rows, _: self._turn(question, len(keyset), position, rows),
        )

    def _position(self, question: Question) -> Position | None:
        if question.cursors is None:
            raise BadViewSet(
                f"{type(self).__name__} has nothing to sign cursors with; "
                "Cursors.from_settings(...) makes it of the setting BACKSTAY_SECRET_KEY"
            )
        cursor = question.values.get("cursor")
        if cursor is None:
            return None
        try:
            return question.cursors.read(cursor, question.audience)
        except BadCursor as error:
            raise refused("cursor", "cursor", error.public_detail, input_value=cursor) from None

    def _keyset(self, order: Order) -> Keyset:
        keyset = self._keysets.get(order)
        if keyset is None:
            keyset = Keyset(order)
            if len(self._keysets) >= _KEPT_KEYSETS:
                self._keysets.clear()
            self._keysets[order] = keyset
        return keyset

    def _turn(
        self, question: Question, values: int, position: Position | None, rows: Sequence[Any]
    ) -> Page:
        """The page that the rows are, in which one more may have been read to see whether it is
        there.
        """
        size = question.values["size"]
        backward = position is not None and position.backward
        more = len(rows) > size
        rows = rows[:size]
        if backward:
            rows = rows[::-1]
        links: dict[str, str] = {}

        def link(relation: str, *, to: Position) -> None:
            assert question.cursors is not None
            sealed = any(each.hidden for each in question.order.terms)
            links[relation] = question.cursors.write(to, question.audience, sealed=sealed)

        if rows:
            if more or backward:
                link("next", to=Position(values=tuple(rows[-1][-values:])))
            if position is not None and (more or not backward):
                link("prev", to=Position(values=tuple(rows[0][-values:]), backward=True))
        elif position is not None and not position.inclusive:
            # All that was here is gone. Back goes to the row where this page began, itself too.
            back = Position(values=position.values, backward=not backward, inclusive=True)
            link("next" if backward else "prev", to=back)
        return Page(rows=rows, links=links, dump=partial(_dump_turn, links, size))

    def _check(self) -> None:
        if type(self).Schema is not CursorPaginator.Schema:
            raise BadViewSet(f"{type(self).__name__} cannot have a Schema of its own")


def _after(question: Question, keyset: Keyset, position: Position | None) -> Select[Any]:
    """The statement of a page after a position."""
    where: list[ColumnElement[bool]] = list(question.conditions)
    backward = position is not None and position.backward
    if position is not None:
        where.append(
            keyset.condition(position.values, backward=backward, inclusive=position.inclusive)
        )
    return (
        question.base.where(*where)
        .order_by(*(question.order.backward if backward else question.order.clauses))
        .limit(bindparam("page_limit", type_=BigInteger()))
        .add_columns(*keyset.columns)
    )


def _dump_turn(links: Mapping[str, str], size: int, items: bytes) -> bytes:
    return b'{"items":%b,"next":%b,"previous":%b,"size":%d}' % (
        items,
        to_json(links.get("next")),
        to_json(links.get("prev")),
        size,
    )
