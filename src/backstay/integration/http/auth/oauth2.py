"""Access tokens that a service gets for itself (RFC 6749 §4.4)."""

from __future__ import annotations

import asyncio
import copy
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final

from backstay.clock import Clock, SystemClock
from backstay.errors import (
    BadAnswer,
    BadIntegration,
    IntegrationError,
    UpstreamError,
    UpstreamUnreachable,
)
from backstay.integration.http.auth.client_auth import ClientAuth
from backstay.integration.http.auth.secret import HasSecret
from backstay.integration.http.auth.token_endpoint import AuthStyle, TokenEndpoint
from backstay.integration.http.carried_secrets import digest

__all__ = ["OAuth2ClientCredentials"]

logger = logging.getLogger("backstay.integration")

_REFUSED_EVERY_S: Final = 10.0
_FAILED_PAUSE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Held:
    """The token that is held, on the clock's ``monotonic()``.

    Attributes:
        token: what is sent.
        refresh: what the next one is asked for with.
        stale_at: from then on another one is asked for, and this one is used meanwhile.
        over_at: from then on calls wait for the other one.
    """

    token: str = field(repr=False)
    refresh: str | None = field(repr=False)
    stale_at: float
    over_at: float


class OAuth2ClientCredentials(ClientAuth):
    """Gets access tokens with a client's own secret, and a new one before the old one is over.

    One question is under way at a time, however many calls wait for it; that one of them is
    cancelled does not stop it. From ``leeway_s`` before a token's end the next one is asked for
    while calls go on with the old one; in the last third of that they wait. An answer 401 has a new
    token fetched and the request sent once more, unless its content was streamed; that once in ten
    seconds at most, so that a service that refuses everything does not double everybody's load.

    The tokens are this object's own: integrations that share it share them. Its questions are no
    part of the call that waits for them: they carry none of its headers.

    Args:
        token_url: the token endpoint; https, or on this machine.
        client_id: who this service is.
        client_secret: what proves it; a text or a ``SecretStr``.
        scope: what is asked for, one text or several; ``None`` for what the server thinks best.
        audience: whom the token is for, where the server wants to know (Auth0, for one).
        auth_style: ``"header"`` proves it by HTTP Basic, as RFC 6749 §2.3.1 wants; ``"body"`` in
            the form.
        leeway_s: seconds before its end in which a token is replaced, half its lifetime at most.
        extra: further fields of the form, such as ``{"resource": "https://api.example.com"}``.
        timeout_s: seconds for one question.
        allow_plain_http: ``token_url`` may begin with http:// though it is elsewhere.
        client: an open ``AsyncClient`` to ask with, for proxies and certificates of one's own.
            ``None`` means a new one for each question.
        clock: tells the time; ``None`` means the machine's.
        origins: see ``ClientAuth``.

    Calls raise, where no token is to be had, ``UpstreamError`` (it says no), ``UpstreamUnreachable``,
    ``UpstreamBusy``, ``BadAnswer`` or ``StabilityTimeoutError``; the next call asks again.

    Raises:
        BadIntegration: one of those could never work, or not safely.
    """

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: str | HasSecret,
        *,
        scope: str | Iterable[str] | None = None,
        audience: str | None = None,
        auth_style: AuthStyle = "header",
        leeway_s: float = 30.0,
        extra: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
        allow_plain_http: bool = False,
        client: Any = None,
        clock: Clock | None = None,
        origins: Iterable[str] = (),
    ) -> None:
        super().__init__(origins=origins)
        if not isinstance(client_id, str) or not client_id:
            raise BadIntegration("OAuth2ClientCredentials(client_id) is a text, and not empty")
        get = getattr(client_secret, "get_secret_value", None)
        secret = client_secret if get is None else get()
        if not isinstance(secret, str) or not secret:
            raise BadIntegration("OAuth2ClientCredentials(client_secret) is a text, and not empty")
        if not 0 <= leeway_s < math.inf:
            raise BadIntegration(f"leeway_s= is seconds, 0 or more; got {leeway_s!r}")
        self._endpoint = TokenEndpoint(
            token_url,
            client_id,
            secret,
            style=auth_style,
            extra=extra or {},
            timeout_s=timeout_s,
            client=client,
            allow_plain_http=allow_plain_http,
        )
        self._grant = {"grant_type": "client_credentials"}
        if scope is not None:
            self._grant["scope"] = scope if isinstance(scope, str) else " ".join(scope)
        if audience is not None:
            self._grant["audience"] = audience
        self._id = client_id
        self._leeway_s = leeway_s
        self._clock = SystemClock() if clock is None else clock
        self._principal = digest("oauth2", token_url, client_id, *self._grant.values())
        self._held: _Held | None = None
        self._refused_at = -math.inf
        self._failed_at = -math.inf
        # By event loop: a task of one cannot be awaited in another.
        self._asking: dict[asyncio.AbstractEventLoop, asyncio.Task[_Held]] = {}

    def __repr__(self) -> str:
        return f"OAuth2ClientCredentials({self._endpoint.url!r}, {self._id!r}, '***')"

    async def authorize(self, request: Any, module: ModuleType) -> tuple[Iterable[str], str | None]:
        held = self._held
        now = self._clock.monotonic()
        if held is None or now >= held.over_at:
            held = await self._wait(self._ask(module))
        elif now >= held.stale_at and now - self._failed_at >= _FAILED_PAUSE_S:
            self._ask(module)
        request.headers["Authorization"] = f"Bearer {held.token}"
        return ("authorization",), self._principal

    async def renew(self, response: Any) -> bool:
        if response.status_code != 401 or not _is_about_the_token(response.headers):
            return False
        held = self._held
        used = response.request.headers.get("Authorization")
        if held is None or used != f"Bearer {held.token}":
            return True  # somebody else has seen to it
        now = self._clock.monotonic()
        if now - self._refused_at < _REFUSED_EVERY_S:
            return False
        self._refused_at = now
        self._held = None
        return True

    # ------------------------------------------------------------------ one question at a time

    def _ask(self, module: ModuleType) -> asyncio.Task[_Held]:
        loop = asyncio.get_running_loop()
        asking = self._asking.get(loop)
        if asking is None:
            asking = self._asking[loop] = loop.create_task(self._fetch(module, self._held))
            asking.add_done_callback(self._asked)
        return asking

    def _asked(self, asking: asyncio.Task[_Held]) -> None:
        self._asking.pop(asking.get_loop(), None)
        if not asking.cancelled() and (error := asking.exception()) is not None:
            self._failed_at = self._clock.monotonic()
            # Also for calls that went on with the old token, and for those that are gone.
            logger.warning("no access token for %r: %s", self._id, error)

    async def _wait(self, asking: asyncio.Task[_Held]) -> _Held:
        try:
            return await asyncio.shield(asking)
        except IntegrationError as error:
            failed = error
        # Each call raises an error of its own: they are changed on their way, by tracebacks.
        raise copy.copy(failed)

    async def _fetch(self, module: ModuleType, old: _Held | None) -> _Held:
        began = self._clock.monotonic()
        granted = None
        if old is not None and old.refresh is not None:
            try:
                granted = await self._endpoint.ask(
                    module, {"grant_type": "refresh_token", "refresh_token": old.refresh}
                )
            except (UpstreamError, UpstreamUnreachable, BadAnswer) as error:
                # It may be used up or withdrawn; the client's own secret is better anyway.
                logger.info("a refresh token of %r will not do: %s", self._id, error)
        if granted is None:
            granted = await self._endpoint.ask(module, self._grant)
        life_s = math.inf if granted.lifetime_s is None else granted.lifetime_s
        leeway_s = min(self._leeway_s, life_s / 2)
        held = _Held(
            granted.token,
            granted.refresh or (old.refresh if old is not None else None),
            began + life_s - leeway_s,
            began + life_s - leeway_s / 3,
        )
        self._held = held
        return held


def _is_about_the_token(headers: Any) -> bool:
    """Whether a 401 is about the token, as far as it says (RFC 6750 §3.1)."""
    challenge = headers.get("WWW-Authenticate", "").lower()
    return "error=" not in challenge or "invalid_token" in challenge
