"""All connections of a pool are in use: whoever waited for one in vain is to come again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from backstay.errors import DatabaseUnavailable, MissingExtra
from backstay.web.installation import mounted_apps
from backstay.web.problems import answer_error

try:
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.exc import TimeoutError as PoolTimeout
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = ["answer_exhausted", "exhaustion_answered", "exhaustion_as_ours"]


@contextmanager
def exhaustion_as_ours() -> Iterator[None]:
    """For what is yielded to an endpoint, whose errors come back to the place of the ``yield``.

    Raises:
        DatabaseUnavailable: instead of SQLAlchemy's ``TimeoutError``, which is its ``__cause__``.
    """
    try:
        yield
    except PoolTimeout as error:
        raise _ours(error) from error


async def answer_exhausted(request: Request | WebSocket, error: Exception) -> Response | None:
    """The exception handler for SQLAlchemy's ``TimeoutError``: as for ``DatabaseUnavailable``, 503."""
    unavailable = _ours(error)
    unavailable.__cause__ = error
    return await answer_error(request, unavailable)


def exhaustion_answered(app: Starlette) -> None:
    """Have an app, and those mounted in it, answer that way, unless they have their own.

    Sessions of ``ctx.db`` are used in so many places that there is no other to catch it in.
    """
    build = app.build_middleware_stack

    def build_with_handler() -> ASGIApp:
        # Mounted apps are known by now.
        for each in (app, *mounted_apps(app.routes)):
            if SQLAlchemyError not in each.exception_handlers:
                each.exception_handlers.setdefault(PoolTimeout, answer_exhausted)
        return build()

    app.build_middleware_stack = build_with_handler  # type: ignore[method-assign]  # on this one app only


def _ours(error: Exception) -> DatabaseUnavailable:
    return DatabaseUnavailable(
        f"no connection to the database became free in time ({error}); give them back earlier, or "
        "have more of them: pool_size=, max_overflow="
    )
