"""Who is asking: logins, tokens, API keys, and what they allow.

Write a class below ``BaseAuthJWT``, call its ``mount_auth(app)``, and guard routes with
``jwt_auth``. ``JWTVerifier`` checks tokens that another issuer signed; verifiers written for the
MCP SDK are asked by ``ask_verifier``.

May know FastAPI, ``backstay.web``, ``backstay.db`` and the ground; and, inside functions,
``backstay.limits`` of an app that has them, SQLAlchemy (the extra ``db``) and joserfc, pwdlib and
httpx2 (the extra ``auth``). What sessions,
revocations and keys are remembered in stands behind ``AuthStore``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from backstay.auth.api_keys import ApiKeys, NewApiKey
from backstay.auth.audit import Audit, AuditEvent
from backstay.auth.auth_throttle import LoginThrottle
from backstay.auth.bearer import read_bearer
from backstay.auth.jwt import JWTVerifier
from backstay.auth.keyring import Keyring
from backstay.auth.passwords import Passwords
from backstay.auth.port import AuthStore
from backstay.auth.scopes import read_scopes
from backstay.auth.signing_key import SigningKey
from backstay.auth.token import (
    AnyTokenVerifier,
    TokenVerifier,
    VerifiedToken,
    as_verified,
    ask_verifier,
)

if TYPE_CHECKING:
    from backstay.auth.auth_part import AuthPart
    from backstay.auth.base_auth_jwt import BaseAuthJWT
    from backstay.auth.guards import (
        current_user,
        jwt_auth,
        oauth2_scheme,
        require_roles,
        require_scopes,
    )
    from backstay.auth.sessions import Grant
    from backstay.auth.token_routes import Token

__all__ = [
    "AnyTokenVerifier",
    "ApiKeys",
    "Audit",
    "AuditEvent",
    "AuthPart",
    "AuthStore",
    "BaseAuthJWT",
    "Grant",
    "JWTVerifier",
    "Keyring",
    "LoginThrottle",
    "NewApiKey",
    "Passwords",
    "SigningKey",
    "Token",
    "TokenVerifier",
    "VerifiedToken",
    "as_verified",
    "ask_verifier",
    "current_user",
    "jwt_auth",
    "oauth2_scheme",
    "read_bearer",
    "read_scopes",
    "require_roles",
    "require_scopes",
]

# What stands on FastAPI. Whoever only verifies tokens, as widgets do, need not wait for it.
_WITH_FASTAPI = {
    "AuthPart": "auth_part",
    "BaseAuthJWT": "base_auth_jwt",
    "Grant": "sessions",
    "Token": "token_routes",
    "current_user": "guards",
    "jwt_auth": "guards",
    "oauth2_scheme": "guards",
    "require_roles": "guards",
    "require_scopes": "guards",
}


def __getattr__(name: str) -> Any:
    if name not in _WITH_FASTAPI:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_WITH_FASTAPI[name]}"), name)
    return found


def __dir__() -> list[str]:
    return [*__all__]
