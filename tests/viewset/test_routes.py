"""How a view set's routes get onto its router."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from backstay.viewset import FullViewSet, action
from backstay.viewset.problems import ProblemRoute
from tests.viewset.stage import Thing, ThingRow


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
