"""Requests that carry a signature of what they say, in the way of the other side."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

from backstay.calls import require_function
from backstay.errors import BadIntegration
from backstay.integration.http.auth.client_auth import ClientAuth
from backstay.integration.http.carried_secrets import digest

__all__ = ["SignedAuth"]

Sign = Callable[
    [str, str, Mapping[str, str], bytes], Mapping[str, str] | Awaitable[Mapping[str, str]]
]


class SignedAuth(ClientAuth):
    """Asks a function for the headers that sign a request: HMAC schemes and their like.

    Contents that are streamed are read into memory first.

    Args:
        sign: a function, async or not, of the method in capitals, the URL, the headers (names in
            small letters) and the content; returns the headers to add.
        principal: what tells those who sign apart, such as the key's id; a cache keeps answers
            apart by it. ``None``: answers are not kept.
        origins: see ``ClientAuth``.

    Raises:
        TypeError: that is no function.
    """

    needs_body = True

    def __init__(
        self, sign: Sign, *, principal: str | None = None, origins: Iterable[str] = ()
    ) -> None:
        super().__init__(origins=origins)
        require_function(sign, "SignedAuth")
        self._sign = sign
        self._principal = None if principal is None else digest("signed", principal)

    def __repr__(self) -> str:
        return f"SignedAuth({getattr(self._sign, '__qualname__', type(self._sign).__qualname__)})"

    async def authorize(self, request: Any, module: ModuleType) -> tuple[Iterable[str], str | None]:
        added: Any = self._sign(
            request.method, str(request.url), dict(request.headers), request.content
        )
        if inspect.isawaitable(added):
            added = await added
        if not isinstance(added, Mapping):
            raise BadIntegration(
                f"{self!r}: the function returns the headers to add as a mapping; got a "
                f"{type(added).__qualname__}"
            )
        request.headers.update(added)
        return tuple(added), self._principal
