"""A schema's configuration, as far as it is about what clients send."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel
from sqlalchemy.types import Enum, TypeEngine

__all__ = ["config_of", "names_of"]

_ANSWERS_BUSINESS: Final = (
    "from_attributes",
    "frozen",
    "serialize_by_alias",  # what is written is found by the names of fields
    "title",
)
"""Configuration that is about answers."""


def config_of(
    schema: type[BaseModel], kept: Collection[str], types: Iterable[TypeEngine[Any]]
) -> dict[str, Any]:
    """The configuration of what clients send.

    Args:
        schema: what they are answered.
        kept: its fields that they may send.
        types: of the columns behind these.
    """
    config: dict[str, Any] = {
        name: value for name, value in schema.model_config.items() if name not in _ANSWERS_BUSINESS
    }
    if config.get("extra") == "allow":  # any attribute could be written that nobody named
        config["extra"] = "ignore"
    if any(isinstance(each, Enum) and each.enum_class is not None for each in types):
        config.pop("use_enum_values", None)  # SQLAlchemy's Enum takes members
    extra = config.pop("json_schema_extra", None)
    if isinstance(extra, dict):
        config["json_schema_extra"] = _with_examples_of(schema, extra, kept)
    return config


def names_of(schema: type[BaseModel], *, without: Collection[str]) -> set[str]:
    """What clients know a schema's fields by, computed ones too, but for those without."""
    names = {
        each
        for name, info in schema.model_fields.items()
        if name not in without
        for each in (name, info.alias, info.serialization_alias)
        if each is not None
    }
    computed = schema.model_computed_fields
    return names | set(computed) | {each.alias for each in computed.values() if each.alias}


def _with_examples_of(
    schema: type[BaseModel], extra: Mapping[str, Any], kept: Collection[str]
) -> dict[str, Any]:
    """What a schema says about its JSON, its examples without what clients do not write."""
    dropped = names_of(schema, without=kept)

    def shorter(example: Any) -> Any:
        if not isinstance(example, dict):
            return example
        return {name: value for name, value in example.items() if name not in dropped}

    made = dict(extra)
    if "example" in made:
        made["example"] = shorter(made["example"])
    if isinstance(made.get("examples"), list):
        made["examples"] = [shorter(each) for each in made["examples"]]
    return made
