"""How requests say who they are from: what all ways of it have in common."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable
from types import ModuleType
from typing import Any

from backstay.errors import BadIntegration
from backstay.integration.http.carried_secrets import CARRIED, CarriedSecrets
from backstay.integration.http.origin import Origin, origin_of, origin_of_url
from backstay.integration.http.watching import current_sending

__all__ = ["ClientAuth"]


class ClientAuth(ABC):
    """One way of saying it. Give it to an integration: ``MyIntegration(auth=BearerAuth(...))``.

    Secrets go to the integration's own origin (scheme, host and port of its ``base_url``) and
    nowhere else, whatever URL is called and wherever a redirect leads: other requests go without.
    They are in no ``repr``, log line or error.

    Args:
        origins: URLs of further hosts that are trusted with them, such as
            ``"https://uploads.example.com"``.

    Raises:
        BadIntegration: one of those is no such URL.
    """

    needs_body = False
    """Whether ``authorize`` reads the request's content, which then has to fit into memory."""

    def __init__(self, *, origins: Iterable[str] = ()) -> None:
        if isinstance(origins, str):
            origins = (origins,)
        self._origins = frozenset(map(_read_origin, origins))

    def for_client(self, module: ModuleType) -> Any:
        """What a client takes as ``auth=``.

        Args:
            module: ``httpx``, ``httpx2``, or another one with their ``Auth``.

        Raises:
            BadIntegration: it has none.
        """
        if not isinstance(getattr(module, "Auth", None), type):
            raise BadIntegration(
                f"{type(self).__name__} works with clients like those of httpx and httpx2; "
                f"{module.__name__} has no Auth"
            )
        return _flow(module)(self)

    @abstractmethod
    async def authorize(self, request: Any, module: ModuleType) -> tuple[Iterable[str], str | None]:
        """Put the secrets into a request.

        Returns:
            The names of the headers that are secret, and the principal: see ``CarriedSecrets``.
        """

    async def renew(self, response: Any) -> bool:
        """Whether, after this answer, the request is worth sending once more."""
        return False

    def _carried(self, names: Iterable[str], principal: str | None, home: Origin) -> CarriedSecrets:
        return CarriedSecrets(
            self._origins | {home}, frozenset(name.lower() for name in names), principal
        )


def _read_origin(url: str) -> Origin:
    try:
        scheme, host, port = origin_of(url)
    except ValueError:
        scheme, host, port = "", "", None
    if scheme not in ("http", "https") or not host:
        raise BadIntegration(f"origins= are URLs such as https://api.example.com; got {url!r}")
    return scheme, host, port


@functools.cache
def _flow(module: ModuleType) -> Any:
    """The class for one client: made once."""

    class Flow(module.Auth):  # type: ignore[name-defined, misc]  # loaded late
        def __init__(self, auth: ClientAuth) -> None:
            self._auth = auth

        def __repr__(self) -> str:
            return repr(self._auth)

        async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
            auth = self._auth
            origin = origin_of_url(request.url)
            sending = current_sending.get()
            home = origin if sending is None else sending.origin
            if origin != home and origin not in auth._origins:
                yield request
                return
            if auth.needs_body:
                await request.aread()
            request.extensions = {
                **request.extensions,
                CARRIED: auth._carried(*await auth.authorize(request, module), home),
            }
            response = yield request
            # Who redirects elsewhere is not whom the secrets were for.
            if (
                request.extensions[CARRIED].may_go_to(origin_of_url(response.request.url))
                and await auth.renew(response)
                and _may_be_sent_again(request, module)
            ):
                names, principal = await auth.authorize(request, module)
                request.extensions[CARRIED] = auth._carried(names, principal, home)
                yield request

        def sync_auth_flow(self, request: Any) -> Any:
            raise BadIntegration(
                f"{type(self._auth).__name__} is for AsyncClient; give that to the integration"
            )

    return Flow


def _may_be_sent_again(request: Any, module: ModuleType) -> bool:
    """Whether the content is still there: what was streamed is not."""
    try:
        _ = request.content
    except module.RequestNotRead:
        return False
    return True
