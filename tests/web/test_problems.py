"""What a client hears of an error: RFC 9457, and nothing of the inside."""

import json
import logging
import re
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import PlainTextResponse

from backstay import errors
from backstay.errors import (
    BackstayError,
    GrantRefused,
    ItemError,
    LimitsUnavailable,
    MissingExtra,
    NotAllowed,
    NotAuthenticated,
    NotInstalled,
    RateLimited,
    TooManyTasks,
)
from backstay.testing import running
from backstay.web import install, problem_response
from tests.support import async_test
from tests.web.by_hand import ByHand

SECRET = "host=10.0.0.7 password=hush"


def new(cls: type[BackstayError]) -> BackstayError:
    if cls is MissingExtra:
        return MissingExtra("testing", SECRET)
    # What these are told is for the client, and says so.
    if cls is GrantRefused:
        return GrantRefused("invalid_grant", "The code was used before.")
    if cls is RateLimited:
        return RateLimited(retry_after_s=7, headers={"RateLimit": "limit=3"})
    told = issubclass(cls, ItemError | NotAllowed | NotAuthenticated)
    return cls("There is no such item." if told else SECRET)


ERRORS: list[BackstayError] = [new(getattr(errors, name)) for name in errors.__all__]


def body_of(response: Any) -> dict[str, Any]:
    content = json.loads(response.body)
    assert isinstance(content, dict)
    return content


def test_a_problem_has_the_members_of_the_standard() -> None:
    response = problem_response(409, "The order was paid already.")
    assert response.status_code == 409
    assert response.headers["content-type"] == "application/problem+json"
    assert body_of(response) == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "The order was paid already.",
    }


def test_a_problem_may_say_more() -> None:
    response = problem_response(
        429,
        "Three orders a minute.",
        title="Too eager",
        type_uri="https://example.org/problems/eager",
        instance="/orders",
        headers={"Retry-After": "20"},
    )
    assert response.headers["retry-after"] == "20"
    assert body_of(response) == {
        "type": "https://example.org/problems/eager",
        "title": "Too eager",
        "status": 429,
        "detail": "Three orders a minute.",
        "instance": "/orders",
    }


@async_test
async def test_a_problem_carries_the_id_of_the_request_it_answers() -> None:
    app = FastAPI()
    install(app)

    @app.get("/")
    async def endpoint() -> Any:
        return problem_response(409, "The order was paid already.")

    async with running(app) as client:
        answer = await client.get("/", headers={"X-Request-ID": "abc"})
    assert answer.json()["correlation_id"] == "abc" == answer.headers["X-Request-ID"]


def expected_problem(error: BackstayError, path: str) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": error.title,
        "status": error.status,
        "detail": error.public_detail,
        "instance": path,
        "correlation_id": "abc",
        **error.public_members,
    }


def without_this_times(problem: dict[str, Any]) -> dict[str, Any]:
    """What is the same each time; the rest is looked at, and left out."""
    assert re.fullmatch("[0-9a-f]{32}", problem.pop("error_id"))
    assert datetime.fromisoformat(problem.pop("datetime")).utcoffset() is not None
    return problem


async def check_answer(app: FastAPI, path: str, error: BackstayError) -> None:
    """One request, which must be answered by what the error's class says in public."""
    async with running(app) as client:  # raises what was not handled
        answer = await client.get(path, headers={"X-Request-ID": "abc"})
    assert answer.status_code == error.status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.get("retry-after") == (
        None if error.retry_after_s is None else str(error.retry_after_s)
    )
    for name, value in error.public_headers.items():
        assert answer.headers[name] == value
    assert without_this_times(answer.json()) == expected_problem(error, path)
    assert "hush" not in answer.text


def raising(app: FastAPI | APIRouter, error: Exception) -> None:
    @app.get("/")
    async def endpoint() -> None:
        raise error


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@async_test
async def test_an_error_of_backstays_is_answered_without_its_inside(error: BackstayError) -> None:
    app = FastAPI()
    install(app)
    raising(app, error)
    await check_answer(app, "/", error)


@async_test
async def test_an_error_in_a_sync_endpoint_is_answered_the_same() -> None:
    app, error = FastAPI(), TooManyTasks(SECRET)
    install(app)

    @app.get("/")
    def endpoint() -> None:
        raise error

    await check_answer(app, "/", error)


@pytest.mark.parametrize("where", ["before", "at exit"])
@async_test
async def test_an_error_in_a_dependency_is_answered_the_same(where: str) -> None:
    app, error = FastAPI(), TooManyTasks(SECRET)
    install(app)

    async def dependency() -> AsyncIterator[None]:
        if where == "before":
            raise error
        yield
        raise error

    @app.get("/")
    async def endpoint(_: Annotated[None, Depends(dependency, scope="function")]) -> None: ...

    await check_answer(app, "/", error)


@pytest.mark.parametrize("mounted_first", [True, False])
@async_test
async def test_an_error_in_a_mounted_app_is_answered_the_same(mounted_first: bool) -> None:
    app, between, inner, error = FastAPI(), FastAPI(), FastAPI(), TooManyTasks(SECRET)
    if not mounted_first:
        install(app)
    app.mount("/between", between)
    between.mount("/inner", inner)
    if mounted_first:
        install(app)
    raising(inner, error)
    await check_answer(app, "/between/inner/", error)


@async_test
async def test_an_error_in_an_app_mounted_on_a_router_is_answered_the_same() -> None:
    app, router, inner, error = FastAPI(), APIRouter(), FastAPI(), TooManyTasks(SECRET)
    install(app)
    router.mount("/inner", inner)
    app.include_router(router)
    raising(inner, error)
    async with running(app) as client:
        if (await client.get("/inner/openapi.json")).status_code == 404:
            pytest.skip("this version of FastAPI leaves mounts out of included routers")
    await check_answer(app, "/inner/", error)


@async_test
async def test_an_error_in_an_included_router_is_answered_the_same() -> None:
    app, router, error = FastAPI(), APIRouter(prefix="/router"), TooManyTasks(SECRET)
    install(app)
    raising(router, error)
    app.include_router(router)
    await check_answer(app, "/router/", error)


class OutOfStock(BackstayError):
    """A user's own, in the same tree."""

    status = 409
    title: ClassVar[str] = "Out of stock"
    public_detail = "There is none left."
    retry_after_s = 3600


@async_test
async def test_a_users_own_subclass_says_its_own() -> None:
    app, error = FastAPI(), OutOfStock(SECRET)
    install(app)
    raising(app, error)
    await check_answer(app, "/", error)


@pytest.mark.parametrize("handled", [BackstayError, TooManyTasks])
@pytest.mark.parametrize("installed_first", [True, False])
@async_test
async def test_a_handler_of_the_users_wins(
    handled: type[BackstayError], installed_first: bool
) -> None:
    app = FastAPI()

    async def handler(request: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse("mine", status_code=418)

    if installed_first:
        install(app)
    app.add_exception_handler(handled, handler)
    if not installed_first:
        install(app)
    raising(app, TooManyTasks(SECRET))
    async with running(app) as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.text) == (418, "mine")


@async_test
async def test_a_handler_for_every_exception_does_not_get_what_backstay_answers() -> None:
    app, error = FastAPI(), TooManyTasks(SECRET)
    install(app)

    @app.exception_handler(Exception)
    async def last_resort(request: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse("last resort", status_code=500)

    raising(app, error)
    await check_answer(app, "/", error)


@pytest.mark.parametrize(
    ("path", "status", "content"),
    [
        ("/raised", 404, {"detail": "no such order"}),
        ("/nowhere", 404, {"detail": "Not Found"}),
    ],
)
@async_test
async def test_what_fastapi_answers_itself_keeps_fastapis_form(
    path: str, status: int, content: Mapping[str, Any]
) -> None:
    app = FastAPI()
    install(app)

    @app.get("/raised")
    async def endpoint() -> None:
        raise HTTPException(404, "no such order")

    async with running(app) as client:
        answer = await client.get(path)
    assert (answer.status_code, answer.json()) == (status, content)


@async_test
async def test_a_server_fault_that_the_client_is_not_told_is_told_to_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = FastAPI()
    install(app)
    raising(app, NotInstalled("ctx.cache is not switched on"))
    async with running(app, raise_app_exceptions=False) as client:
        assert (await client.get("/")).status_code == 500
    told = [
        record
        for record in caplog.records
        if record.levelno >= logging.ERROR
        and record.exc_info
        and "ctx.cache is not switched on" in str(record.exc_info[1])
    ]
    assert len(told) == 1


@pytest.mark.parametrize(
    ("error", "level"),
    [(TooManyTasks("full"), logging.WARNING), (LimitsUnavailable("away"), logging.DEBUG)],
    ids=lambda each: type(each).__name__,
)
@async_test
async def test_what_is_told_elsewhere_is_not_told_for_each_request(
    error: Exception, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "backstay.web")
    app = FastAPI()
    install(app)
    raising(app, error)
    async with running(app) as client:
        assert (await client.get("/")).status_code == 503
    assert [each.levelno for each in caplog.records if each.name == "backstay.web"] == [level]


def websocket_app(error: Exception, *, accepted: bool) -> FastAPI:
    app = FastAPI()
    install(app)

    @app.websocket("/")
    async def endpoint(websocket: WebSocket) -> None:
        if accepted:
            await websocket.accept()
        raise error

    return app


@async_test
async def test_a_websocket_is_denied_with_the_same_answer_where_the_server_can() -> None:
    error = TooManyTasks(SECRET)
    by_hand = ByHand(
        websocket_app(error, accepted=False),
        kind="websocket",
        headers={"X-Request-ID": "abc"},
        extensions={"websocket.http.response": {}},
    )
    start, *rest = await by_hand.run()
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 503)
    assert by_hand.header("retry-after") == ["5"]
    body = json.loads(b"".join(each["body"] for each in rest))
    assert without_this_times(body) == expected_problem(error, "/")


@async_test
async def test_a_websocket_is_closed_where_the_server_cannot_deny() -> None:
    by_hand = ByHand(websocket_app(TooManyTasks(SECRET), accepted=False), kind="websocket")
    assert [each["type"] for each in await by_hand.run()] == ["websocket.close"]


@pytest.mark.parametrize("extensions", [{}, {"websocket.http.response": {}}], ids=["old", "new"])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TooManyTasks(SECRET), 1013),  # try again later
        (RateLimited(SECRET, retry_after_s=1), 1013),
        (NotInstalled(SECRET), 1011),  # internal error
        (NotAllowed(SECRET), 1008),  # policy violation
    ],
    ids=lambda each: type(each).__name__,
)
@async_test
async def test_an_accepted_websocket_is_closed_with_a_code_that_says_what_to_do(
    error: Exception, code: int, extensions: Mapping[str, Any]
) -> None:
    by_hand = ByHand(websocket_app(error, accepted=True), kind="websocket", extensions=extensions)
    accepted, *rest = await by_hand.run()
    assert accepted["type"] == "websocket.accept"
    assert [(each["type"], each["code"]) for each in rest] == [("websocket.close", code)]
    assert "hush" not in str(rest)
