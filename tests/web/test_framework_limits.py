"""The framework's own body limit answers with problems, wherever it was set."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount

from backstay.testing import running
from backstay.web import add_problem_details, installed
from backstay.web.framework_limits import BodyLimitProblems, limits_bodies
from tests.support import async_test

pytest.importorskip("starlette.middleware.body_limit", reason="this Starlette has no limit")

PLACES = ["app", "route", "router", "included", "mount", "mounted app", "mounted app's route"]


def limited(where: str) -> FastAPI:
    def bound(place: str) -> Any:
        return {"max_body_size": 10} if where == place else {}

    app = FastAPI(**bound("app"))

    async def read(request: Request) -> int:
        return len(await request.body())

    app.add_api_route("/app", read, methods=["POST"])
    app.post("/route", **bound("route"))(read)
    router = APIRouter(**bound("router"))
    router.add_api_route("/router", read, methods=["POST"])
    app.include_router(router)
    other = APIRouter()
    other.add_api_route("/included", read, methods=["POST"])
    app.include_router(other, **bound("included"))
    inner = FastAPI()
    inner.add_api_route("/mount", read, methods=["POST"])
    app.router.routes.append(Mount("/one", inner, **bound("mount")))
    second = FastAPI(**bound("mounted app"))
    second.add_api_route("/mounted app", read, methods=["POST"])
    second.post("/mounted app's route", **bound("mounted app's route"))(read)
    app.mount("/two", second)
    add_problem_details(app)
    return app


def path_to(where: str) -> str:
    return {"mount": "/one", "mounted app": "/two", "mounted app's route": "/two"}.get(
        where, ""
    ) + f"/{where}"


async def in_pieces() -> AsyncIterator[bytes]:
    yield b"12345678"
    yield b"12345678"


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("says_its_size", [True, False])
@async_test
async def test_a_body_that_is_too_large_is_a_problem(where: str, says_its_size: bool) -> None:
    app = limited(where)
    assert limits_bodies(app) or where.startswith("mounted app")
    async with running(app) as client:
        content = b"x" * 16 if says_its_size else in_pieces()
        answer = await client.post(path_to(where), content=content)
        assert answer.status_code == 413
        assert answer.headers.get_list("content-type") == ["application/problem+json"]
        problem = answer.json()
        assert (problem["title"], problem["status"]) == ("Content Too Large", 413)
        assert problem["correlation_id"] == answer.headers["x-request-id"]
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert (await client.post(path_to(where), content=b"small")).json() == 5


@async_test
async def test_an_answer_of_the_apps_own_with_that_status_stays() -> None:
    app = limited("app")

    @app.post("/own")
    async def own() -> PlainTextResponse:
        return PlainTextResponse("mine", status_code=413)

    async with running(app) as client:
        answer = await client.post("/own", content=b"x")
        assert (answer.status_code, answer.text) == (413, "mine")


@async_test
async def test_where_nothing_is_limited_nothing_is_in_the_way() -> None:
    app = limited("nowhere")
    assert not limits_bodies(app)
    async with running(app) as client:
        assert (await client.post("/app", content=b"x" * 100)).json() == 100
    assert installed(app).layers == []


@async_test
async def test_what_is_no_http_passes() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(send)

    async def nothing(*_: Any) -> Any: ...

    await BodyLimitProblems(app)({"type": "websocket"}, nothing, nothing)
    assert seen == [nothing]


@async_test
async def test_an_answer_in_pieces_stays_as_it_is() -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": []})
        await send({"type": "http.response.body", "body": b"Content Too Large", "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def take(message: Any) -> None:
        sent.append(message)

    async def nothing() -> Any: ...

    await BodyLimitProblems(app)({"type": "http"}, nothing, take)
    assert [each["type"] for each in sent] == ["http.response.start", *["http.response.body"] * 2]
    assert json.dumps(sent[0]["headers"]) == "[]"
