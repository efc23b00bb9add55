"""A function's parameters and what their annotations mean.

Annotations are strings under ``from __future__ import annotations`` and may name what stands
further down in the module, so each is resolved on its own and only when somebody asks.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

__all__ = ["Signature", "find_within", "is_union"]


class Signature:
    """How a function may be called.

    Attributes:
        func: the function.
        plain: the same as ``inspect`` sees it, annotations unresolved.
    """

    def __init__(self, func: Callable[..., object]) -> None:
        self.func = func
        if sys.version_info >= (3, 14):
            from annotationlib import Format

            self.plain = inspect.signature(func, annotation_format=Format.FORWARDREF)
        else:
            self.plain = inspect.signature(func)

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """Its parameters by name, in order."""
        return self.plain.parameters

    def annotation(self, parameter: str) -> Any:
        """What a parameter's annotation means, ``Any`` if it has none.

        Raises:
            NameError: it names something that is not there, or not yet. Whatever else
                evaluating an annotation raises comes as it is.
        """
        return self._meaning(self.plain.parameters[parameter].annotation)

    def returns(self) -> Any:
        """What the return annotation means, ``Any`` if there is none.

        Raises:
            NameError: as for ``annotation``.
        """
        return self._meaning(self.plain.return_annotation)

    def early(self, parameter: str) -> Any:
        """The same before everything it names is there: what is not yet is a placeholder.

        Enough to see that a parameter is ``Annotated[..., Depends(...)]`` when its function is
        being decorated. ``Any`` if it makes no sense at all.
        """
        try:
            return self.annotation(parameter)
        except Exception:
            annotation = self.plain.parameters[parameter].annotation
        text = getattr(annotation, "__forward_arg__", annotation)
        try:
            names = _Names({**vars(builtins), **self._globals, **self._enclosing})
            return eval(text, {}, names)  # noqa: S307  # as get_type_hints does
        except Exception:
            return Any

    def _meaning(self, annotation: Any) -> Any:
        if annotation is inspect.Signature.empty:
            return Any
        one = types.SimpleNamespace(__annotations__={"it": annotation})
        hints = typing.get_type_hints(
            one, globalns=self._globals, localns=self._enclosing, include_extras=True
        )
        return hints["it"]

    @functools.cached_property
    def _bare(self) -> Any:
        func: Any = self.func
        while isinstance(func, functools.partial):
            func = func.func
        func = inspect.unwrap(func)
        if inspect.ismethod(func):
            return func.__func__
        return func if hasattr(func, "__globals__") else inspect.unwrap(type(func).__call__)

    @property
    def _globals(self) -> dict[str, Any]:
        return getattr(self._bare, "__globals__", {})

    @property
    def _enclosing(self) -> dict[str, Any]:
        """What a function defined in a function can see of that one, as far as it uses it."""
        names = getattr(getattr(self._bare, "__code__", None), "co_freevars", ())
        found = {}
        for name, cell in zip(names, getattr(self._bare, "__closure__", None) or (), strict=False):
            try:
                found[name] = cell.cell_contents
            except ValueError:  # defined further down, and not reached yet
                continue
        return found


class _AnyUse(type):
    """Lets a placeholder be used like a module or a generic class."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls

    def __getitem__(cls, key: object) -> Any:
        return cls


class _NotYet(metaclass=_AnyUse):
    """Stands for a name that is defined further down."""


class _Names(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        return _NotYet


def is_union(annotation: Any) -> bool:
    """Whether an annotation is ``A | B``, however it was written."""
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def find_within(annotation: Any, wanted: Callable[[Any], bool]) -> Any:
    """The first thing in an annotation that is ``wanted``, ``None`` if there is none.

    Looks into type arguments and metadata, and into the annotations of classes they name, such
    as models, dataclasses and TypedDicts.
    """
    seen: dict[int, Any] = {}  # with the objects, lest an id is used again
    waiting = [annotation]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen[id(one)] = one
        if wanted(one):
            return one
        waiting += typing.get_args(one)
        waiting += getattr(one, "__metadata__", ())
        if sys.version_info >= (3, 12) and isinstance(one, typing.TypeAliasType):
            waiting.append(one.__value__)
        elif isinstance(one, type) and issubclass(one, BaseModel):
            for field in one.model_fields.values():
                waiting += (field.annotation, *field.metadata)
        elif isinstance(one, type) and one.__module__ != "builtins":
            try:
                waiting += typing.get_type_hints(one, include_extras=True).values()
            except Exception:  # noqa: S112  # whoever uses the class will say what is wrong with it
                continue
    return None
