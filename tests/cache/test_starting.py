"""Routes that could never work are refused when the app starts."""

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Security
from fastapi.security import HTTPBearer
from starlette.routing import Host, Mount, Route

from backstay.cache.responses import cache_redis
from backstay.cache.starting import early_answers_of
from backstay.errors import BadCache
from tests.cache.serving import an_app, asking
from tests.support import async_test


def guard(token: Annotated[Any, Depends(HTTPBearer())]) -> None: ...


def scoped() -> None: ...


@pytest.mark.parametrize(
    "include",
    [
        lambda app, router: app.include_router(router, dependencies=[Depends(guard)]),
        lambda app, router: app.include_router(
            router, dependencies=[Security(scoped, scopes=["r"])]
        ),
        lambda app, router: app.mount("/sub", _guarded_app(router)),
    ],
    ids=["scheme", "scopes", "mounted"],
)
def test_a_route_with_a_security_scheme_is_refused_at_the_start(
    include: Callable[[FastAPI, APIRouter], None],
) -> None:
    app, router = FastAPI(), APIRouter()

    @router.get("/a")
    @cache_redis(public=True, early=True)
    async def handler() -> None: ...

    include(app, router)
    with pytest.raises(BadCache, match="'/a' says early=True and has a security scheme"):
        early_answers_of(app)


def _guarded_app(router: APIRouter) -> FastAPI:
    app = FastAPI(dependencies=[Depends(guard)])
    app.include_router(router)
    return app


@async_test
async def test_an_app_with_such_a_route_does_not_start() -> None:
    app, _ = an_app()

    @app.get("/a", dependencies=[Depends(guard)])
    @cache_redis(public=True, early=True)
    async def handler() -> None: ...

    with pytest.raises(Exception, match="says early=True and has a security scheme"):
        async with asking(app):
            raise AssertionError("it has started")


def test_an_app_without_such_routes_needs_nothing_before_routing() -> None:
    app = FastAPI()

    @app.get("/a")
    @cache_redis(public=True)
    async def handler() -> None: ...

    app.routes.append(Route("/r", handler))
    assert early_answers_of(app) is None


@pytest.mark.parametrize("kind", ["plain", "included", "mounted", "host"])
def test_routes_are_found_at_any_depth(kind: str) -> None:
    app, inner = FastAPI(), FastAPI()
    router = APIRouter()

    @router.get("/a")
    @cache_redis(public=True, early=True)
    async def handler() -> None: ...

    match kind:
        case "plain":
            app.routes.extend(router.routes)
        case "included":
            outer = APIRouter()
            outer.include_router(router, prefix="/x")
            app.include_router(outer)
        case "mounted":
            inner.include_router(router)
            app.routes.append(Mount("/sub", inner))
        case _:
            inner.include_router(router)
            app.routes.append(Host("sub.example", inner))
    assert early_answers_of(app) is not None


@pytest.mark.parametrize("fits", [True, False])
def test_tags_that_cannot_be_filled_are_refused(fits: bool) -> None:
    app, router = FastAPI(), APIRouter()

    @router.get("/items/{item_id}")
    @cache_redis(tags=["item:{item_id}", "page:{page}", "shop:{shop}", "who:{who}"])
    async def handler(page: int, who: Annotated[int, Depends(scoped)]) -> None: ...

    app.include_router(router, prefix="/{shop}" if fits else "/shop")
    if fits:
        assert early_answers_of(app) is None
        return
    with pytest.raises(BadCache, match=r"name \['shop'\], which are no parameters of it; it has"):
        early_answers_of(app)
