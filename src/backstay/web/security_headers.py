"""What browsers are told not to do with answers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from starlette.types import Scope

from backstay.errors import BadPattern
from backstay.web.request_path import path_below_root

__all__ = ["SecurityHeaders", "read_security_headers"]

Header = tuple[bytes, bytes]

_DEFAULTS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
# What only documents heed goes with those alone: each header of an answer takes a server's time.
_PAGE_DEFAULTS = {
    # Not "no-referrer": browsers would then say Origin: null in forms of the same site.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_CSP = "content-security-policy"
_HSTS = "strict-transport-security"
_OPENER = b"cross-origin-opener-policy"
_ANCESTORS = {"deny": "'none'", "sameorigin": "'self'"}
_FRAMING = {"connection", "content-encoding", "content-length", "content-type", "transfer-encoding"}
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~\-]+")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")
_YEAR_S = 31_536_000


@dataclass(frozen=True, slots=True)
class SecurityHeaders:
    """What goes with answers.

    Attributes:
        always: with every one, if it does not say something else itself. Its
            ``Content-Security-Policy`` is that of data.
        pages: with pages, scripts and PDFs besides, and in place of those of the same name.
    """

    always: tuple[tuple[bytes, bytes], ...]
    pages: tuple[tuple[bytes, bytes], ...]

    def for_pages(self, openers: Mapping[str, bytes]) -> Callable[[Scope], Sequence[Header]]:
        """What goes with pages, by the request's scope: for ``Backstay.page_headers``.

        Args:
            openers: paths, below the app's root, of pages that talk to windows of another site,
                and the ``Cross-Origin-Opener-Policy`` that they need for that.
        """
        pages = self.pages
        if not openers or all(name != _OPENER for name, _ in pages):
            return lambda scope: pages

        def choose(scope: Scope) -> Sequence[Header]:
            opener = openers.get(path_below_root(scope))
            if opener is None:
                return pages
            return [*(pair for pair in pages if pair[0] != _OPENER), (_OPENER, opener)]

        return choose


def read_security_headers(
    given: Mapping[str, str | None] | bool, *, hsts: bool | int | str = False
) -> SecurityHeaders:
    """The headers, checked.

    By default nothing is sniffed or framed, no other site learns a page's address from
    ``Referer``, and what is data can load and run nothing if it is shown as a document. Pages may
    load what they like: which scripts are theirs, they know better. ``frame-ancestors`` (CSP 3
    §6.4.2) says what ``X-Frame-Options`` says.

    Args:
        given: ``True``: the defaults; ``False``: none of them. A mapping changes and adds to
            the defaults; ``None`` as a value leaves a header away.
        hsts: ``Strict-Transport-Security`` (RFC 6797): ``True`` for a year, or seconds, or the
            value itself. Browsers heed it over TLS only, and then they do for that long.

    Raises:
        BadPattern: a name or value is none that a header can have.
    """
    if not isinstance(given, bool | Mapping):
        raise BadPattern(
            f"security_headers= is True, False or a mapping of names to values; got {given!r}"
        )
    found: dict[str, str | None] = {} if given is False else {**_DEFAULTS, **_PAGE_DEFAULTS}
    for name, value in given.items() if isinstance(given, Mapping) else ():
        _require_header(name, value)
        found[name.lower()] = value
    hsts_value = _hsts(hsts)
    if hsts_value is not None:
        _require_header(_HSTS, hsts_value)
        found.setdefault(_HSTS, hsts_value)
    pages = {name: found.pop(name) for name in _PAGE_DEFAULTS if name in found}
    if given is not False and _CSP not in found:
        framing = _ANCESTORS.get((found.get("x-frame-options") or "").lower())
        ancestors = "" if framing is None else f"; frame-ancestors {framing}"
        found[_CSP] = f"default-src 'none'{ancestors}"
        pages[_CSP] = f"base-uri 'none'; form-action 'self'; object-src 'none'{ancestors}"
    return SecurityHeaders(_encoded(found), _encoded(pages))


def _encoded(headers: Mapping[str, str | None]) -> tuple[Header, ...]:
    return tuple(
        (name.encode(), value.encode()) for name, value in headers.items() if value is not None
    )


def _require_header(name: object, value: object) -> None:
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise BadPattern(f"security_headers= has the name {name!r}, which no header can have")
    if name.lower() in _FRAMING:
        raise BadPattern(f"security_headers= has {name!r}, which each answer has to say itself")
    if value is not None and (not isinstance(value, str) or _VALUE.fullmatch(value) is None):
        raise BadPattern(
            f"security_headers= gives {name} the value {value!r}; a header's value is one line of "
            "printable ASCII, or None to leave it away"
        )


def _hsts(hsts: bool | int | str) -> str | None:
    if isinstance(hsts, str):
        return hsts
    if isinstance(hsts, bool):
        return f"max-age={_YEAR_S}" if hsts else None
    if not isinstance(hsts, int) or not 0 <= hsts < math.inf:
        raise BadPattern(f"hsts= is True, seconds, or the header's value; got {hsts!r}")
    return f"max-age={hsts}"
