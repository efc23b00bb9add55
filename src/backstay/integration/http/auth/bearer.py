"""A token that whoever bears it may use (RFC 6750)."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any

from backstay.integration.http.auth.client_auth import ClientAuth
from backstay.integration.http.auth.secret import Secret, check_secret, reveal
from backstay.integration.http.carried_secrets import digest

__all__ = ["BearerAuth"]


class BearerAuth(ClientAuth):
    """Sends ``Authorization: Bearer <token>`` (RFC 6750 §2.1).

    Args:
        token: a text, a ``SecretStr``, or a function, async or not, that is asked for each
            request: for tokens that change, or that are those of whoever asks here.
        origins: see ``ClientAuth``.

    Raises:
        BadIntegration: that is no token.
    """

    def __init__(self, token: Secret, *, origins: Iterable[str] = ()) -> None:
        super().__init__(origins=origins)
        check_secret(token, "BearerAuth(token)")
        self._token = token

    def __repr__(self) -> str:
        return "BearerAuth('***')"

    async def authorize(self, request: Any, module: ModuleType) -> tuple[Iterable[str], str | None]:
        token = await reveal(self._token, "BearerAuth(token)")
        request.headers["Authorization"] = f"Bearer {token}"
        return ("authorization",), digest("bearer", token)
