"""Handlers whose parameters are known only when a view set is: FastAPI reads ``__signature__``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from inspect import Parameter
from typing import Annotated, Any, TypeVar

from fastapi import Body, Header, Path
from starlette.requests import Request

from backstay.web.dependencies import Ctx

__all__ = [
    "body",
    "ctx_parameter",
    "if_match_parameter",
    "if_none_match_parameter",
    "item_id_parameter",
    "keyword",
    "request_parameter",
    "signed",
]

F = TypeVar("F", bound=Callable[..., Any])


def signed(function: F, parameters: Sequence[Parameter]) -> F:
    """Say which parameters a handler takes. All of them arrive as keywords."""
    function.__signature__ = inspect.Signature(list(parameters))  # type: ignore[attr-defined]  # inspect's own protocol
    return function


def request_parameter() -> Parameter:
    """The request."""
    return keyword("request", Request)


def ctx_parameter() -> Parameter:
    """The request's context; taking it is what asks the verifier who the user is."""
    return keyword("ctx", Ctx)


def body(name: str, model: Any) -> Parameter:
    """The request's body."""
    return keyword(name, Annotated[model, Body()])


def item_id_parameter(item_type: Any) -> Parameter:
    """Which item."""
    return keyword("item_id", Annotated[item_type, Path(description="Its primary key.")])


def if_match_parameter() -> Parameter:
    """Which version is to be changed (RFC 9110 §13.1.1)."""
    description = "The ETag of the version that is to be changed; of another one, nothing is."
    return keyword("if_match", Annotated[str | None, Header(description=description)], None)


def if_none_match_parameter() -> Parameter:
    """Which version is known already (RFC 9110 §13.1.2)."""
    description = "ETags of versions that are known; for one of these the answer is 304."
    return keyword("if_none_match", Annotated[str | None, Header(description=description)], None)


def keyword(name: str, annotation: Any, default: Any = Parameter.empty) -> Parameter:
    """One parameter, taken by its name."""
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
