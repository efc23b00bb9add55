"""Every error answer of an app in one format, whoever raises it, and nothing of the inside."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import PlainTextResponse
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from backstay.errors import (
    AlreadyInstalled,
    BackstayError,
    BadPattern,
    NotAuthenticated,
    TooManyTasks,
)
from backstay.testing import FakeClock, running
from backstay.web import HTTPException403, add_problem_details, install
from backstay.web.error_handlers import answer_http_exception
from tests.support import async_test
from tests.web.by_hand import ByHand

PROBLEM = "application/problem+json"
SECRET = "postgresql://app:hush@10.0.0.7/orders"


class Login(BaseModel):
    name: str = Field(min_length=3)
    password: str = Field(min_length=12)


def make_app(**options: Any) -> FastAPI:
    app = FastAPI(**options)
    add_problem_details(app)

    @app.get("/items/{item_id}")
    async def item(item_id: int) -> dict[str, int]:
        return {"id": item_id}

    @app.post("/login")
    async def login(body: Login) -> None: ...

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError(SECRET)

    @app.get("/misshapen")
    async def misshapen() -> Login:
        return {"name": "a", "password": SECRET}  # type: ignore[return-value]  # the point

    return app


@asynccontextmanager
async def asking(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with running(app, raise_app_exceptions=False) as client:
        yield client


def problem_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The body of an answer that has to be a problem, with all that every problem has."""
    assert answer.status_code == status, answer.text
    assert answer.headers.get_list("content-type") == [PROBLEM]
    if answer.request.method == "HEAD":
        return {}
    problem = answer.json()
    assert isinstance(problem, dict)
    assert problem["status"] == status
    assert problem["type"] == "about:blank"
    for member in ("title", "detail", "instance"):
        assert problem[member]
        assert isinstance(problem[member], str)
    assert re.fullmatch("[0-9a-f]{32}", problem["error_id"])
    assert problem["correlation_id"] == answer.headers["x-request-id"]
    assert datetime.fromisoformat(problem["datetime"]).utcoffset() is not None
    return problem


def raising(error: Exception) -> Callable[[], Any]:
    async def endpoint() -> None:
        raise error

    return endpoint


# ------------------------------------------------------------------ who raises, and where


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("HEAD", "/nowhere", 404),
        ("POST", "/items/1", 405),
        ("DELETE", "/login", 405),
        ("GET", "/items/one", 422),
        ("POST", "/login", 422),
        ("GET", "/broken", 500),
        ("GET", "/misshapen", 500),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
@async_test
async def test_what_the_framework_answers_is_a_problem(
    method: str, path: str, status: int, debug: bool
) -> None:
    async with asking(make_app(debug=debug)) as client:
        answer = await client.request(method, path, headers={"Accept": "text/html"})
    assert problem_of(answer, status).get("instance", path) == path


