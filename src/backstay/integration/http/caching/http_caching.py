"""Answers that are kept as long as HTTP allows it (RFC 9111), around a client's transport.

hishel knows the rules. What stands around it here:

- Secrets are neither in the file nor in the keys. Answers of one principal are not another's.
- The age of an answer without ``Date``, or that was kept elsewhere before, is counted, too.
- While the other side fails, an answer that is over may do (RFC 5861 §4).
"""

from __future__ import annotations

import functools
import importlib
import os
import re
from collections.abc import Iterable
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from secrets import token_hex
from types import ModuleType
from typing import Any, Final

from backstay.clock import Clock, SystemClock
from backstay.errors import BadIntegration, MissingExtra
from backstay.events.masking import Masking
from backstay.integration.http.carried_secrets import CARRIED, digest
from backstay.integration.http.watching import current_sending

__all__ = ["HTTPCaching"]

_TRIP: Final = "backstay_trip"
_SECRETS: Final = frozenset(
    {"dpop", "ocp-apim-subscription-key", "x-session", "x-session-id", "x-sid", "x-user"}
)
"""Besides those that their names give away, as ``backstay.events`` knows them."""
_NAMES: Final = Masking()
_FAILURES: Final = frozenset({500, 502, 503, 504})  # RFC 5861 §4
_HTTP = {"httpx": "hishel.httpx", "httpx2": "hishel.httpx2"}


class HTTPCaching:
    """Give it to an integration: ``MyIntegration(cache=HTTPCaching())``.

    Answers to GET and HEAD are kept as their headers say, served while they are fresh, and
    revalidated with ``ETag`` or ``Last-Modified`` afterwards; a successful POST, PUT, PATCH or DELETE
    forgets what is kept for its URL. ``response.extensions["caching"]`` says what happened:
    ``from_cache``, ``revalidated``, ``stored``.

    Args:
        path: a file of SQLite's, made with its folder if it is not there, for nobody else to read;
            several processes may share it. ``None``, the default, keeps answers in memory.
        max_bytes: of all of them; the longest unused ones go first. Default: 64 MiB.
        max_answer_bytes: of one body; larger ones are passed on and not kept. Default: 1 MiB.
        shared: for answers that are the same for everybody: what is ``private``, and what was
            asked with ``Authorization``, is not kept unless it says it may be (RFC 9111 §3.5).
            Default: private, which is kept, apart for each principal.
        stale_if_error_s: seconds beyond its end for which an answer still does when the other side
            answers 500, 502, 503 or 504, or not at all. Default: 0, so it has to say
            ``stale-if-error`` itself. Never where it says ``must-revalidate`` or ``no-cache``.
        secret_headers: names of further headers of requests that hold secrets or say who asks. What
            is known: what ``auth=`` sends, values of ``credentials``, and names such as
            ``Authorization``, ``Cookie``, ``X-API-Key`` or ``Private-Token``.

    Raises:
        BadIntegration: a size or time is none.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        max_bytes: int = 64 * 1024 * 1024,
        max_answer_bytes: int = 1024 * 1024,
        shared: bool = False,
        stale_if_error_s: float = 0.0,
        secret_headers: Iterable[str] = (),
    ) -> None:
        for name, value in (("max_bytes", max_bytes), ("max_answer_bytes", max_answer_bytes)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise BadIntegration(f"HTTPCaching({name}=) is a number of bytes; got {value!r}")
        if not 0 <= stale_if_error_s < float("inf"):
            raise BadIntegration(
                f"HTTPCaching(stale_if_error_s=) is seconds, 0 or more; got {stale_if_error_s!r}"
            )
        if isinstance(secret_headers, str):
            secret_headers = (secret_headers,)
        self.path = None if path is None else Path(path)
        self.max_bytes = max_bytes
        self.max_answer_bytes = max_answer_bytes
        self.shared = shared
        self.stale_if_error_s = stale_if_error_s
        self.secret_headers = frozenset(name.lower() for name in secret_headers)
        # Secrets that nobody vouches for are told apart within this process alone, so that their
        # digests in a file are nothing to guess at.
        self._salt = token_hex(16)

    def __repr__(self) -> str:
        return f"HTTPCaching({'' if self.path is None else repr(str(self.path))})"

    def around(self, module: ModuleType, transport: Any) -> Any:
        """A transport that answers from what is kept, and asks ``transport`` for the rest.

        Closing it closes both.

        Args:
            module: ``httpx`` or ``httpx2``; whose transport it is.
            transport: an asynchronous one.

        Raises:
            BadIntegration: the module is another one, or the file cannot be made.
            MissingExtra: hishel is not installed.
        """
        name = _HTTP.get(module.__name__)
        if name is None:
            raise BadIntegration(
                f"HTTPCaching works around httpx and httpx2; got {module.__name__!r}"
            )
        try:
            caching = importlib.import_module(name)
        except ImportError as missing:
            raise MissingExtra("http-cache", "hishel") from missing
        outer, inner = _transports(module)
        options = {"shared": self.shared}
        kept = caching.AsyncCacheTransport(
            inner(transport, SystemClock()), storage=self._storage(), rfc=options
        )
        return outer(self, kept, transport, options)

    def _storage(self) -> Any:
        sizes = {"max_bytes": self.max_bytes, "max_answer_bytes": self.max_answer_bytes}
        # They are hishel's storages, so they are there only where that is.
        if self.path is None:
            from backstay.integration.http.caching.answer_memory import AnswerMemory

            return AnswerMemory(**sizes)
        from backstay.integration.http.caching.answer_file import AnswerFile

        return AnswerFile(self.path, **sizes)

    def principal_of(self, request: Any) -> str | None:
        """Whose answers the request may get; ``None`` if they are not to be kept.

        Of ``auth=`` its own word, of other secrets in headers a digest.
        """
        carried = request.extensions.get(CARRIED)
        named = frozenset[str]() if carried is None else carried.headers
        if carried is not None and carried.principal is None:
            return None
        secrets = self.secrets_of(request) - named
        others = [
            f"{name.lower()}:{value}"
            for name, value in request.headers.multi_items()
            if name.lower() in secrets
        ]
        own = "" if carried is None else carried.principal or ""
        return digest(own, *((self._salt, *sorted(others)) if others else ()))

    def secrets_of(self, request: Any) -> frozenset[str]:
        """The names of the request's headers that are secret, in small letters."""
        carried, sending = request.extensions.get(CARRIED), current_sending.get()
        # Short ones may be part of anything.
        values = [] if sending is None else [each for each in sending.secrets if len(each) >= 8]
        found = {
            low
            for name, value in request.headers.multi_items()
            if (low := name.lower()) in self.secret_headers
            or low in _SECRETS
            or _NAMES.is_secret(low)
            or any(each in value for each in values)
        }
        return frozenset(found) if carried is None else carried.headers | found

    def hide(self, request: Any, secrets: frozenset[str]) -> list[tuple[bytes, bytes]]:
        """The request's headers with digests for secrets: they may be kept, and compared."""
        carried = request.extensions.get(CARRIED)
        named = frozenset[str]() if carried is None else carried.headers
        hidden = []
        for name, value in request.headers.raw:
            low = name.decode("latin-1").lower()
            if low in named and carried is not None:
                value = (carried.principal or "").encode()  # noqa: PLW2901  # what is kept instead
            elif low in secrets:
                value = digest(self._salt, value.decode("latin-1")).encode()  # noqa: PLW2901  # as above
            hidden.append((name, value))
        return hidden


