"""A route's definition is read, whichever router it is reached through."""

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body, Cookie, Depends, FastAPI, Header, Query
from fastapi.responses import HTMLResponse
from fastapi.security import APIKeyHeader
from pydantic import BaseModel, ConfigDict
from starlette.routing import Route

from backstay.cache.policy import Policy
from backstay.cache.responses import cache_redis
from backstay.cache.served_route import (
    ServedRoute,
    ServedRoutes,
    parameters_of,
    routes_below,
)
from tests.cache.serving import a_scope, asking, sent_by
from tests.cache.serving import an_app as kept_app
from tests.support import async_test

PUBLIC = Policy.of(ttl=1, public=True, vary=["X-Vary"])
PRIVATE = Policy.of(ttl=1)


class Headers(BaseModel):
    x_tenant: str
    traceparent: str = ""


class OpenHeaders(BaseModel):
    model_config = ConfigDict(extra="allow")


def tenant(x_by_dependency: Annotated[str, Header()], flag: Annotated[str, Cookie()]) -> str:
    return x_by_dependency


async def handler(
    item_id: int,
    who: Annotated[str, Depends(tenant)],
    accept_language: Annotated[str, Header()],
    under_score: Annotated[str, Header(convert_underscores=False)],
    named: Annotated[str, Header(alias="X-Named")],
    page: Annotated[int, Query(alias="p")] = 0,
) -> None: ...


async def small(item_id: int) -> int:
    return item_id


async def by_model(headers: Annotated[Headers, Header()]) -> None: ...


async def by_open_model(headers: Annotated[OpenHeaders | None, Header()]) -> None: ...


async def with_body(item: Annotated[int, Body()]) -> None: ...


def served(app: FastAPI, policy: Policy = PUBLIC) -> list[ServedRoute]:
    return [
        ServedRoute.of(route, policy, route.endpoint, is_async=True)
        for route in routes_below(app)
        if hasattr(route, "dependant") and getattr(route, "dependant", None)
    ]


def an_app(endpoint: Any, path: str = "/{item_id}", **options: Any) -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.get(path, **options)(endpoint)
    return app


def test_declared_headers_and_cookies_are_what_the_answer_depends_on() -> None:
    [found] = served(an_app(handler))
    assert found.headers == {
        b"host",
        b"accept",
        b"x-vary",
        b"x-by-dependency",
        b"accept-language",
        b"under_score",
        b"x-named",
    }
    assert found.cookies == ("flag",)
    assert found.vary == (
        "accept",
        "cookie",
        "accept-language",
        "under_score",
        "x-by-dependency",
        "x-named",
        "x-vary",
    )


def test_headers_declared_in_a_model_count_in_both_spellings() -> None:
    [found] = served(an_app(by_model, "/"))
    assert {b"x-tenant", b"traceparent"} <= found.headers


def test_a_private_answer_depends_on_whatever_says_who_asks() -> None:
    [found] = served(an_app(handler), PRIVATE)
    assert {b"authorization", b"cookie", b"x-forwarded-user"} <= found.headers
    assert found.cookies == ()
    assert found.vary[:3] == ("accept", "authorization", "cookie")


def test_tags_may_name_what_the_handler_takes_and_what_stands_in_the_path() -> None:
    route = an_app(handler, "/{shop}/{item_id}").routes[-1]
    assert {"item_id", "page", "who", "shop"} <= parameters_of(route)
    assert "x_by_dependency" not in parameters_of(route)


@pytest.mark.parametrize(
    ("endpoint", "path", "is_open"),
    [
        (with_body, "/", True),
        (by_open_model, "/", True),
        (by_model, "/", False),
        (handler, "/{item_id}", False),
    ],
)
def test_a_route_whose_answers_depend_on_what_no_key_says_is_open(
    endpoint: Any, path: str, is_open: bool
) -> None:
    [found] = served(an_app(endpoint, path))
    assert found.is_open is is_open


def test_the_class_of_responses_and_head_are_read() -> None:
    app = FastAPI(openapi_url=None)
    app.api_route("/{item_id}", methods=["GET", "HEAD"], response_class=HTMLResponse)(handler)
    [found] = served(app)
    assert found.takes_head
    assert found.kind.endswith("HTMLResponse")
    assert not served(an_app(handler))[0].takes_head


def test_what_including_routers_add_is_read() -> None:
    router, outer, app = APIRouter(), APIRouter(), FastAPI(openapi_url=None)
    router.get("/{item_id}")(handler)
    key = APIKeyHeader(name="X-Shop-Key")
    outer.include_router(router, prefix="/in", dependencies=[Depends(key)])
    app.include_router(outer, prefix="/out")
    app.include_router(router, prefix="/free")
    guarded, free = served(app, PRIVATE)
    assert guarded.name == "/out/in/{item_id}"
    assert guarded.is_guarded
    assert b"x-shop-key" in guarded.headers
    assert "x-shop-key" in guarded.vary
    assert free.name == "/free/{item_id}"
    assert not free.is_guarded


@async_test
async def test_of_a_router_included_twice_the_place_that_was_asked_for_counts() -> None:
    router, (app, _) = APIRouter(), kept_app()
    router.get("/{item_id}")(cache_redis()(small))
    places = {
        "/one/1": "/one/{item_id}",
        "/two/1": "/two/{item_id}",
        "/x/y/1": "/{any}/y/{item_id}",
    }
    for prefix in ("/one", "/two", "/{any}/y"):
        app.include_router(router, prefix=prefix)
    async with asking(app) as client:
        for path in (*places, *places):
            assert (await sent_by(app, a_scope(path)))[0] == 200
        stats = client.ctx.cache.stats().by_prefix
    assert {name: (each.misses, each.hits) for name, each in stats.items()} == dict.fromkeys(
        places.values(), (1, 1)
    )


def test_a_route_is_read_once() -> None:
    app, reads = an_app(handler), []

    def read(route: Any) -> ServedRoute:
        reads.append(route)
        return ServedRoute.of(route, PUBLIC, handler, is_async=True)

    routes = ServedRoutes(read)
    scope = a_scope("/1", app=app, route=app.routes[-1])
    assert routes.of(scope) is routes.of(scope)
    assert len(reads) == 1


def test_routes_of_other_kinds_are_not_served() -> None:
    def read(route: Any) -> ServedRoute:
        raise AssertionError("nothing to read")

    route = Route("/", lambda request: None)  # type: ignore[arg-type, return-value]  # never called
    assert ServedRoutes(read).of(a_scope("/", app=FastAPI(), route=route)) is None
    assert ServedRoutes(read).of(a_scope("/")) is None
