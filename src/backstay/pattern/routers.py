"""Routers into an app, with what their view sets say in the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI

from backstay.errors import BadPattern

__all__ = ["COMMON_TAG", "add_tags", "include", "read_routers"]

COMMON_TAG = {"name": "common", "description": "What every service has."}
"""The tag of the routes that ``base_pattern`` adds."""


def read_routers(given: Iterable[APIRouter] | None) -> tuple[APIRouter, ...]:
    """The routers, looked over.

    Args:
        given: them, in the order in which their routes are tried; ``None`` for none.

    Raises:
        TypeError: one is no ``APIRouter``.
        BadPattern: the ``views`` of one are not all view sets that ``as_view`` was called on.
    """
    if given is None:
        return ()
    if isinstance(given, APIRouter):
        raise TypeError("routers= is a list of routers; got one APIRouter: [router]")
    found = tuple(given)
    for each in found:
        if not isinstance(each, APIRouter):
            raise TypeError(
                f"routers= is a list of APIRouter objects; got {each!r} of type "
                f"{type(each).__qualname__}"
            )
        for view in _views_of(each):
            if not isinstance(getattr(view, "openapi_tag", None), dict):
                raise BadPattern(
                    f"router.views has {view!r}, which has no openapi_tag; put into it what "
                    "as_view() returns: router.views = [ProductViewSet().as_view(router, "
                    "prefix='/products')]"
                )
    return found


def include(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Include them, and tell the documentation of their view sets."""
    for router in routers:
        app.include_router(router)
    add_tags(app, [view.openapi_tag for router in routers for view in _views_of(router)])


def add_tags(app: FastAPI, tags: Iterable[dict[str, Any]]) -> None:
    """Add what the documentation says of tags, each once: what is said already stands."""
    known = list(app.openapi_tags or ())
    names = {each["name"] for each in known}
    for each in tags:
        if each["name"] not in names:
            names.add(each["name"])
            known.append(each)
    app.openapi_tags = known


def _views_of(router: APIRouter) -> Sequence[Any]:
    return list(getattr(router, "views", None) or ())
