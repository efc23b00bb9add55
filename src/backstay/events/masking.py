"""Secrets are taken out of what is kept, before it is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import islice
from typing import Any
from uuid import UUID

from backstay.errors import BadEvents
from backstay.events.secret_patterns import (
    FRAGMENTS,
    SHAPES,
    WORDS,
    Shape,
    card_number,
    named_values,
    words_of,
)

__all__ = ["MASK", "Masking"]

MASK = "***"

_MAX_TEXT = 1_000
_MAX_ITEMS = 50
_MAX_DEPTH = 6
_MAX_NODES = 500
_MAX_RAW = 4_000
_MAX_CHARACTERS = 40_000
_MAX_NAME = 200
_REMEMBERED_NAMES = 2_000
_PLAIN = re.compile(r"[A-Za-z]{0,12}|[0-9a-f]{32}")
"""What is no secret at a glance: a word, an id of backstay's own."""
_LABELS = frozenset({"name", "key", "field", "header", "param", "parameter", "loc"})
_LABELLED = frozenset({"value", "values", "input", "content", "data", "default", "ctx"})


@dataclass(frozen=True)
class Masking:
    """What counts as a secret, and its removal. Immutable; ``Masking()`` knows the usual ones.

    A value is a secret if its field's name says so, in any case and at any depth:
    ``Authorization``, cookies, passwords, tokens, API keys, card numbers, PINs and the like
    (``secret_patterns`` lists them). Inside of texts, so is what stands behind such a name with
    ``=`` or ``:``, and what looks like one wherever it stands: bearer tokens, JWTs, keys of
    backstay's and well-known services', private keys, hashes of passwords, passwords in URLs,
    numbers of payment cards, and the data that databases and pydantic repeat in their messages.

    It errs on the side of masking. What it cannot know is a secret without a name or a shape: a
    passphrase in the middle of a sentence.

    Args:
        names: more names of secrets; words of a name count: ``"licence"`` is in ``licence_no``.
        patterns: more regular expressions of what is a secret wherever it stands. A group named
            ``kept`` stays.
        keep: names that are none, whatever they look like: ``"input_tokens"``.

    Raises:
        BadEvents: a name is none, or a pattern no regular expression.
    """

    names: Sequence[str] = ()
    patterns: Sequence[str | re.Pattern[str]] = ()
    keep: Sequence[str] = ()
    _shapes: tuple[Shape, ...] = field(init=False, repr=False, compare=False)
    _named: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _fragments: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _words: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _kept: frozenset[str] = field(init=False, repr=False, compare=False)
    _known: dict[str, bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for what in ("names", "patterns", "keep"):
            given = getattr(self, what)
            if isinstance(given, str | re.Pattern) or not isinstance(given, Iterable):
                raise BadEvents(f"Masking({what}=) is a sequence; got {given!r}")
            self._set(what, tuple(given))
        more = [" ".join(_checked(each, "names")) for each in self.names]
        words = (*WORDS, *more)
        self._set("_fragments", tuple(each.replace(" ", "") for each in FRAGMENTS))
        spellings = {each.replace(" ", between) for each in words for between in ("_", "")}
        self._set("_words", tuple(f"_{each}_" for each in sorted(spellings)))
        self._set("_kept", frozenset("".join(_checked(each, "keep")) for each in self.keep))
        self._set("_named", named_values(FRAGMENTS, words))
        self._set("_shapes", (*SHAPES, *(Shape(("",), _compiled(each)) for each in self.patterns)))
        self._set("_known", {})

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def is_secret(self, name: str) -> bool:
        """Whether what has that name is a secret."""
        if len(name) > _MAX_NAME:
            return True  # nobody calls anything harmless like that
        known = self._known.get(name)
        if known is None:
            known = self._judge(name)
            if len(self._known) >= _REMEMBERED_NAMES:
                self._known.clear()  # somebody makes names up
            self._known[name] = known
        return known

    def _judge(self, name: str) -> bool:
        words = words_of(name)
        squashed = "".join(words)
        if squashed in self._kept:
            return False
        spaced = f"_{'_'.join(words)}_"
        return any(each in squashed for each in self._fragments) or any(
            each in spaced for each in self._words
        )

    def text(self, text: str, *, most: int = _MAX_TEXT) -> str:
        """A text without secrets, fit for a database.

        Args:
            text: it.
            most: characters of it that are kept.
        """
        if not self.patterns and _PLAIN.fullmatch(text):
            return text[:most]
        if len(text) > _MAX_RAW:
            # A secret that is cut in two has lost its shape, so the last word goes altogether.
            words = text[:_MAX_RAW].rsplit(maxsplit=1)
            text = f"{words[0] if len(words) == 2 else ''} …"
        text = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
        low = text.lower()
        for hints, pattern in self._shapes:
            for hint in hints:
                if hint in low:
                    text = pattern.sub(_put, text)
                    break
        if "=" in text or ":" in text:
            text = self._named.sub(self._put_for_name, text)
        text = card_number(text, MASK)
        return text if len(text) <= most else f"{text[: most - 1]}…"

    def _put_for_name(self, found: re.Match[str]) -> str:
        kept = found["kept"] or found["also_kept"]
        if self._kept and found["also_kept"]:
            start = end = found.start()
            while start > 0 and end - start < _MAX_NAME and _is_of_name(found.string[start - 1]):
                start -= 1
            while _is_of_name(found.string[end]):  # "=" or ":" is behind it
                end += 1
            if "".join(words_of(found.string[start:end])) in self._kept:
                return found[0]
        return f"{kept}{MASK}"

    def value(self, value: object) -> Any:
        """A value without secrets, as JSON has them, and no larger than an event may be."""
        return self._masked(value, _MAX_DEPTH, _Room())

    def facts(self, facts: Mapping[Any, Any]) -> dict[str, Any]:
        """The same for an event's facts.

        A request's path goes if its route has a secret in it (``/reset/{token}``): the route says
        enough.
        """
        route = facts.get("route")
        if isinstance(route, str) and "path" in facts:
            parameters = re.findall(r"\{(\w+)", route)
            if any(self.is_secret(each) for each in parameters):
                facts = {**facts, "path": route}
        masked: dict[str, Any] = self.value(facts)
        return masked

    def _masked(self, value: object, depth: int, room: _Room) -> Any:
        room.nodes -= 1
        if room.nodes < 0 or room.characters < 0:
            return "…"
        match value:
            case None | bool():
                return value
            case Enum():
                return self._masked(value.value, depth, room)
            case int():
                return self._number(value)
            case float():
                return float(value) if value - value == 0 else str(value)
            case str():
                room.characters -= min(len(value), _MAX_RAW)
                return self.text(str(value))
            case bytes() | bytearray() | memoryview():
                room.characters -= min(len(value), _MAX_RAW)
                return self.text(bytes(value[: _MAX_RAW + 1]).decode("utf-8", "replace"))
            case date() | time() | timedelta() | Decimal() | UUID():  # datetimes are dates
                return self.text(str(value))
            case Mapping() if depth > 0:
                return self._mapping(value, depth, room)
            case Sequence() | Set() if depth > 0:
                return self._items(value, depth, room)
        # Whatever else it is might say its secrets in its own words.
        return f"<{type(value).__qualname__}>"

    def _number(self, number: int) -> int | str:
        if abs(number) < 10**12:
            return int(number)
        if number.bit_length() > 64:
            return f"<int of {number.bit_length()} bits>"
        text = self.text(str(int(number)))
        return text if MASK in text else int(number)

    def _mapping(self, mapping: Mapping[Any, Any], depth: int, room: _Room) -> dict[str, Any]:
        about = next(
            (True for each in _LABELS if each in mapping and self._is_label(mapping[each])), False
        )
        masked: dict[str, Any] = {}
        for key, value in islice(mapping.items(), _MAX_ITEMS):
            name = _name_of(key)
            secret = value is not None and (self.is_secret(name) or (about and name in _LABELLED))
            shown = MASK if secret else self._masked(value, depth - 1, room)
            masked[self.text(name, most=100)] = shown
        if len(mapping) > _MAX_ITEMS:
            masked["…"] = len(mapping) - _MAX_ITEMS
        return masked

    def _items(self, items: Any, depth: int, room: _Room) -> list[Any]:
        # ["Cookie", "a=b"], as headers are in ASGI, and ["--password", "x"], as programs are called.
        is_pair = len(items) == 2
        masked: list[Any] = []
        behind_label = False
        for each in islice(items, _MAX_ITEMS):
            masked.append(MASK if behind_label else self._masked(each, depth - 1, room))
            behind_label = self._is_label(each) and (is_pair or _name_of(each).startswith("-"))
        if len(items) > _MAX_ITEMS:
            masked.append(f"… and {len(items) - _MAX_ITEMS} more")
        return masked

    def _is_label(self, value: object) -> bool:
        """Whether a value is the name of a secret, or (as pydantic's ``loc``) leads to one."""
        if isinstance(value, str | bytes):
            return self.is_secret(_name_of(value))
        if isinstance(value, list | tuple):
            return any(isinstance(each, str) and self.is_secret(each) for each in value)
        return False


@dataclass(slots=True)
class _Room:
    """How much of a value is still looked at."""

    nodes: int = _MAX_NODES
    characters: int = _MAX_CHARACTERS


def _is_of_name(character: str) -> bool:
    return character.isalnum() or character in "_-"


def _put(found: re.Match[str]) -> str:
    groups = found.groupdict()
    return f"{groups.get('kept') or ''}{MASK}"


def _name_of(key: object) -> str:
    if isinstance(key, bytes):
        return key.decode("utf-8", "replace")
    return str(key) if isinstance(key, str | int | float | UUID) or key is None else "<key>"


def _checked(name: object, what: str) -> list[str]:
    words = words_of(name) if isinstance(name, str) else []
    if not words:
        raise BadEvents(f"Masking({what}=) has names of fields; got {name!r}")
    return words


def _compiled(pattern: object) -> re.Pattern[str]:
    if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
        return pattern
    problem = "it is no text"
    if isinstance(pattern, str):
        try:
            return re.compile(pattern)
        except re.error as error:
            problem = str(error)
    raise BadEvents(f"Masking(patterns=) has regular expressions; {pattern!r} is none: {problem}")