@pytest.mark.parametrize(
    "error",
    [
        HTTPException(409, "There is one already."),
        StarletteHTTPException(409, "There is one already."),
        HTTPException403("There is one already."),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize(
    "where", ["endpoint", "sync", "dependency", "exit", "router", "middleware"]
)
@async_test
async def test_an_http_exception_is_a_problem_whoever_raises_it(
    error: StarletteHTTPException, where: str
) -> None:
    app = FastAPI()
    add_problem_details(app)

    async def dependency() -> AsyncIterator[None]:
        if where == "dependency":
            raise error
        yield
        if where == "exit":
            raise error

    async def endpoint(_: Annotated[None, Depends(dependency, scope="function")]) -> None:
        if where in {"endpoint", "router"}:
            raise error

    def sync_endpoint() -> None:
        raise error

    async def dispatch(request: Request, call_next: Any) -> Any:
        if where == "middleware":
            raise error
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
    owner: Any = APIRouter() if where == "router" else app
    owner.add_api_route("/x", sync_endpoint if where == "sync" else endpoint)
    if owner is not app:
        app.include_router(owner)
    async with asking(app) as client:
        problem = problem_of(await client.get("/x"), error.status_code)
    assert problem["detail"] == "There is one already."


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "with middleware"])
@pytest.mark.parametrize("first", [False, True], ids=["mounted later", "mounted first"])
@pytest.mark.parametrize("debug", [False, True])
@async_test
async def test_mounted_apps_at_any_depth_answer_the_same(
    wrapped: bool, first: bool, debug: bool
) -> None:
    app, between, inner = FastAPI(), FastAPI(), FastAPI()
    inner.debug = between.debug = debug
    inner.add_api_route("/broken", raising(RuntimeError(SECRET)))
    inner.add_api_route("/conflict", raising(HTTPException(409)))
    inner.add_api_route("/known", raising(TooManyTasks(SECRET)))

    @inner.get("/items/{item_id}")
    async def item(item_id: int) -> None: ...

    def mount() -> None:
        app.mount("/between", between)
        between.router.routes.append(
            Mount("/inner", inner, middleware=[Middleware(GZipMiddleware)] if wrapped else None)
        )

    if first:
        mount()
    add_problem_details(app)
    if not first:
        mount()
    async with asking(app) as client:
        for path, status in {
            "/broken": 500,
            "/conflict": 409,
            "/known": 503,
            "/items/one": 422,
            "/nowhere": 404,
        }.items():
            answer = await client.get(f"/between/inner{path}")
            assert problem_of(answer, status)["instance"] == f"/between/inner{path}"
            assert "hush" not in answer.text
        problem_of(await client.get("/between/nowhere"), 404)
        problem_of(await client.post("/between/inner/broken"), 405)


@async_test
async def test_a_mounted_app_of_starlettes_answers_the_same() -> None:
    async def broken(request: Request) -> PlainTextResponse:
        raise RuntimeError(SECRET)

    app = FastAPI()
    app.mount("/inner", Starlette(debug=True, routes=[Route("/broken", broken)]))
    add_problem_details(app)
    async with asking(app) as client:
        problem_of(await client.get("/inner/broken"), 500)
        problem_of(await client.get("/inner/nowhere"), 404)
        problem_of(await client.post("/inner/broken"), 405)


@async_test
async def test_static_files_that_are_not_there_are_problems(tmp_path: Path) -> None:
    (tmp_path / "there.txt").write_text("here")
    app = FastAPI()
    add_problem_details(app)
    app.mount("/static", StaticFiles(directory=tmp_path))
    async with asking(app) as client:
        assert (await client.get("/static/there.txt")).text == "here"
        problem_of(await client.get("/static/gone.txt"), 404)
        problem_of(await client.get("/static/%2e%2e/%2e%2e/etc/passwd"), 404)
        problem_of(await client.post("/static/there.txt"), 405)


@async_test
async def test_an_app_that_was_mounted_twice_or_has_its_own_style_keeps_working() -> None:
    app, inner = FastAPI(), FastAPI()
    add_problem_details(inner, docs_url="https://inner.example/{status}")
    inner.add_api_route("/broken", raising(RuntimeError(SECRET)))
    app.mount("/a", inner)
    app.mount("/b", inner)
    add_problem_details(app)
    async with asking(app) as client:
        for path in ("/a/broken", "/b/broken"):
            answer = await client.get(path)
            assert answer.status_code == 500
            assert answer.json()["type"] == "https://inner.example/500"
        assert (await client.get("/nowhere")).json()["type"] == "about:blank"


# ------------------------------------------------------------------ nothing of the inside


@pytest.mark.parametrize("path", ["/broken", "/misshapen"])
@async_test
async def test_a_fault_tells_nothing_of_the_inside(path: str) -> None:
    async with asking(make_app()) as client:
        answer = await client.get(path)
    problem = problem_of(answer, 500)
    assert problem["detail"] == "The server could not finish this request."
    assert set(problem) == {
        *("type", "title", "status", "detail", "instance"),
        *("error_id", "correlation_id", "datetime"),
    }
    for inside in ("hush", "RuntimeError", ".py", "Traceback"):
        assert inside not in answer.text


