"""From what a tool returns to what goes over the wire."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from typing import Any

import pydantic
from pydantic import BaseModel, TypeAdapter
from pydantic_core import SchemaError, from_json, to_json

from backstay.errors import BackstayError, BadWidget, ClientCannot, ValidationError
from backstay.widgets.content import Result, Text, parts_of
from backstay.widgets.file_refusal import FileRefused
from backstay.widgets.problems import InvalidInputs

__all__ = [
    "ERROR_META",
    "Output",
    "as_announced",
    "failure",
    "internal",
    "misfit",
    "plain_wire",
]

ERROR_META = "backstay/error"
"""Where the details of an error are, for tools that announce what they return."""


class Output:
    """What a tool says it returns, and how that is checked.

    Args:
        kind: a model, dataclass or TypedDict; or anything else with ``wrapped``.
        tool: the tool's name, for messages.
        wrapped: the value travels as ``{"result": value}``, since MCP wants an object.

    Raises:
        BadWidget: no JSON schema of an object can be made of it.
    """

    def __init__(self, kind: Any, tool: str, *, wrapped: bool = False) -> None:
        self._wrapped = wrapped
        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(kind)
            schema = self._adapter.json_schema(mode="serialization")
        except (pydantic.PydanticUserError, SchemaError, NameError) as error:
            raise BadWidget(
                f"no JSON schema can be made of what {tool!r} returns, {kind!r}: "
                f"{str(error).splitlines()[0]}"
            ) from None
        if wrapped:
            definitions = schema.pop("$defs", None)
            schema = {"type": "object", "properties": {"result": schema}, "required": ["result"]}
            if definitions:
                schema["$defs"] = definitions
        if schema.get("type") != "object":
            raise BadWidget(
                f"the output_schema of {tool!r} is {kind!r}, which is no object; MCP wants one "
                "(a model with fields)"
            )
        self.schema: dict[str, Any] = schema

    def wire(self, value: Any) -> bytes:
        """The value as JSON, checked.

        Raises:
            pydantic.ValidationError: it is not what was announced.
        """
        checked = self._adapter.validate_python(value, from_attributes=True)
        found = self._adapter.dump_json(checked, by_alias=True)
        return b'{"result":' + found + b"}" if self._wrapped else found

    @staticmethod
    def announced_by(function: Callable[..., Any], tool: str, *, plain: bool) -> Output | None:
        """What a function's return annotation announces; ``None`` if that is no promise.

        Args:
            function: the function.
            tool: the tool's name.
            plain: a plain tool, for which text, numbers and lists are announced as well.
        """
        try:
            kind = typing.get_type_hints(function, include_extras=True).get("return")
        except (NameError, TypeError, AttributeError):
            return None  # names that only type checkers know: no promise we could read
        if kind is None or kind is Any or kind is type(None) or kind is Result:
            return None
        if isinstance(kind, type) and (
            issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind) or _is_typed_dict(kind)
        ):
            return None if kind.__module__ == Result.__module__ else _announced(kind, tool)
        if plain and (kind in {int, float, bool} or typing.get_origin(kind) is list):
            if any(each.__module__ == Result.__module__ for each in _classes(kind)):
                return None  # pictures and the like
            return _announced(kind, tool, wrapped=True)
        return None


def _announced(kind: Any, tool: str, *, wrapped: bool = False) -> Output | None:
    try:
        return Output(kind, tool, wrapped=wrapped)
    except BadWidget:
        return None  # it was written for people, who read more than JSON schemas can say


def _classes(kind: Any) -> list[type]:
    """The classes that a list's or union's annotation is made of."""
    if isinstance(kind, type) and not typing.get_args(kind):
        return [kind]
    return [found for each in typing.get_args(kind) for found in _classes(each)]


def _is_typed_dict(kind: type) -> bool:
    return issubclass(kind, dict) and hasattr(kind, "__total__")


def plain_wire(value: Any, output: Output | None, *, props: bool) -> dict[str, Any]:
    """A ``CallToolResult`` (MCP 2025-11-25) of what a tool has returned.

    Args:
        value: data, text, parts, or a ``Result``.
        output: what was announced.
        props: a face waits for the data, so there are some whatever was returned.

    Raises:
        pydantic.ValidationError: it is not what was announced.
        TypeError, ValueError: it cannot be written as JSON.
    """
    extra: Result | None = None
    if isinstance(value, Result):
        extra, value = value, value.data
    # Where data was announced a picture is not what was announced.
    parts = None if extra is not None or output is not None else parts_of(value)
    if parts is not None:
        return {"content": [part.wire() for part in parts]}
    text: str | None
    structured: Any = None
    is_error = extra is not None and extra.is_error
    if output is not None and not is_error:
        encoded = output.wire(value)
        text, structured = encoded.decode(), from_json(encoded)
    elif isinstance(value, str) and not props:
        text = value
    elif value is None and not props:
        text = None
    else:
        if isinstance(value, bytes | bytearray):
            raise TypeError("bytes are no JSON: return Image, Audio or Embedded, or encode them")
        encoded = to_json({} if value is None else value, inf_nan_mode="null", by_alias=True)
        text, structured = encoded.decode(), from_json(encoded)
        if not isinstance(structured, dict):
            # MCP wants an object, and a face wants names.
            structured = {"result": structured} if props else None
    if extra is not None and extra.text is not None:
        text = extra.text
    content = [] if text is None else [Text(text).wire()]
    found: dict[str, Any] = {"content": content}
    if structured is not None:
        found["structuredContent"] = structured
    if extra is not None:
        content.extend(part.wire() for part in extra.parts)
        if extra.meta:
            found["_meta"] = dict(extra.meta)
        if extra.is_error:
            found["isError"] = True
    return found


def failure(error: Exception, correlation_id: str) -> dict[str, Any] | None:
    """What the model hears of an error that is meant for it; ``None`` if this one is not.

    Meant for it are ``ValidationError``, ``FileRefused``, ``ClientCannot``, what other parts of
    backstay say in public, and HTTP exceptions that put the blame on the caller (400 to 499).
    """
    if isinstance(error, ValidationError):
        about = {"error": "validation_error", "message": str(error), "field": error.field}
        return _failed(f"{error.field}: {error}" if error.field else str(error), about)
    if isinstance(error, ClientCannot):
        return _failed(str(error), {"error": "client_cannot", "message": str(error)})
    if isinstance(error, FileRefused):
        return _failed(str(error), {"error": "file_refused", "message": str(error)})
    if isinstance(error, BackstayError) and error.status < 500:
        return _failed(error.public_detail, {"error": "refused", "message": error.public_detail})
    if isinstance(error, BackstayError) and error.status == 503:
        about = {
            "error": "unavailable",
            "message": error.public_detail,
            "error_id": correlation_id,
        }
        return _failed(f"{error.public_detail} (error_id: {correlation_id})", about)
    status, detail = getattr(error, "status_code", None), getattr(error, "detail", None)
    if isinstance(status, int) and 400 <= status < 500 and isinstance(detail, str):
        return _failed(detail, {"error": "refused", "message": detail, "status": status})
    return None


def _failed(text: str, about: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "content": [Text(text).wire()],
        "structuredContent": dict(about),
        "isError": True,
    }


def misfit(error: InvalidInputs) -> dict[str, Any]:
    """Inputs that do not fit, as the model can mend them (SEP-1303: a result, no protocol error)."""
    problems = [{"field": each.path or None, "message": each.message} for each in error.problems]
    about: dict[str, Any] = {
        "error": "invalid_inputs",
        "message": str(error),
        "field": problems[0]["field"] if problems else None,
        "problems": problems,
    }
    return {
        "content": [{"type": "text", "text": str(error)}],
        "structuredContent": about,
        "isError": True,
    }


def internal(message: str, kind: str, correlation_id: str) -> dict[str, Any]:
    """What the model hears of an error that is not its business."""
    about = {"error": kind, "message": message, "error_id": correlation_id}
    return _failed(f"{message} (error_id: {correlation_id})", about)


def as_announced(result: dict[str, Any], output: Output | None) -> dict[str, Any]:
    """A result whose ``structuredContent`` is never anything but what was announced.

    Clients built on the TypeScript SDK check it against ``outputSchema`` in errors too, and then
    show their own complaint instead of ours. What faces want to know of an error goes into
    ``_meta`` for such tools; the text says it to the model in any case.
    """
    if output is not None and result.get("isError") and "structuredContent" in result:
        about = result.pop("structuredContent")
        result["_meta"] = {**result.get("_meta", {}), ERROR_META: about}
    return result
