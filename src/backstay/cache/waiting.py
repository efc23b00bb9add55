"""Invalidation that waits for the transaction whose changes it is about.

Before the commit it would be too early: a reader in between would fill the cache with what was
there before, after the invalidation, and it would stay.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from backstay.context import Context, Moment, Origin
from backstay.errors import ContextClosed

__all__ = ["Waiting", "has_committed"]


_NONE: Mapping[str, None] = {}


class Waiting:
    """Tags that wait for the success of a piece of work.

    Args:
        invalidate: what to await with the tags then.
        start: has something run in the background.
    """

    def __init__(
        self,
        invalidate: Callable[[Iterable[str]], Awaitable[object]],
        start: Callable[[Awaitable[object]], None],
    ) -> None:
        self._invalidate = invalidate
        self._start = start
        # By identity: a context cannot be referred to weakly. Each leaves when it is closed.
        self._tags: dict[int, dict[str, None]] = {}

    def take(self, ctx: Context, tags: Iterable[str]) -> bool:
        """Whether these now wait for ``ctx``; if not, there is nothing to wait for.

        At the success of the work they are invalidated before the answer leaves, and at its
        failure they are forgotten.
        """
        if ctx.work is None or ctx.moment is not Moment.OPENED:
            return ctx.work is not None and self._joins(ctx, tags)
        waiting = self._tags.get(id(ctx))
        if waiting is not None:
            waiting.update(dict.fromkeys(tags))
            return True
        self._tags[id(ctx)] = dict.fromkeys(tags)
        ctx.at(Moment.CLOSED, lambda _: self._tags.pop(id(ctx), None))
        if ctx.origin is Origin.JOB:
            # Its transaction is committed together with its completion, after RETURNED.
            ctx.at(Moment.ANSWERED, lambda succeeded: self._tell(ctx, succeeded))
            return True
        try:
            ctx.work.hold_answer(lambda: self._due(ctx))
        except ContextClosed:  # a route that is none of FastAPI's: nothing can be held there
            ctx.at(Moment.RETURNED, lambda succeeded: self._tell(ctx, succeeded))
        return True

    def __len__(self) -> int:
        return len(self._tags)

    def of(self, ctx: Context) -> Mapping[str, None]:
        """The tags that wait for ``ctx``."""
        return self._tags.get(id(ctx), _NONE)

    def _joins(self, ctx: Context, tags: Iterable[str]) -> bool:
        """A job that has returned is committed later than that."""
        waiting = self._tags.get(id(ctx))
        if ctx.origin is not Origin.JOB or waiting is None or ctx.moment >= Moment.ANSWERED:
            return False
        waiting.update(dict.fromkeys(tags))
        return True

    async def _due(self, ctx: Context) -> None:
        tags = self._tags.pop(id(ctx), None)
        if tags:
            await self._invalidate(tags)

    def _tell(self, ctx: Context, succeeded: bool) -> None:
        tags: dict[str, Any] | None = self._tags.pop(id(ctx), None)
        if tags and succeeded:
            self._start(self._invalidate(tags))


def has_committed(ctx: Context) -> bool:
    """Whether somebody has used ``ctx.db`` and committed himself, so that it is done already."""
    if not ctx.has("db"):
        return False
    sessions = [each for each in (ctx.db.opened_session, ctx.db.opened_sync_session) if each]
    return bool(sessions) and not any(each.in_transaction() for each in sessions)
