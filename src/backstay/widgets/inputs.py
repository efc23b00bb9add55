"""From a widget's ``input_schema`` to the JSON schema that clients see, and to its instances.

One ``Inputs`` is built for each widget when the server is; what a call then costs is pydantic's
own validation and an assignment.
"""

from __future__ import annotations

import copy
import types
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from backstay.widgets.canonical import digest_inputs
from backstay.widgets.files import FileReference
from backstay.widgets.handed import hand_over, handed_class
from backstay.widgets.input_reading import read_model
from backstay.widgets.problems import InvalidInputs, Problem, find_problems

__all__ = ["Inputs", "MAX_FILE_BYTES"]

MAX_FILE_BYTES = 10 * 1024 * 1024
"""How large one ``bytes`` value may be, unless said otherwise."""


class _NoInputs(BaseModel):
    """The inputs of a widget that takes none."""

    model_config = ConfigDict(title="NoInputs", frozen=True)


class Inputs:
    """What a widget takes: built from its ``input_schema``.

    - ``bytes`` fields, wherever they are, arrive as base64 text and are handed over decoded.
    - Arguments that are no field are refused, unless the model's config sets ``extra``.
    - NaN and infinities, which JSON does not have, are refused, unless ``allow_inf_nan`` is set.

    Args:
        model: the widget's ``input_schema``, a pydantic model. ``None`` means that it takes no
            arguments.
        max_file_bytes: the size of one ``bytes`` value at most, counted before it is decoded.

    Attributes:
        model: that class.
        max_file_bytes: that size.
        file_params: the fields at the top whose type is ``FileReference``, by the names that
            clients know them by: for the tool's ``_meta["openai/fileParams"]``.

    Raises:
        TypeError: ``model`` is no pydantic model, does not describe an object, names types that
            are not defined or that JSON cannot fill, or has ``bytes`` beside an ``__init__`` of
            its own.
        ValueError: ``max_file_bytes`` is negative.
    """

    __slots__ = ("_handed", "_read", "_schema", "_strict", "file_params", "max_file_bytes", "model")

    def __init__(
        self, model: type[BaseModel] | None, *, max_file_bytes: int = MAX_FILE_BYTES
    ) -> None:
        if model is None:
            model = _NoInputs
        if not (isinstance(model, type) and issubclass(model, BaseModel)) or model is BaseModel:
            raise TypeError(
                f"input_schema must be a class derived from pydantic's BaseModel, got {model!r}; "
                "write class MyInput(BaseModel) with a field for each argument"
            )
        if max_file_bytes < 0:
            raise ValueError(f"max_file_bytes must not be negative, got {max_file_bytes}")
        self.model: type[BaseModel] = model
        self.max_file_bytes = max_file_bytes
        reading = read_model(model, max_file_bytes=max_file_bytes)
        self._read = reading.validate
        self._strict = reading.strict
        self._schema = _with_files_in_place(_as_object(model, reading.schema))
        self._handed = handed_class(model)
        self.file_params = _file_params(model)

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of the arguments, in the dialect 2020-12; a copy of your own.

        That dialect is the one meant where ``$schema`` is not there (MCP 2025-11-25), and the
        type at the top is ``object``, as MCP wants it. Names are aliases where there are any.
        """
        return copy.deepcopy(self._schema)

    def validate(self, arguments: Mapping[str, Any] | None) -> BaseModel:
        """An instance of the model, made from the arguments of a call.

        It is one of the user's class in all it does, and takes ``dict(sort_keys=True)``, unless
        the model has a ``dict`` of its own.

        Args:
            arguments: as JSON gives them. ``None`` means none.

        Raises:
            InvalidInputs: they do not fit.
            Exception: whatever a validator of the user's own raises that is neither
                ``ValueError`` nor ``AssertionError``: a fault of the program, not of the client.
        """
        if arguments is None:
            arguments = {}
        elif type(arguments) is not dict and not isinstance(arguments, Mapping):
            raise InvalidInputs(
                [Problem("", f"they should be an object, not {_kind(arguments)}")],
            )
        try:
            instance = self._read(to_json(arguments) if self._strict else arguments)
        except ValidationError as error:
            hidden = bool(self.model.model_config.get("hide_input_in_errors"))
            # Without what pydantic says: it shows values that are not to be shown.
            raise find_problems(error, arguments, self._schema, hidden=hidden) from None
        except RecursionError:
            raise InvalidInputs([Problem("", "they are nested too deeply")]) from None
        except (PydanticSerializationError, UnicodeError):
            raise InvalidInputs([Problem("", "they hold text that is not Unicode")]) from None
        if type(instance) is self.model and self._handed is not None:
            hand_over(instance, self._handed)
        return instance  # type: ignore[no-any-return]  # the model's validator gives instances

    def cache_key(self, instance: BaseModel) -> str:
        """A key for these inputs: 32 hexadecimal digits.

        The same for equal inputs, in whatever order their keys came and in any process; every
        field counts, and secrets do with their values.
        """
        return digest_inputs(instance)


def _as_object(model: type[BaseModel], schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with an object at its top, or a refusal."""
    reference = schema.get("$ref")
    if isinstance(reference, str):
        # A model that contains itself; the top is to be seen without following references.
        definitions = schema["$defs"]
        schema = {**definitions[reference.removeprefix("#/$defs/")], **schema}
        del schema["$ref"]
    if "type" not in schema and _are_objects(schema, schema):
        schema = {**schema, "type": "object"}
    if schema.get("type") != "object":
        raise TypeError(
            f"{model.__qualname__} describes {_described(schema)}, and the arguments of a tool "
            "are an object: give the model a field that holds it"
        )
    return schema


