"""The layers around an app: on every answer, in the right order, around nothing."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from backstay.pattern import base_pattern, body_limits
from backstay.testing import running
from tests.support import async_test
from tests.web.by_hand import ByHand

HOME = "https://shop.example"
EXPECTED = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def make_app(**options: Any) -> FastAPI:
    app = FastAPI()

    @app.get("/ok")
    async def ok() -> int:
        return 1

    @app.get("/number/{number}")
    async def number(number: int) -> int:
        return number

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("on purpose")

    @app.post("/read")
    async def read(request: Request) -> int:
        return len(await request.body())

    @app.post("/large")
    @body_limits(max_bytes=1000)
    async def large(request: Request) -> int:
        return len(await request.body())

    @app.get("/own")
    async def own() -> JSONResponse:
        return JSONResponse(1, headers={"X-Frame-Options": "SAMEORIGIN"})

    @app.websocket("/socket")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    sub_app = FastAPI()
    sub_app.get("/broken")(broken)
    sub_app.post("/read")(read)
    app.mount("/sub", sub_app)

    async def plain(_: Request) -> Response:
        return PlainTextResponse("plain")

    app.mount("/starlette", Starlette(routes=[Route("/plain", plain)]))
    base_pattern(app, **options)
    return app


EVERY_ANSWER = [
    ("GET", "/ok", 200),
    ("HEAD", "/ok", 405),
    ("POST", "/ok", 405),
    ("GET", "/number/many", 422),
    ("GET", "/broken", 500),
    ("GET", "/nowhere", 404),
    ("GET", "/ok/", 307),
    ("GET", "/sub/broken", 500),
    ("GET", "/sub/nowhere", 404),
    ("GET", "/starlette/plain", 200),
    ("GET", "/starlette/nowhere", 404),
    ("GET", "/docs", 200),
    ("GET", "/openapi.json", 200),
    ("GET", "/livez", 200),
    ("OPTIONS", "/ok", 405),
]


@pytest.mark.parametrize(("method", "path", "status"), EVERY_ANSWER)
@async_test
async def test_every_answer_has_every_header_once(method: str, path: str, status: int) -> None:
    app = make_app(origins=[HOME], hsts=60)
    async with running(app, raise_app_exceptions=False) as client:
        answer = await client.request(method, path, headers={"Origin": HOME})
    assert answer.status_code == status
    for name, value in {**EXPECTED, "strict-transport-security": "max-age=60"}.items():
        assert answer.headers.get_list(name) == [value]
    assert len(answer.headers.get_list("content-security-policy")) == 1
    assert answer.headers.get_list("access-control-allow-origin") == [HOME]
    assert "x-powered-by" not in answer.headers


@pytest.mark.parametrize(("method", "path", "status"), EVERY_ANSWER)
@async_test
async def test_a_stranger_may_read_none_of_them(method: str, path: str, status: int) -> None:
    app = make_app(origins=[HOME])
    async with running(app, raise_app_exceptions=False) as client:
        answer = await client.request(method, path, headers={"Origin": "https://evil.example"})
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers
    assert "access-control-allow-credentials" not in answer.headers


@async_test
async def test_refusals_can_be_read_by_whoever_may_read() -> None:
    app = make_app(origins=[HOME], allowed_hosts=["testserver"], max_body_bytes=10)
    async with running(app) as client:
        origin = {"Origin": HOME}
        refused = [
            await client.post("/read", content=b"x" * 11, headers=origin),
            await client.get("/ok", headers={**origin, "Host": "evil.example"}),
        ]
    assert [each.status_code for each in refused] == [413, 400]
    for each in refused:
        assert each.headers["access-control-allow-origin"] == HOME
        assert each.headers["content-type"] == "application/problem+json"
        assert each.json()["correlation_id"] == each.headers["x-request-id"]
        assert each.headers["x-frame-options"] == "DENY"


@async_test
async def test_without_origins_nothing_is_said_of_them() -> None:
    async with running(make_app()) as client:
        for headers in ({}, {"Origin": HOME}):
            answer = await client.get("/ok", headers=headers)
            assert not [each for each in answer.headers if each.startswith("access-control")]
            assert "vary" not in answer.headers


@async_test
async def test_everybody_is_told_always_and_never_with_credentials() -> None:
    async with running(make_app(origins=["*"]), raise_app_exceptions=False) as client:
        for headers in ({}, {"Origin": HOME}, {"Origin": "null", "Cookie": "a=b"}):
            for path in ("/ok", "/broken", "/nowhere"):
                answer = await client.get(path, headers=headers)
                assert answer.headers.get_list("access-control-allow-origin") == ["*"]
                assert "access-control-allow-credentials" not in answer.headers


@async_test
async def test_named_origins_are_something_that_answers_vary_by() -> None:
    async with running(make_app(origins=[HOME])) as client:
        for headers in ({}, {"Origin": HOME}, {"Origin": "https://evil.example"}):
            assert (await client.get("/ok", headers=headers)).headers["vary"] == "Origin"


@async_test
async def test_answers_own_headers_win() -> None:
    async with running(make_app()) as client:
        answer = await client.get("/own")
    assert answer.headers.get_list("x-frame-options") == ["SAMEORIGIN"]


@async_test
async def test_pages_of_the_documentation_go_on_working() -> None:
    async with running(make_app()) as client:
        for path in ("/docs", "/redoc", "/docs/oauth2-redirect"):
            headers = (await client.get(path)).headers
            assert "default-src" not in headers["content-security-policy"]
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cross-origin-opener-policy"] == "unsafe-none"
        headers = (await client.get("/docs")).headers
        assert headers["cross-origin-opener-policy"] == "same-origin-allow-popups"
        headers = (await client.get("/redoc")).headers
        assert headers["cross-origin-opener-policy"] == "same-origin"


@async_test
async def test_documentation_that_is_not_there_needs_nothing() -> None:
    app = FastAPI(docs_url=None)
    base_pattern(app)
    async with running(app) as client:
        assert (await client.get("/docs")).status_code == 404


@async_test
async def test_bodies_are_bounded_everywhere_whatever_middlewares_come_later() -> None:
    app = make_app(max_body_bytes=10)

    class Reads(BaseHTTPMiddleware):
        async def dispatch(
            self, request: Request, call_next: Callable[[Request], Awaitable[Response]]
        ) -> Response:
            if request.url.path != "/large":
                await request.body()
            return await call_next(request)

    app.add_middleware(Reads)
    async with running(app) as client:
        for path in ("/read", "/sub/read"):
            assert (await client.post(path, content=b"x" * 10)).text == "10"
            assert (await client.post(path, content=b"x" * 11)).status_code == 413
        assert (await client.post("/large", content=b"x" * 11)).text == "11"
        assert (await client.post("/large", content=b"x" * 1001)).status_code == 413


@async_test
async def test_a_routes_own_bounds_hold_where_the_app_has_none() -> None:
    app = make_app(max_body_bytes=None, body_timeout_s=None)
    async with running(app) as client:
        assert (await client.post("/read", content=b"x" * 2000)).json() == 2000
        assert (await client.post("/large", content=b"x" * 2000)).status_code == 413
        assert (await client.post("/large", content=b"x" * 1000)).json() == 1000


@async_test
async def test_probes_are_answered_under_any_name() -> None:
    app = make_app(allowed_hosts=["shop.example"])
    async with running(app) as client:
        headers = {"Host": "10.0.0.1:8000"}
        assert (await client.get("/livez", headers=headers)).status_code == 200
        assert (await client.get("/readyz", headers=headers)).status_code == 200
        assert (await client.get("/healthcheck", headers=headers)).status_code == 400
        for path in ("//livez", "/livez/", "/x/%2e%2e/livez", "/livez%00"):
            assert (await client.get(path, headers=headers)).status_code == 400


@async_test
async def test_what_else_the_app_has_at_the_probes_paths_is_under_the_right_name_only() -> None:
    app = make_app(allowed_hosts=["shop.example"])

    @app.post("/livez")
    async def own() -> str:
        return "own"

    @app.websocket("/readyz")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()

    headers = {"Host": "10.0.0.1:8000"}
    async with running(app) as client:
        assert (await client.post("/livez", headers=headers)).status_code == 400
        assert (await client.post("/livez", headers={"Host": "shop.example"})).status_code == 200
        assert (await client.get("/livez", headers=headers)).status_code == 200
    with TestClient(app) as other, pytest.raises(WebSocketDisconnect):
        other.websocket_connect("/readyz", headers=headers).__enter__()


@pytest.mark.parametrize("when", ["before", "in front", "in a router", "without health"])
@async_test
async def test_a_route_of_the_apps_own_is_no_probe_that_any_name_will_do_for(when: str) -> None:
    async def own() -> str:
        return "own"

    app, options = FastAPI(), {"allowed_hosts": ["shop.example"], "health": when[:3] != "wit"}
    if when == "before":
        app.get("/livez")(own)
    if when == "in a router":
        router = APIRouter()
        router.get("/livez")(own)
        app.include_router(router)
    base_pattern(app, **options)  # type: ignore[arg-type]  # they are what they are called
    if when == "without health":
        app.get("/livez")(own)
    if when == "in front":
        app.router.routes.insert(0, APIRoute("/livez", own))
    async with running(app) as client:
        there = await client.get("/livez", headers={"Host": "shop.example"})
        answer = await client.get("/livez", headers={"Host": "10.0.0.1"})
        assert answer.status_code == (400 if there.json() == "own" else 200)
        readiness = await client.get("/readyz", headers={"Host": "10.0.0.1"})
        assert readiness.status_code == (400 if when == "without health" else 200)


@async_test
async def test_paths_that_only_look_like_others_reach_nothing_else() -> None:
    app = make_app(allowed_hosts=["shop.example"])
    for root_path in ("", "/api", "/livez"):
        for path in ("/ok", "//ok", "/livez/../ok", "/livez//ok", "/%2e%2e/ok", "/ok/"):
            call = ByHand(app, f"{root_path}{path}", headers={"host": "evil.example"})
            call.scope["root_path"] = root_path
            await call.run()
            assert call.start["status"] == 400, (root_path, path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, (False, False)),
        ({"debug": True}, (True, True)),
        ({"timing": True}, (True, True)),
        ({"debug": True, "timing": False}, (False, False)),
    ],
)
@async_test
async def test_times_are_told_to_those_who_develop(
    options: dict[str, Any], said: tuple[bool, bool]
) -> None:
    async with running(make_app(**options)) as client:
        headers = (await client.get("/ok")).headers
    assert ("x-process-time" in headers, "server-timing" in headers) == said


@async_test
async def test_no_line_can_be_smuggled_into_an_answer() -> None:
    app = make_app(origins=["*"])
    async with running(app, raise_app_exceptions=False) as client:
        for path in ("/nowhere%0d%0aset-cookie:a=b", "/number/%0d%0aX-Evil:1", "/ok%0d%0a/"):
            answer = await client.get(path)
            assert all("\r" not in value and "\n" not in value for value in answer.headers.values())
            assert "set-cookie" not in answer.headers


def test_websockets_pass_all_layers() -> None:
    app = make_app(origins=[HOME], allowed_hosts=["testserver"], debug=True)
    with TestClient(app) as client, client.websocket_connect("/socket") as socket:
        assert socket.receive_text() == "hello"


@async_test
async def test_an_app_that_is_built_anew_has_each_layer_once() -> None:
    app = make_app(origins=[HOME], allowed_hosts=["testserver"])
    app.build_middleware_stack()
    before = len(app.user_middleware)
    app.build_middleware_stack()
    assert len(app.user_middleware) == before
