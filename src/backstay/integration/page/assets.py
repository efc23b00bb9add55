"""The files that browsers are sent: they are part of the package, nothing comes from elsewhere."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

__all__ = ["asset_answer", "page_answer"]

_NAME: Final = re.compile(r"[a-z_]+\.(css|js|svg)")
_TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}

_POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # Texts of other services' documentation never become markup, whatever the script does.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
_PAGE_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def page_answer(folder: str, title: str) -> Response:
    """The page.

    Args:
        folder: where its files are, relative to it: it works below any prefix that a proxy adds.
        title: of the app.
    """
    text = Template(_read("page.html").decode())
    html = text.substitute(folder=escape(folder), title=escape(title))
    return Response(html, media_type="text/html", headers=_PAGE_HEADERS)


def asset_answer(request: Request, name: str) -> Response:
    """One of its files; 404 if there is none of that name, 304 if the browser has it."""
    match = _NAME.fullmatch(name)
    if match is None or not files(__package__).joinpath("browser", name).is_file():
        return Response(status_code=404)
    content, tag = _read(name), _tag(name)
    headers = {"Cache-Control": "no-cache", "ETag": tag, "X-Content-Type-Options": "nosniff"}
    if tag in _tags(request.headers):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=_TYPES[match[1]], headers=headers)


def _tags(headers: Mapping[str, str]) -> set[str]:
    """Those that the browser has; a proxy that compresses makes weak ones of ours."""
    given = headers.get("if-none-match", "")
    return {each.strip().removeprefix("W/") for each in given.split(",")}


@cache
def _read(name: str) -> bytes:
    return files(__package__).joinpath("browser", name).read_bytes()


@cache
def _tag(name: str) -> str:
    return f'"{hashlib.sha256(_read(name)).hexdigest()[:20]}"'