class _NotKept(Exception):
    """Nothing is kept that would do, and nobody was to be asked."""


class _Trip:
    """One request on its way through hishel.

    Attributes:
        original: as the client sent it, with its secrets.
        secrets: the names of the headers that hold them.
        may_ask: the other side may be asked.
        has_asked: it was.
    """

    __slots__ = ("has_asked", "may_ask", "original", "secrets")

    def __init__(self, original: Any, secrets: frozenset[str], *, may_ask: bool) -> None:
        self.original = original
        self.secrets = secrets
        self.may_ask = may_ask
        self.has_asked = False


@functools.cache
def _transports(module: ModuleType) -> tuple[Any, Any]:
    """The classes around hishel's and within, for one client: made once."""

    class Outer(module.AsyncBaseTransport):  # type: ignore[name-defined, misc]  # loaded late
        def __init__(
            self, caching: HTTPCaching, kept: Any, transport: Any, options: dict[str, Any]
        ) -> None:
            self._caching = caching
            self._kept = kept
            self._transport = transport
            self._options = options

        async def handle_async_request(self, request: Any) -> Any:
            principal = self._caching.principal_of(request)
            if principal is None:
                return await self._transport.handle_async_request(request)
            try:
                response = await self._ask(request, principal, self._options)
            except module.TransportError:
                stale = await self._stale(request, principal)
                if stale is None:
                    raise
                return stale
            if response.status_code in _FAILURES:
                stale = await self._stale(request, principal)
                if stale is not None:
                    await response.aclose()
                    return stale
            return response

        async def _ask(
            self, request: Any, principal: str, options: dict[str, Any], *, may_ask: bool = True
        ) -> Any:
            url = str(request.url)  # without a key that is in its query
            key = digest(principal, url)
            secrets = self._caching.secrets_of(request)
            trip = _Trip(request, secrets, may_ask=may_ask)
            given = request.extensions.get("caching", {})
            hidden = module.Request(
                request.method,
                # It is kept as well, and who calls whom with what in a path or query may be secret.
                request.url.copy_with(userinfo=b"", path=f"/{key}", query=None, fragment=None),
                headers=self._caching.hide(request, secrets),
                stream=request.stream,
                extensions={
                    **request.extensions,
                    "caching": {"rfc": options, **given, "key": key},
                    _TRIP: trip,
                },
            )
            try:
                return await self._kept.handle_async_request(hidden)
            except RuntimeError as error:
                if trip.has_asked:
                    raise
                raise BadIntegration(f"{self._caching!r} cannot be used: {error}") from error

        async def _stale(self, request: Any, principal: str) -> Any:
            """What is kept and over, if it may still be served; else ``None``."""
            if request.method not in ("GET", "HEAD"):
                return None
            options = {**self._options, "allow_stale": True}
            try:
                response = await self._ask(request, principal, options, may_ask=False)
            except _NotKept:
                return None
            if _is_within(response, self._caching):
                return response
            await response.aclose()
            return None

        async def aclose(self) -> None:
            await self._kept.aclose()

    class Inner(module.AsyncBaseTransport):  # type: ignore[name-defined, misc]  # loaded late
        def __init__(self, transport: Any, clock: Clock) -> None:
            self._transport = transport
            self._clock = clock

        async def handle_async_request(self, request: Any) -> Any:
            trip: _Trip = request.extensions[_TRIP]
            if not trip.may_ask:
                raise _NotKept
            trip.has_asked = True
            original = trip.original
            # What hishel added (If-None-Match), and the secrets as they are.
            headers = [
                *(each for each in request.headers.raw if _name(each) not in trip.secrets),
                *(each for each in original.headers.raw if _name(each) in trip.secrets),
            ]
            asked = module.Request(
                request.method,
                original.url,
                headers=headers,
                stream=request.stream,
                extensions=original.extensions,
            )
            asked.url = original.url  # itself, as it may know what not to show
            response = await self._transport.handle_async_request(asked)
            _set_date(response, self._clock)
            return response

        async def aclose(self) -> None:
            await self._transport.aclose()

    return Outer, Inner


