"""A key that is the same with every request."""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from backstay.errors import BadIntegration
from backstay.integration.http.auth.client_auth import ClientAuth
from backstay.integration.http.auth.masked_url import with_key
from backstay.integration.http.auth.secret import Secret, check_secret, reveal
from backstay.integration.http.carried_secrets import digest

__all__ = ["ApiKeyAuth"]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 §5.6.2


class ApiKeyAuth(ClientAuth):
    """Sends a key in a header, or in the query where the other side takes it no other way.

    Args:
        key: a text, a ``SecretStr``, or a function, async or not, that is asked for each request.
            It is sent as it is: ``ApiKeyAuth("Token abc", header="Authorization")``.
        header: the header's name. ``None`` means ``X-API-Key``, unless there is a ``query``.
        query: the parameter's name. The URL's text, which logs and errors quote, has ``***`` for
            the key; the other side's logs will have it all the same.
        origins: see ``ClientAuth``.

    Raises:
        BadIntegration: that is no key, or no name, or both names are given.
    """

    def __init__(
        self,
        key: Secret,
        *,
        header: str | None = None,
        query: str | None = None,
        origins: Iterable[str] = (),
    ) -> None:
        super().__init__(origins=origins)
        check_secret(key, "ApiKeyAuth(key)")
        if header is not None and query is not None:
            raise BadIntegration("ApiKeyAuth() takes header= or query=, not both")
        if header is not None and not _TOKEN.fullmatch(header):
            raise BadIntegration(f"ApiKeyAuth(header=) is a header's name; got {header!r}")
        if query is not None and not query:
            raise BadIntegration("ApiKeyAuth(query=) is a parameter's name; got ''")
        self._key = key
        self._query = query
        self._header = "X-API-Key" if header is None else header

    def __repr__(self) -> str:
        where = f"header={self._header!r}" if self._query is None else f"query={self._query!r}"
        return f"ApiKeyAuth('***', {where})"

    async def authorize(self, request: Any, module: ModuleType) -> tuple[Iterable[str], str | None]:
        key = await reveal(self._key, "ApiKeyAuth(key)")
        principal = digest("key", key)
        if self._query is not None:
            request.url = with_key(module, request.url, self._query, key)
            return (), principal
        request.headers[self._header] = key
        return (self._header,), principal