@async_test
async def test_an_invalid_request_is_not_repeated() -> None:
    async with asking(make_app()) as client:
        answer = await client.post("/login", json={"name": "al", "password": "tr0ub4dor"})
    problem = problem_of(answer, 422)
    assert "tr0ub4dor" not in answer.text
    assert [each["loc"] for each in problem["errors"]] == [["body", "name"], ["body", "password"]]
    assert all(set(each) == {"loc", "msg", "type"} for each in problem["errors"])
    assert problem["detail"].startswith("The request will not do: body.name: String should have")


@async_test
async def test_a_very_long_name_is_not_repeated_in_the_sentence() -> None:
    app = FastAPI()
    add_problem_details(app)

    @app.post("/")
    async def endpoint(numbers: dict[str, int]) -> None: ...

    async with asking(app) as client:
        problem = problem_of(await client.post("/", json={"k" * 100_000: "x"}), 422)
    assert len(problem["detail"]) < 500


@async_test
async def test_of_very_many_errors_a_hundred_are_told() -> None:
    app = FastAPI()
    add_problem_details(app)

    @app.post("/")
    async def endpoint(numbers: list[int]) -> None: ...

    async with asking(app) as client:
        problem = problem_of(await client.post("/", json=["x"] * 5000), 422)
    assert len(problem["errors"]) == 100
    assert problem["detail"].endswith("And 4995 more.")


@async_test
async def test_debug_mode_shows_the_traceback_and_the_request_with_secrets_masked() -> None:
    async with asking(make_app(debug=True)) as client:
        problem = problem_of(
            await client.get("/broken?page=2&api_key=s3same", headers={"User-Agent": "browser"}),
            500,
        )
        invalid = problem_of(await client.post("/login", json={"name": "al"}), 422)
    assert any("RuntimeError: postgresql" in line for line in problem["traceback"])
    assert problem["request"] == {
        "method": "GET",
        "path": "/broken",
        "query": "page=2&api_key=***",
        "host": "testserver",
        "user_agent": "browser",
        "client": "127.0.0.1",
    }
    assert invalid["errors"][0]["input"] == "al"


@pytest.mark.parametrize(
    ("outer", "inner", "shown"), [(False, True, False), (True, False, True)], ids=str
)
@async_test
async def test_the_outermost_app_says_whether_it_is_in_debug_mode(
    outer: bool, inner: bool, shown: bool
) -> None:
    app, mounted = FastAPI(debug=outer), FastAPI(debug=inner)
    add_problem_details(mounted)
    mounted.add_api_route("/broken", raising(RuntimeError(SECRET)))
    app.mount("/inner", mounted)
    add_problem_details(app)
    async with asking(app) as client:
        problem = problem_of(await client.get("/inner/broken"), 500)
    assert ("traceback" in problem) is shown


@async_test
async def test_the_debug_mode_of_the_apps_state_comes_before_the_apps_own() -> None:
    app = make_app(debug=True)
    app.state.DEBUG = False
    async with asking(app) as client:
        assert "traceback" not in problem_of(await client.get("/broken"), 500)
    assert app.debug, "it is only kept from Starlette"


# ------------------------------------------------------------------ requests of all kinds


@pytest.mark.parametrize("path", ["/nowhere", "/items/one", "/broken"])
@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        {"client": None},
        {"client": None, "server": ("/run/app.sock", None)},
        {"server": None, "client": None},
        {"headers": [(b"host", b"[")]},
        {"headers": [(b"host", b"\xff\xfe:x")]},
        {"query_string": b"\xff\xfe=%"},
        {"query_string": b"token=a&token=b&=&&"},
    ],
    ids=repr,
)
@async_test
async def test_a_request_may_lack_a_host_and_a_client_or_have_odd_ones(
    path: str, debug: bool, change: dict[str, Any]
) -> None:
    by_hand = ByHand(make_app(debug=debug), path)  # it sends no Host header
    by_hand.scope |= change
    try:
        start, *rest = await by_hand.run()
    except RuntimeError:  # the server's to log
        start, *rest = by_hand.sent
    assert start["status"] in {404, 422, 500}
    body = json.loads(b"".join(each["body"] for each in rest))
    assert body["status"] == start["status"]
    assert by_hand.header("content-type") == [PROBLEM]


