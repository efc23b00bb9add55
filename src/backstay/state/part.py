"""The state as a part of an app: the store, open for as long as the app is, and its sweeper."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextvars import Context as Variables
from functools import cached_property, partial
from typing import Any

from backstay.app import Backstay
from backstay.context import Context
from backstay.errors import BadState, StateUnavailable
from backstay.ledger.opening import DEFAULT_URL as LEDGER_URL
from backstay.ledger.opening import url_of
from backstay.ledger.sqlite_connections import file_of
from backstay.state.bounds import MAX_VALUE_BYTES
from backstay.state.opening import new_store, url_beside
from backstay.state.port import StateStore
from backstay.state.state import State
from backstay.state.sweeping import Sweeper
from backstay.state.turns import Turns

__all__ = ["StatePart"]

_APP = "app"


class StatePart:
    """What ``add_state(app)`` switches on. ``add_state`` documents the options.

    Attributes:
        is_open: whether it is. If nobody named a database it stays closed, and no file is made,
            until somebody uses the state.
    """

    attribute = "state"

    def __init__(
        self,
        app: Backstay,
        database: Any = None,
        *,
        prefix: str = "backstay_",
        schema: str | None = None,
        max_value_bytes: int = MAX_VALUE_BYTES,
        sweep_every_s: float = 60.0,
    ) -> None:
        self.app = app
        if database is None:
            database = app.settings.get("BACKSTAY_STATE")
        self._asked_for = database is not None
        if isinstance(max_value_bytes, bool) or not (
            isinstance(max_value_bytes, int) and max_value_bytes > 0
        ):
            raise BadState(f"max_value_bytes= is a number of bytes; got {max_value_bytes!r}")
        if isinstance(sweep_every_s, bool) or not (
            isinstance(sweep_every_s, (int, float)) and 0 < sweep_every_s < float("inf")
        ):
            raise BadState(f"sweep_every_s= is more than 0 seconds; got {sweep_every_s!r}")
        self._database = database
        self._prefix = prefix
        self._schema = schema
        if self._asked_for:
            _ = self.store  # what cannot be is said where it was asked for
        self.max_value_bytes = max_value_bytes
        self.is_open = False
        self._turns = Turns()
        self._sweep_every_s = sweep_every_s
        self._sweeper: Sweeper | None = None
        self._started = False
        self._opening: asyncio.Task[None] | None = None

    @cached_property
    def url(self) -> str:
        """Where the state is kept: what was said, else beside the durable tasks."""
        if self._database is not None:
            return url_of(self._database)
        # Asked on first use: durable tasks may be switched on later, and tests move them.
        if self.app.has("durable"):
            beside = getattr(self.app.part("durable"), "database", None)
        else:
            beside = self.app.settings.get("BACKSTAY_DATABASE")
        return url_beside(LEDGER_URL if beside is None else url_of(beside))

    @cached_property
    def store(self) -> StateStore:
        """What keeps it."""
        return new_store(self.url, clock=self.app.clock, prefix=self._prefix, schema=self._schema)

    def bind(self, ctx: Context) -> State:
        """``ctx.state``: the scope named ``"app"``, the same for requests, tasks and jobs."""
        return State.named(self.store, _APP, **self._options(ctx))

    def state(
        self, scope: str, ctx: Context | None = None, *, keep_s: float | None = None
    ) -> State:
        """A scope that nobody can name: ``State.scope(name)`` never leads here.

        Args:
            scope: up to 1024 bytes, such as who it is that may see it.
            ctx: the work it is for, so that it is not left waiting for its own transaction;
                ``None``: for work that has no ``ctx.db``.
            keep_s: seconds after its last change that a value lives at most; ``None``: as long as
                whoever sets it says.

        Raises:
            BadState: it is no text, or too long.
        """
        if scope.startswith("named:"):
            raise BadState(f"scope={scope!r}: what begins with 'named:' is for State.scope(name)")
        return State(self.store, scope, keep_s=keep_s, **self._options(ctx))

    async def open(self) -> None:
        """Open the store, unless nobody has asked for one."""
        self._started = True
        if self._asked_for:
            await self.awake()

    async def close(self) -> None:
        """Stop sweeping, and close the store."""
        self._started = False
        if self._opening is not None:
            await asyncio.gather(self._opening, return_exceptions=True)
        if self.is_open:
            self.is_open = False
            if self._sweeper is not None:
                await self._sweeper.stop()
            await self.store.close()

    async def awake(self) -> None:
        """Open the store, if it is not.

        Raises:
            StateUnavailable, StateMismatch: it cannot be.
        """
        if self.is_open:
            return
        if not self._started:
            raise StateUnavailable(
                "the state is closed, because the app has not started or has stopped; start it "
                "first (backstay.testing.running(app) in tests)"
            )
        if self._opening is None:
            # In a task of its own: whoever asks first may be cancelled, and what the sweeper
            # inherits (context variables, PEP 567) must not be one request's.
            self._opening = asyncio.create_task(self._open_store(), context=Variables())
        await asyncio.shield(self._opening)

    async def _open_store(self) -> None:
        try:
            await self.store.open()
            self._sweeper = Sweeper(self.store, self.app.clock, self._sweep_every_s)
            self._sweeper.start()
            self.is_open = True
        finally:
            self._opening = None

    def _options(self, ctx: Context | None) -> dict[str, Any]:
        may_write: Callable[[], object] | None = None
        if ctx is not None and self.url.startswith("sqlite") and self.app.has("db"):
            may_write = partial(self._refuse_to_wait_for_itself, ctx)
        return {
            "max_value_bytes": self.max_value_bytes,
            "ready": self.awake,
            "may_write": may_write,
            "turns": self._turns,
        }

    def _refuse_to_wait_for_itself(self, ctx: Context) -> None:
        """SQLite has one write lock for a file, and an open ``ctx.db`` session holds it.

        Raises:
            BadState: this work does, so that what it writes here would wait for its own end.
        """
        if not ctx.has("db"):
            return
        sessions = (ctx.db.opened_session, ctx.db.opened_sync_session)
        if not any(each is not None and each.in_transaction() for each in sessions):
            return
        url = ctx.db.database.url
        ours = file_of(self.url)
        if url.startswith("sqlite") and _same_file(file_of(url), ours):
            raise BadState(
                f"ctx.state cannot be changed while ctx.db has a transaction open: both are in "
                f"{ours}, where SQLite lets one write at a time, so this would wait for its "
                "own end. Change the state first, or commit first (await ctx.db.commit()), or "
                'keep the state elsewhere: add_state(app, "sqlite:///state.db")'
            )


def _same_file(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
