"""Names in Python for what is called anything in JSON."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Callable, Collection, Container
from itertools import count

__all__ = [
    "class_name",
    "enum_names",
    "field_names",
    "is_name",
    "literal",
    "singular",
    "words_of",
]

_LONGEST = 60
# BaseModel takes fields of these for its own methods' names (`protected_namespaces`).
_PROTECTED = ("model_validate", "model_dump")


def literal(text: str) -> str:
    """A text as a Python literal of printable characters, in double quotes if it has none itself."""
    # repr() escapes all that does not print, bidirectional marks included.
    written = repr(text)
    if written[0] == "'" and '"' not in written:
        return f'"{written[1:-1]}"'
    return written


def is_name(text: str) -> bool:
    """Whether a text is a Python name as it stands: no keyword, nothing Python reads otherwise."""
    return (
        text.isidentifier()
        and not keyword.iskeyword(text)
        and unicodedata.normalize("NFKC", text) == text
    )


def words_of(text: str) -> list[str]:
    """The words of a key: between symbols, underscores, and where capitals begin."""
    words: list[str] = []
    for part in _letters(text).split("_"):
        start = 0
        for index in range(1, len(part)):
            before, here = part[index - 1], part[index]
            after = part[index + 1 : index + 2]
            if (here.isupper() and not before.isupper()) or (
                here.isupper() and before.isupper() and after.islower()
            ):
                words.append(part[start:index])
                start = index
        words.append(part[start:])
    return [each for each in words if each]


def _letters(text: str) -> str:
    """A text with everything but letters and digits that names may have made an underscore."""
    normal = unicodedata.normalize("NFKC", text[: 4 * _LONGEST])
    kept = "_"
    for each in normal:
        # A mark belongs to the letter in front of it, and is nothing without one.
        is_mark = unicodedata.category(each)[0] == "M" and kept[-1] != "_"
        kept += each if f"a{each}".isidentifier() and (each.isalnum() or is_mark) else "_"
    return kept[1:]


def singular(word: str) -> str:
    """One of several, by the regular rules of English; the word itself if none fits."""
    low = word.lower()
    if low.endswith("ies") and len(low) > 4:
        return f"{word[:-3]}y"
    if low.endswith(("sses", "xes", "zes", "ches", "shes")):
        return word[:-2]
    if low.endswith("s") and not low.endswith(("ss", "us", "is", "series", "news")):
        return word[:-1]
    return word


def class_name(words: Collection[str]) -> str:
    """A class's name from words, ``Model`` if that makes none."""
    name = "".join(f"{each[:1].upper()}{each[1:]}" for each in words)
    name = _normal(name[:_LONGEST])
    return name if is_name(name) else _normal(f"Model{name}")


def field_names(
    keys: Collection[str], *, forbidden: Container[str], snake_case: bool
) -> dict[str, str]:
    """A name for each key of an object.

    A key that can be a field's name is it. Another one loses what names cannot have, and gets an
    underscore or a number where that is not enough.

    Args:
        keys: all of the object.
        forbidden: names that fields must not have.
        snake_case: whether ``createdAt`` becomes ``created_at``.
    """

    def kept(key: str) -> bool:
        return (
            len(key) <= _LONGEST
            and is_name(key)
            and _letters(key) == key
            and not key.startswith("_")
            and not key.startswith(_PROTECTED)
            and key not in forbidden
            and (not snake_case or _snake(key) == key)
        )

    names = {key: key for key in keys if kept(key)}
    taken = {*names, *keys}
    for key in keys:
        if key not in names:
            names[key] = _free(_cleaned(key, snake_case), lambda name: name in taken, forbidden)
            taken.add(names[key])
    return names


def _snake(key: str) -> str:
    return "_".join(words_of(key)).lower()


def _cleaned(key: str, snake_case: bool) -> str:
    name = _snake(key) if snake_case else re.sub("__+", "_", _letters(key))
    name = _normal(name.strip("_")[:_LONGEST]).strip("_")
    if not name:
        return "field"
    if not name.isidentifier() or name.startswith(_PROTECTED):
        return f"field_{name}"
    return f"{name}_" if keyword.iskeyword(name) else name


def _normal(name: str) -> str:
    # Python reads names so, and what was cut or joined may be another name now.
    return unicodedata.normalize("NFKC", name)


def _free(name: str, is_taken: Callable[[str], bool], forbidden: Container[str]) -> str:
    if name in forbidden:
        name = f"{name}_"
    joint = "" if name.endswith("_") else "_"
    candidates = (name if number == 1 else f"{name}{joint}{number}" for number in count(1))
    return next(each for each in candidates if not is_taken(each) and each not in forbidden)


def enum_names(values: Collection[str]) -> dict[str, str]:
    """A name in capitals for each value of an enumeration."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for value in values:
        name = _normal("_".join(words_of(value)).upper()[:_LONGEST]).strip("_")
        if not name:
            name = "VALUE" if value else "EMPTY"
        elif not name.isidentifier():
            name = f"VALUE_{name}"
        names[value] = _free(name, lambda each: each in taken, ())
        taken.add(names[value])
    return names
