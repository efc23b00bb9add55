"""The glue between FastAPI and backstay: one middleware, ``Ctx``, problem details, ``install``.

May know FastAPI and Starlette, and the ground below. Knows no part.
"""

from backstay.web.dependencies import Ctx, get_context
from backstay.web.error_handlers import add_problem_details
from backstay.web.exceptions import (
    HTTPException400,
    HTTPException401,
    HTTPException403,
    HTTPException404,
    HTTPException409,
    HTTPException422,
    HTTPException429,
    HTTPException503,
    HTTPProblem,
)
from backstay.web.installation import install, installed
from backstay.web.problems import problem_response
from backstay.web.users import UserVerifier

__all__ = [
    "Ctx",
    "HTTPException400",
    "HTTPException401",
    "HTTPException403",
    "HTTPException404",
    "HTTPException409",
    "HTTPException422",
    "HTTPException429",
    "HTTPException503",
    "HTTPProblem",
    "UserVerifier",
    "add_problem_details",
    "get_context",
    "install",
    "installed",
    "problem_response",
]
