"""Which client is used, and the pools of connections of one instance."""

from __future__ import annotations

import asyncio
import importlib
import ssl
import sys
from collections.abc import Callable
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import ModuleType
from typing import Any, Final
from weakref import WeakKeyDictionary

from backstay.errors import BadIntegration, MissingExtra
from backstay.integration.http.caching.http_caching import HTTPCaching
from backstay.integration.http.public_addresses import public_transport

__all__ = ["Clients", "is_library", "trusted_authorities"]

_CONNECTIONS: Final = 100
"""Of one instance in one event loop; all of them stay open for a while, so that bursts find them."""


class Clients:
    """The clients of one instance: one in each event loop, with a pool of connections.

    Args:
        choice: which: ``None`` for httpx where that is installed, else httpx2; the module of one of
            these; their ``AsyncClient``; a function that makes a client; or one that is open, which
            whoever made it closes.
        auth: as the client takes it, or an object with ``for_client``.
        timeout_s: seconds for connecting, writing, reading and waiting for a connection, each.
        follow_redirects: whether answers that say "elsewhere" are followed.
        cache: keeps answers (RFC 9111).
        public_only: connects to public addresses alone.

    Raises:
        BadIntegration: the choice is something else, or options are given that it has to be made
            with.
    """

    def __init__(
        self,
        choice: Any,
        *,
        auth: Any,
        timeout_s: float | None,
        follow_redirects: bool,
        cache: HTTPCaching | None,
        public_only: bool,
    ) -> None:
        self._given: Any = None
        self._make: Callable[[], Any] | None = None
        self._module: ModuleType | None = None
        self._auth = auth
        self._timeout_s = timeout_s
        self._follow = follow_redirects
        self._cache = cache
        self._public_only = public_only
        self._open: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = WeakKeyDictionary()
        self._is_default = choice is None
        if choice is None:
            return
        module = _module_of(choice)
        if module is not None:
            self._module = module
            return
        if hasattr(choice, "request") and not isinstance(choice, type):
            self._given = choice
        elif callable(choice):
            self._make = choice
        else:
            raise BadIntegration(
                "client= is a module such as httpx2, a client, or a function that makes one; got "
                f"{choice!r}"
            )
        options = {"auth": auth, "cache": cache, "public_only": public_only or None}
        if useless := [name for name, value in options.items() if value is not None]:
            raise BadIntegration(
                f"client= is made elsewhere, so {useless[0]}= would do nothing; give it to that "
                "client, or name its module here"
            )

    @property
    def module(self) -> ModuleType | None:
        """The library of the client, ``None`` where somebody else makes it.

        Raises:
            MissingExtra: there is none.
        """
        if self._is_default and self._module is None:
            self._module = _installed()
        return self._module

    def current(self) -> Any:
        """The client of the running event loop, opened on first use."""
        if self._given is not None:
            return self._given
        loop = asyncio.get_running_loop()
        client = self._open.get(loop)
        if client is None:
            # Clients know their loops, so that those would stay for ever, with their sockets.
            for each in [each for each in list(self._open) if each.is_closed()]:
                self._open.pop(each, None)
        if client is None or getattr(client, "is_closed", False):
            self._forget_ended()
            client = self._open[loop] = self._make_client()
        return client

    def _forget_ended(self) -> None:
        """Let go of clients whose event loop is over: their connections hold on to it and to sockets."""
        for each in self._open.keyrefs():
            loop = each()
            if loop is not None and loop.is_closed():
                self._open.pop(loop, None)

    async def close(self) -> None:
        """Close that of the running event loop. The next call opens another one."""
        client = self._open.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def _make_client(self) -> Any:
        if self._make is not None:
            return self._make()
        module = self.module
        assert module is not None
        authorities = trusted_authorities(module)
        limits = module.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS)
        # A client that is given a transport asks no proxy of the environment, so most get none.
        transport: Any = None
        if self._public_only:
            transport = public_transport(module, limits=limits, verify=authorities)
        if self._cache is not None:
            inner = (
                module.AsyncHTTPTransport(limits=limits, verify=authorities)
                if transport is None
                else transport
            )
            transport = self._cache.around(module, inner)
        auth = self._auth
        if hasattr(auth, "for_client"):
            auth = auth.for_client(module)
        return module.AsyncClient(
            transport=transport,
            verify=authorities,
            limits=limits,
            auth=auth,
            timeout=self._timeout_s,
            follow_redirects=self._follow,
            # Else one user's call would go on in the session of another one's.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            trust_env=not self._public_only,
        )


@cache
def trusted_authorities(module: ModuleType) -> ssl.SSLContext:
    """Whose certificates a library trusts. Reading them takes a tenth of a second, so it is done once."""
    context: ssl.SSLContext = module.create_ssl_context()
    return context


def is_library(choice: Any) -> bool:
    """Whether that names a library, whose clients are made here."""
    return _module_of(choice) is not None


def _module_of(choice: Any) -> ModuleType | None:
    """The library, if it is one of those we know how to make clients of."""
    if isinstance(choice, str):
        try:
            choice = importlib.import_module(choice)
        except ImportError as error:
            raise BadIntegration(f"client={choice!r} is not installed: {error}") from error
    if isinstance(choice, ModuleType):
        if not (hasattr(choice, "AsyncClient") and hasattr(choice, "AsyncHTTPTransport")):
            raise BadIntegration(
                f"client={choice.__name__} has no AsyncClient as httpx has; give a function that "
                "makes a client"
            )
        return choice
    if isinstance(choice, type):
        module = sys.modules.get(choice.__module__.partition(".")[0])
        if getattr(module, "AsyncClient", None) is choice:
            return module
    return None


def _installed() -> ModuleType:
    for name in ("httpx", "httpx2"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    raise MissingExtra("integration", "httpx")
