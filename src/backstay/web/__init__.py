"""The glue between FastAPI and backstay: one middleware, ``Ctx``, problem details, ``install``.

May know FastAPI and Starlette, and the ground below. Knows no part.
"""

from backstay.web.dependencies import Ctx, get_context
from backstay.web.installation import install, installed
from backstay.web.problems import problem_response
from backstay.web.users import UserVerifier

__all__ = ["Ctx", "UserVerifier", "get_context", "install", "installed", "problem_response"]
