"""Values that people ``set`` and ``get``: JSON, with nothing lost on the way (RFC 8259)."""

from __future__ import annotations

import json
from typing import Any

from backstay.errors import BadCache

__all__ = ["decoded", "encoded"]

_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def encoded(value: Any, what: str) -> bytes:
    """The JSON of a value.

    Args:
        value: ``None``, a bool, a number, a text, or lists and dicts with str keys of these.
        what: as messages name it: ``"the value for 'a'"``.

    Raises:
        BadCache: it would not come back as it is, or cannot be written at all.
    """
    try:
        text = _encode(value)
        # A tuple would come back as a list, and the key 1 as "1".
        same = json.loads(text) == value
        why = "it would not come back as it is"
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        same, why = False, str(error)
    if not same:
        raise BadCache(
            f"{what}, of type {type(value).__qualname__}, cannot be kept as JSON: {why}. Use None, "
            "bools, finite numbers, texts, lists, and dicts with str keys of these"
        )
    return text.encode()


def decoded(raw: bytes, default: Any) -> Any:
    """The value, made anew; ``default`` if it is no JSON: ``get_or_fill`` has put it there."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return default
