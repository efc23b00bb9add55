"""Inputs described by a JSON schema of somebody's own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from backstay.errors import BadWidget
from backstay.widgets.problems import InvalidInputs, Problem

__all__ = ["RawInputs"]


class RawInputs:
    """Arguments checked against a JSON schema, as it is written; the tool gets plain values.

    Args:
        schema: of an object; draft 2020-12 unless its ``$schema`` says otherwise.
        tool: the tool's name, for messages.

    Raises:
        BadWidget: it is no such schema.
    """

    file_params: tuple[str, ...] = ()

    def __init__(self, schema: Mapping[str, Any], tool: str) -> None:
        self.schema: dict[str, Any] = dict(schema)
        if self.schema.get("type") != "object":
            raise BadWidget(
                f"the input_schema of {tool!r} has the type {self.schema.get('type')!r}; MCP wants "
                '"object"'
            )
        import jsonschema  # here: it takes long to load, and few need it

        kind = jsonschema.validators.validator_for(
            self.schema, default=jsonschema.Draft202012Validator
        )
        try:
            kind.check_schema(self.schema)
        except jsonschema.SchemaError as error:
            raise BadWidget(
                f"the input_schema of {tool!r} is no JSON schema: {error.message}"
            ) from None
        self._validator = kind(self.schema)

    def validate(self, arguments: Mapping[str, Any] | None) -> dict[str, Any]:
        """The arguments, if they fit.

        Raises:
            InvalidInputs: they do not.
        """
        given = {} if arguments is None else dict(arguments)
        problems = []
        for error in self._validator.iter_errors(given):
            path = "".join(f"[{x}]" if isinstance(x, int) else f".{x}" for x in error.absolute_path)
            problems.append(Problem(path.lstrip("."), error.message[:200]))
            if len(problems) == 10:
                break
        if problems:
            raise InvalidInputs(problems)
        return given

    def cache_key(self, inputs: Any) -> str:
        """The same for equal inputs, whatever the order of their keys."""
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:32]
