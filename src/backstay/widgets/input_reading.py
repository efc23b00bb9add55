"""How arguments are read: pydantic's own schema of a model, changed where JSON from a model asks for it.

pydantic describes every model by a *core schema*, a tree of dictionaries from which both its
validator and its JSON schema are built. Here that tree is copied once per widget, and a few
kinds of leaves are changed, so that what the schema promises and what the validator does stay one thing:

- ``bytes`` are base64 text in JSON (RFC 4648). pydantic would take the text itself as the bytes.
- What is no field is refused rather than dropped, unless the model's config sets ``extra``:
  a client that wrote ``querry`` is told so, where silence would search for nothing.
- ``float`` takes no NaN and no infinities, which JSON does not have (RFC 8259 §6), and ``int`` no
  number that is too long for Python to write.
- Collections stop at their first bad item: an error has a hundred times the size of a short item,
  so that a few megabytes of them would become hundreds.

The model itself is not touched: it goes on as it was everywhere else in the application.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, EncodedBytes, SecretBytes, SecretStr
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticCustomError, SchemaValidator, core_schema

from backstay.errors import MissingExtra

__all__ = ["Reading", "decode_base64", "read_model"]

_ONE = frozenset(
    {
        "arguments_schema",
        "extras_keys_schema",
        "extras_schema",
        "items_schema",
        "json_schema",
        "json_schema_input_schema",
        "keys_schema",
        "lax_schema",
        "python_schema",
        "schema",
        "strict_schema",
        "values_schema",
        "var_args_schema",
        "var_kwargs_schema",
    }
)
_MANY = frozenset({"choices", "definitions", "fields", "items_schema", "steps"})
_FIELDS = frozenset({"dataclass-args", "model-fields", "typed-dict"})
_CLASSES = frozenset({"dataclass", "model"})

_COLLECTIONS = frozenset({"dict", "frozenset", "list", "set", "tuple"})

_PYDANTIC = "pydantic>=2.13"
_BASE64 = "backstay_base64"
_CLOSED = "backstay_closed"
_HIDDEN = "backstay_hidden"

# Python writes ints of 4300 digits (sys.int_info), and fails at longer ones wherever they are
# formatted: in a log line, in JSON.
_LONGEST = 10**4299

_SPACE = "\r\n\t "
_ENDING = f"{_SPACE}="
_TO_STANDARD = str.maketrans("-_", "+/", _SPACE)


def decode_base64(text: str, *, max_bytes: int) -> bytes:
    """The bytes that ``text`` stands for.

    Takes the standard and the URL-safe alphabet (RFC 4648 §4 and §5), with or without padding,
    broken into lines or not, and ``data:`` URLs in base64 (RFC 2397).

    Args:
        text: what arrived.
        max_bytes: how many bytes it may stand for. Counted before anything is decoded.

    Raises:
        PydanticCustomError: it is too long, or no base64. The message tells no part of it.
    """
    start = 0
    if text[:5].lower() == "data:":
        # The header is short; a comma far out belongs to something that is no data: URL.
        start = text.find(",", 0, 1024) + 1
        if not start or not text[:start].lower().endswith(";base64,"):
            raise PydanticCustomError(
                "base64_data_url",
                "a data: URL must say that it is base64, as in data:image/png;base64,iVBORw…",
            )
    end, padding = len(text), 0
    while end > start and text[end - 1] in _ENDING:
        end -= 1
        padding += text[end] == "="
    digits = end - start - sum(text.count(each, start, end) for each in _SPACE)
    size = digits * 3 // 4
    if size > max_bytes:
        raise PydanticCustomError(
            "file_too_large",
            "the file is {size} bytes and at most {limit} are taken; send a smaller one",
            {"size": size, "limit": max_bytes},
        )
    try:
        if digits % 4 == 1 or padding not in (0, -digits % 4):
            raise ValueError("no text of that length is base64")
        # Strictly: the lax decoder drops what it does not know, so that any text would be a file.
        return binascii.a2b_base64(
            (text[start:end].translate(_TO_STANDARD) + "=" * (-digits % 4)).encode("ascii"),
            strict_mode=True,
        )
    except ValueError:
        raise PydanticCustomError(
            "base64_invalid", "should be the file's bytes in base64 (RFC 4648), which it is not"
        ) from None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model becomes when its fields are read from JSON.

    Attributes:
        validate: arguments in, an instance of the model out; raises pydantic's
            ``ValidationError``.
        strict: the model, or one of its fields, is strict, so ``validate`` wants to be
            given JSON text: Python's objects would be refused where JSON has no other way to
            write a value, as for dates.
        schema: the JSON schema (2020-12) of the arguments.
    """

    validate: Callable[[Any], Any]
    strict: bool
    schema: dict[str, Any]