@async_test
async def test_a_path_may_have_odd_characters() -> None:
    async with asking(make_app()) as client:
        answer = await client.get("/caf%C3%A9/%0d%0aX:%20y/%ff?token=hush")
    problem = problem_of(answer, 404)
    assert problem["instance"] == "/caf%C3%A9/%0D%0AX:%20y/%EF%BF%BD"
    assert "hush" not in answer.text


@async_test
async def test_the_instance_has_the_root_path() -> None:
    for path in ("/nowhere", "/api/nowhere"):
        by_hand = ByHand(make_app(), path)
        by_hand.scope["root_path"] = "/api"
        _, body = await by_hand.run()
        assert json.loads(body["body"])["instance"] == "/api/nowhere"


@async_test
async def test_the_time_is_in_the_services_zone() -> None:
    app, clock = FastAPI(), FakeClock()
    install(app, clock=clock)
    add_problem_details(app)
    app.state.TIMEZONE = ZoneInfo("Asia/Tokyo")
    async with asking(app) as client:
        problem = (await client.get("/nowhere")).json()
        told = datetime.fromisoformat(problem["datetime"])
        assert told == clock.now()
        assert problem["datetime"].endswith("+09:00")
        app.state.TIMEZONE = 9
        assert problem_of(await client.get("/nowhere"), 404)["datetime"].endswith("+00:00")


# ------------------------------------------------------------------ what exceptions carry


async def told_of(error: Exception) -> httpx.Response:
    app = FastAPI()
    add_problem_details(app)
    app.add_api_route("/", raising(error))
    async with asking(app) as client:
        return await client.get("/")


class Unprintable:
    def __str__(self) -> str:
        raise ValueError(SECRET)


MEMBERS = ("type", "title", "status", "detail", "message", "instance", "error_id", "traceback")

LOOP: dict[str, Any] = {"detail": "round"}
LOOP["again"] = LOOP


@pytest.mark.parametrize(
    ("detail", "says", "members"),
    [
        ("text", "text", {}),
        (None, "Bad Request", {}),
        ("", "Bad Request", {}),
        (17, "17", {}),
        ({"detail": "text", "left": 3}, "text", {"left": 3}),
        ({"message": "text", "code": "E7"}, "text", {"code": "E7"}),
        ({"code": "E7"}, "Bad Request", {"code": "E7"}),
        ({"detail": "text", "status": 200, "type": "x", "error_id": "y"}, "text", {}),
        (["a", {"b": 1}], "Bad Request", {"errors": ["a", {"b": 1}]}),
        (Login.model_construct(name="al"), "Bad Request", {"name": "al"}),
        ({"detail": "x", "nan": float("nan"), "when": {1}}, "x", {"nan": "nan", "when": [1]}),
        ({"detail": "x", "odd": Unprintable()}, "x", {"odd": "<Unprintable>"}),
        ({"detail": "x", "huge": 10**5000}, "x", None),
        ("lone \ud800 surrogate", "lone ? surrogate", {}),
        (LOOP, "round", None),
    ],
    ids=lambda each: str(type(each).__name__),
)
@async_test
async def test_the_detail_of_an_exception_may_be_anything(
    detail: Any, says: str, members: dict[str, Any] | None
) -> None:
    problem = problem_of(await told_of(HTTPException(400, detail)), 400)
    assert problem["detail"] == says
    standard = ("type", "title", "status", "detail", "instance", "error_id", "correlation_id")
    more = {name: problem[name] for name in problem if name not in (*standard, "datetime")}
    assert members is None or more == members


@pytest.mark.parametrize("status", [401, 405, 429, 503])
@async_test
async def test_the_headers_of_an_exception_are_kept(status: int) -> None:
    headers = {"WWW-Authenticate": "Basic", "Allow": "GET", "Retry-After": "7", "X-Own": "1"}
    answer = await told_of(HTTPException(status, headers=headers))
    problem_of(answer, status)
    assert {name: answer.headers[name] for name in headers} == headers


