"""Where an endpoint is: the integration's address, the endpoint's path, and what stands in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, time
from enum import Enum
from typing import Any
from urllib.parse import ParseResult, quote, unquote, urlencode, urlsplit

import idna
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from backstay.errors import AddressRefused, BadIntegration

__all__ = ["PathTemplate", "read_base_url", "take_user", "with_query"]

_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(:path)?\}")
_UNRESERVED = "-._~"
_LONGEST = 8192
_EXAMPLE = "'https://api.example.com/v1'"


def read_base_url(base_url: object) -> str:
    """An integration's address, without the slashes at its end.

    Args:
        base_url: it; empty where there is none yet.

    Raises:
        BadIntegration: it is no absolute ``http`` or ``https`` URL, or has a query or fragment.
    """
    text = str(base_url)
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise BadIntegration(
            f"base_url= is no URL ({error}); it is one such as {_EXAMPLE}"
        ) from None
    if parts.scheme not in {"http", "https"} or not host:
        # Not what may be a password: "user:password@host" has no scheme that anybody meant.
        raise BadIntegration(
            f"base_url= is an absolute URL such as {_EXAMPLE}; got {text.rpartition('@')[2]!r}"
        )
    if not host.isascii():
        try:
            ascii_host = idna.encode(host).decode("ascii")
        except UnicodeError as error:
            raise BadIntegration(f"base_url= has a host that no name can be: {error}") from None
        # As clients write it: by its origin, a request is known to be ours.
        text = text.replace(
            parts.netloc, re.sub(re.escape(host), ascii_host, parts.netloc, flags=re.IGNORECASE), 1
        )
    if parts.query or parts.fragment:
        # Not its value, which is a key more often than not.
        found = f"?{parts.query.partition('=')[0]}" if parts.query else f"#{parts.fragment}"
        raise BadIntegration(
            f"base_url= has neither query nor fragment; got one with {found[:20]!r}; what goes with "
            "each request is given as auth= or headers="
        )
    return text.rstrip("/")


def take_user(base_url: str) -> tuple[str, tuple[str, str] | None]:
    """An address without the user and the password in it, and these; ``None`` if it has none."""
    parts = urlsplit(base_url)
    if "@" not in parts.netloc:
        return base_url, None
    user = (unquote(parts.username or ""), unquote(parts.password or ""))
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), user


class PathTemplate:
    """A path with the names of an endpoint's arguments in braces.

    ``{name}`` is one segment, whatever is in it; ``{name:path}`` may have slashes.

    Args:
        path: begins with a slash, or is empty.

    Raises:
        BadIntegration: it does not, or its braces make no sense.
    """

    def __init__(self, path: str) -> None:
        if not isinstance(path, str) or (path and not path.startswith("/")):
            raise BadIntegration(f"an endpoint's path begins with a slash; got {path!r}")
        rest = _PARAMETER.sub("", path)
        if "{" in rest or "}" in rest:
            raise BadIntegration(
                f"the path {path!r} has braces that are no {{name}} or {{name:path}} of an argument"
            )
        self.path = path
        self.names = tuple(match[1] for match in _PARAMETER.finditer(path))
        if len(set(self.names)) < len(self.names):
            raise BadIntegration(f"the path {path!r} names an argument twice")
        self._path, _, self._query = path.partition("#")[0].partition("?")

    def fill(self, base_url: str, arguments: Mapping[str, Any]) -> ParseResult:
        """The URL for one call.

        Raises:
            AddressRefused: an argument would lead elsewhere: it is empty, ``"."`` or ``".."``.
            BadIntegration: there is no address, or an argument is ``None``.
        """
        if not base_url:
            raise BadIntegration(
                f"nobody said where {self.path!r} is; give the integration its base_url="
            )

        def insert(match: re.Match[str]) -> str:
            return _segment(match[1], arguments[match[1]], whole=match[2] is not None)

        path, query = self._path, self._query
        if self.names:
            path, query = _PARAMETER.sub(insert, path), _PARAMETER.sub(insert, query)
        # Of the base alone: urllib remembers what that came to.
        base = urlsplit(base_url)
        return ParseResult(base.scheme, base.netloc, base.path + path, "", query, "")


def _segment(name: str, value: Any, *, whole: bool) -> str:
    text = _text(value)
    if text is None:
        raise BadIntegration(f"the argument {name!r} stands in the path and is None")
    if len(text) <= _LONGEST and text.isalnum() and text.isascii():
        return text  # as most are: nothing to look at
    if len(text) > _LONGEST or not _is_encodable(text):
        raise AddressRefused(
            f"the argument {name!r} stands in the path; it has {len(text)} characters, of which a URL "
            f"takes {_LONGEST}, or some that are none (half of a surrogate pair)"
        )
    segments = text.split("/") if whole else [text]
    if any(each in {"", ".", ".."} for each in segments):
        raise AddressRefused(
            f"the argument {name!r} stands in the path, and {text[:80]!r} would lead elsewhere"
        )
    return "/".join(quote(each, safe=_UNRESERVED) for each in segments)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(value: Any) -> str | None:
    """How a value is written in URLs; ``None`` for ``None``."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        return _text(value.value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value)


def with_query(url: str, query: Mapping[str, Any] | BaseModel | None) -> str:
    """``url`` with a query added to what it has.

    Args:
        url: absolute.
        query: a model, whose fields go by their aliases, or a mapping. What is ``None`` is left out;
            sequences repeat their name.
    """
    if query is None:
        return url
    if isinstance(query, BaseModel):
        values: Mapping[str, Any] = query.model_dump(mode="json", by_alias=True, exclude_none=True)
    else:
        values = query
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, BaseModel | Mapping):
            raise BadIntegration(
                f"the query's {name!r} is a {type(value).__name__}, which has no form in a URL; give "
                "texts, numbers, or sequences of them"
            )
        several = isinstance(value, list | tuple | set | frozenset)
        for each in value if several else (value,):
            plain = each if isinstance(each, str) else to_jsonable_python(each)
            text = _text(plain)
            if text is not None:
                pairs.append((name, text))
    if not pairs:
        return url
    mark = "&" if urlsplit(url).query else "?"
    return f"{url}{mark}{urlencode(pairs)}"
