"""What a route's definition says about its answers, read once."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import routing
from fastapi.dependencies.models import Dependant
from pydantic import AliasChoices, BaseModel
from starlette.routing import Match
from starlette.types import Scope

from backstay.cache.policy import Policy
from backstay.cache.principal import (
    CREDENTIAL_HEADERS,
    all_dependants,
    is_guarded,
    named_credentials,
)
from backstay.cache.rendering import Render, renderer_of

__all__ = ["ServedRoute", "ServedRoutes", "parameters_of", "routes_below"]


@dataclass(frozen=True, slots=True)
class ServedRoute:
    """One route with a kept answer, in the context of the routers it was included in.

    Attributes:
        name: its path as it is written, for people.
        render: makes answers of results.
        is_open: it takes a body, or headers that nobody names, so that no key says what is asked.
        is_guarded: it has a security scheme among its dependencies.
        headers: the names of headers that answers depend on, in lower case.
        cookies: the names of cookies that they depend on, where not all cookies count.
        vary: the names for ``Vary``.
        takes_head: whether it answers HEAD as well.
        kind: the name of its class of responses, which is part of the key.
    """

    name: str
    render: Render
    is_open: bool
    is_guarded: bool
    headers: frozenset[bytes]
    cookies: tuple[str, ...]
    vary: tuple[str, ...]
    takes_head: bool
    kind: str

    @classmethod
    def of(
        cls, route: Any, policy: Policy, handler: Callable[..., Any], *, is_async: bool
    ) -> ServedRoute:
        """Read a route.

        Args:
            route: FastAPI's, or one in the context of the routers it was included in.
            policy: what is kept of it.
            handler: whose results its answers are.
            is_async: whether the handler is.
        """
        dependant: Dependant = route.dependant
        headers, cookies = _read_by(dependant)
        # Those with an Origin are answered another way than before routing.
        vary = ["accept", "origin"] if policy.early else ["accept"]
        names = {*headers, *policy.vary}
        wanted = {b"host", b"accept", *(name.encode("latin-1", "replace") for name in names)}
        if policy.public:
            vary += [name for name in ("cookie",) if cookies and name not in names]
        else:
            schemes = named_credentials(dependant)
            wanted |= CREDENTIAL_HEADERS | schemes
            vary += ["authorization", "cookie", *sorted(each.decode("latin-1") for each in schemes)]
            cookies = ()
        methods = route.methods or ()
        response_class = getattr(route.response_class, "value", route.response_class)
        return cls(
            name=str(route.path_format),
            render=renderer_of(route, handler, is_async=is_async),
            is_open=route.body_field is not None or _takes_any(dependant),
            is_guarded=is_guarded(dependant),
            headers=frozenset(wanted),
            cookies=cookies,
            vary=tuple(dict.fromkeys([*vary, *sorted(names)])),
            takes_head="HEAD" in methods,
            kind=f"{response_class.__module__}.{response_class.__qualname__}",
        )


def _read_by(dependant: Dependant) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of headers (in lower case) and of cookies that handler and dependencies declare."""
    headers: dict[str, None] = {}
    cookies: dict[str, None] = {}
    for each in all_dependants(dependant):
        for field in each.header_params:
            # An underscore stands for a hyphen, or for itself; in models, for one of the two.
            converts = getattr(field.field_info, "convert_underscores", True)
            for name in map(str.lower, _names_of(field)):
                headers |= dict.fromkeys((name, name.replace("_", "-")) if converts else (name,))
        for field in each.cookie_params:
            cookies |= dict.fromkeys(_names_of(field))
    return tuple(headers), tuple(cookies)


def _names_of(field: Any) -> Iterator[str]:
    """What a parameter is called in a request; of a model, what its fields are."""
    model = _model_of(field)
    if model is None:
        yield from _spellings(field.field_info, field.alias)
        return
    for name, info in model.model_fields.items():
        yield from _spellings(info, name)


def _spellings(info: Any, name: str) -> Iterator[str]:
    yield name
    for alias in (info.alias, info.validation_alias):
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
        yield from (each for each in choices if isinstance(each, str))


def _model_of(field: Any) -> type[BaseModel] | None:
    annotation = field.field_info.annotation
    for each in (annotation, *typing.get_args(annotation)):
        if isinstance(each, type) and issubclass(each, BaseModel):
            return each
    return None


def _takes_any(dependant: Dependant) -> bool:
    """Whether a model takes headers or cookies that it does not name."""
    return any(
        model.model_config.get("extra") == "allow"
        for each in all_dependants(dependant)
        for field in (*each.header_params, *each.cookie_params)
        if (model := _model_of(field)) is not None
    )


def parameters_of(route: Any) -> frozenset[str]:
    """The names of what a handler is called with, less what is hidden or a body, and of its path."""
    dependant: Dependant = route.dependant
    fields = (
        *dependant.path_params,
        *dependant.query_params,
        *dependant.header_params,
        *dependant.cookie_params,
    )
    names = {field.name for field in fields} | {*route.param_convertors}
    return frozenset(names | {each.name for each in dependant.dependencies if each.name})


class ServedRoutes:
    """The routes that one handler serves, each read when it is first asked for.

    Args:
        read: reads one.
    """

    def __init__(self, read: Callable[[Any], ServedRoute]) -> None:
        self._read = read
        # By identity, and held, so that no other object takes theirs.
        self._found: dict[tuple[int, int], tuple[Any, Any, list[_Candidate]]] = {}

    def of(self, scope: Scope) -> ServedRoute | None:
        """The route that serves this request; ``None`` if that is none of FastAPI's."""
        route, app = scope.get("route"), scope.get("app")
        found = self._found.get((id(app), id(route)))
        if found is None:
            if not isinstance(route, routing.APIRoute):
                return None
            found = app, route, [_Candidate(each, self._read) for each in _contexts(app, route)]
            self._found[id(app), id(route)] = found
        candidates = found[2]
        if len(candidates) > 1:
            # A router that is included several times: the first that fits is the one, as routing
            # goes by the same order.
            for each in candidates:
                if each.context.matches(scope)[0] is not Match.NONE:
                    return each.served
        return candidates[0].served


class _Candidate:
    def __init__(self, context: Any, read: Callable[[Any], ServedRoute]) -> None:
        self.context = context
        self._read = read

    @functools.cached_property
    def served(self) -> ServedRoute:
        return self._read(self.context)


def _contexts(app: Any, route: Any) -> list[Any]:
    """The route in each router that it is reached through; itself if it is reached directly."""
    found = [each for each in routes_below(app) if _original(each) is route]
    return found or [route]


def routes_below(app: Any) -> Iterator[Any]:
    """The routes of an app, those of included routers in their context. Not those of mounts."""
    routes = getattr(app, "routes", None) or ()
    # FastAPI before 0.137 has copies of included routes, which are their own context.
    in_context = getattr(routing, "iter_route_contexts", iter)
    yield from in_context(routes)


def _original(route: Any) -> Any:
    return getattr(route, "original_route", route)
