"""One request (or WebSocket) on its way through the app, and the moments it passes.

How the moments are told, using only what FastAPI puts in the ASGI scope:

- FastAPI runs dependencies in two exit stacks, the function-scoped one inside the
  request-scoped one, and sends the response between their exits. A callback in the *request*
  stack therefore sees every failure of user code and of function-scoped dependencies, and
  ``http.response.start`` passing by without such a failure is RETURNED.
- ANSWERED is the end of the whole ASGI call: by then the body is out, request-scoped
  dependencies have exited, and any exception has reached us.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any

from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.websockets import WebSocketDisconnect

from backstay.app import Backstay
from backstay.context import Context, Moment, Origin, User
from backstay.errors import ContextClosed
from backstay.web.users import UserVerifier

__all__ = ["Exchange", "SCOPE_KEY"]

SCOPE_KEY = "backstay.exchange"
"""Where the ASGI scope holds the exchange."""

_NOT_ASKED = (
    "ctx.user is not known here: nobody asked the verifier for this request; "
    "take ctx: Ctx as a parameter of the endpoint or of a dependency"
)


class Exchange:
    """The piece of work a request is.

    Attributes:
        scope: the ASGI scope; gone when the exchange is over.
        body_sent: whether the last byte of the answer was handed to the server.
        client_left: whether the server refused to send because the client had gone.
        let_tasks_start: something was started beside the endpoint; the answer gives it one turn
            of the event loop first, so that "now" is never later than the answer.
        before_close: awaited, in order, after ANSWERED and before the ASGI call ends.
        session: the database session this request works with, if somebody has told.
        more_headers: what goes with the answer besides its own headers.
        outer: that of the app which this one is mounted in; ``None`` for the outermost.
    """

    # Defaults live on the class: most requests use few of these, and every one makes an exchange.
    body_sent = False
    client_left = False
    let_tasks_start = False
    before_close: list[Callable[[], Awaitable[object]]] | None = None
    more_headers: list[tuple[bytes, bytes]] | None = None
    outer: Exchange | None = None
    _mounted: tuple[Backstay, ...] = ()
    _context: Context | None = None
    _failed = False
    _written = False
    _writing: list[Callable[[], Awaitable[None]]] | None = None
    _holding: list[Callable[[], Awaitable[None]]] | None = None
    session: object | None = None
    _own_callbacks = 0
    _status = 0
    _unsure = False
    _watching: AsyncExitStack | None = None

    def __init__(
        self,
        app: Backstay,
        scope: MutableMapping[str, Any],
        correlation_id: str,
        verifier: UserVerifier | None = None,
        outer: Exchange | None = None,
    ) -> None:
        self.app = app
        self.scope: MutableMapping[str, Any] | None = scope
        self.correlation_id = correlation_id
        if outer is not None:
            self.outer = outer
            if verifier is None and any(each.knows_users for each in outer.apps()):
                # A mounted app that says nothing about users has those of the app around it.
                verifier = outer
        self._verifier = verifier
        scope[SCOPE_KEY] = self

    @staticmethod
    def of(scope: MutableMapping[str, Any]) -> Exchange | None:
        """The exchange of an ASGI scope, ``None`` if backstay is not installed around it."""
        exchange: Exchange | None = scope.get(SCOPE_KEY)
        return exchange

    @property
    def context(self) -> Context:
        """The request's context, opened on first use."""
        ctx = self._context
        if ctx is None:
            ctx = self._context = self.app.open(
                Origin.REQUEST, self, correlation_id=self.correlation_id
            )
            if self._verifier is not None:
                ctx.set_user(ContextClosed(_NOT_ASKED))
            if self._watching is None:
                self._watch_late()
            if self._status:
                # First asked for while the body is streaming: the start of the answer, and
                # with it RETURNED, has passed already.
                ctx.reach(Moment.RETURNED, not self._failed and self._status < 400)
        return ctx

    def watch(self, scope: MutableMapping[str, Any]) -> None:
        """Begin to notice failures. For dependencies, which are solved before user code runs.

        Args:
            scope: the dependency's own, which has FastAPI's exit stacks even where a middleware
                in between handed on a copy.
        """
        if self._watching is None:
            self.scope = scope
            stack = self._stack("fastapi_inner_astack")
            if stack is not None:
                self._watching = stack
                stack.push(self)
                self._own_callbacks += 1

    def _watch_late(self) -> None:
        """The same from anywhere: the stacks in the scope may have been unwound already.

        An exception handler is such a place. A stack that was unwound does not say so, but it
        never calls back either, and the function-scoped one would have before the answer.
        """
        if self.scope is not None:
            self.watch(self.scope)
        stack = self._stack("fastapi_function_astack")
        if stack is not None:
            self._unsure = True

            def it_was_open() -> None:
                self._unsure = False

            stack.callback(it_was_open)

    def __enter__(self) -> None:
        """Only to be a context manager: an exit stack takes those faster than functions."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """The request-scoped exit stack unwinds, with whatever went wrong inside it."""
        if exc is not None and not self._is_departure(exc):
            self._failed = True

    def _stack(self, key: str) -> AsyncExitStack | None:
        """One of FastAPI's exit stacks, ``None`` outside its routes."""
        stack = None if self.scope is None else self.scope.get(key)
        return stack if isinstance(stack, AsyncExitStack) else None

    def _is_departure(self, exc: BaseException) -> bool:
        """Whether ``exc`` only says that the client went away, which is no failure of the work.

        Before the answer has begun it is one: user code was cut off in the middle. Servers say
        it by an OSError, or by cancelling the call.
        """
        if isinstance(exc, WebSocketDisconnect):
            return True
        if not self._status:
            return False
        return isinstance(exc, ClientDisconnect | asyncio.CancelledError) or (
            self.client_left and isinstance(exc, OSError)
        )

    @property
    def status(self) -> int | None:
        """The HTTP status of the answer, ``None`` as long as there is none."""
        return self._status or None

    def add_headers(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send these along with the answer, whoever makes it.

        Args:
            headers: names in lower case, and values. One that the answer has already is sent twice.

        Raises:
            ContextClosed: the answer has begun.
        """
        if self._status:
            raise ContextClosed("the answer has begun, so it takes no more headers")
        self.more_headers = [*(self.more_headers or ()), *headers]

    @property
    def opened(self) -> bool:
        """Whether anybody has asked for the context, so that there is a life to ``end``."""
        return self._context is not None

    def enter(self, mounted: Backstay) -> None:
        """The request goes on into a mounted app that has no exchange of its own.

        If it has a verifier, that one says who the user is: it is its requests that come now.
        """
        if mounted is self.app:
            return
        self._mounted = (mounted, *self._mounted)
        if mounted.knows_users:
            self._verifier = mounted.verifier
            if self._context is not None:
                self._context.set_user(ContextClosed(_NOT_ASKED))

    def apps(self) -> Iterator[Backstay]:
        """The apps that the request has come through, the innermost first."""
        yield from self._mounted
        yield self.app
        if self.outer is not None:
            yield from self.outer.apps()

    async def identify(self, connection: HTTPConnection) -> None:
        """Ask the verifier who sends this request, unless that has been done."""
        verifier, self._verifier = self._verifier, None
        if verifier is not None:
            try:
                self.context.set_user(await verifier.verify(connection))
            except BaseException:
                self._verifier = verifier
                raise

    async def who(self, connection: HTTPConnection) -> User | None:
        """Who sends this request, ``None`` for nobody; asks the verifier if there is one."""
        if self._verifier is None and self._context is None:
            return None
        await self.identify(connection)
        return self.context.user

    async def verify(self, connection: HTTPConnection) -> User | None:
        """The same for the exchange of a mounted app (a ``UserVerifier``)."""
        return await self.who(connection)

    @property
    def still_open(self) -> bool:
        """Whether request-scoped dependencies may still have to exit.

        Looks into the exit stack's own queue, for want of a public way to ask; if that name
        ever changes, the answer is the careful one.
        """
        callbacks = getattr(self._watching, "_exit_callbacks", None)
        return callbacks is None or len(callbacks) > self._own_callbacks

    @property
    def holds_dependencies(self) -> bool:
        """Whether function-scoped dependencies have yet to exit, and may fail when they do.

        Looks into the exit stack's own queue, as ``still_open`` does; not knowing means yes.
        """
        callbacks = getattr(self._stack("fastapi_function_astack"), "_exit_callbacks", None)
        return callbacks is None or len(callbacks) > 0

    def hold_answer(self, until: Callable[[], Awaitable[None]], *, first: bool = False) -> None:
        """Run ``until`` at RETURNED and let the response wait for it; its failure fails the request.

        What has to be written (``first``) may also come from routes of Starlette's, middleware
        and exception handlers: it is written when the answer begins.

        Args:
            until: what to await.
            first: before RETURNED is told to anybody.

        Raises:
            ContextClosed: RETURNED has passed; or, not with ``first``, there is no FastAPI route.
        """
        if self._context is not None and self._context.moment is Moment.OPENED:
            waiting = self._writing if first else self._holding
            if waiting is not None:
                waiting.append(until)
                return
        stack = self._stack("fastapi_function_astack")
        if self._context is None or self._context.moment is not Moment.OPENED:
            raise ContextClosed("the endpoint has returned, so nothing can be held any more")
        if stack is None:
            if not first:
                raise ContextClosed(
                    "an answer can be held for an endpoint of FastAPI's; this route is another kind"
                )
            self._writing = [until]
            self._written = False
            return
        writing = self._writing = [until] if first else []
        holding = self._holding = [] if first else [until]
        self._written = False
        # To run after dependencies entered earlier have exited as well, whatever the order of
        # the endpoint's parameters, the callback has to lie below them in the stack.
        entered = stack.pop_all()

        async def at_the_bottom(
            exc_type: type[BaseException] | None,
            exc: BaseException | None,
            traceback: TracebackType | None,
        ) -> None:
            self._written = True
            if exc is not None and not self._is_departure(exc) and self._context is not None:
                # What an exception handler schedules from now on is its own affair.
                self._writing = self._holding = None
                self._context.unbind("durable")
            elif self._context is not None:
                for write in writing:
                    await write()
                self._context.reach(Moment.RETURNED, True)
                for each in holding:
                    await each()

        stack.push_async_exit(at_the_bottom)
        stack.push_async_exit(entered)

    def at_request_exit(self, call: Callable[[], Awaitable[None]]) -> None:
        """Run ``call`` when request-scoped dependencies entered from now on have exited.

        Only if the work succeeded, a client that left notwithstanding.
        """
        stack = self._stack("fastapi_inner_astack")
        if stack is None:
            return

        async def at_exit(
            exc_type: type[BaseException] | None,
            exc: BaseException | None,
            traceback: TracebackType | None,
        ) -> None:
            if exc is None or self._is_departure(exc):
                await call()

        stack.push_async_exit(at_exit)
        self._own_callbacks += 1

    def answer_starts(self, status: int) -> Awaitable[None] | None:
        """The first byte of the answer is about to leave; what it has to wait for, if anything."""
        self._status = status
        ctx = self._context
        if ctx is not None:
            if self._writing and not self._written:
                return self._write_late(ctx, self._writing)
            if ctx.moment is Moment.OPENED:
                if status >= 400 and (self._watching is None or self._unsure):
                    # No exit stack to tell an error answer from an ordinary one.
                    self._failed = True
                ctx.reach(Moment.RETURNED, not self._failed)
            if self.let_tasks_start:
                self.let_tasks_start = False
                return asyncio.sleep(0)
        return None

    async def _write_late(self, ctx: Context, writing: list[Callable[[], Awaitable[None]]]) -> None:
        """What was scheduled where no exit stack of a route could see it is written now.

        In an exception handler that is meant whatever the status; elsewhere an error answer says
        that the work has failed.
        """
        self._written = True
        if self._status < 400 or self._watching is not None:
            for write in writing:
                await write()
        held = self.answer_starts(self._status)
        if held is not None:
            await held

    def answer_early(self) -> None:
        """The body is out and background tasks are next: ANSWERED, unless dependencies are open."""
        ctx = self._context
        if (
            self.body_sent
            and ctx is not None
            and ctx.moment is Moment.RETURNED
            and not self.still_open
        ):
            ctx.reach(Moment.ANSWERED, True)

    def end(self, error: BaseException | None) -> Awaitable[None] | None:
        """The ASGI call is over; what is still to be awaited, if anything."""
        ctx = self.context
        if error is not None and not self._is_departure(error):
            self._failed = True
        ctx.reach(Moment.ANSWERED, not self._failed)
        if self.before_close is not None:
            return self._close_late(ctx, self.before_close)
        ctx.close()
        return None

    @staticmethod
    async def _close_late(ctx: Context, calls: list[Callable[[], Awaitable[object]]]) -> None:
        try:
            for call in calls:
                await call()
        finally:
            ctx.close()
