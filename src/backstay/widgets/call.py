"""One call of a tool: a piece of work whose Context has the origin ``WIDGET``."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Protocol

from backstay.app import Backstay
from backstay.context import Moment, Origin, current_work
from backstay.errors import ClientCannot, ContextClosed
from backstay.log import correlation_id as current_correlation
from backstay.observation import Kind
from backstay.widgets.client import Channel, ClientContext, NoChannel
from backstay.widgets.content import Result
from backstay.widgets.context import UserContext, WidgetContext
from backstay.widgets.output import as_announced, failure, internal, plain_wire

if TYPE_CHECKING:
    from backstay.state.state import State
    from backstay.threads import ThreadPool
    from backstay.widgets.tool import Tool

__all__ = ["Caller", "CapabilityMissing", "DirectCaller", "Home", "QuestionOpen", "WidgetCall"]

logger = logging.getLogger("backstay.widgets")


class QuestionOpen(BaseException):
    """``elicit`` needs an answer that a later call will bring.

    No ``Exception``: the handlers that widgets write for their own errors must let it pass.

    Args:
        key: names the question.
        message: for people.
        schema: of the answer.
    """

    def __init__(self, key: str, message: str, schema: dict[str, Any]) -> None:
        super().__init__(key)
        self.key = key
        self.message = message
        self.schema = schema


class CapabilityMissing(ClientCannot):
    """The client has not declared what the call needs of it. If the tool lets it pass, clients of
    MCP 2026-07-28 get it as the protocol's own error.

    Args:
        message: what was tried, and what can be done instead.
        required: what it has to declare, in the form of its capabilities.
    """

    def __init__(self, message: str, required: dict[str, Any]) -> None:
        super().__init__(message)
        self.required = required


class Caller(Protocol):
    """Where a call comes from: an MCP request, the program itself, a durable job."""

    @property
    def channel(self) -> Channel:
        """The way back."""

    @property
    def user(self) -> UserContext | None:
        """Who is asking, as far as that is proven."""

    @property
    def session(self) -> str | None:
        """The conversation, for callers that are nobody in particular."""

    def client(self) -> ClientContext:
        """What the client says of itself."""


class Home(Protocol):
    """What calls need of the server they belong to."""

    @property
    def app(self) -> Backstay:
        """Whose work it is."""

    @property
    def pool(self) -> ThreadPool:
        """Where sync tools run."""

    def state(self, call: WidgetCall, *, shared: bool) -> State:
        """The state of a call's tool for a principal, else for a session; or of all its tools."""


