"""``BasePaginatorClass``: pages by number, answered in whatever form a subclass says."""

from __future__ import annotations

import inspect
import types
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin

from fastapi.encoders import jsonable_encoder
from pydantic import BaseModel, Field, TypeAdapter, create_model
from sqlalchemy import BigInteger, Select, bindparam

from backstay.errors import BadViewSet
from backstay.viewset.ordering import Ordering
from backstay.viewset.pages import Page, Question, Statements, Window, count_of
from backstay.viewset.queries import QueryParameter

__all__ = ["BasePaginatorClass", "MAX_SKIPPED", "numbered", "size_parameter"]

MAX_SKIPPED = 1_000_000_000
"""Pages, and rows, that a request may skip."""


class BasePaginatorClass:
    """Pages by number: ``?page=2&size=50``.

    A subclass says how they are answered::

        class ShortPaginator(BasePaginatorClass):
            class Schema(BaseModel):
                page: int
                rows: list
                total: int

            @staticmethod
            def json(page: int, size: int, response: list[Any], *, total: int) -> dict[str, Any]:
                return {"page": page, "rows": response, "total": total}

    ``response`` are objects of the view set's output schema, and never those of the table. Rows
    are counted only for a ``json`` that takes ``total``.

    Attributes:
        Schema: what a page is answered as.
        default_size: items of a page, if the request does not say.
        max_size: items that a request may ask for.

    Raises:
        BadViewSet: there is no ``json`` that fits ``Schema``.
    """

    class Schema(BaseModel):
        """A page."""

        page: int
        size: int
        count: int
        items: dict[str, Any] | list[Any]

    default_size: ClassVar[int] = 10
    max_size: ClassVar[int] = 100

    def __init__(self) -> None:
        self._check()
        self._statements = Statements()

    @staticmethod
    def json(page: int, size: int, response: Any) -> dict[str, Any]:
        """What is answered, for ``Schema``.

        Args:
            page: its number, from 1.
            size: how many items a page has.
            response: the items.
        """
        raise NotImplementedError

    @cached_property
    def parameters(self) -> tuple[QueryParameter, ...]:
        """What a query string may say."""
        return (
            QueryParameter(
                name="page",
                type=Annotated[int, Field(ge=1, le=MAX_SKIPPED)],
                default=1,
                description="Which page; the first is 1.",
            ),
            size_parameter(self.default_size, self.max_size),
        )

    @cached_property
    def takes_models(self) -> bool:
        """Whether answers are made of objects rather than of their JSON."""
        return True

    @cached_property
    def counts(self) -> bool:
        """Whether answers say how many rows there are on all pages."""
        return "total" in inspect.signature(self.json).parameters

    def schema_for(self, item_schema: type[BaseModel]) -> Any:
        """What a page of such items is, for ``response_model`` and OpenAPI."""
        schema: type[BaseModel] = self.Schema
        found = schema.model_fields.get("items")
        if found is None or not _holds_anything(found.annotation):
            return schema
        own = type(self).__name__.removesuffix("Paginator").removeprefix("Default")
        return _page_of(item_schema, schema, f"{item_schema.__name__}{own}Page")

    def get_offset(self, page: int, size: int) -> int:
        """How many rows come before a page."""
        return (page - 1) * size

    def check(self, ordering: Ordering) -> None:
        """Refuse at start-up what could not work with these orders.

        Raises:
            MissingExtra: it needs a package that is not installed.
        """

    def window(self, question: Question) -> Window:
        """How the page that is asked for is read."""
        page, size = question.values["page"], question.values["size"]
        skipped = self.get_offset(page, size)
        statement, count = self._statements.get(
            question.form, None, partial(numbered, question, counts=self.counts)
        )
        return Window(
            statement=statement,
            parameters={**question.filters.parameters, "page_limit": size, "page_offset": skipped},
            count=count,
            skipped=skipped,
            finish=partial(self._finish, page, size),
        )

    def _finish(self, page: int, size: int, rows: Sequence[Any], total: int | None) -> Page:
        if self.counts and total is None:
            total = rows[0][-1] if rows else 0
        return Page(
            rows=rows,
            total=total,
            dump=partial(self._dump, page, size, total),
            dump_models=partial(self._dump_models, page, size, total),
        )

    def _dump(self, page: int, size: int, total: int | None, items: bytes) -> bytes:
        raise TypeError(f"answers of {type(self).__name__} are made of objects: dump_models")

    def _dump_models(self, page: int, size: int, total: int | None, models: Sequence[Any]) -> bytes:
        more = {"total": total} if self.counts else {}
        answer = self.json(page, size, list(models), **more)
        return self._adapter.dump_json(
            self._adapter.validate_python(jsonable_encoder(answer)), by_alias=True
        )

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.Schema)

    def _check(self) -> None:
        if type(self).json is BasePaginatorClass.json:
            raise BadViewSet(
                f"{type(self).__name__} does not say what a page is answered as; give it a static "
                "method json(page, size, response), or derive it from DefaultPaginator"
            )


def size_parameter(default: int, most: int) -> QueryParameter:
    """``size``.

    Args:
        default: if it is not sent.
        most: what may be sent.
    """
    return QueryParameter(
        name="size",
        type=Annotated[int, Field(ge=1, le=most)],
        default=min(default, most),
        description="How many items a page has.",
    )


def numbered(question: Question, *, counts: bool) -> tuple[Select[Any], Select[Any] | None]:
    """The statement of a page by number, and that of the number of all rows."""
    statement = (
        question.base.where(*question.conditions)
        .order_by(*question.order.clauses)
        .limit(bindparam("page_limit", type_=BigInteger()))
        .offset(bindparam("page_offset", type_=BigInteger()))
    )
    if not counts:
        return statement, None
    count = count_of(question.base, question.conditions)
    total = count.correlate(None).scalar_subquery().label("page_total_count")
    return statement.add_columns(total), count


def _page_of(item_schema: type[BaseModel], schema: type[BaseModel], name: str) -> type[BaseModel]:
    """A page whose items are of that schema."""
    items: Any = list[item_schema]  # type: ignore[valid-type]  # known at run time only
    # Two view sets with one schema have one class, or OpenAPI would need two names for it.
    for each in schema.__subclasses__():
        if each.__name__ == name and each.model_fields["items"].annotation == items:
            return each
    return create_model(
        name,
        __base__=schema,
        __module__=item_schema.__module__,
        __doc__=schema.__doc__,
        items=(items, schema.model_fields["items"]),
    )


def _holds_anything(annotation: Any) -> bool:
    """Whether a page's ``items`` are not typed: ``list``, ``list[Any]``, ``dict | list``."""
    if annotation is Any or annotation in {list, dict}:
        return True
    if get_origin(annotation) in {Union, types.UnionType}:
        return all(_holds_anything(each) for each in get_args(annotation))
    return get_origin(annotation) in {list, dict} and Any in get_args(annotation)