def read_model(model: type[BaseModel], *, max_file_bytes: int) -> Reading:
    """Build what reads ``model`` from JSON.

    Args:
        model: the user's class.
        max_file_bytes: the size of one ``bytes`` value at most.

    Raises:
        MissingExtra: pydantic is older than 2.13.
        TypeError: it names types that are not defined, has a field that JSON cannot fill, or
            ``bytes`` in a class with an ``__init__`` of its own.
    """
    try:
        model.model_rebuild()
        walk = _Walk(max_file_bytes)
        core = walk.copy(model.__pydantic_core_schema__, _Place())
        schema = _JsonSchema().generate(core)
    except (PydanticUndefinedAnnotation, PydanticUserError) as error:
        raise TypeError(
            f"{model.__qualname__} cannot be read from a client's JSON: {error.message}"
        ) from error
    validator = _build(core)
    return Reading(
        validator.validate_json if walk.strict else validator.validate_python, walk.strict, schema
    )


def _build(core: Any) -> SchemaValidator:
    """A validator of its own all through.

    Not with those that nested classes have already: they know nothing of the changes. An older
    pydantic takes them without asking, and would hand over files still encoded.
    """
    if "_use_prebuilt" not in (SchemaValidator.__text_signature__ or ""):
        raise MissingExtra("widgets", _PYDANTIC)
    return SchemaValidator(core, _use_prebuilt=False)


@dataclass(frozen=True, slots=True)
class _Place:
    """What holds where the walk is.

    Attributes:
        close: the fields that come next belong to a class that says nothing on extra ones.
        finite: no config around here says anything on NaN.
        strict_branch: in the branch that pydantic takes in strict mode only.
        own_init: the class above is filled by its own ``__init__``; its name.
    """

    close: bool = True
    finite: bool = True
    strict_branch: bool = False
    own_init: str | None = None


class _Walk:
    """Copies a core schema with the changes made."""

    def __init__(self, max_file_bytes: int) -> None:
        self.strict = False

        def decode(value: Any) -> Any:
            if isinstance(value, str):
                return decode_base64(value, max_bytes=max_file_bytes)
            if isinstance(value, (bytes, bytearray, memoryview)):  # from calls within the process
                if len(value) > max_file_bytes:
                    raise PydanticCustomError(
                        "file_too_large",
                        "the file is {size} bytes and at most {limit} are taken; "
                        "send a smaller one",
                        {"size": len(value), "limit": max_file_bytes},
                    )
                return bytes(value)
            raise PydanticCustomError(
                "base64_type", "should be a string: the file's bytes in base64"
            )

        self._decode = decode

    def copy(self, node: Any, place: _Place) -> Any:
        kind = node["type"]
        if _is_settled(node):
            return node
        self._note_strict(node, place)
        if kind == "bytes":
            return self._base64(node, place)
        if kind == "float" and place.finite and "allow_inf_nan" not in node:
            return {**node, "allow_inf_nan": False}
        if kind == "int":
            return _bounded(node)
        copied = dict(node)
        if kind in _CLASSES:
            place = self._enter_class(node, copied, place)
        elif kind in _FIELDS:
            if place.close and not _decides_on_extra(node):
                copied["extra_behavior"] = "forbid"
            place = _Place(finite=place.finite, own_init=place.own_init)
        elif kind in _COLLECTIONS:
            copied.setdefault("fail_fast", True)
        for key, value in node.items():
            if key in _MANY and not _is_node(value):
                copied[key] = self._copy_many(value, place)
            elif key in _ONE and _is_node(value):
                inner = place
                if key == "strict_schema":
                    inner = _Place(place.close, place.finite, True, place.own_init)
                copied[key] = self.copy(value, inner)
        if kind == "union":
            # Behind the others: text that fits a text is one, as it is for pydantic.
            copied["choices"].sort(key=_is_bytes)
        return copied

    def _copy_many(self, nodes: Any, place: _Place) -> Any:
        if isinstance(nodes, Mapping):
            return {
                name: self.copy(each, place) if _is_node(each) else each
                for name, each in nodes.items()
            }
        # Choices of a union may come with a label.
        copied: list[Any] = []
        for each in nodes:
            if isinstance(each, tuple):
                copied.append((self.copy(each[0], place), *each[1:]))
            else:  # a dataclass has the names of its fields here as well
                copied.append(self.copy(each, place) if _is_node(each) else each)
        return copied

    def _enter_class(self, node: Any, copied: dict[str, Any], place: _Place) -> _Place:
        config = node.get("config") or {}
        own_init = node["cls"].__qualname__ if node.get("custom_init") else None
        # An __init__ of its own goes past this walk, to the validator the class has already.
        close = own_init is None and not _decides_on_extra(node)
        if close and not node.get("root_model"):
            copied["metadata"] = {**(node.get("metadata") or {}), _CLOSED: True}
        return _Place(close, "allow_inf_nan" not in config, place.strict_branch, own_init)

    def _base64(self, node: Any, place: _Place) -> Any:
        if place.own_init is not None:
            raise TypeError(
                f"{place.own_init} has bytes and an __init__ of its own, which would get them "
                "still encoded; move what __init__ does to a model_validator or model_post_init"
            )
        inner = {key: value for key, value in node.items() if key not in ("ref", "serialization")}
        outer = {key: node[key] for key in ("ref", "serialization") if key in node}
        inner["metadata"] = {**(node.get("metadata") or {}), _BASE64: True}
        return {**core_schema.no_info_before_validator_function(self._decode, inner), **outer}

    def _note_strict(self, node: Any, place: _Place) -> None:
        config = node.get("config")
        if not place.strict_branch and (
            node.get("strict") is True
            or (isinstance(config, Mapping) and config.get("strict") is True)
        ):
            self.strict = True


