"""Named values to the text of a JSON object and back, by their type hints, through pydantic.

What is written comes back equal, or is refused. Numbers, strings, dates and the like are known
to, and containers of them. Everything else (models, unions, ``Any``, types with code of their
own) is read back when it is written and compared: that is where a tuple would return as a list,
a ``datetime`` under ``Any`` as a string, a ``SecretStr`` as stars, a field with ``exclude=True``
not at all.

- A model's field that nobody set is not written either, unless it would come back different (a
  ``default_factory`` that counts or looks at the clock): so ``model_fields_set`` survives.
- An instance of a subclass of an annotated model is refused: it would come back as the annotated
  one, without its own fields.
- bytes are base64 (RFC 4648 §5); NaN and the infinities are the strings ``"NaN"``, ``"Infinity"``
  and ``"-Infinity"``, since JSON has no such numbers. Both hold for parameters, containers,
  dataclasses and TypedDicts; a pydantic model's fields go by the model's own ``model_config``.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import functools
import math
import pathlib
import types
import typing
import uuid
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NotRequired

from annotated_types import BaseMetadata, GroupedMetadata
from pydantic import BaseModel, ConfigDict, PydanticSchemaGenerationError, TypeAdapter
from pydantic_core import (
    CoreConfig,
    PydanticSerializationError,
    SchemaSerializer,
    SchemaValidator,
    ValidationError,
)
from typing_extensions import TypedDict

__all__ = ["Codec", "NotWritable", "Slot", "VALUE", "describe_first", "shorten", "why_no_codec"]

VALUE = "value"
"""The slot of a codec for one value alone; see ``Codec.write_one``."""

_BEFORE, _AFTER = b'{"value":', b"}"

_READING = ConfigDict(
    val_json_bytes="base64",
    ser_json_bytes="base64",
    ser_json_inf_nan="strings",
    extra="ignore",
)
_WRITING = CoreConfig(ser_json_bytes="base64", ser_json_inf_nan="strings")

_LONGEST_SHOWN = 80


class Slot(NamedTuple):
    """One named value.

    Attributes:
        annotation: its type.
        required: whether it may be missing.
    """

    annotation: Any
    required: bool


class NotWritable(Exception):  # caught by whoever knows the task's name
    """A value that cannot travel as JSON.

    Attributes:
        name: which one.
        value: the value.
        why: what is wrong with it.
    """

    def __init__(self, name: str, value: object, why: str) -> None:
        super().__init__(name, why)
        self.name = name
        self.value = value
        self.why = why


class Codec:
    """Writes and reads the values of some slots.

    Args:
        slots: by name.

    Attributes:
        validate: checks a dictionary of values, and gives the one that is to be written.
        read: gives the dictionary from a JSON text; members that have no slot are left out.
        trusted: whether what is written is known to come back equal.

    Raises:
        Exception: pydantic cannot handle one of the types; ``why_no_codec`` says why.
    """

    __slots__ = ("_write", "read", "trusted", "validate")

    def __init__(self, slots: Mapping[str, Slot]) -> None:
        make: Any = TypedDict  # type checkers want to see the names written out
        shape = make(
            "Arguments",
            {
                name: slot.annotation if slot.required else NotRequired[slot.annotation]
                for name, slot in slots.items()
            },
        )
        shape.__pydantic_config__ = _READING
        adapter: TypeAdapter[dict[str, Any]] = TypeAdapter(shape)
        validator = adapter.validator
        assert isinstance(validator, SchemaValidator)
        # The adapter's own would apply the config to nested types, but not to ours.
        serializer = SchemaSerializer(adapter.core_schema, _WRITING)
        self.validate: Callable[[dict[str, Any]], dict[str, Any]] = validator.validate_python
        self.read: Callable[[str | bytes], dict[str, Any]] = validator.validate_json
        self._write = serializer.to_json
        self.trusted = all(_comes_back_equal(slot.annotation) for slot in slots.values())

    def write(self, values: dict[str, Any]) -> bytes:
        """The JSON text of values that ``validate`` gave.

        Raises:
            NotWritable: one of them cannot be JSON, or would come back as something else.
        """
        try:
            # round_trip leaves out computed fields, which reading would not take.
            text = self._write(
                values, by_alias=True, round_trip=True, exclude_unset=True, warnings=False
            )
            if self.trusted or _same(self.read(text), values):
                return text
            text = self._write(values, by_alias=True, round_trip=True, warnings=False)
            if _same(self.read(text), values):
                return text
        except (PydanticSerializationError, ValidationError, *_BY_VALUES):
            pass
        raise self._find_fault(values)

    def write_one(self, value: object) -> bytes:
        """The JSON text of one value, for a codec whose only slot is ``VALUE``.

        Raises:
            ValidationError: it does not fit its type.
            NotWritable: as for ``write``.
        """
        return self.write(self.validate({VALUE: value}))[len(_BEFORE) : -len(_AFTER)]

    def read_one(self, text: bytes) -> Any:
        """One value from its JSON text, for a codec whose only slot is ``VALUE``.

        Raises:
            ValidationError: it does not fit its type.
        """
        return self.read(_BEFORE + text + _AFTER)[VALUE]

    def sizes(self, values: dict[str, Any]) -> dict[str, int]:
        """How many bytes each value takes."""
        return {name: len(self._write(values, include={name}, warnings=False)) for name in values}

    def _find_fault(self, values: dict[str, Any]) -> NotWritable:
        write = functools.partial(self._write, by_alias=True, round_trip=True, warnings=False)
        texts = {}
        for name, value in values.items():
            try:
                texts[name] = write(values, include={name}).decode()
            except (PydanticSerializationError, *_BY_VALUES) as error:
                return NotWritable(name, value, _reason(error))
        try:
            back = self.read(write(values))
        except ValidationError as error:
            name = str(error.errors()[0]["loc"][0])
            why = describe_first(error, with_input=False)
            return NotWritable(name, values[name], f"what is written cannot be read back: {why}")
        except _BY_VALUES as error:
            name = max(texts, key=lambda each: len(texts[each]))
            return NotWritable(name, values[name], _reason(error))
        for name, value in values.items():
            if not _same(back[name], value):
                stars = "**********" in texts[name] and "a SecretStr in it would become stars"
                why = stars or f"it would come back as {shorten(back[name])}"
                return NotWritable(name, value, why)
        raise AssertionError("each value comes back the same, and together they do not")


_BY_VALUES = (ValueError, TypeError, RecursionError, OverflowError)
"""What serializing raises, bare, for cycles and half surrogate pairs."""


def describe_first(error: ValidationError, *, with_input: bool = True) -> str:
    """The first thing pydantic found wrong, on one line.

    Args:
        error: what pydantic raised. The first element of its location is left out.
        with_input: whether to show the value.
    """
    first = error.errors(include_url=False, include_context=False)[0]
    place = "".join(f"[{step!r}]" for step in first["loc"][1:])
    found = f" (got {shorten(first['input'])})" if with_input else ""
    return f"{place + ': ' if place else ''}{first['msg']}{found}"


def why_no_codec(error: Exception) -> str:
    """What was wrong with the types that ``Codec`` was given, on one line."""
    if isinstance(error, PydanticSchemaGenerationError):
        return "it is neither data nor a model"  # pydantic's remedy would be none
    return str(error).partition("\n")[0]


def shorten(value: object) -> str:
    """A value for an error message: its repr, on one line and not too long."""
    try:
        # Long strings are cut first: the repr of a megabyte is a megabyte.
        shown = repr(value[: _LONGEST_SHOWN + 1] if isinstance(value, str | bytes) else value)
    except Exception:
        shown = f"<{type(value).__qualname__}>"
    shown = " ".join(shown.split())
    return shown if len(shown) <= _LONGEST_SHOWN else shown[: _LONGEST_SHOWN - 1] + "…"


def _reason(error: Exception) -> str:
    if "surrogates not allowed" in str(error):
        return "it has half of a surrogate pair, which UTF-8 cannot write"
    return str(error).removeprefix("Error serializing to JSON: ")


# ---------------------------------------------------------------------- what needs no look back

_EQUAL = frozenset(
    {
        int, str, bool, float, bytes, type(None),
        uuid.UUID, decimal.Decimal,
        dt.datetime, dt.date, dt.time, dt.timedelta,
        pathlib.Path, pathlib.PurePath,
    }
)  # fmt: skip
_CONTAINERS = frozenset({list, set, frozenset, tuple})


def _comes_back_equal(annotation: Any) -> bool:
    if annotation in _EQUAL:
        return True
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        limits = (BaseMetadata, GroupedMetadata, str)
        return _comes_back_equal(arguments[0]) and all(
            isinstance(each, limits) for each in arguments[1:]
        )
    if origin in (typing.Union, types.UnionType):
        # One type or None. Two types may be told apart in Python, and not in JSON.
        others = [each for each in arguments if each is not type(None)]
        return len(others) == 1 and _comes_back_equal(others[0])
    if origin is typing.Literal:
        return all(type(each) in (str, int, type(None)) for each in arguments)
    if origin in _CONTAINERS:
        return bool(arguments) and all(
            each is Ellipsis or _comes_back_equal(each) for each in arguments
        )
    if origin is dict:
        return arguments[0] is str and _comes_back_equal(arguments[1])
    return (
        isinstance(annotation, type)
        and issubclass(annotation, enum.Enum)
        and all(type(member.value) in (str, int) for member in annotation)
    )


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal, where equality cannot tell: looking inside them."""
    try:
        if one == other:
            return True
    except Exception:
        return False
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return math.isnan(one) and math.isnan(other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, BaseModel):
        # Private attributes do not travel, and nobody expects them to.
        extra, other_extra = one.__pydantic_extra__ or {}, other.__pydantic_extra__ or {}
        return _same(_fields(one), _fields(other)) and _same(extra, other_extra)
    if dataclasses.is_dataclass(one):
        names = [each.name for each in dataclasses.fields(one) if each.compare]
        return all(_same(getattr(one, name), getattr(other, name)) for name in names)
    # A class that does not say what equal means is taken at its word that it can be JSON.
    equality: Any = type(one).__eq__
    return equality is object.__eq__


def _fields(model: BaseModel) -> dict[str, Any]:
    return {name: getattr(model, name) for name in type(model).model_fields}
