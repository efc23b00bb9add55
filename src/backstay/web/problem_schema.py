"""The format of errors as OpenAPI tells it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from backstay.web.problem_titles import phrase_of

__all__ = ["FieldError", "Problem", "ValidationProblem", "document_problems", "schema_of"]

_MEDIA_TYPE: Final = "application/problem+json"
_METHODS: Final = frozenset(
    {"delete", "get", "head", "options", "patch", "post", "put", "query", "trace"}
)
_SCHEMAS: Final = "#/components/schemas/"
_FASTAPIS: Final = ("HTTPValidationError", "ValidationError")


class FieldError(BaseModel):
    """What is wrong with one part of a request."""

    loc: list[str | int] = Field(examples=[["body", "price"]])
    msg: str = Field(examples=["Input should be greater than or equal to 0"])
    type: str = Field(examples=["greater_than_equal"])


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field("about:blank", description="The kind of problem, a URI.")
    title: str = Field(description="The kind of problem, for people.")
    status: int = Field(description="The HTTP status code.")
    detail: str = Field(description="What happened this time.")
    instance: str | None = Field(None, description="What it happened to, a path.")
    error_id: str | None = Field(None, description="By which the server's logs know this answer.")
    correlation_id: str | None = Field(
        None, description="By which the server's logs know the request."
    )
    datetime: dt.datetime | None = Field(None, description="When, in the service's time zone.")


class ValidationProblem(Problem):
    """Problem details (RFC 9457) of a request that will not do."""

    errors: list[FieldError] = Field(description="What is wrong with which part of it.")


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """A model's JSON schema that stands by itself: in OpenAPI, ``#/$defs`` leads nowhere."""
    schema = model.model_json_schema()
    parts: Mapping[str, Any] = schema.pop("$defs", {})

    def inlined(value: Any) -> Any:
        if isinstance(value, dict):
            if "$ref" in value:
                return inlined(parts[value["$ref"].rpartition("/")[2]])
            return {key: inlined(each) for key, each in value.items()}
        return [inlined(each) for each in value] if isinstance(value, list) else value

    found: dict[str, Any] = inlined(schema)
    return found


def document_problems(app: FastAPI) -> None:
    """Let an app's OpenAPI say how its errors look.

    Every operation has a ``default`` response, and 422 in this format where FastAPI has put its
    own. What an operation declares itself stays. Doing it twice is harmless.
    """
    make = app.openapi
    if isinstance(make, _Documented):
        return
    app.openapi = _Documented(make)  # type: ignore[method-assign]  # on this one app only


class _Documented:
    """``app.openapi`` with the format of errors in it."""

    def __init__(self, make: Callable[[], dict[str, Any]]) -> None:
        self._make = make
        self._latest: dict[str, Any] | None = None

    def __call__(self) -> dict[str, Any]:
        # FastAPI keeps what it has made, and makes it again when there are more routes.
        schema = self._make()
        if schema is not self._latest:
            _amend(schema)
            self._latest = schema
        return schema


def _amend(schema: dict[str, Any]) -> None:
    operations = list(_operations(schema))
    if not operations:
        return
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    any_problem = _put(schemas, Problem)
    invalid = _put(schemas, ValidationProblem)
    for operation in operations:
        responses = operation.setdefault("responses", {})
        if _is_fastapis(responses.get("422")):
            responses["422"] = _response("Something in the request will not do.", invalid, 422)
        responses.setdefault("default", _response("Any error.", any_problem))
    for name in _FASTAPIS:
        if name in schemas and f'"{_SCHEMAS}{name}"' not in json.dumps(schema):
            del schemas[name]
    schema["components"]["schemas"] = dict(sorted(schemas.items()))


def _operations(schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for path in schema.get("paths", {}).values():
        for method, operation in path.items():
            if method in _METHODS:
                yield operation


def _put(schemas: dict[str, Any], model: type[BaseModel]) -> str:
    """Add a model under its name, or, where an app has another one of that name, one like it."""
    schema = schema_of(model)
    name = model.__name__
    while schemas.setdefault(name, schema) != schema:
        name += "Details"
    return name


def _is_fastapis(response: Any) -> bool:
    if not isinstance(response, dict):
        return False
    content = response.get("content", {}).get("application/json", {})
    return bool(content.get("schema") == {"$ref": _SCHEMAS + _FASTAPIS[0]})


def _response(description: str, name: str, status: int | None = None) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": _SCHEMAS + name}}
    if status is not None:
        content["example"] = {
            "type": "about:blank",
            "title": phrase_of(status),
            "status": status,
            "detail": description,
            "errors": [
                {
                    "loc": ["body", "price"],
                    "msg": "Input should be greater than or equal to 0",
                    "type": "greater_than_equal",
                }
            ],
        }
    return {"description": description, "content": {_MEDIA_TYPE: content}}
