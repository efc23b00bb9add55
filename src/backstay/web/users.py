"""Who is asking: the port a verifier implements."""

from __future__ import annotations

from typing import Protocol

from starlette.requests import HTTPConnection

from backstay.context import User

__all__ = ["UserVerifier"]


class UserVerifier(Protocol):
    """Finds out who sends a request. Give one to ``install(app, verify_user=...)``."""

    async def verify(self, connection: HTTPConnection) -> User | None:
        """The user behind ``connection``, ``None`` if it carries no credentials.

        Called at most once per request, when the request first takes ``ctx: Ctx``.

        Raises:
            fastapi.HTTPException: the credentials are there and wrong; 401 is the usual answer.
        """
