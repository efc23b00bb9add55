"""Who is asking: bearer tokens, read from a request, verified, and said in one form.

May know the ground and, inside functions, joserfc and httpx2 (the extra ``auth``); nothing of
FastAPI. ``JWTVerifier`` checks tokens that an issuer signed; verifiers written for the MCP SDK
are asked by ``ask_verifier``.
"""

from backstay.auth.bearer import read_bearer
from backstay.auth.jwt import JWTVerifier
from backstay.auth.scopes import read_scopes
from backstay.auth.token import (
    AnyTokenVerifier,
    TokenVerifier,
    VerifiedToken,
    as_verified,
    ask_verifier,
)

__all__ = [
    "AnyTokenVerifier",
    "JWTVerifier",
    "TokenVerifier",
    "VerifiedToken",
    "as_verified",
    "ask_verifier",
    "read_bearer",
    "read_scopes",
]
