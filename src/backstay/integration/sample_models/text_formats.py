"""Texts that are more than text: moments, days, ids, addresses."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from pydantic import AnyUrl, AwareDatetime, NaiveDatetime, TypeAdapter, ValidationError

__all__ = ["FORMATS", "formats_of"]

_DAY = r"\d{4}-\d\d-\d\d"
_TIME = r"\d\d:\d\d:\d\d(\.\d+)?"

FORMATS: dict[str, re.Pattern[str]] = {
    # RFC 3339 and ISO 8601: with an offset, which makes it a moment.
    "date-time": re.compile(rf"{_DAY}[Tt ]{_TIME}([Zz]|[+-]\d\d:?\d\d)"),
    "date-time-local": re.compile(rf"{_DAY}[Tt ]{_TIME}"),
    "date": re.compile(_DAY),
    "time": re.compile(_TIME),
    "uuid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "uri": re.compile(r"(https?|wss?|ftp)://[!-~]+"),
}
"""What a text may be, by the names JSON Schema has for it. ``date-time-local`` is a date-time
without an offset. The pattern says what is worth a closer look.

Addresses of e-mail are not among them: their type needs a package of its own, and writes some of
them in another way than it read them.
"""

_LONGEST = 2048


def formats_of(text: str) -> frozenset[str]:
    """The formats a text has. Usually none, never more than one.

    A text has a format if the type for it reads the text and writes it back as it was. Moments
    may be written in another way (``+0300`` becomes ``+03:00``), as long as they are the same.
    """
    if not 8 <= len(text) <= _LONGEST:
        return frozenset()
    return frozenset(
        name
        for name, pattern in FORMATS.items()
        if pattern.fullmatch(text) and _is_kept(name, text)
    )


def _is_kept(name: str, text: str) -> bool:
    read, write = _type(name)
    try:
        value = read(text)
    except ValidationError:
        return False
    return name.startswith("date-time") or write(value) == text


@cache
def _type(name: str) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    from datetime import date, time
    from uuid import UUID

    types: dict[str, Any] = {
        "date-time": AwareDatetime,
        "date-time-local": NaiveDatetime,
        "date": date,
        "time": time,
        "uuid": UUID,
        "uri": AnyUrl,
    }
    adapter: TypeAdapter[Any] = TypeAdapter(types[name])
    return adapter.validate_python, lambda value: adapter.dump_python(value, mode="json")
