"""A route is the same one in all processes, and nothing that clients send is in it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.routing import Mount

from backstay.limits.limited_route import LimitedRoute, LimitedRoutes
from backstay.testing import running
from backstay.web import install
from tests.support import async_test


async def outer() -> None: ...


async def inner(_: Any = Depends(outer)) -> None: ...


class Watching:
    """Notes the routes that requests come to."""

    def __init__(self) -> None:
        self.routes = LimitedRoutes()
        self.seen: list[LimitedRoute] = []

    async def note(self, request: Request) -> None:
        self.seen.append(self.routes.of(request.scope))


def app_with(watching: Watching) -> FastAPI:
    app = FastAPI(dependencies=[Depends(watching.note)])
    install(app)
    router = APIRouter(dependencies=[Depends(inner)])

    @app.get("/items/{item_id}")
    @app.get("/things/{item_id}")
    async def item(item_id: str) -> str:
        return item_id

    @router.get("/a/{name}")
    @router.post("/a/{name}")
    async def a(name: str) -> str:
        return name

    app.include_router(router, prefix="/v1")
    app.include_router(router, prefix="/v2")
    tenant = FastAPI(dependencies=[Depends(watching.note)])

    @tenant.get("/x")
    async def x() -> str:
        return "x"

    @tenant.get("/y")
    async def y() -> str:
        return "y"

    holder = APIRouter()
    holder.routes.append(Mount("/{tenant}/api", tenant))
    app.include_router(holder, prefix="/in")
    app.mount("/{tenant}/api", tenant)
    return app


@async_test
async def test_routes_are_told_apart_and_values_of_parameters_are_not() -> None:
    watching = Watching()
    async with running(app_with(watching)) as client:

        async def identity(method: str, path: str) -> str:
            watching.seen.clear()
            assert (await client.request(method, path)).is_success, path
            return watching.seen[-1].identity

        one = await identity("GET", "/items/1")
        assert await identity("GET", "/items/2") == one
        others = [
            await identity("GET", "/things/1"),
            await identity("GET", "/v1/a/1"),
            await identity("POST", "/v1/a/1"),
            await identity("GET", "/v2/a/1"),
            await identity("GET", "/blue/api/x"),
            await identity("GET", "/blue/api/y"),
        ]
        assert len({one, *others}) == 7
        assert await identity("GET", "/any%20thing/api/x") == others[4]
        if (await client.get("/in/red/api/x")).is_success:  # FastAPI from 0.137 on
            assert await identity("GET", "/in/red/api/x") == others[4]
            assert await identity("GET", "/in/red/api/y") == others[5]
        known = len(watching.routes)
        for number in range(20):
            await identity("GET", f"/v1/a/{number}")
            await identity("GET", f"/{number}/api/x")
        assert len(watching.routes) == known, "each route is looked at once"


@async_test
async def test_what_its_dependencies_call_is_known_at_any_depth() -> None:
    watching = Watching()
    async with running(app_with(watching)) as client:
        await client.get("/v1/a/1")
    assert watching.seen[-1].calls == (watching.note, inner, outer)


def test_two_apps_made_alike_have_the_same_routes() -> None:
    def identities() -> list[str]:
        routes = [each for each in app_with(Watching()).routes if hasattr(each, "dependant")]
        return [LimitedRoutes().of({"route": each}).identity for each in routes]

    assert identities() == identities()


def test_outside_of_any_route_there_is_one_place() -> None:
    assert LimitedRoutes().of({}) == LimitedRoutes().of({})
