"""Inputs as JSON that is the same in every process: to be shown, hashed and compared.

Python's sets are ordered differently in each process, and dictionaries by who filled them. A
cache key made from either would miss at random, which no test on one machine sees.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Set
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from pydantic import BaseModel, Secret, SecretBytes, SecretStr
from pydantic_core import to_jsonable_python

__all__ = ["digest_inputs", "to_json_values"]

# Longer ints Python refuses to write: 4300 digits, see sys.int_info.
_WRITABLE_BITS = 14_000

_SECRETS = (Secret, SecretBytes, SecretStr)


def to_json_values(value: Any) -> Any:
    """``value`` as what ``json.dumps`` takes, with every dictionary's keys in order.

    Bytes become base64 (RFC 4648 §4), sets sorted lists, times ISO 8601, enum members their
    values. A secret becomes a mask with a digest behind it: not to be read, and still not the
    same as another secret, since a cache key made of this must tell them apart.
    """
    if value is None or type(value) in (bool, str, float):
        return value
    if type(value) is int:
        return value if value.bit_length() < _WRITABLE_BITS else hex(value)
    if isinstance(value, Enum):
        return to_json_values(value.value)
    if isinstance(value, (int, float, str)):
        return to_json_values(_plain(value))
    if isinstance(value, Mapping):
        named = {_key(each): to_json_values(item) for each, item in value.items()}
        return {name: named[name] for name in sorted(named)}
    if isinstance(value, (Set, set, frozenset)):
        return sorted(map(to_json_values, value), key=_dumps)
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, _SECRETS):
        return f"**********:{_hash(_dumps(_tagged(value.get_secret_value())))[:16]}"
    if isinstance(value, BaseModel):
        return to_json_values(value.model_dump())
    if is_dataclass(value):
        return to_json_values({each.name: getattr(value, each.name) for each in fields(value)})
    if isinstance(value, Iterable) and not hasattr(value, "__fspath__"):
        return [to_json_values(each) for each in value]
    return to_jsonable_python(value, fallback=str)


def digest_inputs(instance: BaseModel) -> str:
    """A key for ``instance``: 32 hexadecimal digits, the same for equal inputs in any process.

    Every field counts, those that are left out when the model is dumped as well, and so do the
    types: ``"1"`` and ``1`` differ, a secret counts with its value. (SHA-256, cut to 128 bits.)
    """
    return _hash(_dumps(_tagged(instance)))[:32]


def _hash(text: str) -> str:
    # Lone surrogates are no Unicode text, and still may be in a string.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _dumps(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _key(key: Any) -> str:
    """A dictionary's key as JSON writes it: ``true``, ``1``, ``null``."""
    if isinstance(key, str) and not isinstance(key, Enum):
        return key
    plain = to_json_values(key)
    return plain if isinstance(plain, str) else _dumps(plain)


def _tagged(value: Any) -> Any:
    """As JSON in which what is equal looks equal, and what is of another type does not.

    JSON's own values stand for themselves, all else is ``[type, content]`` inside an object
    with one key that no dictionary here is written as.
    """
    if value is None or type(value) in (bool, str):
        return value
    if type(value) is int:
        return value if value.bit_length() < _WRITABLE_BITS else _tag("int", hex(value))
    if type(value) is float:
        # 1.0 == 1, for a field that takes either; and NaN has no JSON.
        if not math.isfinite(value):
            return _tag("float", repr(value))
        return int(value) if value.is_integer() else value
    if type(value) in (list, tuple):
        return [_tagged(each) for each in value]
    if isinstance(value, BaseModel):
        content: dict[str, Any] = dict(value.__dict__)
        content.update(value.__pydantic_extra__ or {})
        names = type(value).model_fields.keys() | (value.__pydantic_extra__ or {}).keys()
        shown = {name: _tagged(content[name]) for name in names if name in content}
        return _tag(_model_name(value), shown)
    if isinstance(value, _SECRETS):
        return _tag("secret", _tagged(value.get_secret_value()))
    if isinstance(value, Mapping):
        pairs = [[_tagged(key), _tagged(item)] for key, item in value.items()]
        return _tag("mapping", sorted(pairs, key=_dumps))
    if isinstance(value, (Set, set, frozenset)):
        return _tag("set", sorted(map(_tagged, value), key=_dumps))
    if isinstance(value, (bytes, bytearray)):
        return _tag("bytes", hashlib.sha256(value).hexdigest())
    if isinstance(value, datetime) and value.tzinfo is not None:
        return _tag("datetime", value.astimezone(UTC).isoformat())
    if isinstance(value, Decimal):
        return _tag("decimal", _shortest(value))
    if isinstance(value, Enum):
        return _tag(type(value).__qualname__, value.name)
    if is_dataclass(value):
        content = {each.name: _tagged(getattr(value, each.name)) for each in fields(value)}
        return _tag(type(value).__qualname__, content)
    if isinstance(value, Iterable) and not hasattr(value, "__fspath__"):
        return _tag(type(value).__qualname__, [_tagged(each) for each in value])
    return _tag(type(value).__qualname__, to_json_values(value))


def _plain(value: Any) -> Any:
    """A subclass's value as one of JSON's own types."""
    base = next(each for each in (str, int, float) if isinstance(value, each))
    return base.__str__(value) if base is str else base(value)


def _tag(name: str, content: Any) -> dict[str, Any]:
    return {"": [name, content]}


def _model_name(value: BaseModel) -> str:
    return getattr(type(value), "__backstay_model__", type(value)).__qualname__


def _shortest(value: Decimal) -> str:
    """``1``, ``1.0`` and ``10E-1`` are equal. Not normalize(), which rounds to the context."""
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        return str(value)
    text = "".join(map(str, digits)).lstrip("0")
    shortened = text.rstrip("0")
    exponent += len(text) - len(shortened)
    return f"{'-' if sign else ''}{shortened}e{exponent}" if shortened else "0"
