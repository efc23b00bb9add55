"""One HTTP request to an MCP endpoint: what is known of it before anybody looks inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from backstay.widgets.context import UserContext

if TYPE_CHECKING:
    from backstay.auth.token import VerifiedToken
    from backstay.widgets.call import WidgetCall

__all__ = ["Visit", "user_of"]

_KEY = "backstay.widgets.visit"


class Visit:
    """What handlers are told of the request they serve, found in its ASGI scope.

    Attributes:
        correlation_id: of the request, ``None`` if nobody has given it one.
        token: what its bearer token says, ``None`` if it had none.
        user: who is asking, as far as that is proven.
        session: the MCP session it belongs to, ``None`` for none.
    """

    __slots__ = ("_finished", "_over", "correlation_id", "headers", "session", "token", "user")

    def __init__(
        self,
        correlation_id: str | None,
        headers: Mapping[bytes, bytes],
        token: VerifiedToken | None,
        user: UserContext | None,
        session: str | None,
    ) -> None:
        self.correlation_id = correlation_id
        self.headers = headers
        self.token = token
        self.user = user
        self.session = session
        self._finished: list[WidgetCall] = []
        self._over = False

    @property
    def user_agent(self) -> str | None:
        """The HTTP header."""
        found = self.headers.get(b"user-agent")
        return None if found is None else found.decode("latin-1")

    def attach(self, scope: Any) -> None:
        """Be found by ``of``."""
        scope[_KEY] = self

    @staticmethod
    def of(request: Any) -> Visit | None:
        """The visit that a Starlette request belongs to, ``None`` outside any."""
        scope = getattr(request, "scope", None)
        found = None if scope is None else scope.get(_KEY)
        return found if isinstance(found, Visit) else None

    def finished(self, call: WidgetCall) -> None:
        """A call it has led to has come to its end; it is told when the answer is out.

        In sessions a call may outlast its request: the client goes away, or is to come back for
        the answer. Such a call is told at once, and not a moment before it has ended: being told
        is what lets its writes and tasks go.
        """
        if self._over:
            call.answered()
        else:
            self._finished.append(call)

    def answered(self) -> None:
        """The answer is out, or nobody waits for it."""
        self._over = True
        for call in self._finished:
            call.answered()
        self._finished.clear()


def user_of(token: VerifiedToken) -> UserContext:
    """Who a token stands for."""
    return UserContext(
        token.subject,
        scopes=token.scopes,
        claims=token.claims,
        client_id=token.client_id,
        issuer=token.issuer,
    )
