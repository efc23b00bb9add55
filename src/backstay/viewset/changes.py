"""One change of one item, with everything a view set's class may say about it.

In order: the row is found among those that are visible, and locked; its version is compared; the
class may refuse; it is written; it has to be visible still; hooks; and then the request's end commits
it all, before the answer leaves.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import raiseload

from backstay.errors import ContextClosed, ItemForbidden
from backstay.viewset.access import orm_of, outcome_of

if TYPE_CHECKING:
    from backstay.context import Context
    from backstay.viewset.declaration import Declaration
    from backstay.viewset.plan import Plan

__all__ = ["Change", "OWN_VALUES"]

logger = logging.getLogger("backstay.viewset")

OWN_VALUES = "backstay.viewset.own_values"
"""Where ``Session.info`` holds what the service fills in, while an item is being written."""


class Change:
    """Changes to items of one view set, in the transaction of one context.

    Args:
        view: the view set.
        plan: its.
        ctx: whose ``ctx.db`` they are written with.
    """

    def __init__(self, view: Declaration, plan: Plan, ctx: Context) -> None:
        self._view = view
        self._plan = plan
        self._ctx = ctx
        self.orm = orm_of(ctx)
        self._visible: list[ColumnElement[bool]] | None = None

    async def create(self, item: Any) -> Any:
        """Write a new item.

        Raises:
            ItemForbidden: whoever asks could not see it afterwards.
        """
        obj = await self._writing("create", lambda: self._view.db_create(item, self.orm))
        return await self._settle("create", obj)

    async def update(self, item_id: Any, item: Any, if_match: str | None = None) -> Any:
        """Change an item.

        Raises:
            ItemNotFound: there is none, or it is not visible.
            VersionMismatch: it is not what ``if_match`` says.
            ItemForbidden: whoever asks could not see it afterwards.
        """
        before = await self.locked(item_id)
        version = self._require_match(before, if_match)
        await outcome_of(self._view.check_object("update", before, self._ctx))
        obj = await self._writing("update", lambda: self._view.db_update(item_id, item, self.orm))
        if obj is None:
            raise self._plan.not_found(item_id)
        if version is not None and isinstance(obj, self._view.db_model):
            self._plan.set_next_version(obj, version)
        return await self._settle("update", obj)

    async def delete(self, item_id: Any, if_match: str | None = None) -> None:
        """Delete an item, or mark it as deleted.

        Raises:
            NotFound, VersionMismatch: as ``update``.
        """
        obj = await self.locked(item_id)
        self._require_match(obj, if_match)
        await outcome_of(self._view.check_object("delete", obj, self._ctx))
        if not await outcome_of(self._view.db_delete(item_id, self.orm)):
            raise self._plan.not_found(item_id)
        await self.orm.asession.flush()
        await self._tell("delete", obj)

    async def locked(self, item_id: Any) -> Any:
        """The item, which nobody else can change until the transaction is over.

        Raises:
            ItemNotFound: there is none, or it is not visible.
        """
        plan = self._plan
        statement = (
            select(self._view.db_model)
            .where(*plan.one(item_id), *await self._conditions())
            .options(raiseload("*"))
            .with_for_update(of=self._view.db_model)
            .execution_options(populate_existing=True)
        )
        obj = (await self.orm.asession.scalars(statement)).unique().one_or_none()
        if obj is None:
            raise self._plan.not_found(item_id)
        return obj

    # ------------------------------------------------------------------ steps

    async def _writing(self, verb: str, write: Callable[[], Awaitable[Any]]) -> Any:
        """Have the class write, with what the service fills in at hand."""
        session = self.orm.asession
        session.info[OWN_VALUES] = await outcome_of(self._view.own_values(verb, self._ctx))
        try:
            obj = await write()
            await session.flush()
        finally:
            session.info.pop(OWN_VALUES, None)
        return obj

    async def _settle(self, verb: str, obj: Any) -> Any:
        if isinstance(obj, self._view.db_model):
            await self.orm.asession.flush()
            await self._require_visible(obj)
        await self._tell(verb, obj)
        return obj

    async def _require_visible(self, obj: Any) -> None:
        conditions = await self._conditions()
        if not conditions:
            return
        plan = self._plan
        statement = select(*plan.key.columns).where(plan.key.is_(plan.key.of(obj)), *conditions)
        if (await self.orm.asession.execute(statement)).first() is None:
            raise ItemForbidden(
                f"You cannot write a {self._plan.names.noun} that is not yours to see."
            )

    async def _tell(self, verb: str, obj: Any) -> None:
        view, ctx = self._view, self._ctx
        await outcome_of(view.before_commit(verb, obj, ctx))
        await self.orm.asession.flush()
        await self._plan.keeping.invalidate(ctx)
        if view.overrides("after_commit"):
            _once_committed(ctx, lambda: outcome_of(view.after_commit(verb, obj, ctx)))

    async def _conditions(self) -> list[ColumnElement[bool]]:
        if self._visible is None:
            self._visible = await self._plan.conditions(self._ctx)
        return self._visible

    def _require_match(self, obj: Any, if_match: str | None) -> Any:
        plan = self._plan
        plan.require_match(obj, if_match)
        return None if plan.version is None else getattr(obj, plan.version.key)


def _once_committed(ctx: Context, call: Callable[[], Awaitable[object]]) -> None:
    async def logged() -> None:
        try:
            await call()
        except Exception:
            # It is committed, and saying otherwise would be a lie.
            logger.exception("after_commit failed; what was written stays written")

    if ctx.work is None:
        raise ContextClosed("after_commit needs the request's context, which is over")
    ctx.work.hold_answer(logged)
