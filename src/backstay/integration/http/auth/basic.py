"""A user's name and password with every request (RFC 7617)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from backstay.errors import BadIntegration
from backstay.integration.http.auth.client_auth import ClientAuth
from backstay.integration.http.auth.secret import HasSecret
from backstay.integration.http.carried_secrets import digest

__all__ = ["BasicAuth"]


class BasicAuth(ClientAuth):
    """Sends ``Authorization: Basic ...`` (RFC 7617), in UTF-8.

    Args:
        user: without a colon.
        password: a text or a ``SecretStr``; may be empty, as for keys that are sent as users.
        origins: see ``ClientAuth``.

    Raises:
        BadIntegration: those are no texts, have control characters, or a colon is in the user.
    """

    def __init__(
        self,
        user: str | HasSecret,
        password: str | HasSecret = "",
        *,
        origins: Iterable[str] = (),
    ) -> None:
        super().__init__(origins=origins)
        name = _read(user, "BasicAuth(user)")
        if ":" in name:
            raise BadIntegration("BasicAuth(user) has a colon, where the password would begin")
        both = f"{name}:{_read(password, 'BasicAuth(password)')}"
        self._header = f"Basic {b64encode(both.encode()).decode()}"
        # Not with the password, which somebody may guess who finds its digest.
        self._principal = digest("basic", name)

    def __repr__(self) -> str:
        return "BasicAuth('***', '***')"

    async def authorize(self, request: Any, module: ModuleType) -> tuple[Iterable[str], str | None]:
        request.headers["Authorization"] = self._header
        return ("authorization",), self._principal


def _read(value: str | HasSecret, what: str) -> str:
    text = value if isinstance(value, str) else getattr(value, "get_secret_value", lambda: None)()
    if not isinstance(text, str):
        raise BadIntegration(f"{what} is a text; got a {type(value).__qualname__}")
    if any(each < " " or each == "\x7f" for each in text):
        raise BadIntegration(f"{what} has control characters, such as a line break at its end")
    return text
