"""How a session that a request was handed ends with it: committed before the answer leaves.

FastAPI runs what stands after a dependency's ``yield`` when the response is out, unless the
dependency is function-scoped: a commit there that fails has been answered with success already.
So what has to be committed is put into FastAPI's function-scoped exit stack instead, whatever the
dependency's own scope.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, cast

import anyio
from fastapi import __version__ as fastapi_version
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocketDisconnect

from backstay.web.exchange import Exchange

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

    from backstay.db.database import Database

__all__ = ["JoinedDatabase", "carried_through", "end_with_request", "joined", "only_reads"]


class JoinedDatabase(Protocol):
    """``ctx.db``, as much of it as is needed here."""

    @property
    def session(self) -> AsyncSession:
        """The session for async code."""

    @property
    def sync_session(self) -> Session:
        """The session for sync code."""

    def expect_reads(self) -> None:
        """Its transactions begin without SQLite's write lock."""


class _Part(Protocol):
    database: Database


def only_reads(connection: HTTPConnection | None) -> bool:
    """Whether it is a request that is safe by its method (RFC 9110 §9.2.1)."""
    return connection is not None and connection.scope.get("method") in {"GET", "HEAD"}


def joined(database: Database, connection: HTTPConnection | None) -> JoinedDatabase | None:
    """``ctx.db`` of that request, if it is that database."""
    exchange = None if connection is None else Exchange.of(connection.scope)
    if connection is None or exchange is None or not exchange.app.has("db"):
        return None
    if cast("_Part", exchange.app.part("db")).database is not database:
        return None
    exchange.watch(connection.scope)
    db: JoinedDatabase = exchange.context.db
    if only_reads(connection):
        db.expect_reads()
    return db


def end_with_request(
    connection: HTTPConnection,
    *,
    commit: Callable[[], Awaitable[None]],
    close: Callable[[], Awaitable[None]],
) -> None:
    """Commit when the endpoint has succeeded, close when all is over.

    What a streamed body or a background task does with the session comes between the two. A
    WebSocket's endpoint succeeds when it returns, or when the client leaves.

    Raises:
        RuntimeError: this is no FastAPI route, or FastAPI does not tell when its work is done.
    """
    scope = connection.scope
    request_stack = _stack(scope, "fastapi_inner_astack")
    function_stack = _stack(scope, "fastapi_function_astack")
    request_stack.push_async_callback(close)
    exchange = Exchange.of(scope)
    if exchange is not None:
        # Before anybody hears that the work has returned.
        exchange.watch(scope)
        work = exchange.context.work
        assert work is not None  # the request is not over
        work.hold_answer(commit, first=True)
        return
    # To run after dependencies entered earlier have exited as well, whatever the order of the
    # endpoint's parameters, the callback has to lie below them in the stack.
    entered = function_stack.pop_all()

    async def at_the_bottom(
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, WebSocketDisconnect):
            await commit()

    function_stack.push_async_exit(at_the_bottom)
    function_stack.push_async_exit(entered)


def _stack(scope: MutableMapping[str, Any], key: str) -> AsyncExitStack:
    stack = scope.get(key)
    if isinstance(stack, AsyncExitStack):
        return stack
    raise RuntimeError(
        f"{scope.get('path')!r} asks for a transaction that is committed before the answer leaves, "
        "but there is no FastAPI route around it that would tell when its work is done "
        f"(FastAPI {fastapi_version}; 0.128 and later do). Elsewhere, call it without arguments, "
        "as a generator"
    )


async def carried_through(ending: Coroutine[Any, Any, None]) -> None:
    """Await it to its end even if the caller is cancelled, who hears of that afterwards.

    A commit that is broken off leaves nobody knowing what became of it, and nobody may touch the
    session while it runs.
    """
    task = asyncio.ensure_future(ending)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        # AnyIO's cancellation comes again at every await, asyncio's once for each cancel().
        with anyio.CancelScope(shield=True):
            while not task.done():
                try:
                    await asyncio.wait({task})
                except asyncio.CancelledError:
                    continue
        if not task.cancelled():
            task.exception()  # heard of; the cancellation is what the caller is told
        raise