def _name(header: tuple[bytes, bytes]) -> str:
    return header[0].decode("latin-1").lower()


def _set_date(response: Any, clock: Clock) -> None:
    """Have ``Date`` say when an answer was made, as hishel goes by nothing else.

    One without was made now (RFC 9110 §6.6.1); one that another cache kept for ``Age`` seconds was
    made before that (RFC 9111 §4.2.3).
    """
    now = clock.now()
    try:
        made = parsedate_to_datetime(response.headers["date"])
        # Compared as numbers: dates without a zone are not compared with others.
        made_at = made.timestamp()
    except (KeyError, ValueError, OverflowError):
        made_at = now.timestamp()
        response.headers["date"] = format_datetime(now, usegmt=True)
    age = response.headers.get("age", "")
    if age.isascii() and age.isdecimal() and len(age) < 10:
        kept_at = now - timedelta(seconds=int(age))
        if kept_at.timestamp() < made_at:
            response.headers["date"] = format_datetime(kept_at, usegmt=True)


def _is_within(response: Any, caching: HTTPCaching) -> bool:
    """Whether an answer that is over may be served for an error."""
    control = ", ".join(response.headers.get_list("cache-control")).lower()
    if re.search(r"\b(no-cache|must-revalidate|proxy-revalidate)\b", control):
        return False
    allowed_s = max(caching.stale_if_error_s, _seconds(control, "stale-if-error") or 0.0)
    shared_s = _seconds(control, "s-maxage") if caching.shared else None
    lifetime_s = _lifetime_s(response, control) if shared_s is None else shared_s
    over_s = int(response.headers.get("age", "0")) - lifetime_s
    return over_s < 0 or (allowed_s > 0 and over_s <= allowed_s)


def _lifetime_s(response: Any, control: str) -> float:
    max_age_s = _seconds(control, "max-age")
    if max_age_s is not None:
        return max_age_s
    try:
        expires = parsedate_to_datetime(response.headers["expires"])
        made = parsedate_to_datetime(response.headers["date"])
        return (expires - made).total_seconds()
    except (KeyError, ValueError, TypeError, OverflowError):
        return 0.0


def _seconds(control: str, directive: str) -> float | None:
    found = re.search(rf'(?:^|[\s,]){directive}\s*=\s*"?(\d{{1,12}})', control)
    return float(found[1]) if found else None
