"""A handler's signature with what its wrapper needs for itself, which FastAPI then hands over."""

from __future__ import annotations

import inspect
import sys
import typing
from collections import ChainMap
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

__all__ = ["HandlerSignature"]

_REQUEST = "backstay_request__"
_RESPONSE = "backstay_response__"


@dataclass(frozen=True, slots=True)
class HandlerSignature:
    """How FastAPI is to call a wrapper.

    Attributes:
        signature: the handler's own, and what is missing of ``request`` and ``response``.
        request: the parameter that holds the request.
        response: the one that holds the response whose headers and status FastAPI merges.
        hidden: those of the two that the handler does not know.
    """

    signature: inspect.Signature
    request: str
    response: str
    hidden: tuple[str, ...]

    @classmethod
    def of(
        cls, handler: Callable[..., Any], names: Mapping[str, Any] | None = None
    ) -> HandlerSignature:
        """Read a handler.

        Args:
            handler: a function whose parameters FastAPI would fill.
            names: what stood around where it was defined: annotations that are texts may name
                that, though FastAPI looks at the module alone.
        """
        plain = _signature_of(handler)
        around = ChainMap(_enclosing(handler), dict(names or {}))
        space = getattr(inspect.unwrap(handler), "__globals__", {})
        parameters = [
            each.replace(annotation=_meaning(each.annotation, space, around))
            for each in plain.parameters.values()
        ]
        request = _parameter_of(Request, parameters, space)
        response = _parameter_of(Response, parameters, space)
        hidden = tuple(
            name for name, known in ((_REQUEST, request), (_RESPONSE, response)) if known is None
        )
        last = parameters[-1:] if _takes_any(parameters) else []
        shown = parameters[: len(parameters) - len(last)]
        shown += [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=Request if name == _REQUEST else Response,
            )
            for name in hidden
        ]
        return cls(
            plain.replace(
                parameters=shown + last,
                return_annotation=_meaning(plain.return_annotation, space, around),
            ),
            request or _REQUEST,
            response or _RESPONSE,
            hidden,
        )


def _signature_of(handler: Callable[..., Any]) -> inspect.Signature:
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        return inspect.signature(handler, annotation_format=Format.FORWARDREF)
    return inspect.signature(handler)


def _enclosing(handler: Callable[..., Any]) -> dict[str, Any]:
    """The variables of the functions around it that its body uses."""
    bare = inspect.unwrap(handler)
    names = getattr(getattr(bare, "__code__", None), "co_freevars", ())
    found = {}
    for name, cell in zip(names, getattr(bare, "__closure__", None) or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # defined further down, and not reached yet
            continue
    return found


def _meaning(annotation: Any, space: Mapping[str, Any], around: Mapping[str, Any]) -> Any:
    """The annotation itself, unless it is a text that only what stands around gives a meaning."""
    if not isinstance(annotation, str):
        return annotation
    try:
        _evaluated(annotation, space, {})
    except Exception:
        try:
            return _evaluated(annotation, space, around)
        except Exception:
            return annotation  # FastAPI says what it thinks of that
    return annotation


def _evaluated(text: str, space: Mapping[str, Any], around: Mapping[str, Any]) -> Any:
    return eval(text, dict(space), around)  # noqa: S307  # as get_type_hints does


def _parameter_of(
    kind: type, parameters: list[inspect.Parameter], space: Mapping[str, Any]
) -> str | None:
    """The last parameter of that kind: FastAPI fills one."""
    found = None
    for each in parameters:
        annotation = each.annotation
        if isinstance(annotation, str):
            with suppress(Exception):
                annotation = _evaluated(annotation, space, {})
        if typing.get_origin(annotation) is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        if isinstance(annotation, type) and issubclass(annotation, kind):
            found = each.name
    return found


def _takes_any(parameters: list[inspect.Parameter]) -> bool:
    return bool(parameters) and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD
