"""Who is asking, as far as a request shows it: what answers must not be shared across."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.security.base import SecurityBase
from starlette.requests import Request

from backstay.web.exchange import Exchange

__all__ = ["CREDENTIAL_HEADERS", "all_dependants", "is_guarded", "named_credentials", "who_asks"]

CREDENTIAL_HEADERS = frozenset(
    (
        b"authorization",
        b"cookie",
        b"proxy-authorization",
        # By which programs say who they are,
        b"x-access-token",
        b"x-api-key",
        b"x-auth-token",
        # and by which proxies say whom they have let in.
        b"cf-access-jwt-assertion",
        b"remote-user",
        b"x-amzn-oidc-data",
        b"x-amzn-oidc-identity",
        b"x-auth-request-email",
        b"x-auth-request-user",
        b"x-client-cert",
        b"x-forwarded-access-token",
        b"x-forwarded-client-cert",
        b"x-forwarded-email",
        b"x-forwarded-user",
        b"x-goog-iap-jwt-assertion",
        b"x-ms-client-principal",
        b"x-ms-client-principal-id",
        b"x-remote-user",
    )
)
"""Headers that say who is asking, whatever the route knows of it."""


def named_credentials(dependant: Dependant) -> frozenset[bytes]:
    """The headers, in lower case, that a route's security schemes take credentials from.

    What they take from the query is part of what is asked, and cookies are in one header.
    """
    names: set[bytes] = set()
    for scheme in _schemes(dependant):
        model = getattr(scheme, "model", None)
        where = getattr(getattr(model, "in_", None), "value", None)
        name = getattr(model, "name", None)
        if where == "header" and isinstance(name, str):
            names.add(name.lower().encode("latin-1", "replace"))
    return frozenset(names)


def is_guarded(dependant: Dependant) -> bool:
    """Whether a route has a security scheme, or asks for scopes, anywhere in its dependencies."""
    return any(True for _ in _schemes(dependant)) or any(
        each.own_oauth_scopes or each.security_scopes_param_name
        for each in all_dependants(dependant)
    )


def _schemes(dependant: Dependant) -> Iterator[SecurityBase]:
    for each in all_dependants(dependant):
        call: Any = each.call
        while isinstance(call, functools.partial):
            call = call.func
        call = inspect.unwrap(call) if callable(call) else call
        if isinstance(call, SecurityBase):
            yield call


def all_dependants(dependant: Dependant) -> Iterator[Dependant]:
    """A route's, and those of its dependencies, at any depth."""
    yield dependant
    for each in dependant.dependencies:
        yield from all_dependants(each)


async def who_asks(request: Request) -> tuple[str, ...] | None:
    """Who is asking, as verifiers and middleware found out: for the key, besides the credentials.

    Returns:
        Texts that are others for others. ``None``: the verifier refuses these credentials, or
        fails, so that nobody knows, and nothing may be kept or given.
    """
    found: tuple[str, ...] = ()
    exchange = Exchange.of(request.scope)
    if exchange is not None:
        try:
            user = await exchange.who(request)
        except Exception:
            return None  # if the handler wants to know as well, it is told why not
        if user is not None:
            found = ("user", user.subject, *sorted(user.scopes))
    theirs = request.scope.get("user")  # of Starlette's AuthenticationMiddleware
    return found if theirs is None else (*found, "scope", *_names_of(theirs))


def _names_of(user: Any) -> Iterator[str]:
    for name in ("is_authenticated", "identity", "display_name"):
        try:
            yield str(getattr(user, name, None))
        except NotImplementedError:  # which is what theirs do by default
            yield ""