@async_test
async def test_the_headers_of_an_exception_cannot_break_the_answer() -> None:
    headers: Any = {
        "X-Split": "a\r\nSet-Cookie: admin=1",
        "X-Cyrillic": "привет",
        "X Bad Name": "1",
        "X-Number": 5,
        "X-None": None,
        "Content-Type": "text/html",
        "Content-Length": "1",
    }
    answer = await told_of(HTTPException(400, headers=headers))
    problem_of(answer, 400)
    assert answer.headers["x-split"] == "a Set-Cookie: admin=1"
    assert (answer.headers["x-cyrillic"], answer.headers["x-number"]) == ("??????", "5")
    assert "set-cookie" not in answer.headers
    assert "x-none" not in answer.headers
    assert int(answer.headers["content-length"]) == len(answer.content)


@given(
    status=st.sampled_from([400, 401, 404, 422, 500, 503]),
    detail=st.recursive(
        st.none() | st.text(st.characters(codec=None)) | st.floats() | st.binary() | st.integers(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(MEMBERS), inner)
        ),
        max_leaves=8,
    ),
    headers=st.dictionaries(st.text() | st.just("X-Own"), st.text(st.characters(codec=None))),
    path=st.text(st.characters(codec=None)),
)
def test_whatever_an_exception_carries_is_answered(
    status: int, detail: Any, headers: dict[str, str], path: str
) -> None:
    request = Request({"type": "http", "method": "GET", "path": path, "headers": []})
    answer = asyncio.run(answer_http_exception(request, HTTPException(status, detail, headers)))
    assert answer is not None
    problem = json.loads(answer.body)
    assert (problem["status"], answer.status_code) == (status, status)
    assert isinstance(problem["detail"], str)
    assert problem["type"] == "about:blank"
    assert all(not set(b"\r\n\0") & set(name + value) for name, value in answer.raw_headers)


@pytest.mark.parametrize("status", [204, 304])
@async_test
async def test_a_status_without_a_body_has_none(status: int) -> None:
    answer = await told_of(HTTPException(status, headers={"ETag": '"7"'}))
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (status, b"", '"7"')
    assert "content-type" not in answer.headers


@async_test
async def test_a_redirect_is_no_problem() -> None:
    answer = await told_of(HTTPException(307, headers={"Location": "/login"}))
    assert (answer.status_code, answer.headers["location"]) == (307, "/login")
    assert answer.headers["content-type"] == "application/json"


@async_test
async def test_an_error_of_backstays_says_what_it_says_in_public() -> None:
    answer = await told_of(NotAuthenticated("Log in first."))
    assert problem_of(answer, 401)["detail"] == "Log in first."
    assert answer.headers["www-authenticate"] == "Bearer"


# ------------------------------------------------------------------ titles and types


@async_test
async def test_titles_and_types_are_the_apps_own() -> None:
    app = FastAPI()
    titles = {"de": {404: "Nicht gefunden", 503: "Gleich wieder da"}}
    add_problem_details(app, titles=titles, docs_url="https://example.com/problems/{status}")
    app.add_api_route("/known", raising(TooManyTasks("")))
    app.add_api_route("/own", raising(HTTPException403(title="Not yours", type_uri="tag:x")))
    async with asking(app) as client:
        client.headers["Accept-Language"] = "de-AT, en;q=0.5"
        gone = await client.get("/nowhere")
        assert gone.json()["title"] == "Nicht gefunden"
        assert gone.json()["type"] == "https://example.com/problems/404"
        assert (gone.headers["content-language"], gone.headers["vary"]) == ("de", "Accept-Language")
        assert (await client.get("/known")).json()["title"] == "Gleich wieder da"
        own = await client.get("/own")
        assert (own.json()["title"], own.json()["type"]) == ("Not yours", "tag:x")
        plain = await client.get("/nowhere", headers={"Accept-Language": "en"})
        assert (plain.json()["title"], plain.headers["content-language"]) == ("Not Found", "en")


@pytest.mark.parametrize(
    "options",
    [
        {"docs_url": "https://example.com/{code}"},
        {"docs_url": "https://example.com/{"},
        {"docs_url": 7},
        {"titles": {"german!": {404: "x"}}},
        {"titles": {"de": {200: "x"}}},
        {"titles": {"de": {404: ""}}},
        {"titles": {"de": "x"}},
    ],
    ids=repr,
)
def test_titles_and_types_that_could_never_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadPattern):
        add_problem_details(FastAPI(), **options)


