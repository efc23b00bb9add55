"""From values to JSON and back, with nothing lost on the way (RFC 8259)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from backstay.errors import BadState, StateError

__all__ = ["decoded", "encoded", "whole"]

_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=True
).encode
# Escapes what is no Unicode text, half of a surrogate pair, which no database would take.
_encode_ascii = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_decode = json.JSONDecoder().decode

# Of a length that Python and the databases add to without a thought.
_WHOLE = re.compile(r"-?[0-9]{1,1000}")
_PLAIN = frozenset({str, int, bool, type(None)})


def encoded(value: Any, *, key: str, max_bytes: int) -> str:
    """The JSON text of a value.

    Args:
        value: ``None``, a bool, an int of any size, a finite float, a str, or lists and dicts with
            str keys of these.
        key: as errors name it.
        max_bytes: of the text, as UTF-8.

    Raises:
        BadState: it would not come back as it is (a tuple would be a list, the key 1 a "1"), or
            cannot be written at all, or is too large. Nothing was stored.
    """
    try:
        text = _encode(value)
        # What JSON cannot tell apart comes back as something else: this finds it at C's speed,
        # where a walk in Python would cost more than everything around it.
        same = type(value) in _PLAIN or _decode(text) == value
    except RecursionError:
        raise BadState(
            f"the value for state {key!r} is nested too deeply for JSON; keep it flatter"
        ) from None
    except (TypeError, ValueError, OverflowError) as error:
        raise BadState(_why_not(value, key, str(error))) from None
    if not same:
        raise BadState(_why_not(value, key, "it would not come back as it is"))
    if text.isascii():
        size = len(text)
    else:
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            text = _encode_ascii(value)
            size = len(text)
    if size > max_bytes:
        raise BadState(
            f"the value for state {key!r} has {size} bytes as JSON, and {max_bytes} is the limit; "
            "keep large things in files or tables and their names here, or raise "
            "add_state(app, max_value_bytes=...)"
        )
    return text


def decoded(text: str, *, key: str) -> Any:
    """The value of a JSON text, made anew: whoever gets it may do with it as he likes.

    Raises:
        StateError: it is no JSON: somebody else wrote it.
    """
    try:
        return _decode(text)
    except (ValueError, RecursionError) as error:
        raise StateError(
            f"what is stored for state {key!r} is no JSON ({error}): something else than backstay "
            "wrote it; set or delete the key"
        ) from error


def whole(text: str) -> int | None:
    """The whole number that a JSON text is; ``None`` if it is none, or has over 1000 digits."""
    return int(text) if _WHOLE.fullmatch(text) else None


def _why_not(value: Any, key: str, otherwise: str) -> str:
    found = _offence(value, "value", 0)
    if found is None:
        return (
            f"the value for state {key!r} cannot be stored as JSON: {otherwise}; "
            "store None, bools, numbers, texts, lists, and dicts with str keys"
        )
    where, what = found
    return f"the value for state {key!r} cannot be stored as JSON: {where} is {what}"


def _offence(value: Any, where: str, depth: int) -> tuple[str, str] | None:
    """The first thing that is no JSON: where it is, and what it is with a remedy."""
    if depth > 100:
        return None
    if isinstance(value, dict):
        for name, each in value.items():
            if not isinstance(name, str):
                return f"a key of {where}", f"{name!r} of type {_type(name)}, and keys are str"
            if found := _offence(each, f"{where}[{name!r}]", depth + 1):
                return found
        return None
    if isinstance(value, list):
        for number, each in enumerate(value):
            if found := _offence(each, f"{where}[{number}]", depth + 1):
                return found
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return where, f"{value!r}, which JSON has no word for; store None or a text"
    if value is None or isinstance(value, (str, int, float)):
        return None
    return where, f"of type {_type(value)}; {_remedy(value)}"


def _remedy(value: Any) -> str:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "store base64.b64encode(it).decode()"
    if isinstance(value, tuple):
        return "a tuple comes back as a list, so store list(it)"
    if isinstance(value, (set, frozenset)):
        return "store sorted(it)"
    if hasattr(value, "model_dump"):
        return 'store it.model_dump(mode="json")'
    if hasattr(value, "__dataclass_fields__"):
        return "store dataclasses.asdict(it)"
    if hasattr(value, "isoformat"):
        return "store it.isoformat()"
    if isinstance(value, Mapping):
        return "store dict(it)"
    if isinstance(value, Sequence):
        return "store list(it)"
    return "store None, bools, numbers, texts, lists, and dicts with str keys"


def _type(value: object) -> str:
    return type(value).__qualname__