def _bounded(node: Any) -> Any:
    bounded = dict(node)
    hidden = []
    if "le" not in node and "lt" not in node:
        bounded["le"] = _LONGEST
        hidden.append("maximum")
    if "ge" not in node and "gt" not in node:
        bounded["ge"] = -_LONGEST
        hidden.append("minimum")
    bounded["metadata"] = {**(node.get("metadata") or {}), _HIDDEN: hidden}
    return bounded


def _is_node(value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("type"), str)


def _is_bytes(choice: Any) -> bool:
    node = choice[0] if isinstance(choice, tuple) else choice
    return _BASE64 in ((node.get("schema") or {}).get("metadata") or {})


def _decides_on_extra(node: Any) -> bool:
    if node["type"] == "typed-dict" and node.get("extra_behavior") == "ignore":
        # Written there by pydantic as well, when nobody has said anything.
        return "extra" in (getattr(node.get("cls"), "__pydantic_config__", None) or {})
    return "extra_behavior" in node or "extra_fields_behavior" in (node.get("config") or {})


def _is_settled(node: Any) -> bool:
    """Whether this has its own way from text to bytes: Base64Bytes and its kin, and secrets."""
    if node["type"] != "function-after":
        return False
    function = node["function"]["function"]
    return isinstance(getattr(function, "__self__", None), EncodedBytes) or (
        isinstance(function, type) and issubclass(function, (SecretBytes, SecretStr))
    )


class _JsonSchema(GenerateJsonSchema):
    """pydantic's generator, which says what the walk has changed."""

    # A default that JSON cannot write is left out; nobody needs a warning about that.
    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012  # as the base class has it

    def bytes_schema(self, schema: core_schema.BytesSchema) -> JsonSchemaValue:
        if _BASE64 not in (schema.get("metadata") or {}):
            return super().bytes_schema(schema)
        # No lengths: they would count characters, where the model's count bytes.
        return {"type": "string", "contentEncoding": "base64"}

    def int_schema(self, schema: core_schema.IntSchema) -> JsonSchemaValue:
        written = super().int_schema(schema)
        for name in (schema.get("metadata") or {}).get(_HIDDEN, ()):
            written.pop(name, None)
        return written

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        return _closed(schema, super().model_schema(schema))

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        return _closed(schema, super().dataclass_schema(schema))

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, bytes):
            return binascii.b2a_base64(dft, newline=False).decode("ascii")
        return super().encode_default(dft)


def _closed(schema: Any, written: JsonSchemaValue) -> JsonSchemaValue:
    if _CLOSED in (schema.get("metadata") or {}) and written.get("type") == "object":
        written.setdefault("additionalProperties", False)
    return written
