"""What an app's start does about kept answers: routes are known by then."""

from __future__ import annotations

from typing import Any

from starlette.routing import Host, Mount

from backstay.appstate import CACHE_STATUS
from backstay.cache.early import EarlyAnswers
from backstay.cache.policy import Policy, policy_of
from backstay.cache.principal import is_guarded
from backstay.cache.served_route import parameters_of, routes_below
from backstay.errors import BadCache

__all__ = ["check_tags", "early_answers_of"]


def early_answers_of(app: Any) -> EarlyAnswers | None:
    """What answers for an app before routing, ``None`` if none of its routes asks for that.

    Args:
        app: a Starlette or FastAPI app. What is mounted below it counts as well.

    Raises:
        BadCache: a route with ``early=True`` has a security scheme, which would not be asked; or
            a route's tags name what is no parameter of it.
    """
    if not _looked_over(app):
        return None
    return EarlyAnswers(is_on=lambda: CACHE_STATUS(app) is not False)


def _looked_over(app: Any) -> bool:
    """Whether any route is to be answered early."""
    found = False
    for route in routes_below(app):
        inner = getattr(route, "original_route", route)
        if isinstance(inner, Mount | Host):
            found |= _looked_over(inner.app)
            continue
        policy = policy_of(getattr(route, "endpoint", None))
        if policy is None or getattr(route, "dependant", None) is None:
            continue
        check_tags(policy, route)
        if policy.early:
            _check_early(route)
            found = True
    return found


def _check_early(route: Any) -> None:
    if is_guarded(route.dependant):
        raise BadCache(
            f"the route {route.path!r} says early=True and has a security scheme among its "
            "dependencies, which is not asked before routing: leave early= away, so that it "
            "is asked on every hit, or the scheme"
        )


def check_tags(policy: Policy, route: Any) -> None:
    """See that templates of tags can be filled.

    Raises:
        BadCache: they name what the handler is not called with.
    """
    known = parameters_of(route)
    unknown = sorted(policy.tag_fields - known)
    if unknown:
        raise BadCache(
            f"tags= of the route {route.path!r} name {unknown}, which are no parameters of it; "
            f"it has {sorted(known) or 'none'}"
        )