def _with_files_in_place(schema: dict[str, Any]) -> dict[str, Any]:
    """File references at their fields and not by ``$ref``: there hosts look for their names."""
    definitions = schema.get("$defs", {})
    files = {
        f"#/$defs/{name}": each
        for name, each in definitions.items()
        if set(each.get("properties", ())) >= set(FileReference.model_fields)
    }

    def placed(value: Any) -> Any:
        if isinstance(value, list):
            return [placed(each) for each in value]
        if not isinstance(value, dict):
            return value
        around = {key: placed(each) for key, each in value.items()}
        reference = around.get("$ref")
        if isinstance(reference, str) and reference in files:
            del around["$ref"]
            # What the field says of itself goes before what the type says.
            around = {**copy.deepcopy(files[reference]), **around}
        return around

    found: dict[str, Any] = placed(schema) if files else schema
    for reference in files:
        del found["$defs"][reference.removeprefix("#/$defs/")]
    if "$defs" in found and not found["$defs"]:
        del found["$defs"]
    return found


def _are_objects(schema: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    reference = schema.get("$ref")
    if isinstance(reference, str):
        schema = root["$defs"][reference.removeprefix("#/$defs/")]
    if schema.get("type") == "object":
        return True
    branches = schema.get("anyOf") or schema.get("oneOf") or ()
    return bool(branches) and all(_are_objects(each, root) for each in branches)


def _described(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    return f"a JSON {kind}" if isinstance(kind, str) else "something that may be no object"


def _kind(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "a boolean"
    names: dict[type, str] = {str: "text", int: "a number", float: "a number", list: "a list"}
    return names.get(type(value), "something else")


def _file_params(model: type[BaseModel]) -> tuple[str, ...]:
    found = []
    for name, field in model.model_fields.items():
        if _refers_to_file(field.annotation):
            alias = field.validation_alias
            found.append(alias if isinstance(alias, str) else field.alias or name)
    return tuple(found)


def _refers_to_file(annotation: Any) -> bool:
    """Whether it is ``FileReference``, or that beside ``None``, or a list of those."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return issubclass(annotation, FileReference)
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _refers_to_file(inner[0])
    if origin in (typing.Union, types.UnionType, list, tuple):
        kinds = [each for each in inner if each not in (type(None), Ellipsis)]
        return bool(kinds) and all(map(_refers_to_file, kinds))
    return False
