"""What a view set's class says: its table and schemas, its options, and its hooks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from fastapi.params import Depends
from pydantic import BaseModel

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from backstay.context import Context
    from backstay.db.orm import OrmAsync
    from backstay.limits.rate_limit import RateLimit
    from backstay.viewset.base_paginator import BasePaginatorClass

__all__ = ["Declaration"]


class Declaration:
    """The part of ``GenericViewSet`` that its classes fill in.

    Attributes:
        db_model: the mapped class.
        pydantic_model: what is answered.
        create_model: what a POST takes. ``None``: derived.
        update_model: what a PUT takes. ``None``: derived.
        patch_model: what a PATCH takes; fields that are not sent stay as they are. ``None``: derived.
        read_only: fields that clients do not write.
        tags: for OpenAPI. Unset: the class's name.
        paginator_class: pages of the list. ``None``: a plain list with ``skip`` and ``limit``.
        filter_fields: what the list may be filtered by: names, or names with their operators.
        search_fields: what ``?search=`` looks into.
        ordering_fields: what ``?sort=`` may name.
        ordering: the order when nobody asks for one; the primary key decides between equals.
        default_limit, max_limit: rows of a list without pages.
        cache_class: what keeps the answers of list and retrieve: a client of redis.asyncio, a
            ``Cache``, or ``True`` for the app's own. ``None``: nothing is kept.
        cache_ttl: for how long.
        cache_public: everybody may be given the same answer. ``False``: each caller has their own.
        cache_early: public answers come before routing, dependencies and middleware.
        deep_schema: nested schemas are written into their own tables, along declared cascades.
        dependencies: of every route, such as ``[Depends(jwt_auth)]``.
        rate_limits: how often each route may be asked: ``"100/minute"`` for every one, counted by
            itself, or ``{"create": "10/minute"}`` for some, by verbs and names of actions; limits
            are texts, or made by ``rate_limit``. They come before ``dependencies``. ``None``: no
            limits.
        type_item_id: the type of ``item_id``. Unset: that of the primary key.
        soft_delete: a column that deleting sets (to the time, or to true) instead.
        version_field: a column that counts changes: answers carry it as ``ETag``, and a change with
            ``If-Match`` is refused with 412 if somebody else was faster.
        require_if_match: changes without ``If-Match`` are refused with 428 (RFC 6585 §3).
        bulk_limit: how many items one bulk request may have.
        noun, plural: what items are called in messages and documentation. Unset: as the class.
        prefix: where it is, below its router; set by ``as_view``.
    """

    db_model: type[Any]
    pydantic_model: type[BaseModel]
    create_model: type[BaseModel] | None = None
    update_model: type[BaseModel] | None = None
    patch_model: type[BaseModel] | None = None
    read_only: Collection[str] = ()

    tags: list[str]
    paginator_class: type[BasePaginatorClass] | None = None
    filter_fields: Sequence[str] | Mapping[str, Sequence[str]] = ()
    search_fields: Sequence[str] = ()
    ordering_fields: Sequence[str] = ()
    ordering: str | Sequence[str] = ()
    default_limit: int = 100
    max_limit: int = 1000

    cache_class: Any = None
    cache_ttl: timedelta | float = timedelta(seconds=3)
    cache_public: bool = False
    cache_early: bool = False

    deep_schema: bool = False
    dependencies: Sequence[Depends] = ()
    rate_limits: str | RateLimit | Mapping[str, str | RateLimit] | None = None
    type_item_id: Any
    soft_delete: str | None = None
    version_field: str | None = None
    require_if_match: bool = False
    bulk_limit: int = 100

    prefix: str

    # ------------------------------------------------------------------ what may be overridden

    async def visible(self, ctx: Context) -> ColumnElement[bool] | None:
        """Which rows there are for whoever is asking; the others are not there, for any verb.

        What would be written outside of it is refused with 403.

        Returns:
            A condition on ``db_model``; ``None`` for all rows.
        """
        return None

    async def own_values(self, action: str, ctx: Context) -> Mapping[str, Any]:
        """Columns the service fills in when it writes, such as the owner. Clients cannot set them.

        Args:
            action: ``"create"`` or ``"update"``.
            ctx: the request's.
        """
        return {}

    async def check_object(self, action: str, obj: Any, ctx: Context) -> None:
        """Refuse to show or to change one item: raise what should be answered.

        Args:
            action: ``"retrieve"``, ``"update"`` or ``"delete"``.
            obj: the row, as an object of ``db_model``.
            ctx: the request's.
        """

    async def before_commit(self, action: str, obj: Any, ctx: Context) -> None:
        """Something was written and is not committed yet. What this raises undoes it.

        What it writes through ``ctx.db.session``, and durable tasks that it schedules, are
        committed together with the item, or not at all.

        Args:
            action: ``"create"``, ``"update"`` or ``"delete"``.
            obj: the row, as an object of ``db_model``.
            ctx: the request's.
        """

    async def after_commit(self, action: str, obj: Any, ctx: Context) -> None:
        """It is committed, and the answer is about to leave. What this raises is logged only."""

    # What the verbs are done by; ``ViewSetCreate`` and its like say what each does. They are named
    # here for those who call them, since not every view set has every verb.

    if TYPE_CHECKING:

        async def db_create(self, item: Any, aorm: OrmAsync) -> object: ...

        async def db_update(self, item_id: Any, item: Any, aorm: OrmAsync) -> object: ...

        async def db_delete(self, item_id: Any, aorm: OrmAsync) -> object: ...

    def overrides(self, *names: str) -> bool:
        """Whether this view set puts something of its own in place of one of these methods."""
        return any(
            not getattr(type(self), name).__module__.startswith("backstay.viewset.")
            for name in names
            if hasattr(type(self), name)
        )
