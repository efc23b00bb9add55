"""Questions to the user: from a model to the flat schema MCP allows, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pydantic
from pydantic import BaseModel

from backstay.errors import BadWidget, ValidationError

__all__ = ["answer_model", "question_schema"]

_PRIMITIVE = {"string", "number", "integer", "boolean"}


def question_schema(schema: type[BaseModel] | Mapping[str, Any] | None) -> dict[str, Any]:
    """The ``requestedSchema`` of a question (MCP 2025-11-25, elicitation).

    Args:
        schema: a pydantic model, a JSON schema that goes out as it is, or ``None`` for a question
            that only wants a yes.

    Raises:
        BadWidget: the model has fields that hosts cannot draw.
    """
    if schema is None:
        return {"type": "object", "properties": {}}
    if isinstance(schema, Mapping):
        return dict(schema)
    found = schema.model_json_schema()
    definitions = found.get("$defs", {})
    properties = {
        name: _flat(schema, name, dict(field), definitions)
        for name, field in found.get("properties", {}).items()
    }
    flat: dict[str, Any] = {"type": "object", "properties": properties}
    if required := found.get("required"):
        flat["required"] = required
    return flat


def _flat(
    model: type[BaseModel], name: str, field: dict[str, Any], definitions: Mapping[str, Any]
) -> dict[str, Any]:
    options = field.pop("anyOf", None)
    if options is not None:
        # Optional text is text that need not be given; null is nothing people fill in.
        real = [each for each in options if each.get("type") != "null"]
        if len(real) == 1:
            field = {**real[0], **field}
            if field.get("default", 0) is None:
                del field["default"]
    if (reference := field.pop("$ref", None)) is not None:
        field = {**definitions.get(reference.rpartition("/")[2], {}), **field}
    if field.get("type") in _PRIMITIVE:
        return field
    if field.get("type") == "array":
        items = field.get("items", {})
        if (reference := items.get("$ref")) is not None:
            items = definitions.get(reference.rpartition("/")[2], {})
        if items.get("enum") or items.get("anyOf"):
            return {**field, "items": items}
    raise BadWidget(
        f"the field {name!r} of {model.__qualname__} cannot be asked for: hosts draw text, numbers, "
        f"booleans, enums and lists of enums, and this is {field.get('type', 'a union')!r}; "
        "ask for it in such parts"
    )


def answer_model(
    schema: type[BaseModel] | Mapping[str, Any] | None, raw: Mapping[str, Any]
) -> BaseModel | None:
    """What was filled in, checked; ``None`` where no model says how.

    Raises:
        ValidationError: it is not what was asked for.
    """
    if not isinstance(schema, type):
        return None
    try:
        return schema.model_validate(dict(raw))
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or None
        raise ValidationError(f"the answer will not do: {first['msg']}", field=field) from None
