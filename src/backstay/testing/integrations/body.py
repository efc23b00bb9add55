"""Bodies of requests and answers as a tape has them, so that people can read them."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from decimal import Decimal
from email.message import Message
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from backstay.errors import BadIntegration

__all__ = ["Body", "read_body", "write_body"]

Body = dict[str, Any]
"""One of ``json``, ``form`` (pairs), ``parts``, ``text`` and ``base64``; empty for no body."""

_JSON: Final = re.compile(r"(application|text)/([\w.-]+\+)?json", re.IGNORECASE)
_FORM: Final = "application/x-www-form-urlencoded"


class _Inexact(ValueError):
    """A number that would not come back as it was."""


def write_body(content: bytes, content_type: str) -> Body:
    """A body as a tape has it.

    Args:
        content: it, without any encoding of transfer or content.
        content_type: the header of that name; empty for none.
    """
    if not content:
        return {}
    kind, charset, boundary = _kind_of(content_type)
    if kind == "multipart/form-data" and boundary:
        parts = _parts(content, boundary)
        if parts is not None:
            return {"parts": parts}
    text = _text(content, charset)
    if text is None:
        return {"base64": b64encode(content).decode("ascii")}
    if kind == _FORM:
        pairs = parse_qsl(text, keep_blank_values=True)
        if pairs:
            return {"form": [list(each) for each in sorted(pairs, key=lambda each: each[0])]}
    if not kind or _JSON.fullmatch(kind) or text.lstrip()[:1] in "{[":
        try:
            return {"json": json.loads(text, parse_float=_exact, parse_constant=_no_constant)}
        except (ValueError, RecursionError):
            pass
    return {"text": text}


def read_body(body: Body, content_type: str) -> bytes:
    """The other way round. JSON comes back with other blanks.

    Args:
        body: as ``write_body`` has made it.
        content_type: the header of that name.

    Raises:
        BadIntegration: it is none.
    """
    _, charset, _ = _kind_of(content_type)
    match {name: value for name, value in body.items() if name != "cut"}:
        case {} as nothing if not nothing:
            return b""
        case {"json": value}:
            return json.dumps(value).encode()
        case {"text": str(text)}:
            return text.encode(charset, "replace")
        case {"form": list(pairs)}:
            return urlencode([tuple(each) for each in pairs]).encode("ascii")
        case {"base64": str(text)}:
            return b64decode(text)
    raise BadIntegration(
        f"a tape has an answer with a body of {sorted(body)}, which nobody can send"
    )


def _kind_of(content_type: str) -> tuple[str, str, str]:
    """The type in small letters, the charset and the boundary."""
    message = Message()
    message["content-type"] = content_type or "application/octet-stream"
    kind = message.get_content_type() if content_type else ""
    charset = message.get_content_charset() or "utf-8"
    try:
        "".encode(charset)
    except LookupError:
        charset = "utf-8"
    return kind, charset, message.get_boundary() or ""


def _text(content: bytes, charset: str) -> str | None:
    try:
        text = content.decode(charset)
        return text if text.encode(charset) == content and "\0" not in text else None
    except (UnicodeError, ValueError):
        return None


def _exact(text: str) -> float:
    number = float(text)
    if Decimal(repr(number)) != Decimal(text):
        raise _Inexact(text)
    return number


def _no_constant(text: str) -> float:
    raise _Inexact(text)  # NaN and Infinity are no JSON


def _parts(content: bytes, boundary: str) -> list[dict[str, Any]] | None:
    """The parts of a form (RFC 7578); their boundary, which is random, is left out."""
    pieces = (b"\r\n" + content).split(b"\r\n--" + boundary.encode("utf-8", "replace"))
    if len(pieces) < 2 or pieces[0].strip() or not pieces[-1].startswith(b"--"):
        return None
    found = []
    for piece in pieces[1:-1]:
        head, blank, inside = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if not blank:
            return None
        message = Message()
        for line in head.decode("utf-8", "replace").split("\r\n"):
            name, _, value = line.partition(":")
            message[name.strip()] = value.strip()
        part: dict[str, Any] = {"name": message.get_param("name", "", "content-disposition")}
        if (filename := message.get_filename()) is not None:
            part["filename"] = filename
        content_type = message["content-type"] or ""
        if content_type:
            part["type"] = content_type
        found.append({**part, **write_body(inside, content_type or "text/plain")})
    return found
