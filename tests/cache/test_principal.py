"""Who is asking is seen wherever a request shows it."""

from functools import partial
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, Security
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_dependant
from fastapi.security import (
    APIKeyCookie,
    APIKeyHeader,
    APIKeyQuery,
    HTTPBasic,
    HTTPBearer,
    OAuth2PasswordBearer,
    SecurityScopes,
)
from starlette.authentication import AuthCredentials, BaseUser, SimpleUser
from starlette.requests import HTTPConnection, Request

from backstay import User
from backstay.cache.principal import CREDENTIAL_HEADERS, is_guarded, named_credentials, who_asks
from backstay.web import install
from backstay.web.exchange import Exchange
from tests.cache.serving import a_scope
from tests.support import async_test

by_header = APIKeyHeader(name="X-Shop-Key")


def deep(key: Annotated[str, Depends(by_header)]) -> str:
    return key


def free(page: int = 0) -> int:
    return page


def scoped(scopes: SecurityScopes) -> list[str]:
    return scopes.scopes


def dependant_on(dependency: Any) -> Dependant:
    def handler(found: Annotated[Any, Depends(dependency)]) -> None: ...

    return get_dependant(path="/", call=handler)


@pytest.mark.parametrize(
    ("dependency", "guarded", "names"),
    [
        (free, False, set()),
        (HTTPBearer(), True, set()),
        (HTTPBasic(), True, set()),
        (OAuth2PasswordBearer("token"), True, set()),
        (APIKeyQuery(name="key"), True, set()),
        (APIKeyCookie(name="sid"), True, set()),
        (by_header, True, {b"x-shop-key"}),
        (deep, True, {b"x-shop-key"}),
        (partial(by_header), True, {b"x-shop-key"}),
        (scoped, True, set()),
    ],
    ids=[
        "none",
        "bearer",
        "basic",
        "oauth2",
        "query",
        "cookie",
        "header",
        "deep",
        "partial",
        "scopes",
    ],
)
def test_security_schemes_are_found_at_any_depth(
    dependency: Any, guarded: bool, names: set[bytes]
) -> None:
    dependant = dependant_on(dependency)
    assert is_guarded(dependant) is guarded
    assert named_credentials(dependant) == names


def test_asking_for_scopes_is_a_guard() -> None:
    def handler(found: Annotated[int, Security(free, scopes=["read"])]) -> None: ...

    assert is_guarded(get_dependant(path="/", call=handler))


def test_headers_that_say_who_asks_are_in_lower_case() -> None:
    assert {name.lower() for name in CREDENTIAL_HEADERS} == CREDENTIAL_HEADERS
    assert {b"authorization", b"cookie"} <= CREDENTIAL_HEADERS


class Verifier:
    """Finds whom the test says."""

    def __init__(self, user: User | Exception | None) -> None:
        self.user = user
        self.asked = 0

    async def verify(self, connection: HTTPConnection) -> User | None:
        self.asked += 1
        if isinstance(self.user, Exception):
            raise self.user
        return self.user


def a_request(verifier: Verifier | None = None, user: BaseUser | None = None) -> Request:
    scope = a_scope()
    if verifier is not None:
        Exchange(install(FastAPI()), scope, "0", verifier)
    if user is not None:
        scope["user"], scope["auth"] = user, AuthCredentials()
    return Request(scope)


@async_test
async def test_without_a_verifier_nobody_is_known() -> None:
    assert await who_asks(a_request()) == ()


@async_test
async def test_whom_the_verifier_found_is_told_apart_by_name_and_scopes() -> None:
    users = [
        None,
        User("ann"),
        User("bob"),
        User("ann", frozenset({"read"})),
        User("ann", frozenset({"read", "write"})),
    ]
    found = [await who_asks(a_request(Verifier(user))) for user in users]
    assert len(set(found)) == len(users)
    assert None not in found


@async_test
async def test_the_verifier_is_asked_once() -> None:
    verifier = Verifier(User("ann"))
    request = a_request(verifier)
    assert await who_asks(request) == await who_asks(request)
    assert verifier.asked == 1


@pytest.mark.parametrize("error", [HTTPException(401), RuntimeError("the database is down")])
def test_whom_the_verifier_refuses_is_not_known_and_hears_of_it_from_the_handler(
    error: Exception,
) -> None:
    @async_test
    async def ask() -> None:
        request = a_request(Verifier(error))
        assert await who_asks(request) is None
        exchange = Exchange.of(request.scope)
        assert exchange is not None
        with pytest.raises(type(error)):
            await exchange.who(request)

    ask()


@async_test
async def test_users_of_starlettes_own_middleware_are_told_apart() -> None:
    class Named(BaseUser):
        def __init__(self, identity: str) -> None:
            self._identity = identity

        @property
        def is_authenticated(self) -> bool:
            return True

        @property
        def identity(self) -> str:
            return self._identity

    users: list[BaseUser | None] = [
        None,
        SimpleUser("ann"),
        SimpleUser("bob"),
        Named("1"),
        Named("2"),
    ]
    found = [await who_asks(a_request(user=user)) for user in users]
    assert len(set(found)) == len(users)
