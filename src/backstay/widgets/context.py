"""``ctx``: the Context of one widget call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar, cast

from pydantic import BaseModel

from backstay.context import Context, Moment, User
from backstay.errors import ContextClosed
from backstay.widgets.client import Channel, ClientContext
from backstay.widgets.elicitation import answer_model, question_schema
from backstay.widgets.locales import negotiate

if TYPE_CHECKING:
    from backstay.state.state import State
    from backstay.widgets.tool import Tool

__all__ = ["Answer", "CallOfContext", "UserContext", "WidgetContext"]

ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class UserContext(User):
    """Who is asking, as a verified token says.

    ``ctx.user`` is one of these, or ``None`` for an anonymous caller. As the third parameter of
    ``execute(input_data, context, user)`` it is always one, and ``is_authenticated`` tells.

    Attributes:
        client_id: the OAuth client that acts for the user, ``None`` if the token does not say.
        issuer: who says so, ``None`` where the app's own verifier did.
        is_authenticated: whether there is a user at all; the others are empty if not.
    """

    client_id: str | None = None
    issuer: str | None = None
    is_authenticated: bool = True

    @staticmethod
    def anonymous() -> UserContext:
        """Nobody: ``is_authenticated`` is false and ``subject`` is ``None``."""
        # Typed as text all the same: whoever has asked is_authenticated need not ask again.
        return UserContext(cast("str", None), is_authenticated=False)


@dataclass(frozen=True, slots=True)
class Answer(Generic[ModelT]):
    """What the user answered to ``ctx.elicit``.

    Attributes:
        action: ``accept``, ``decline`` (said no) or ``cancel`` (closed it without saying).
        data: what was filled in, checked; ``None`` unless accepted, or if nothing was asked for.
        raw: the same as it came.
    """

    action: Literal["accept", "decline", "cancel"]
    data: ModelT | None
    raw: Mapping[str, Any]

    @property
    def accepted(self) -> bool:
        """Whether the user said yes."""
        return self.action == "accept"


class CallOfContext(Protocol):
    """What a context asks of the call it belongs to."""

    @property
    def tool(self) -> Tool:
        """What is called."""

    @property
    def user(self) -> UserContext | None:
        """Who is asking."""

    @property
    def channel(self) -> Channel:
        """The way back to the client."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Where the call runs."""

    @property
    def thread(self) -> int:
        """The event loop's thread."""

    def client(self) -> ClientContext:
        """What the client says of itself."""

    def state(self, *, shared: bool = False) -> State:
        """The tool's state for this principal, or that of all tools."""

    async def elicit(
        self, message: str, schema: dict[str, Any], key: str | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Ask the user."""


class _Delivery:
    """A report on its way to the client, which may be waited for."""

    __slots__ = ("_task",)

    def __init__(self, task: asyncio.Task[None] | None) -> None:
        self._task = task

    def __await__(self) -> Generator[Any, None, None]:
        if self._task is not None:
            # Whoever waits may be cancelled; the report goes out all the same.
            yield from asyncio.shield(self._task).__await__()


class WidgetContext(Context):
    """What a widget or tool may reach while it runs; and what it started, afterwards.

    Beside what every ``Context`` has (``settings``, ``logger``, ``tasks``, ``db``, ``user``):
    ``state`` (kept for this tool and its user, else session), ``shared_state`` (the same for all
    tools of the server), ``client``, ``locale``, ``elicit``, ``cache_key``. When the call is over, ``state``,
    ``settings``, ``logger`` and ``tasks`` stay usable and ``db`` opens sessions of its own;
    ``progress`` and ``elicit`` say that it is too late.
    """

    __slots__ = ("_call", "_client", "_latest")

    if TYPE_CHECKING:
        state: State
        shared_state: State

    _call: CallOfContext
    _client: ClientContext | None
    _latest: asyncio.Task[None] | None

    def belongs_to(self, call: CallOfContext) -> None:
        """For whoever opens it: the call that it is the context of."""
        self._call = call
        self._client = None
        self._latest = None

    def __getattr__(self, name: str) -> Any:
        if name in {"state", "shared_state"}:
            # Not the app's own scope: this widget's, for this principal.
            if self._bound is None:
                self._bound = {}
            elif name in self._bound:
                return self._bound[name]
            value = self._bound[name] = self._call.state(shared=name == "shared_state")
            return value
        return super().__getattr__(name)

    @property
    def user(self) -> UserContext | None:
        """Who is asking, ``None`` for an anonymous caller. Only ever what a token proves."""
        return self._call.user

    @property
    def client(self) -> ClientContext:
        """What the client says of itself and its user, and a way to speak to it."""
        if self._client is None:
            self._client = self._call.client()
        return self._client

    @property
    def locale(self) -> str:
        """The language to answer in: the best of ``supported_locales`` for what was asked."""
        return negotiate(
            self.client.locale, self._call.tool.supported_locales, self._call.tool.default_locale
        )

    # What code in the style of execute(input_data, context, user) asks of its context.

    @property
    def user_agent(self) -> str | None:
        """``client.user_agent``."""
        return self.client.user_agent

    @property
    def user_location(self) -> Mapping[str, Any] | None:
        """``client.user_location``."""
        return self.client.user_location

    @property
    def raw_meta(self) -> Mapping[str, Any]:
        """``client.raw_meta``: the request's ``_meta``."""
        return self.client.raw_meta

    def cache_key(self, inputs: BaseModel) -> str:
        """A short key for these inputs of this widget: the same for equal ones, in any process."""
        return self._call.tool.cache_key(inputs)

    def progress(
        self, done: float, total: float | None = None, message: str | None = None
    ) -> Awaitable[None]:
        """Say how far the call is, from the event loop or from a sync ``execute``'s thread.

        Sent to clients that have asked for it (with a ``progressToken``); the answer is streamed
        then. Reports arrive in order and before the result, awaited or not.

        Args:
            done: steps finished.
            total: steps in all, ``None`` if unknown.
            message: a line for people.

        Raises:
            ContextClosed: the call is over.
        """
        super().progress(done, total, message)
        channel = self._call.channel
        if not channel.wants_progress:
            return _Delivery(None)
        if self._call.thread != threading.get_ident():
            self._call.loop.call_soon_threadsafe(self._send, channel, done, total, message)
            return _Delivery(None)
        return _Delivery(self._send(channel, done, total, message))

    def _send(
        self, channel: Channel, done: float, total: float | None, message: str | None
    ) -> asyncio.Task[None]:
        before = self._latest

        async def deliver() -> None:
            if before is not None:
                await asyncio.wait({before})
            await channel.progress(done, total, message)

        self._latest = asyncio.get_running_loop().create_task(deliver())
        return self._latest

    async def all_reported(self) -> None:
        """Wait until every report so far has been handed over. For whoever runs the call."""
        if self._latest is not None and not self._latest.done():
            await asyncio.wait({self._latest})

    async def elicit(
        self,
        message: str,
        schema: type[ModelT] | Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
    ) -> Answer[ModelT]:
        """Ask the user, through the client, in the middle of the call.

        On MCP 2026-07-28 the question travels back as the call's interim result and the client
        calls again with the answer: ``execute`` then runs again from its beginning, and this
        returns what was answered. So ask before you act. Questions asked at a time
        (``asyncio.gather``) travel together. Clients of earlier revisions are asked on
        the open connection, which needs a server with ``stateless=False``.

        Args:
            message: the question, for people.
            schema: a flat pydantic model of what to fill in (text, numbers, booleans, enums and
                lists of those), a JSON schema of your own, or ``None`` to ask for a yes only.
            key: the question's name, used once in a call, by which clients tell questions apart.
                ``None``: one is made of what is asked and when.

        Raises:
            ContextClosed: the call is over.
            ClientCannot: the client cannot be asked, and how it could be.
            ValidationError: what came back is not what the schema allows.
            ValueError: two questions of this call have that key.
        """
        if self.moment is not Moment.OPENED:
            raise ContextClosed(
                f"elicit({message!r}) came after the call had returned; nobody waits for an answer "
                "any more: ask inside execute"
            )
        await self.all_reported()
        action, raw = await self._call.elicit(message, question_schema(schema), key)
        if action not in {"accept", "decline", "cancel"}:
            action = "cancel"
        data = answer_model(schema, raw) if action == "accept" else None
        return Answer(
            cast("Literal['accept', 'decline', 'cancel']", action), cast("ModelT | None", data), raw
        )
