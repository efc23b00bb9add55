"""Annotations with some of their parts taken out or replaced."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import PlainSerializer, RootModel, SerializeAsAny, WrapSerializer
from typing_extensions import TypeAliasType

__all__ = ["replaced", "without_serializers"]

_SERIALIZERS = (PlainSerializer, WrapSerializer, SerializeAsAny)


def replaced(annotation: Any, by: Mapping[Any, Any]) -> Any:
    """An annotation with other types, or forward references, for some.

    Args:
        annotation: any; behind aliases and root models is looked too, and where something is
            found there, what they stand for takes their place.
        by: what comes instead of what.
    """
    return _rebuilt(annotation, by, ())


def without_serializers(annotation: Any) -> Any:
    """An annotation, or a list of a field's metadata, without what says how values are shown."""
    if isinstance(annotation, list):
        return [each for each in annotation if not isinstance(each, _SERIALIZERS)]
    return _rebuilt(annotation, {}, ())


def _rebuilt(annotation: Any, by: Mapping[Any, Any], way: tuple[Any, ...]) -> Any:
    if _is_hashable(annotation) and annotation in by:
        return by[annotation]
    behind = _behind(annotation)
    if behind is not None:
        if any(annotation is each for each in way):  # it contains itself
            return annotation
        found = _rebuilt(behind, by, (*way, annotation))
        return annotation if found is behind else found
    arguments = get_args(annotation)
    if not arguments:
        return annotation
    if get_origin(annotation) is Annotated:
        return _annotated(annotation, by, way)
    new = tuple(_argument(each, by, way) for each in arguments)
    if all(one is other for one, other in zip(new, arguments, strict=True)):
        return annotation
    origin = get_origin(annotation)
    if origin in {Union, types.UnionType}:
        return Union[new]  # noqa: UP007  # UnionType takes no forward references
    if hasattr(annotation, "copy_with"):
        return annotation.copy_with(new)
    return origin[new]


def _annotated(annotation: Any, by: Mapping[Any, Any], way: tuple[Any, ...]) -> Any:
    inner, *metadata = get_args(annotation)
    found = _rebuilt(inner, by, way)
    kept = without_serializers(metadata)
    if found is inner and len(kept) == len(metadata):
        return annotation
    return Annotated[(found, *kept)] if kept else found


def _argument(argument: Any, by: Mapping[Any, Any], way: tuple[Any, ...]) -> Any:
    """One of several; values of ``Literal`` and parameters of ``Callable`` are no annotations."""
    if isinstance(argument, str | list):
        return argument
    return _rebuilt(argument, by, way)


def _behind(annotation: Any) -> Any:
    """What an alias or a root model stands for, ``None`` if it is neither."""
    if isinstance(annotation, TypeAliasType):
        return annotation.__value__
    if isinstance(annotation, type) and issubclass(annotation, RootModel):
        return annotation.model_fields["root"].annotation
    return None


def _is_hashable(annotation: Any) -> bool:
    try:
        hash(annotation)
    except TypeError:
        return False
    return True
