"""Asking an authorization server for access tokens (RFC 6749 §3.2), with limits on everything."""

from __future__ import annotations

import asyncio
import json
import math
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final, Literal, NoReturn
from urllib.parse import quote, quote_plus, urlsplit

from backstay.addresses import is_loopback
from backstay.errors import (
    BadAnswer,
    BadIntegration,
    StabilityTimeoutError,
    UpstreamError,
    UpstreamUnreachable,
)
from backstay.integration.http.upstream_errors import upstream_error
from backstay.integration.http.watching import AUXILIARY

__all__ = ["AuthStyle", "Grant", "TokenEndpoint"]

AuthStyle = Literal["header", "body"]

_MOST_BYTES: Final = 256 * 1024
_MOST_TOLD: Final = 200
_ERROR_CODE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e ]{1,100}")  # RFC 6749 §5.2
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Grant:
    """What was granted (RFC 6749 §5.1).

    Attributes:
        token: the access token.
        lifetime_s: for how many seconds, from when it was asked for; ``None`` if nobody says.
        refresh: what the next one is asked for with, ``None`` if the client's own secret is.
    """

    token: str = field(repr=False)
    lifetime_s: float | None
    refresh: str | None = field(repr=False)


class TokenEndpoint:
    """Where tokens are asked for, and as whom.

    Args:
        url: https, or on this machine.
        client_id: who asks.
        client_secret: what proves it.
        style: ``"header"`` proves it by HTTP Basic, ``"body"`` in the form (RFC 6749 §2.3.1).
        extra: further fields of each form.
        timeout_s: seconds for all of one question.
        client: an open client to ask with; ``None`` means a new one for each question, which
            follows the proxies of the environment unless the server is on this machine.
        allow_plain_http: the URL may begin with http anywhere.

    Raises:
        BadIntegration: one of those could never work, or not safely.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        client_secret: str,
        *,
        style: AuthStyle,
        extra: Mapping[str, str],
        timeout_s: float,
        client: Any,
        allow_plain_http: bool,
    ) -> None:
        self.url = url
        self.host = _read_host(url, allow_plain_http=allow_plain_http)
        if style not in ("header", "body"):
            raise BadIntegration(
                f"auth_style= is 'header' (HTTP Basic) or 'body' (in the form); got {style!r}"
            )
        if not 0 < timeout_s < math.inf:
            raise BadIntegration(f"timeout_s= is seconds above 0; got {timeout_s!r}")
        if taken := {"grant_type", "client_id", "client_secret"} & set(extra):
            raise BadIntegration(f"extra= has {min(taken)!r}, which is said elsewhere")
        self._id = client_id
        self._secret = client_secret
        self._style = style
        self._extra = dict(extra)
        self._timeout_s = timeout_s
        self._client = client

    async def ask(self, module: ModuleType, grant: Mapping[str, str]) -> Grant:
        """Ask for a token.

        Args:
            module: ``httpx`` or ``httpx2``; not looked at if a client is given.
            grant: the fields that say on what grounds.

        Raises:
            UpstreamError: it says no.
            UpstreamUnreachable: it cannot be reached.
            UpstreamBusy: it has too much to do.
            BadAnswer: it answers with what is no token.
            StabilityTimeoutError: it takes too long.
        """
        failed = ""
        try:
            async with asyncio.timeout(self._timeout_s), self._open(module) as client:
                status, headers, body = await self._send(client, grant)
        except TimeoutError:
            failed = "timeout"
        except UpstreamError:
            raise
        except Exception as error:
            # Whatever client it is. Its errors hold the request, and that holds the secret, so
            # they are not even the new error's context.
            if not _is_of_a_client(error):
                raise
            failed = type(error).__name__
        if failed == "timeout":
            raise StabilityTimeoutError(
                f"{self._name} did not answer within {self._timeout_s:g} seconds, so the call was "
                "not made; the next one asks again"
            )
        if failed:
            raise UpstreamUnreachable(
                f"{self._name} could not be reached or broke off ({failed}); no call was made"
            )
        if status != 200:
            self._refuse(status, headers, body)
        return self._read(body)

    # ------------------------------------------------------------------ asking

    async def _send(
        self, client: Any, grant: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        fields = {**self._extra, **grant}
        # Not compressed, so that what is counted is what is unpacked.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self._style == "header":
            # Encoded as a form first (RFC 6749 §2.3.1), for they may have colons.
            both = f"{quote_plus(self._id)}:{quote_plus(self._secret)}"
            headers["Authorization"] = f"Basic {b64encode(both.encode()).decode()}"
        else:
            fields |= {"client_id": self._id, "client_secret": self._secret}
        request = client.build_request("POST", self.url, data=fields, headers=headers)
        request.extensions = {**request.extensions, AUXILIARY: True}
        # A redirect could take the secret elsewhere. RFC 6749 knows none here.
        response = await client.send(request, stream=True, auth=None, follow_redirects=False)
        try:
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _MOST_BYTES:
                    self._fail(f"answered with more than {_MOST_BYTES} bytes", response.status_code)
        finally:
            await response.aclose()
        return response.status_code, response.headers, bytes(body)

    @asynccontextmanager
    async def _open(self, module: ModuleType) -> AsyncIterator[Any]:
        if self._client is not None:
            yield self._client
            return
        # In a thread, for reading the certificates takes tens of milliseconds.
        certificates: Any = False
        if self.url.startswith("https"):
            certificates = await asyncio.to_thread(module.create_ssl_context)
        async with module.AsyncClient(
            timeout=None, verify=certificates, trust_env=not is_loopback(self.url)
        ) as client:
            yield client

    # ------------------------------------------------------------------ reading

    def _read(self, body: bytes) -> Grant:
        try:
            members = json.loads(body)
        except (ValueError, RecursionError):
            members = None
        if not isinstance(members, dict):
            raise self._unread("with something that is no JSON object")
        token = members.get("access_token")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise self._unread("without an access_token that could be sent", "access_token")
        kind = members.get("token_type", "Bearer")  # required, and left out by some
        if not isinstance(kind, str) or kind.lower() != "bearer":
            raise self._unread(
                f"with a token of type {self._clean(str(kind))!r}, and Bearer alone is understood",
                "token_type",
            )
        refresh = members.get("refresh_token")
        return Grant(
            token,
            _read_seconds(members.get("expires_in")),
            refresh if isinstance(refresh, str) and refresh else None,
        )

    def _refuse(self, status: int, headers: Mapping[str, str], body: bytes) -> NoReturn:
        told = ""
        try:
            members = json.loads(body)
            code, text = members["error"], members.get("error_description")
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            code = text = None
        if isinstance(code, str) and _ERROR_CODE.fullmatch(code):
            told = f": {self._clean(code)}"
            if isinstance(text, str) and text:
                told += f" ({self._clean(text)})"
        if 300 <= status < 400:
            told = " with a redirect, which is not followed; give the address it leads to"
        elif status in (400, 401, 403):
            told += "; check client_id, client_secret and scope"
        self._fail(f"answered {status}{told}", status, headers)

    def _clean(self, text: str) -> str:
        """What somebody else says, on one line, short, and without the secret."""
        for each in (self._secret, quote_plus(self._secret), quote(self._secret)):
            if each:
                text = text.replace(each, "***")
        return " ".join("".join(each if each.isprintable() else " " for each in text).split())[
            :_MOST_TOLD
        ]

    @property
    def _name(self) -> str:
        return f"the token endpoint at {self.host!r}"

    def _fail(self, what: str, status: int, headers: Mapping[str, str] | None = None) -> NoReturn:
        raise upstream_error(
            f"{self._name} {what}; no call was made",
            endpoint=self._name,
            answered=status,
            headers=headers,
        )

    def _unread(self, what: str, member: str = "") -> BadAnswer:
        return BadAnswer(
            f"{self._name} answered {what}; no call was made",
            endpoint=self._name,
            answered=200,
            fields=(member,) if member else (),
        )


def _read_host(url: str, *, allow_plain_http: bool) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except (ValueError, TypeError, AttributeError):
        host = None
    if not host or parts.scheme not in ("http", "https") or parts.fragment:
        raise BadIntegration(
            "token_url= is an absolute URL such as https://id.example.com/oauth/token"
        )
    if parts.username is not None or parts.password is not None:
        raise BadIntegration("token_url= has to be without user and password; they are arguments")
    if parts.scheme == "http" and not (allow_plain_http or is_loopback(url)):
        raise BadIntegration(
            f"token_url= at {host!r} begins with http://, where everybody on the way reads the "
            "secret (RFC 6749 §3.2); use https://, or allow_plain_http=True in a network of "
            "your own"
        )
    return host


def _read_seconds(value: object) -> float | None:
    """``expires_in``: a number by the RFC, a text of some servers, and nothing if it is neither."""
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdecimal() and len(value) < 12 else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return max(0.0, float(value))


def _is_of_a_client(error: Exception) -> bool:
    """Whether an HTTP client raised it, or the sockets below: all else is a fault of ours."""
    if isinstance(error, OSError):
        return True
    return any(
        each.__name__ in ("HTTPError", "InvalidURL", "StreamError") for each in type(error).__mro__
    )
