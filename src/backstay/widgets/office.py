"""What an endpoint asks of its server. Without the SDK, which takes long to load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from starlette.types import ASGIApp, Receive, Scope

from backstay.auth.token import AnyTokenVerifier, VerifiedToken
from backstay.clock import Clock
from backstay.widgets.context import UserContext
from backstay.widgets.gate import Gate
from backstay.widgets.guards import Denied, Guard

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

__all__ = ["Office"]


class Office(Protocol):
    """What the endpoint needs of its server while that is running."""

    @property
    def clock(self) -> Clock:
        """Time."""

    @property
    def sdk(self) -> Server[Any]:
        """The handlers."""

    @property
    def stateless(self) -> bool:
        """Whether handshake-era clients get no sessions that live in one process."""

    @property
    def max_body_bytes(self) -> int:
        """How large a request may be."""

    @property
    def gate(self) -> Gate:
        """Hosts and origins."""

    @property
    def verifier(self) -> AnyTokenVerifier | None:
        """Who knows tokens, ``None`` if nobody does."""

    @property
    def audience(self) -> tuple[str, ...]:
        """Whom tokens must be meant for."""

    @property
    def metadata_url(self) -> str | None:
        """Where clients find out who makes tokens."""

    def guard_of(self, method: str, params: Any) -> Guard | None:
        """Who may send this: the guard of the tool that is called, else the server's own.

        ``None`` if anybody may: it is no call, and some tools are for everybody.
        """

    def denied(self, guard: Guard, token: VerifiedToken | None, presented: bool) -> Denied | None:
        """Why whoever has this token may not."""

    def refusal(self, denied: Denied) -> dict[str, Any]:
        """The result that says so."""

    def sessions(self) -> ASGIApp | None:
        """The SDK's part of the work, ``None`` if the app's lifespan has not begun."""

    async def identify(self, scope: Scope, receive: Receive) -> UserContext | None:
        """Who the app's own verifier says is asking, where the server has none."""

    def session_ended(self, session: str) -> None:
        """A client has closed its session."""
