"""The routes at which tokens are got, exchanged and given back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Form, Request, Response
from pydantic import BaseModel, Field

from backstay.auth.auth_part import AuthPart
from backstay.auth.guards import jwt_auth, oauth2_scheme, own_session
from backstay.auth.scopes import read_scopes
from backstay.auth.sessions import Grant
from backstay.auth.token import VerifiedToken
from backstay.errors import GrantRefused
from backstay.web.client_address import client_address

__all__ = ["Token", "document_token_url", "key_routes", "token_routes"]

_KEYS_MAX_AGE_S = 300
_MAX_SCOPE = 4096
"""Characters: more than any token has room for, and reading a megabyte of them takes a while."""


class Token(BaseModel):
    """Tokens for whoever asked (RFC 6749 §5.1).

    Attributes:
        access_token: goes with every request, as ``Authorization: Bearer``.
        token_type: always ``"bearer"``.
        expires_in: seconds that it counts.
        refresh_token: exchanged for the next ones, once. ``None`` if the app gives none.
        scope: what it allows, names with spaces in between.
    """

    access_token: str = Field(repr=False)
    token_type: str = "bearer"  # noqa: S105  # RFC 6750's word, and no secret
    expires_in: int
    refresh_token: str | None = Field(default=None, repr=False)
    scope: str = ""


_Refused: dict[int | str, dict[str, Any]] = {
    400: {"description": "The request for tokens will not do (RFC 6749, 5.2)"},
    401: {"description": "The name or the password is wrong"},
    429: {"description": "Too many wrong passwords"},
}


def token_routes(auth: AuthPart, *, prefix: str = "", tags: Sequence[str] = ()) -> APIRouter:
    """``/token`` and its company, for one app.

    Args:
        auth: what gives tokens.
        prefix: in front of the paths.
        tags: in the OpenAPI document.
    """
    router = APIRouter(prefix=prefix, tags=list(tags))

    @router.post(
        "/token",
        summary="Log in, or exchange a refresh token",
        responses=_Refused,
        response_model_exclude_none=True,
    )
    async def token(
        request: Request,
        response: Response,
        grant_type: Annotated[str | None, Form()] = None,
        username: Annotated[str | None, Form()] = None,
        password: Annotated[str | None, Form(json_schema_extra={"format": "password"})] = None,
        scope: Annotated[str, Form()] = "",
        refresh_token: Annotated[str | None, Form()] = None,
    ) -> Token:
        await _refuse_repeated(request)
        response.headers["Cache-Control"] = "no-store"
        address = client_address(request)
        wanted = _read_scope(scope)
        await auth.awake()
        # Clients of the original leave grant_type out, and have always been served.
        if grant_type in (None, "password"):
            if username is None or password is None:
                raise GrantRefused(
                    "invalid_request", "A form with username and password is needed."
                )
            return _answer(
                await auth.sessions.login(username, password, scopes=wanted, address=address)
            )
        if grant_type == "refresh_token" and auth.policy.gives_refresh_tokens:
            if refresh_token is None:
                raise GrantRefused("invalid_request", "A form with refresh_token is needed.")
            return _answer(
                await auth.sessions.refresh(refresh_token, scopes=wanted, address=address)
            )
        raise GrantRefused("unsupported_grant_type", "Tokens are not given for this grant_type.")

    @router.post("/token/revoke", summary="Give a token back (RFC 7009)", responses=_Refused)
    async def revoke(
        request: Request,
        response: Response,
        token: Annotated[str | None, Form()] = None,
        token_type_hint: Annotated[str | None, Form()] = None,
    ) -> None:
        await _refuse_repeated(request)
        response.headers["Cache-Control"] = "no-store"
        if token is None:
            raise GrantRefused("invalid_request", "A form with token is needed.")
        await auth.awake()
        # Whoever has it may give it back; of what is unknown there is nothing to say (§2.2).
        if not await auth.sessions.revoke_refresh(token):
            found = await auth.verify_own(token)
            if found is not None:
                await auth.sessions.revoke(found)

    @router.post("/logout", status_code=204, summary="End this login")
    async def logout(session: Annotated[VerifiedToken, Depends(own_session)]) -> None:
        await auth.sessions.end(session.claims["sid"], subject=session.subject)

    @router.post("/logout/everywhere", status_code=204, summary="End all logins of this user")
    async def logout_everywhere(session: Annotated[VerifiedToken, Depends(own_session)]) -> None:
        await auth.sessions.end_all(session.subject)

    @router.get("/check_protected", summary="Check JWT authentication")
    async def check_protected(
        jwt: Annotated[dict[str, Any], Depends(jwt_auth)],
    ) -> dict[str, Any]:
        return {"message": "This is a protected route", "user": jwt}

    auth.open_endpoints |= {token, revoke}
    return router


def key_routes(auth: AuthPart, *, tags: Sequence[str] = ()) -> APIRouter:
    """``/.well-known/jwks.json``: the public keys, for whoever checks this service's tokens.

    Args:
        auth: whose keys.
        tags: in the OpenAPI document.
    """
    router = APIRouter(tags=list(tags))

    @router.get("/.well-known/jwks.json", summary="Public keys (RFC 7517)")
    async def jwks(response: Response) -> dict[str, Any]:
        response.headers["Cache-Control"] = f"public, max-age={_KEYS_MAX_AGE_S}"
        return auth.jwks()

    auth.open_endpoints.add(jwks)
    return router


def document_token_url(app: FastAPI, url: str) -> None:
    """Have the OpenAPI document say where tokens are got, if that is not ``token``.

    ``oauth2_scheme`` is one for all apps, and cannot know.

    Args:
        app: whose document.
        url: relative to the page of the documentation, so that it holds behind a ``root_path``.
    """
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        document = describe()
        schemes = document.get("components", {}).get("securitySchemes", {})
        if (scheme := schemes.get(oauth2_scheme.scheme_name)) is not None:
            scheme["flows"]["password"]["tokenUrl"] = url
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way of extending it


def _answer(grant: Grant) -> Token:
    return Token(
        access_token=grant.access_token,
        expires_in=grant.expires_in_s,
        refresh_token=grant.refresh_token,
        scope=" ".join(sorted(grant.scopes)),
    )


def _read_scope(scope: str) -> tuple[str, ...]:
    try:
        if len(scope) <= _MAX_SCOPE:
            return read_scopes(scope.split(" ") if scope else ())
    except ValueError:
        pass
    raise GrantRefused("invalid_scope", "The scope is not written as it should be.")


async def _refuse_repeated(request: Request) -> None:
    """RFC 6749 §3.2: nothing comes twice. FastAPI takes the last, others the first."""
    form = await request.form()
    if len(form.multi_items()) != len(form):
        raise GrantRefused("invalid_request", "A parameter comes twice.")
