"""Annotations and defaults, written for people."""

from __future__ import annotations

import re
import types
from enum import Enum
from inspect import Parameter
from typing import Annotated, Any, Final, ForwardRef, Literal, Union, get_args, get_origin

from backstay.events.masking import Masking

__all__ = ["annotation_text", "default_text"]

_LONGEST: Final = 120
_SECRET: Final = re.compile(r"secret|token|passw|api_?key|credential", re.IGNORECASE)
_SECRETS: Final = Masking()


def annotation_text(annotation: object) -> str:
    """An annotation as somebody would have written it: ``list[Schema.Item] | None``.

    Modules are left out, and so is what ``Annotated`` adds.

    Returns:
        An empty text where there is no annotation.
    """
    if annotation is Parameter.empty:
        return ""
    if isinstance(annotation, str):
        return annotation
    if annotation is None or annotation is types.NoneType:
        return "None"
    if annotation is Ellipsis:
        return "..."
    if isinstance(annotation, ForwardRef):
        return annotation.__forward_arg__
    if isinstance(annotation, list):  # the arguments of a Callable
        return f"[{', '.join(map(annotation_text, annotation))}]"
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return annotation_text(args[0])
    if origin in {Union, types.UnionType}:
        return " | ".join(map(annotation_text, args))
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, args))}]"
    if origin is not None and args:
        return f"{_name(origin)}[{', '.join(map(annotation_text, args))}]"
    return _name(annotation)


def default_text(parameter: Parameter) -> str | None:
    """A parameter's default, ``None`` where there is none.

    Numbers, texts and the like are written out; of anything else its type is, and secrets are not.
    """
    default: Any = parameter.default
    if default is Parameter.empty:
        return None
    if isinstance(default, Enum):
        return f"{type(default).__name__}.{default.name}"
    if default is None or type(default) in {bool, int, float, str, bytes}:
        if default and isinstance(default, str | bytes) and _SECRET.search(parameter.name):
            return "'***'"
        return _short(_SECRETS.text(repr(default), most=_LONGEST + 1))
    if type(default) in {list, tuple, dict, set, frozenset} and not default:
        return repr(default)
    return f"{type(default).__name__}(…)"


def _name(kind: object) -> str:
    name = getattr(kind, "__qualname__", None) or getattr(kind, "__name__", None)
    if not isinstance(name, str):
        return _short(str(kind).removeprefix("typing."))
    # What a test or a factory has made inside itself is not more precise for that.
    return name.rpartition("<locals>.")[2]


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