# ------------------------------------------------------------------ handlers of the app's own


async def mine(request: Request, error: Exception) -> PlainTextResponse:
    return PlainTextResponse("mine", status_code=418)


@pytest.mark.parametrize("later", [False, True], ids=["registered first", "registered later"])
@pytest.mark.parametrize(
    ("handled", "raised"),
    [
        (404, HTTPException(404)),
        (HTTPException, HTTPException(400)),
        (StarletteHTTPException, HTTPException(400)),
        (HTTPException403, HTTPException403()),
        (LookupError, KeyError("x")),
        (BackstayError, TooManyTasks("")),
        (500, RuntimeError("x")),
        (Exception, RuntimeError("x")),
    ],
    ids=lambda each: repr(each),
)
@pytest.mark.parametrize("debug", [False, True])
@async_test
async def test_a_handler_of_the_apps_own_comes_first(
    later: bool, handled: Any, raised: Exception, debug: bool
) -> None:
    app = FastAPI(debug=debug, exception_handlers=None if later else {handled: mine})
    add_problem_details(app)
    if later:
        app.add_exception_handler(handled, mine)
    app.add_api_route("/", raising(raised))
    async with asking(app) as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.text) == (418, "mine")


@async_test
async def test_a_handler_of_the_apps_own_for_invalid_requests_comes_first() -> None:
    from fastapi.exceptions import RequestValidationError

    app = make_app()
    app.add_exception_handler(RequestValidationError, mine)
    async with asking(app) as client:
        assert (await client.get("/items/one")).status_code == 418
        problem_of(await client.get("/nowhere"), 404)


# ------------------------------------------------------------------ logs


@async_test
async def test_the_id_of_the_error_leads_to_its_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "backstay.web")
    app = make_app()
    app.add_api_route("/busy", raising(TooManyTasks(SECRET)))
    async with asking(app) as client:
        for path, status, level in (
            ("/broken", 500, "ERROR"),
            ("/busy", 503, "WARNING"),
            ("/nowhere", 404, "DEBUG"),
            ("/items/one", 422, "DEBUG"),
        ):
            caplog.clear()
            problem = (await client.get(path)).json()
            lines = [each for each in caplog.records if problem["error_id"] in each.getMessage()]
            assert [each.levelname for each in lines] == [level]
            assert lines[0].__dict__["correlation_id"] == problem["correlation_id"]
            assert bool(lines[0].exc_info) is (status == 500)


@async_test
async def test_a_path_cannot_forge_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "backstay.web")
    app = FastAPI()
    add_problem_details(app)

    @app.get("/{name:path}")
    async def endpoint(name: str) -> None:
        raise HTTPException(404, f"no {name}")

    async with asking(app) as client:
        await client.get("/x%0AERROR%20all%20is%20lost")
    assert caplog.records
    assert all("\n" not in each.getMessage() for each in caplog.records)


