"""Values of anybody's making that go into an answer: as JSON and as header fields can have them.

An answer to an error must not fail by itself, whatever an exception carries.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import to_jsonable_python

__all__ = ["safe_headers", "safe_json"]

_DEEPEST: Final = 20
_MOST_BITS: Final = 4096
"""Longer numbers are written as hexadecimal text: Python refuses to write out very long ones."""

_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]+")
_OURS: Final = frozenset(
    {"content-encoding", "content-length", "content-type", "transfer-encoding"}
)
"""They describe the body, which is not the one that whoever set them had in mind."""


def safe_json(value: Any, *, depth: int = 0) -> Any:
    """A value that is sure to be JSON and UTF-8.

    Numbers that JSON has not (NaN), lone surrogates and bytes that are no text are replaced;
    dates, UUIDs, models and the like become what pydantic makes of them; what nobody knows is
    its ``str``.

    Args:
        value: anything.
        depth: how deep in another value it lies; below 20, values are left out.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _encodable(value)
    if isinstance(value, int):
        return int(value) if value.bit_length() <= _MOST_BITS else f"{int(value):#x}"
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if depth >= _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return {_text(key): safe_json(each, depth=depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [safe_json(each, depth=depth + 1) for each in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    try:
        known = to_jsonable_python(value, fallback=_text)
    except Exception:  # whatever a model's own serialisers raise
        return _text(value)
    return safe_json(known, depth=depth + 1)


def safe_headers(headers: Mapping[str, Any] | None) -> dict[str, str]:
    """Header fields that cannot break an answer (RFC 9110 §5.5).

    Line breaks and other control characters become spaces, what is not Latin-1 becomes ``?``;
    fields without a value or with an impossible name, and those about the body, are left out.
    """
    found: dict[str, str] = {}
    for name, value in (headers or {}).items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or value is None:
            continue
        if name.lower() in _OURS:
            continue
        text = value.decode("latin-1") if isinstance(value, bytes) else _text(value)
        found[name] = (
            _CONTROLS.sub(" ", text).encode("latin-1", "replace").decode("latin-1").strip()
        )
    return found


def _text(value: object) -> str:
    try:
        return _encodable(str(value))
    except Exception:  # somebody's __str__
        return f"<{type(value).__qualname__}>"


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
