"""OpenAPI says how errors look."""

from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, HTTPException
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from backstay.testing import running
from backstay.web import add_problem_details, install
from backstay.web.problem_schema import (
    FieldError,
    Problem,
    ValidationProblem,
    document_problems,
    schema_of,
)
from tests.support import async_test

PROBLEM = {"$ref": "#/components/schemas/Problem"}
INVALID = {"$ref": "#/components/schemas/ValidationProblem"}


def make_app() -> FastAPI:
    app = FastAPI()

    @app.get("/plain")
    async def plain() -> None: ...

    @app.get("/items/{item_id}", responses={409: {"description": "It is taken."}})
    async def item(item_id: int) -> None: ...

    @app.get("/own/{item_id}", responses={"default": {"description": "Mine."}})
    async def own(item_id: int) -> None: ...

    return app


def responses(schema: dict[str, Any], path: str) -> Any:
    return schema["paths"][path]["get"]["responses"]


def content(response: Any) -> Any:
    (media_type,) = response["content"]
    assert media_type == "application/problem+json"
    return response["content"][media_type]["schema"]


def test_every_operation_says_how_its_errors_look() -> None:
    app = make_app()
    add_problem_details(app)
    schema = app.openapi()
    assert content(responses(schema, "/plain")["default"]) == PROBLEM
    assert content(responses(schema, "/items/{item_id}")["default"]) == PROBLEM
    assert content(responses(schema, "/items/{item_id}")["422"]) == INVALID
    assert set(schema["components"]["schemas"]) == {"Problem", "ValidationProblem"}
    for each in schema["components"]["schemas"].values():
        Draft202012Validator.check_schema(each)
        assert "$defs" not in str(each)


def test_what_an_operation_says_itself_stays() -> None:
    app = make_app()
    add_problem_details(app)
    schema = app.openapi()
    assert responses(schema, "/items/{item_id}")["409"] == {"description": "It is taken."}
    assert responses(schema, "/own/{item_id}")["default"] == {"description": "Mine."}
    assert "422" not in responses(schema, "/own/{item_id}")


def test_asking_again_gives_the_same_and_new_routes_are_told_of() -> None:
    app = make_app()
    add_problem_details(app)
    first = app.openapi()
    assert app.openapi() == first
    app.include_router(APIRouter())

    @app.get("/later/{number}")
    async def later(number: int) -> None: ...

    app.openapi_schema = None  # older versions of FastAPI keep it whatever happens
    assert content(responses(app.openapi(), "/later/{number}")["422"]) == INVALID


def test_a_model_of_the_apps_own_with_that_name_stays() -> None:
    class Problem(BaseModel):
        knots: int

    app = FastAPI()

    @app.get("/")
    async def endpoint() -> Problem: ...  # type: ignore[empty-body]  # never called

    add_problem_details(app)
    schema = app.openapi()
    assert "knots" in schema["components"]["schemas"]["Problem"]["properties"]
    assert content(responses(schema, "/")["default"]) == {
        "$ref": "#/components/schemas/ProblemDetails"
    }


def test_an_app_without_operations_is_left_alone() -> None:
    app = FastAPI()
    add_problem_details(app)
    assert "components" not in app.openapi()


def test_fastapis_own_schema_stays_where_something_refers_to_it() -> None:
    app = make_app()

    @app.webhooks.post("paid")
    async def paid(amount: int) -> None: ...

    add_problem_details(app)
    schemas = app.openapi()["components"]["schemas"]
    assert {"HTTPValidationError", "ValidationError"} <= set(schemas)


@async_test
async def test_a_document_of_the_apps_own_making_is_told_of_it_too() -> None:
    app = make_app()
    add_problem_details(app)
    usual = FastAPI.openapi

    def own() -> dict[str, Any]:
        return usual(app) | {"x-logo": "knot.svg"}

    app.openapi = own  # type: ignore[method-assign]  # as FastAPI's documentation does it
    async with running(app) as client:
        schema = (await client.get("/openapi.json")).json()
    assert schema["x-logo"] == "knot.svg"
    assert content(responses(schema, "/plain")["default"]) == PROBLEM


@async_test
async def test_mounted_apps_say_it_too() -> None:
    app, inner = FastAPI(), make_app()
    app.mount("/inner", inner)
    add_problem_details(app)
    async with running(app) as client:
        schema = (await client.get("/inner/openapi.json")).json()
    assert content(responses(schema, "/plain")["default"]) == PROBLEM


def test_documenting_twice_is_harmless() -> None:
    app = make_app()
    document_problems(app)
    once = app.openapi
    document_problems(app)
    assert app.openapi is once


def test_an_app_that_has_not_asked_for_it_keeps_fastapis_document() -> None:
    app = make_app()
    install(app)
    assert "HTTPValidationError" in app.openapi()["components"]["schemas"]


@pytest.mark.parametrize("debug", [False, True])
@async_test
async def test_the_answers_are_as_the_document_says(debug: bool) -> None:
    app = make_app()
    app.debug = debug

    @app.get("/taken")
    async def taken() -> None:
        raise HTTPException(409, {"by": "ali"})

    add_problem_details(app)
    async with running(app) as client:
        schemas = (await client.get("/openapi.json")).json()["components"]["schemas"]
        for path, name in (
            ("/nowhere", "Problem"),
            ("/taken", "Problem"),
            ("/items/one", "ValidationProblem"),
        ):
            Draft202012Validator(schemas[name]).validate((await client.get(path)).json())


def test_a_models_schema_stands_by_itself() -> None:
    schema = schema_of(ValidationProblem)
    assert schema["properties"]["errors"]["items"] == schema_of(FieldError)
    assert set(schema_of(Problem)["required"]) == {"title", "status", "detail"}
