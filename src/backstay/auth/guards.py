"""Dependencies that let only those in who may: ``jwt_auth`` and what is made of it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Security
from fastapi.security import OAuth2PasswordBearer, SecurityScopes
from starlette.requests import HTTPConnection

from backstay.auth.auth_part import AuthPart
from backstay.auth.bearer import read_bearer
from backstay.auth.credentials import challenge
from backstay.auth.scopes import read_scopes
from backstay.auth.token import VerifiedToken
from backstay.auth.token_guard import Kind
from backstay.context import User
from backstay.errors import BadAuth, NotAllowed, NotAuthenticated, NotInstalled
from backstay.web.exchange import Exchange

__all__ = [
    "auth_of",
    "current_user",
    "jwt_auth",
    "oauth2_scheme",
    "own_session",
    "require_roles",
    "require_scopes",
]

Guard = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
"""A dependency that answers with the token's claims."""


class _BearerScheme(OAuth2PasswordBearer):
    """What OpenAPI says of it; and the token that was shown, of WebSockets as well."""

    def __init__(self) -> None:
        # The URL is relative to the page of the documentation, so it holds behind a root_path.
        super().__init__(tokenUrl="token", scheme_name="AuthJWT", auto_error=False)

    async def __call__(self, request: HTTPConnection) -> str | None:
        return read_bearer(request.headers.getlist("authorization"))


oauth2_scheme = _BearerScheme()
"""The token that a request shows, unverified; ``None`` without one."""


def auth_of(connection: HTTPConnection) -> AuthPart:
    """What guards the app that a request is for: its own, else that of the nearest app around it.

    Raises:
        NotInstalled: ``mount_auth`` was called for none of them.
    """
    exchange = Exchange.of(connection.scope)
    around = () if exchange is None else exchange.apps()
    for state in (connection.scope["app"].state, *(each.app_state for each in around)):
        found = getattr(state, "auth_jwt", None)
        if isinstance(found, AuthPart):
            return found
    raise NotInstalled(
        f"{connection.scope['path']!r} is guarded by jwt_auth, and nothing says who may log in: "
        "call mount_auth(app) of a class below BaseAuthJWT where the app is made"
    )


async def jwt_auth(
    request: HTTPConnection,
    security_scopes: SecurityScopes,
    token: Annotated[str | None, Depends(oauth2_scheme)] = None,
) -> dict[str, Any]:
    """Let in whoever shows a good token or API key: ``jwt: dict = Depends(jwt_auth)``.

    ``Security(jwt_auth, scopes=["orders"])`` asks for scopes as well. On an app or router it guards
    all its routes (``dependencies=[Depends(jwt_auth)]``) except those at which tokens are got.

    Args:
        request: the request or WebSocket.
        security_scopes: those that FastAPI found on the way here.
        token: only for OpenAPI to say where it goes; it is read from the request.

    Returns:
        What the token says: ``sub`` and the other claims. Of an API key ``sub``, ``scope`` and
        ``api_key``, its id. Empty where tokens are got.

    Raises:
        NotAuthenticated: 401, nothing was shown, or nothing good.
        NotAllowed: 403, it does not allow what these scopes are for.
        TokensUncheckable: 503, nobody can say at the moment.
        NotInstalled: the app has no ``mount_auth``.
    """
    auth = auth_of(request)
    if _gives_tokens(request):
        return {}
    found = await _authenticated(auth, request)
    missing = [each for each in security_scopes.scopes if each not in found.scopes]
    if missing:
        detail = "The credentials do not allow this."
        raise NotAllowed(
            detail, challenge=challenge("insufficient_scope", detail, security_scopes.scopes)
        )
    return dict(found.claims)


async def current_user(
    request: HTTPConnection, claims: Annotated[dict[str, Any], Depends(jwt_auth)]
) -> User:
    """Whoever sends a request: ``user: User = Depends(current_user)``. Never nobody.

    Raises:
        NotAuthenticated, TokensUncheckable, NotInstalled: as ``jwt_auth``.
    """
    identity = await auth_of(request).identify(request)
    if identity is not None:
        found = identity.token
        return User(found.subject, scopes=found.scopes, claims=found.claims)
    if not claims:
        raise NotAuthenticated("This needs an access token.", challenge=challenge())
    # A test has put something in the place of jwt_auth (app.dependency_overrides).
    scopes = frozenset(str(claims.get("scope", "")).split())
    return User(str(claims["sub"]), scopes=scopes, claims=claims)


async def own_session(
    request: HTTPConnection, claims: Annotated[dict[str, Any], Depends(jwt_auth)]
) -> VerifiedToken:
    """The access token of a login at this service, which can be ended here.

    Raises:
        NotAllowed: 403, it is an API key, or another issuer's token.
        NotAuthenticated, TokensUncheckable, NotInstalled: as ``jwt_auth``.
    """
    identity = await auth_of(request).identify(request)
    if identity is None or identity.kind is not Kind.SESSION:
        raise NotAllowed("Only a login at this service can be ended here.")
    return identity.token


def require_scopes(*scopes: str) -> Guard:
    """A dependency that asks for scopes, all of them: ``Depends(require_scopes("orders"))``.

    Args:
        scopes: their names (RFC 6749 §3.3).

    Raises:
        BadAuth: there is none, or one that no token could have.
    """
    wanted = _read_names(scopes, "require_scopes")

    async def with_scopes(
        claims: dict[str, Any] = Security(jwt_auth, scopes=wanted),  # noqa: B008  # read by FastAPI
    ) -> dict[str, Any]:
        return claims

    return with_scopes


def require_roles(*roles: str) -> Guard:
    """A dependency that asks for roles, all of them: ``Depends(require_roles("admin"))``.

    A token's roles are what ``add_jwt_body`` says at login and at each refresh. API keys have none.

    Args:
        roles: their names.

    Raises:
        BadAuth: there is none, or something is no text.
    """
    wanted = _read_names(roles, "require_roles", are_scopes=False)

    async def with_roles(
        request: HTTPConnection, claims: Annotated[dict[str, Any], Depends(jwt_auth)]
    ) -> dict[str, Any]:
        has = claims.get("roles")
        known = {each for each in has if isinstance(each, str)} if isinstance(has, list) else set()
        if not known.issuperset(wanted) and not _gives_tokens(request):
            raise NotAllowed("You have no role that may do this.")
        return claims

    return with_roles


def _gives_tokens(request: HTTPConnection) -> bool:
    """Whether it is for an endpoint at which tokens are got: nobody who needs it has one."""
    return request.scope.get("endpoint") in auth_of(request).open_endpoints


async def _authenticated(auth: AuthPart, request: HTTPConnection) -> VerifiedToken:
    identity = await auth.identify(request)
    if identity is None:
        raise NotAuthenticated("This needs an access token.", challenge=challenge())
    return identity.token


def _read_names(names: tuple[Any, ...], what: str, *, are_scopes: bool = True) -> list[str]:
    example = f'{what}("{"orders" if are_scopes else "admin"}")'
    if not names or not all(isinstance(each, str) and each for each in names):
        raise BadAuth(
            f"{what}{names!r:.80} would let in everybody or nobody; name what is needed: {example}"
        )
    if are_scopes:
        try:
            return list(read_scopes(names))
        except ValueError as error:
            raise BadAuth(f"{what}: {error}") from None
    return list(dict.fromkeys(names))
