"""Tests whose client has logged in: ``@client_auth_jwt()`` and ``BaseAuthJwtPytest``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from backstay.auth.auth_part import AuthPart
from backstay.errors import MissingExtra, NotInstalled
from backstay.testing.base_pytest import BasePytest
from backstay.testing.database_client import DatabaseClient

try:
    import pytest
except ImportError as missing:
    raise MissingExtra("testing", "pytest") from missing

__all__ = ["BaseAuthJwtPytest", "client_auth_jwt", "log_in"]

R = TypeVar("R")

_PARAMETER = "client"


def client_auth_jwt(
    username: str | None = None,
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Log the test's client in before the test runs. For functions and methods, sync and async.

    The token is a real one, made by the app's own ``BaseAuthJWT``, ``add_jwt_body`` included; the
    password is not asked for. It is in the headers of this test's client only.

    Args:
        username: who logs in. ``None``: ``TEST_USER["username"]`` of the test's class.

    Raises:
        TypeError: the test has no parameter ``client``, or nobody says who logs in.
        NotInstalled: the app has no ``mount_auth``.
    """
    if username is not None and not isinstance(username, str):
        raise TypeError(
            "client_auth_jwt takes the name of a user, as in @client_auth_jwt(username='test'), "
            f"or nothing, as in @client_auth_jwt(); got {username!r}"
        )

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        if _PARAMETER not in inspect.signature(function).parameters:
            raise TypeError(
                f"{function.__qualname__} has no parameter {_PARAMETER!r}, so there is no client "
                "to log in"
            )

        def prepare(args: tuple[Any, ...], options: dict[str, Any]) -> None:
            bound = inspect.signature(function).bind_partial(*args, **options)
            log_in(bound.arguments[_PARAMETER], _name(username, args, function))

        wrapper: Any
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def wrapper(*args: Any, **options: Any) -> Any:
                prepare(args, options)
                return await function(*args, **options)

        else:

            @functools.wraps(function)
            def wrapper(*args: Any, **options: Any) -> Any:
                prepare(args, options)
                return function(*args, **options)

        decorated: Callable[..., R] = wrapper
        return decorated

    return decorate


class BaseAuthJwtPytest(BasePytest):
    """Tests whose client has logged in as ``TEST_USER``, each of them."""

    @pytest.fixture(autouse=True)
    def _log_in_test_user(self, request: pytest.FixtureRequest) -> None:
        if _PARAMETER in request.fixturenames:
            log_in(request.getfixturevalue(_PARAMETER), self.TEST_USER["username"])


def log_in(client: DatabaseClient, username: str) -> None:
    """Give a client an access token of a user. What else it has in its headers stays.

    Args:
        client: of the fixture ``client``.
        username: whose token.

    Raises:
        TypeError: it is another kind of client.
        NotInstalled: the app has no ``mount_auth``.
    """
    if not isinstance(client, DatabaseClient) or client.portal is None:
        raise TypeError(
            f"only a client of the fixture 'client' can be logged in like that; got a "
            f"{type(client).__qualname__}. Elsewhere: await app.state.auth_jwt.issue(username)"
        )
    app: Any = client.app
    auth = getattr(app.state, "auth_jwt", None)
    if not isinstance(auth, AuthPart):
        raise NotInstalled(
            "the app that is tested has no JWT authentication: call mount_auth(app) of a class "
            "below BaseAuthJWT where it is made"
        )
    # What the test has written and not committed would be in the way of the session's row.
    client.setting.require_committed()
    grant = client.portal.call(auth.issue, username)
    client.headers["authorization"] = f"Bearer {grant.access_token}"


def _name(username: str | None, args: tuple[Any, ...], function: Callable[..., Any]) -> str:
    if username is not None:
        return username
    user = getattr(args[0], "TEST_USER", None) if args else None
    if not isinstance(user, dict) or "username" not in user:
        raise TypeError(
            f"nobody says who logs in for {function.__qualname__}: write "
            "@client_auth_jwt(username='...'), or put the test into a class below BasePytest, "
            "which has TEST_USER"
        )
    return str(user["username"])