class WidgetCall:
    """The running of one call.

    Attributes:
        tool: what is called.
        channel: the way back to the client.
        user: who is asking.
        loop: the event loop it runs in.
        thread: that loop's thread.
        left_behind: it is over, and its function goes on in a thread all the same.
    """

    __slots__ = (
        "_alone",
        "_caller",
        "_context",
        "_correlation",
        "_expired",
        "_failed",
        "_held",
        "_home",
        "_writing",
        "channel",
        "left_behind",
        "loop",
        "thread",
        "tool",
        "user",
    )

    def __init__(self, home: Home, tool: Tool, caller: Caller, correlation_id: str | None) -> None:
        self._home = home
        self._caller = caller
        self._correlation = correlation_id
        self._context: WidgetContext | None = None
        self._writing: list[Callable[[], Awaitable[None]]] = []
        self._held: list[Callable[[], Awaitable[None]]] = []
        self._alone: str | None = None
        self._expired = False
        self._failed = False
        self.tool = tool
        self.channel: Channel = caller.channel
        self.user = caller.user
        self.left_behind = False
        self.loop = asyncio.get_running_loop()
        self.thread = threading.get_ident()

    # ------------------------------------------------------------------ what its Context asks

    @property
    def app(self) -> Backstay:
        """Whose work it is."""
        return self._home.app

    @property
    def context(self) -> WidgetContext:
        """The call's context, made on first use."""
        ctx = self._context
        if ctx is None:
            ctx = self.app.open_as(
                WidgetContext, Origin.WIDGET, self, correlation_id=self._correlation
            )
            ctx.belongs_to(self)
            ctx.set_user(self.user)
            self._context = ctx
        return ctx

    @property
    def session(self) -> str | None:
        """The conversation, for callers that are nobody in particular."""
        return self._caller.session

    @property
    def alone(self) -> str:
        """A name that nobody else has, for what belongs to this call alone."""
        if self._alone is None:
            self._alone = self.app.clock.new_id()
        return self._alone

    def client(self) -> ClientContext:
        """What the client says of itself."""
        return self._caller.client()

    def state(self, *, shared: bool = False) -> State:
        """The state of this tool, or of all tools, for this principal or session."""
        return self._home.state(self, shared=shared)

    async def elicit(
        self, message: str, schema: dict[str, Any], key: str | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Ask the user."""
        return await self.channel.elicit(message, schema, key)

    def hold_answer(self, until: Callable[[], Awaitable[None]], *, first: bool = False) -> None:
        """Have ``until`` run once ``execute`` has returned; its failure is the call's."""
        if self._context is not None and self._context.moment is not Moment.OPENED:
            raise ContextClosed(f"{self.tool.name!r} has returned, so nothing waits for more")
        (self._writing if first else self._held).append(until)

    # ------------------------------------------------------------------ running

    async def run(self, arguments: Any) -> dict[str, Any]:
        """Do it, and say how it went as a ``CallToolResult``.

        Raises:
            QuestionOpen: an answer of the user's has to come first.
            CapabilityMissing: the client would have to be able to do more.
            asyncio.CancelledError: the call was cancelled.
        """
        tool = self.tool

        def written(value: Any) -> dict[str, Any]:
            result = plain_wire(value, tool.output, props=tool.face is not None)
            result = as_announced(result, tool.output)
            if tool.face is not None:
                # Under which a page in an MCP Apps host keeps what the user has done to it.
                result.setdefault("_meta", {}).setdefault("viewUUID", self.app.clock.new_id())
            return result

        try:
            found: dict[str, Any] = await self.value(arguments, written)
        except CapabilityMissing:
            raise
        except (Exception, SystemExit) as error:  # sys.exit() would end the server
            return as_announced(self._failure(error), tool.output)
        except BaseExceptionGroup as group:
            # Of a task group in which several questions were asked at a time.
            raise _question(group) or group from None
        return found

    async def value(self, arguments: Any, written: Callable[[Any], Any] | None = None) -> Any:
        """Do it, and give what the function returned, or raise what it raised.

        Args:
            arguments: what the tool's inputs made of the client's.
            written: makes of the value what goes over the wire; fails before anything is committed
                if it cannot.
        """
        ctx = self.context
        work_token = current_work.set(self)
        id_token = current_correlation.set(ctx.correlation_id)
        seen = self.app.observe(Kind.WIDGET, self.tool.name, ctx.correlation_id)
        try:
            value = await self._timed(arguments)
            found = value if written is None else written(value)
            if isinstance(value, Result) and value.is_error:
                await self._give_up()
            else:
                for write in self._writing:
                    await write()
                ctx.reach(Moment.RETURNED, True)
                for until in self._held:
                    await until()
            await ctx.all_reported()
        except BaseException as error:
            await self._give_up()
            if seen is not None:
                # A question to the user is how that call goes on.
                asked = isinstance(error, QuestionOpen)
                failed = isinstance(error, Exception | SystemExit)
                seen.end("ok" if asked else "failed" if failed else "cancelled", error=error)
            raise
        else:
            if seen is not None:
                seen.end("failed" if self._failed else "ok")
            return found
        finally:
            current_correlation.reset(id_token)
            current_work.reset(work_token)

    async def _timed(self, arguments: Any) -> Any:
        timeout_s = self.tool.timeout_s
        if timeout_s is None:
            return await self._invoke(arguments)
        current = asyncio.current_task()
        assert current is not None

        def expire() -> None:
            self._expired = True
            current.cancel()

        timer = self.app.clock.call_later(timeout_s, expire)
        try:
            return await self._invoke(arguments)
        except asyncio.CancelledError:
            if not self._expired:
                raise
            self._expired = False
            if current.uncancel() > 0:
                raise  # somebody else has cancelled it as well
            raise _OutOfTime from None
        finally:
            timer.cancel()
            if self._expired:
                # It caught the cancellation and came to an end of its own: that counts, and
                # whatever comes next is not cancelled.
                current.uncancel()

    async def _invoke(self, arguments: Any) -> Any:
        tool = self.tool
        if tool.is_async:
            return await tool.invoke(arguments, self.context)
        ctx = self.context
        job = self._home.pool.submit(lambda: tool.invoke(arguments, ctx), copy_context())
        try:
            value = await self._home.pool.result(job)
        except asyncio.CancelledError:
            self.left_behind = True
            if ctx.has("db"):
                job.at_end = ctx.db.leave_behind()
            raise
        if inspect.isawaitable(value):
            value = await value
        return value

    async def _give_up(self) -> None:
        """It has failed: what waits for success is told, and what it wrote is undone."""
        self._failed = True
        ctx = self.context
        ctx.reach(Moment.RETURNED, False)
        if ctx.has("db") and not self.left_behind:
            try:
                await ctx.db.rollback()
            except Exception:
                logger.exception("rolling back what %r wrote failed", self.tool.name)

    def _failure(self, error: Exception | SystemExit) -> dict[str, Any]:
        ctx = self.context
        said = failure(error, ctx.correlation_id) if isinstance(error, Exception) else None
        extra = {"correlation_id": ctx.correlation_id, "widget": self.tool.name}
        if said is not None:
            logger.info("%r refused a call: %s", self.tool.name, error, extra=extra)
            return said
        if isinstance(error, _OutOfTime):
            logger.warning(
                "%r ran longer than its timeout of %s s",
                self.tool.name,
                self.tool.timeout_s,
                extra=extra,
            )
            return internal(
                f"{self.tool.title} took longer than {self.tool.timeout_s:g} s and was stopped. "
                "Trying again later may help",
                "timeout_error",
                ctx.correlation_id,
            )
        logger.error("%r failed", self.tool.name, exc_info=error, extra=extra)
        return internal(
            f"{self.tool.title} could not finish: an unexpected error occurred",
            "internal_error",
            ctx.correlation_id,
        )

    def answered(self) -> None:
        """The result has been sent: ANSWERED, and closed."""
        if self._context is not None:
            self._context.reach(Moment.ANSWERED, not self._failed)
            self._context.close()

    def __repr__(self) -> str:
        return f"<call of {self.tool.name!r}>"


def _question(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """One of the questions, if the group is of questions alone."""
    _, others = group.split(QuestionOpen)
    if others is not None:
        return None
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


class _OutOfTime(Exception):
    """The call took longer than it may."""


class DirectCaller:
    """The program itself, or a durable job, on behalf of somebody.

    Args:
        user: on whose behalf, ``None`` for nobody's.
        session: the conversation that state belongs to where there is no user.
        meta: the ``_meta`` of the request this stands for.
    """

    def __init__(
        self,
        user: UserContext | None = None,
        session: str | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        self.channel: Channel = NoChannel()
        self.user = user
        self.session = session
        self._meta = meta

    def client(self) -> ClientContext:
        """Says what it was given."""
        return ClientContext(self._meta)
