"""Which pages of other sites may read answers: CORS, as the Fetch standard has it (§3.3)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Iterable, Sequence
from ipaddress import AddressValueError, IPv6Address

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backstay.errors import BadPattern
from backstay.web.problems import problem_response

__all__ = ["CrossOrigin", "EVERYBODY", "headers_for_everybody", "headers_for_named", "read_origins"]

EVERYBODY = "*"
"""The origin that stands for all of them."""

_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
_EXPOSED = ("ETag", "Link", "Location", "RateLimit", "RateLimit-Policy", "Retry-After")
_MAX_AGE_S = 600
_LONGEST_LIST = 4096

_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.\-]*)://"
    r"(?:\[(?P<ipv6>[0-9a-f:.]+)\]|[a-z0-9](?:[a-z0-9_.\-]*[a-z0-9])?)"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
)
_TOKEN = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~\-]+")
_DEFAULT_PORTS = {"http": "80", "https": "443"}

_VARY = (b"vary", b"Origin")


def read_origins(origins: Iterable[str] | None) -> tuple[str, ...]:
    """The origins that are named, checked.

    Args:
        origins: as browsers send them (RFC 6454 §6.2): ``"https://shop.example"``; or
            ``["*"]`` for everybody. ``None`` or none: nobody.

    Raises:
        BadPattern: one is no origin, or could never match, or is ``"*"`` beside others.
    """
    if origins is None:
        return ()
    if isinstance(origins, str | bytes):
        raise BadPattern(f"origins= is a list of origins; got the text {origins!r}: [{origins!r}]")
    found = tuple(origins)
    if EVERYBODY in found:
        if len(found) > 1:
            raise BadPattern(
                f"origins={list(found)!r}: '*' is everybody, without credentials, so nobody can be "
                "named beside it; write ['*'], or name the origins alone"
            )
        return found
    for each in found:
        _require_origin(each)
    return found


def _require_origin(origin: object) -> None:
    if not isinstance(origin, str):
        raise BadPattern(
            f"origins= is a list of texts such as 'https://shop.example'; got {origin!r}"
        )
    if origin == "null":
        raise BadPattern(
            "origins= names 'null', which every sandboxed frame and local file can claim to be; "
            "serve the page from an address of its own and name that"
        )
    if "*" in origin:
        raise BadPattern(
            f"origins= names {origin!r}: patterns let in whoever gets hold of a name below them; "
            "name each origin, or write ['*'] for everybody, without credentials"
        )
    match = _ORIGIN.fullmatch(origin)
    if match is None:
        raise BadPattern(
            f"origins= names {origin!r}, which no browser sends: an origin is scheme, host and "
            "port alone, in lower case (xn-- for other letters), without a slash or path after "
            f"it, such as 'https://shop.example'{_closest(origin)}"
        )
    scheme, port, ipv6 = match["scheme"], match["port"], match["ipv6"]
    if ipv6 is not None:
        try:
            IPv6Address(ipv6)
        except AddressValueError as error:
            raise BadPattern(f"origins= names {origin!r}, which is no IPv6 address") from error
    if port is not None and (int(port) > 65_535 or _DEFAULT_PORTS.get(scheme) == port):
        raise BadPattern(
            f"origins= names {origin!r}, which no browser sends: "
            + (
                f"there is no port {port}"
                if int(port) > 65_535
                else f"they leave out the scheme's own port; write {origin.removesuffix(':' + port)!r}"
            )
        )


def _closest(origin: str) -> str:
    """What was meant, if that is easy to tell."""
    scheme, mark, rest = origin.strip().lower().partition("://")
    likely = f"{scheme}{mark}{re.split('[/?#]', rest, maxsplit=1)[0]}"
    return f"; write {likely!r}" if mark and _ORIGIN.fullmatch(likely) else ""


def headers_for_everybody(
    *, correlation_header: str = "X-Request-ID"
) -> tuple[tuple[bytes, bytes], ...]:
    """What every answer carries where everybody may read it, whether somebody asks or not.

    Args:
        correlation_header: which pages may read, too.
    """
    return ((b"access-control-allow-origin", b"*"), _exposed(correlation_header))


def headers_for_named() -> tuple[tuple[bytes, bytes], ...]:
    """What every answer carries where only some may read it, whether somebody asks or not.

    A cache in between could else give an answer that names no origin to a browser that needs one.
    """
    return (_VARY,)


class CrossOrigin:
    """Tells browsers who may read answers, error answers included. Stand it outside of those.

    Named origins may send credentials (cookies, client certificates) and are told so one by one,
    compared byte for byte. Everybody (``["*"]``) never may: then the answer is the same for all,
    whoever asks. Nothing is ever repeated from the request that was not named, save the names of
    headers that it wants to send. Any method and header is allowed: what they may do is for the
    routes to say. An answer with an ``Access-Control-Allow-Origin`` of its own keeps it.

    CORS is no guard of WebSockets, nor of requests that change something: browsers send many of
    those without asking.

    Args:
        app: what answers.
        origins: of ``read_origins``, at least one.
        correlation_header: which pages may read, too.
    """

    def __init__(
        self, app: ASGIApp, origins: Sequence[str], *, correlation_header: str = "X-Request-ID"
    ) -> None:
        self.app = app
        self._everybody = EVERYBODY in origins
        self._named = frozenset(each.encode("ascii") for each in origins)
        self._exposed = _exposed(correlation_header)
        self._to_everybody = headers_for_everybody(correlation_header=correlation_header)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        if scope["method"] == "OPTIONS" and (asked := _asked(scope)) is not None:
            return self._preflight(scope, *asked)(scope, receive, send)
        return self.app(scope, receive, self.sending(scope, send))

    def sending(self, scope: Scope, send: Send) -> Send:
        """``send``, for an answer to this request."""
        extra = self._to_everybody if self._everybody else self._to(_origin(scope))

        def send_with_origin(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                if any(name == b"access-control-allow-origin" for name, _ in headers):
                    headers.append(_VARY)
                else:
                    headers += extra
                message["headers"] = headers
            return send(message)

        return send_with_origin

    def _to(self, origin: bytes | None) -> tuple[tuple[bytes, bytes], ...]:
        # Whoever asks, the answer depends on it: caches have to know, even if nobody asked yet.
        if origin is None or origin not in self._named:
            return (_VARY,)
        return (
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-credentials", b"true"),
            self._exposed,
            _VARY,
        )

    def _preflight(self, scope: Scope, method: bytes, wanted: bytes | None) -> Response:
        """The answer to "may I": 200 with what is allowed, or 400 (Fetch §4.8)."""
        origin = _origin(scope)
        names = None if wanted is None else [name.strip() for name in wanted.split(b",")]
        refused = [
            what
            for what, is_refused in (
                ("origin", not self._everybody and origin not in self._named),
                ("method", method.decode("latin-1") not in _METHODS),
                ("headers", names is not None and not _are_names(names)),
            )
            if is_refused
        ]
        headers = {"Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}
        if refused:
            return problem_response(
                400,
                "A page of this origin may not send that to this service: the "
                f"{' and the '.join(refused)} {'is' if len(refused) == 1 else 'are'} not allowed.",
                headers=headers,
            )
        if self._everybody:
            headers["Access-Control-Allow-Origin"] = EVERYBODY
        else:
            assert origin is not None
            headers["Access-Control-Allow-Origin"] = origin.decode("latin-1")
            headers["Access-Control-Allow-Credentials"] = "true"
        headers["Access-Control-Allow-Methods"] = ", ".join(_METHODS)
        headers["Access-Control-Max-Age"] = str(_MAX_AGE_S)
        if names is not None:
            # One by one: "*" would not cover Authorization, nor anything with credentials.
            headers["Access-Control-Allow-Headers"] = b", ".join(names).decode("ascii")
        return PlainTextResponse("OK", headers=headers)


def _exposed(correlation_header: str) -> tuple[bytes, bytes]:
    names = ", ".join((*_EXPOSED, correlation_header))
    return (b"access-control-expose-headers", names.encode("ascii"))


def _origin(scope: Scope) -> bytes | None:
    """Who asks. ``None`` if nobody says, or if several say: then it was no browser."""
    found = [value for name, value in scope["headers"] if name == b"origin"]
    return found[0] if len(found) == 1 else None


def _asked(scope: Scope) -> tuple[bytes, bytes | None] | None:
    """The method and headers that a preflight asks for, ``None`` if it is none."""
    method = wanted = None
    has_origin = False
    for name, value in scope["headers"]:
        if name == b"origin":
            has_origin = True
        elif name == b"access-control-request-method":
            method = value
        elif name == b"access-control-request-headers":
            wanted = value if wanted is None else wanted + b"," + value
    return (method, wanted) if has_origin and method is not None else None


def _are_names(names: list[bytes]) -> bool:
    return sum(map(len, names)) <= _LONGEST_LIST and all(map(_TOKEN.fullmatch, names))