@pytest.mark.parametrize("inner_answers", [False, True])
@async_test
async def test_a_fault_in_a_mounted_app_is_told_once(
    inner_answers: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app, inner = FastAPI(), FastAPI()
    inner.add_api_route("/broken", raising(RuntimeError(SECRET)))
    if inner_answers:
        inner.add_exception_handler(Exception, mine)
    app.mount("/inner", inner)
    add_problem_details(app)
    async with asking(app) as client:
        answer = await client.get("/inner/broken")
    assert answer.status_code == (418 if inner_answers else 500)
    told = [each for each in caplog.records if "was answered with 500" in each.getMessage()]
    assert len(told) == (0 if inner_answers else 1)


@async_test
async def test_an_answer_that_breaks_off_is_nobodys_to_replace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = FastAPI()
    add_problem_details(app)

    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        raise RuntimeError(SECRET)

    @app.get("/")
    async def endpoint() -> StreamingResponse:
        return StreamingResponse(parts())

    by_hand = ByHand(app)
    with pytest.raises(RuntimeError, match="hush"):
        await by_hand.run()
    assert by_hand.sent[0]["status"] == 200
    assert not [each for each in caplog.records if "was answered with" in each.getMessage()]


@async_test
async def test_the_server_hears_of_a_fault_all_the_same() -> None:
    async with running(make_app()) as client:
        with pytest.raises(RuntimeError, match="hush"):
            await client.get("/broken")


# ------------------------------------------------------------------ WebSockets


def websocket_app(error: Exception | None, *, accepted: bool = False) -> FastAPI:
    app = FastAPI()
    add_problem_details(app)

    @app.websocket("/")
    async def endpoint(websocket: WebSocket, number: int = 0) -> None:
        if accepted:
            await websocket.accept()
        if error is not None:
            raise error

    return app


@pytest.mark.parametrize(
    ("status", "code"),
    [(403, 1008), (429, 1013), (500, 1011), (503, 1013)],
    ids=lambda each: str(each),
)
@async_test
async def test_an_http_exception_denies_or_closes_a_websocket(status: int, code: int) -> None:
    error = HTTPException(status, "no")
    denied = ByHand(
        websocket_app(error), kind="websocket", extensions={"websocket.http.response": {}}
    )
    start, *rest = await denied.run()
    assert (start["type"], start["status"]) == ("websocket.http.response.start", status)
    assert json.loads(b"".join(each["body"] for each in rest))["detail"] == "no"
    closed = ByHand(websocket_app(error), kind="websocket")
    assert [(each["type"], each["code"]) for each in await closed.run()] == [
        ("websocket.close", code)
    ]
    late = ByHand(websocket_app(error, accepted=True), kind="websocket")
    assert [each["type"] for each in await late.run()] == ["websocket.accept", "websocket.close"]


@async_test
async def test_an_invalid_websocket_is_denied_or_closed_without_repeating_it() -> None:
    denied = ByHand(
        websocket_app(None), kind="websocket", extensions={"websocket.http.response": {}}
    )
    denied.scope["query_string"] = b"number=hush"
    start, *rest = await denied.run()
    assert start["status"] == 422
    assert b"hush" not in b"".join(each["body"] for each in rest)
    closed = ByHand(websocket_app(None), kind="websocket")
    closed.scope["query_string"] = b"number=hush"
    sent = await closed.run()
    assert sent[0]["code"] == 1008
    assert "hush" not in str(sent)


# ------------------------------------------------------------------ switching it on


def test_switching_it_on_twice_is_harmless() -> None:
    app = FastAPI()
    add_problem_details(app, docs_url="https://example.com/{status}")
    add_problem_details(app, docs_url="https://example.com/{status}")
    with pytest.raises(AlreadyInstalled, match="call it once, with all its options"):
        add_problem_details(app)


@async_test
async def test_switching_it_on_after_the_start_is_refused() -> None:
    app = FastAPI()
    install(app)
    async with running(app):
        with pytest.raises(RuntimeError, match="call it where the app is made"):
            add_problem_details(app)


def test_it_needs_an_app() -> None:
    with pytest.raises(TypeError, match="needs a FastAPI app"):
        add_problem_details(APIRouter())  # type: ignore[arg-type]  # the point


@async_test
async def test_an_app_of_starlettes_may_have_it() -> None:
    async def broken(request: Request) -> PlainTextResponse:
        raise RuntimeError(SECRET)

    app = Starlette(routes=[Route("/broken", broken)])
    add_problem_details(app)
    for path, status in (("/broken", 500), ("/nowhere", 404)):
        by_hand = ByHand(app, path)
        try:
            await by_hand.run()
        except RuntimeError:
            pass
        assert by_hand.sent[0]["status"] == status
        assert by_hand.header("content-type") == [PROBLEM]


@async_test
async def test_a_client_that_leaves_within_its_body_is_no_failure_of_the_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = FastAPI()

    @app.post("/read")
    async def read(request: Request) -> int:
        return len(await request.body())

    add_problem_details(app)
    by_hand = ByHand(app, "/read")
    by_hand.scope["method"] = "POST"
    by_hand.replace_request(
        {"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.disconnect"}
    )
    with pytest.raises(ClientDisconnect):
        await by_hand.run()
    assert by_hand.sent[0]["status"] == 400
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []
