"""What pydantic models read from objects: the attributes behind their fields, and nested models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import AliasChoices, AliasPath, BaseModel, RootModel
from typing_extensions import TypeAliasType

__all__ = ["Path", "field_paths", "nested_schemas", "paths_of", "reads_freely"]

Path = tuple[str | int, ...]
"""Names and positions, one behind the other, as ``AliasPath`` has them. Begins with a name."""


def paths_of(schema: type[BaseModel], name: str) -> list[Path]:
    """Where the value of one field is looked for in an object, ``from_attributes``, in turn.

    Args:
        schema: a pydantic model.
        name: of one of its fields.
    """
    config = schema.model_config
    alias = schema.model_fields[name].validation_alias
    found: list[Path] = []
    if alias is not None and config.get("validate_by_alias", True):
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
        found.extend(
            tuple(each.path) if isinstance(each, AliasPath) else (each,) for each in choices
        )
    by_name = config.get("validate_by_name") or config.get("populate_by_name")
    if not found or by_name:
        found.append((name,))
    return found


def field_paths(schema: type[BaseModel]) -> Iterator[tuple[Path, Any]]:
    """The attributes that a model's fields are read from, ``from_attributes``.

    A field that is known by several names is there once for each.

    Yields:
        The names that lead there, the first one an attribute of the object, and the field's
        annotation.
    """
    if not schema.__pydantic_complete__:
        schema.model_rebuild()
    for name, field in schema.model_fields.items():
        for path in paths_of(schema, name):
            yield path, field.annotation


def reads_freely(schema: type[BaseModel]) -> bool:
    """Whether a model has a validator that gets the object itself, and may read anything of it."""
    validators = schema.__pydantic_decorators__.model_validators.values()
    return any(each.info.mode in {"before", "wrap"} for each in validators)


def nested_schemas(annotation: Any) -> list[type[BaseModel]]:
    """The models in an annotation: behind ``Optional``, unions, ``Annotated`` and containers.

    Returns:
        Each once; none if there are none, and nothing is known of what is read.
    """
    found: dict[type[BaseModel], None] = {}
    seen: list[Any] = []
    waiting = [annotation]
    while waiting:
        each = waiting.pop(0)
        if any(each is other for other in seen):
            continue  # an alias that contains itself
        seen.append(each)
        if isinstance(each, type) and issubclass(each, RootModel):
            waiting.append(each.model_fields["root"].annotation)
        elif isinstance(each, type) and issubclass(each, BaseModel):
            found[each] = None
        elif isinstance(each, TypeAliasType):
            waiting.append(each.__value__)
        else:
            origin = getattr(each, "__origin__", None)
            if isinstance(origin, TypeAliasType):
                waiting.append(origin)
            waiting.extend(get_args(each))
    return list(found)
