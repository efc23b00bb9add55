"""GET: lists and single items."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from fastapi.dependencies.utils import get_dependant
from fastapi.params import Depends
from sqlalchemy import ColumnElement
from starlette.requests import Request
from starlette.responses import Response

from backstay.app import Backstay
from backstay.viewset.access import Access, outcome_of
from backstay.viewset.answers import item_answer, json_answer
from backstay.viewset.cursors import Cursors, audience_of
from backstay.viewset.generic import GenericViewSet
from backstay.viewset.pages import Page, Question, Window
from backstay.viewset.paginators import CursorPaginator, LimitOffsetPaginator
from backstay.viewset.queries import ListQuery
from backstay.viewset.signatures import (
    ctx_parameter,
    if_none_match_parameter,
    item_id_parameter,
    request_parameter,
    signed,
)

__all__ = ["ViewSetList", "ViewSetRetrieve"]


class ViewSetList(GenericViewSet):
    """``GET {prefix}``."""

    def _register_endpoint(self) -> None:
        if self.paginator_class is None:
            self.list()
        else:
            self.list_paginator()

    @staticmethod
    def get_offset(page: int, size: int) -> int:
        """How many rows come before a page, the first of which is 1."""
        return (page - 1) * size

    def list(self) -> Any:
        """Make the route of a plain list. Override it to make another one."""
        return self._listing(
            LimitOffsetPaginator(default_limit=self.default_limit, max_limit=self.max_limit)
        )

    def list_paginator(self) -> Any:
        """Make the route of a list in pages. Override it to make another one."""
        assert self.paginator_class is not None
        pages = self.paginator_class()
        pages.get_offset = self.get_offset  # type: ignore[method-assign]  # so that an override counts
        return self._listing(pages)

    def _listing(self, pages: Any) -> Any:
        plan = self.plan
        pages.check(plan.ordering)
        query = ListQuery(
            [*plan.filters.parameters, *plan.ordering.parameters, *pages.parameters],
            refuse=plan.filters.refused,
            also=_queried_by(self.dependencies),
        )
        walks = isinstance(pages, CursorPaginator)
        signers: WeakKeyDictionary[Backstay, Cursors] = WeakKeyDictionary()
        knows_who = self.overrides("visible")

        async def list_items(request: Request, **_: Any) -> Response:
            access = Access(request)
            sent = request.scope["query_string"]
            values = query.read(sent)
            order = plan.ordering.read(values)
            filters = plan.filters.conditions(values)
            where: list[ColumnElement[bool]] = []
            who = None
            if knows_who:
                where = await plan.conditions(access.ctx)
                who = None if access.ctx.user is None else access.ctx.user.subject
            question = Question(
                base=plan.select,
                order=order,
                values=values,
                filters=filters,
                where=where,
                cursors=_cursors(signers, access.app) if walks else None,
                audience=audience_of(
                    request.scope["path"], plan.filters.describe(values), order.text, who
                )
                if walks
                else "",
            )
            page = await _read(access, plan, pages.window(question))
            return json_answer(_dumped(plan, pages, page), headers=page.headers(sent))

        parameters = [request_parameter()]
        if knows_who:
            parameters.append(ctx_parameter())
        endpoint = plan.keeping.kept(signed(list_items, parameters))
        return self.routes.add(
            "list",
            endpoint,
            method="GET",
            summary=f"List {self.plan.names.nouns}",
            description="Filters, search and order go by what is listed below.",
            response_model=pages.schema_for(self.pydantic_model),
            openapi_extra={"parameters": query.openapi()},
        )


class ViewSetRetrieve(GenericViewSet):
    """``GET {prefix}/{item_id}``."""

    def _register_endpoint(self) -> None:
        self.retrieve()

    def retrieve(self) -> Any:
        """Make the route. Override it to make another one, with ``@self.router.get(...)``."""
        plan = self.plan
        knows_who = self.overrides("visible", "check_object")
        checks = self.overrides("check_object")

        async def get_item(
            request: Request, item_id: Any, if_none_match: str | None = None, **_: Any
        ) -> Response:
            access = Access(request)
            conditions = await plan.conditions(access.ctx) if knows_who else ()
            if checks:
                obj = await plan.object(access, item_id, *conditions)
                await outcome_of(self.check_object("retrieve", obj, access.ctx))
            item = await plan.find(access, item_id, *conditions)
            return item_answer(plan, item, if_none_match=if_none_match)

        parameters = [request_parameter(), item_id_parameter(self.type_item_id)]
        if plan.version is not None:
            parameters.append(if_none_match_parameter())
        if knows_who:
            parameters.append(ctx_parameter())
        endpoint = plan.keeping.kept(signed(get_item, parameters))
        return self.routes.add(
            "retrieve",
            endpoint,
            method="GET",
            path="/{item_id}",
            summary=f"Show {self.plan.names.a_noun}",
            description="By its primary key.",
            response_model=self.pydantic_model,
            problems=(403, 404) if checks else (404,),
        )


def _cursors(signers: MutableMapping[Backstay, Cursors], app: Backstay) -> Cursors:
    """What signs an app's cursors: made of its settings once, and not for every request."""
    found = signers.get(app)
    if found is None:
        found = signers[app] = Cursors.from_settings(app.settings, clock=app.clock)
    return found


async def _read(access: Access, plan: Any, window: Window) -> Page:
    read = access.rows if plan.projection.plain else access.objects
    rows = await read(window.statement, window.parameters)
    total = None
    if window.must_count(rows):
        assert window.count is not None
        ((total,),) = await access.rows(window.count, window.parameters)
    return window.page(rows, total)


def _dumped(plan: Any, pages: Any, page: Page) -> bytes:
    projection = plan.projection
    rows: Sequence[Any] = page.rows if projection.plain else [row[0] for row in page.rows]
    if pages.takes_models:
        assert page.dump_models is not None
        return page.dump_models(projection.models(rows))
    return page.dump(plan.dump(rows))


def _queried_by(dependencies: Sequence[Depends]) -> set[str]:
    """The names of query parameters that dependencies read."""
    names: set[str] = set()
    for each in dependencies:
        if each.dependency is not None:
            found = [get_dependant(path="", call=each.dependency)]
            while found:
                dependant = found.pop()
                names.update(parameter.alias for parameter in dependant.query_params)
                found.extend(dependant.dependencies)
    return names
