"""What an endpoint answers, as JSON schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema

from backstay.web.safe_values import safe_json

__all__ = ["schema_of"]

_LONGEST: Final = 300


class _Schema(GenerateJsonSchema):
    """Says of a field that JSON schema cannot describe that it is so; the others are described."""

    def handle_invalid_for_json_schema(
        self, schema: CoreSchema, error_info: str
    ) -> JsonSchemaValue:
        return {"x-not-described": error_info}

    def emit_warning(self, kind: Any, detail: str) -> None:
        """Defaults that are no JSON are left out; nobody needs to be told in the log."""


def schema_of(annotation: Any) -> dict[str, Any]:
    """The JSON schema (2020-12) of what is read as ``annotation``, its ``$defs`` within it.

    Never raises: of what has none the schema says why, in ``x-not-described``.

    Args:
        annotation: a model, ``list[Model]``, ``Model | None`` and the like; ``Any`` for anything.
    """
    if annotation is Any:
        return {}
    try:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found = annotation.model_json_schema(schema_generator=_Schema)
        else:
            found = TypeAdapter(annotation).json_schema(schema_generator=_Schema)
        made: Mapping[str, Any] = safe_json(found)
    except Exception as error:  # whatever somebody's model does
        first = next(iter(str(error).splitlines()), "")
        return {"x-not-described": f"{type(error).__name__}: {first}"[:_LONGEST]}
    return dict(made)
