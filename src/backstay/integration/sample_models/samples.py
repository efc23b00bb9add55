"""Samples: what they may be given as, and what is in them."""

from __future__ import annotations

import codecs
import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic_core import PydanticSerializationError, to_jsonable_python

from backstay.errors import BadIntegration

__all__ = ["LEVELS", "LIMIT_BYTES", "read_sample"]

LIMIT_BYTES = 64 * 1024 * 1024
"""Size of a sample that is text, at most."""

LEVELS = 200
"""How deep lists and objects may lie in each other."""

_SPACE = " \t\r\n\x1e"  # the last one is what RFC 7464 puts before each value


def read_sample(sample: object, source: str) -> list[Any]:
    """The JSON values that a sample stands for.

    Args:
        sample: JSON as text, bytes or a file; any number of values one after another (as in
            NDJSON). Anything else is a value itself: what JSON can say, and what pydantic can
            make of moments, ids, models, dataclasses.
        source: what it is called in messages.

    Raises:
        BadIntegration: it is no JSON, or what no JSON can say.
    """
    if isinstance(sample, Path):
        values = _parse(_text(_bytes_of(sample), str(sample)), str(sample))
        source = str(sample)
    elif isinstance(sample, bytes | bytearray | memoryview):
        values = _parse(_text(bytes(sample), source), source)
    elif isinstance(sample, str):
        _check_size(len(sample), source)
        values = _parse(sample.removeprefix("\ufeff"), source)
    else:
        values = [_plain(sample, source)]
    for value in values:
        _check(value, source)
    return values


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LIMIT_BYTES + 1)
    except OSError as error:
        raise BadIntegration(f"{path} cannot be read: {error.strerror or error}") from error


def _check_size(size: int, source: str) -> None:
    if size > LIMIT_BYTES:
        raise BadIntegration(
            f"{source} is larger than {LIMIT_BYTES // 1024 // 1024} MB; a part of it will do"
        )


def _text(raw: bytes, source: str) -> str:
    """Text in UTF-8, or in what its first bytes say (RFC 4627 §3)."""
    _check_size(len(raw), source)
    encoding = "utf-8" if raw.startswith(codecs.BOM_UTF8) else json.detect_encoding(raw)
    try:
        return raw.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise BadIntegration(
            f"{source} is no text in {encoding.upper()}: byte {error.start} is "
            f"0x{raw[error.start]:02x}; save it as UTF-8"
        ) from error


def _parse(text: str, source: str) -> list[Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = next(
                key for key, count in Counter(key for key, _ in pairs).items() if count > 1
            )
            raise BadIntegration(
                f"{source} has an object with the key {_shown(twice)} twice, and readers differ "
                "in what that means (RFC 8259 §4); remove one"
            )
        return found

    def number(literal: str) -> float:
        value = float(literal)
        if math.isinf(value):
            raise BadIntegration(f"{source} has the number {literal[:40]}, too large for a float")
        return value

    def constant(literal: str) -> Any:
        raise BadIntegration(
            f"{source} has {literal}, which is no JSON (RFC 8259 §6); null says 'no number'"
        )

    decoder = json.JSONDecoder(
        object_pairs_hook=unique, parse_float=number, parse_constant=constant
    )
    values: list[Any] = []
    at = _skip(text, 0)
    try:
        while at < len(text):
            value, at = decoder.raw_decode(text, at)
            values.append(value)
            at = _skip(text, at)
    except json.JSONDecodeError as error:
        raise BadIntegration(
            f"{source}, line {error.lineno}, column {error.colno}: this is no JSON: {error.msg}"
        ) from error
    except RecursionError:
        raise _too_deep(source) from None
    except BadIntegration:
        raise
    except ValueError as error:  # more digits than Python turns into an int
        raise BadIntegration(f"{source} has a number that cannot be read: {error}") from error
    if not values:
        raise BadIntegration(f"{source} is empty; it needs at least one JSON object")
    return values


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _plain(value: object, source: str) -> Any:
    try:
        return to_jsonable_python(value, by_alias=True)
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        raise BadIntegration(
            f"{source} is no JSON and cannot be turned into it: {error}"
        ) from error


def _check(value: Any, source: str) -> None:
    """Refuse what is no JSON although Python reads it, with the place."""
    for found, path, level in _walk(value):
        if level > LEVELS:
            raise _too_deep(source)
        if isinstance(found, float) and not math.isfinite(found):
            raise BadIntegration(
                f"{source} has {found} at {path()}, which no JSON can say; None says 'no number'"
            )
        if isinstance(found, str) and not found.isascii():
            try:
                found.encode()
            except UnicodeEncodeError:
                raise BadIntegration(
                    f"{source} has half of a surrogate pair at {path()}, which is no text "
                    "(RFC 8259 §8.2)"
                ) from None


def _walk(root: Any) -> Iterator[tuple[Any, Any, int]]:
    """Every key and value, what tells where it is, and how deep. Not by recursion."""
    # A place is (place above, key or index); only a message makes words of it.
    stack: list[tuple[Any, Any, int]] = [(root, None, 0)]
    while stack:
        value, place, level = stack.pop()
        yield value, lambda place=place: _path(place), level
        if isinstance(value, dict):
            for key, inner in value.items():
                yield key, lambda place=place, key=key: _path((place, key)), level
                stack.append((inner, (place, key), level + 1))
        elif isinstance(value, list):
            stack.extend((inner, (place, index), level + 1) for index, inner in enumerate(value))


def _path(place: Any) -> str:
    steps: list[str] = []
    while place is not None:
        place, step = place
        steps.append(f"[{step}]" if isinstance(step, int) else f".{step[:40]!a}")
    return "$" + "".join(reversed(steps))


def _shown(key: str) -> str:
    return ascii(key if len(key) <= 60 else f"{key[:60]}…")


def _too_deep(source: str) -> BadIntegration:
    return BadIntegration(f"{source} has more than {LEVELS} levels of lists and objects")
