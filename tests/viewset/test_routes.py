"""How a view set's routes get onto its router."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from backstay.errors import BadViewSet
from backstay.limits import RateLimit, rate_limit
from backstay.viewset import FullViewSet, action
from backstay.viewset.problems import ProblemRoute
from tests.support import async_test
from tests.viewset.stage import Thing, ThingRow, serving


class ThingViewSet(FullViewSet):
    """What there is."""

    db_model = ThingRow
    pydantic_model = Thing

    @action(detail=False, methods=["GET"], tags=["extra"])
    async def top(self) -> int:
        return 1


class CountingRoute(APIRoute):
    def get_route_handler(self) -> Any:
        handle = super().get_route_handler()

        async def counted(request: Request) -> Response:
            response = await handle(request)
            response.headers["x-counted"] = "1"
            return response

        return counted


def routes_of(router: APIRouter) -> dict[str, APIRoute]:
    return {each.name: each for each in router.routes if isinstance(each, APIRoute)}


def test_routes_are_named_by_what_they_are_about_and_what_they_do() -> None:
    router = APIRouter()
    ThingViewSet().as_view(router, "/things")
    assert list(routes_of(router)) == [
        "thing.top",
        "thing.list",
        "thing.create",
        "thing.retrieve",
        "thing.update",
        "thing.patch",
        "thing.delete",
    ]


def test_they_are_routes_with_problem_details_and_the_router_is_as_it_was() -> None:
    router = APIRouter()
    ThingViewSet().as_view(router, "/things")
    assert all(isinstance(each, ProblemRoute) for each in routes_of(router).values())
    assert router.route_class is APIRoute


def test_a_routers_own_kind_of_route_stays_one() -> None:
    router = APIRouter(route_class=CountingRoute)
    ThingViewSet().as_view(router, "/things")
    for each in routes_of(router).values():
        assert isinstance(each, ProblemRoute)
        assert isinstance(each, CountingRoute)


def test_the_documentation_says_what_the_class_says_and_what_the_verb_does() -> None:
    app = FastAPI()
    router = APIRouter()
    ThingViewSet().as_view(router, "/things")
    app.include_router(router)
    spec = app.openapi()["paths"]
    create = spec["/things"]["post"]
    assert create["summary"] == "Create a thing"
    assert create["description"].startswith("What there is.\n\n")
    assert create["operationId"] == "create_things"
    assert set(create["responses"]) == {"201", "409", "422", "503"}
    assert "application/problem+json" in create["responses"]["422"]["content"]
    assert spec["/things/top"]["get"]["tags"] == ["ThingViewSet", "extra"]


class LimitedViewSet(ThingViewSet):
    """Not too often."""

    rate_limits = "2/minute"


class OwnListViewSet(LimitedViewSet):
    """The same with a list of its own."""

    def list(self) -> Any:
        @self.router.get(f"{self.prefix}")
        async def mine() -> list[int]:
            return [1]

        return mine


class ByVerbViewSet(ThingViewSet):
    """Some of it not too often."""

    rate_limits = MappingProxyType(
        {"list": "1/minute", "top": rate_limit("2/minute", by="ip", name="top")}
    )


@async_test
async def test_every_route_may_have_a_limit_of_its_own(tmp_path: Path) -> None:
    views = ((LimitedViewSet, "/all"), (OwnListViewSet, "/own"), (ByVerbViewSet, "/some"))
    async with serving("sqlite", tmp_path, *views) as client:

        async def statuses(path: str, times: int) -> list[int]:
            return [(await client.get(path)).status_code for _ in range(times)]

        assert await statuses("/all", 3) == [200, 200, 429]
        assert await statuses("/all/top", 3) == [200, 200, 429]
        assert await statuses("/all/1", 3) == [404, 404, 429]
        assert await statuses("/own", 3) == [200, 200, 429]
        assert await statuses("/some", 2) == [200, 429]
        assert await statuses("/some/top", 3) == [200, 200, 429]
        assert await statuses("/some/1", 3) == [404, 404, 404]
        answer = await client.get("/all")
        assert answer.headers["content-type"] == "application/problem+json"
        assert {"retry-after", "ratelimit", "ratelimit-policy"} <= set(answer.headers)


def test_what_is_limited_says_so_in_the_documentation() -> None:
    app = FastAPI()
    for view, prefix in ((LimitedViewSet, "/all"), (ByVerbViewSet, "/some"), (ThingViewSet, "/no")):
        view().as_view(app.router, prefix)
    paths = app.openapi()["paths"]
    limited = {
        f"{method} {path}"
        for path, operations in paths.items()
        for method, operation in operations.items()
        if "429" in operation["responses"]
    }
    assert {each for each in limited if "/all" in each} == {
        f"{method} {path}"
        for path, operations in paths.items()
        for method in operations
        if "/all" in path
    }
    assert {each for each in limited if "/all" not in each} == {"get /some", "get /some/top"}
    assert "Retry-After" in paths["/some"]["get"]["responses"]["429"]["headers"]


def test_limits_come_before_other_dependencies_and_the_router_keeps_its_own() -> None:
    async def guard() -> None: ...

    class GuardedViewSet(LimitedViewSet):
        """Guarded."""

        dependencies = (Depends(guard),)

    router = APIRouter(dependencies=[Depends(guard)])
    GuardedViewSet().as_view(router, "/things")
    calls = [each.dependency for each in next(iter(routes_of(router).values())).dependencies]
    assert calls[0] is guard
    assert isinstance(calls[1], RateLimit)
    assert calls[2] is guard
    assert len(router.dependencies) == 1


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ("ten", "'ten' is no limit"),
        (10, "of int"),
        ({"lst": "1/minute"}, "speaks of lst"),
        ({"list": "0/minute"}, "at least 1"),
    ],
)
def test_limits_that_could_never_work_are_refused(limits: Any, says: str) -> None:
    view = type("Wrong", (ThingViewSet,), {"rate_limits": limits})
    with pytest.raises(BadViewSet) as caught:
        view().as_view(APIRouter(), "/things")
    assert says in str(caught.value)
    assert "Wrong.rate_limits" in str(caught.value)
