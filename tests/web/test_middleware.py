"""The correlation id on every answer, and the middleware as a good neighbour of others."""

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, StreamingResponse
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.exceptions import WebSocketException
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backstay import Context, current_context
from backstay.context import current_work
from backstay.log import correlation_id, sane_correlation_id
from backstay.observation import Kind
from backstay.testing import FakeClock, running
from backstay.web import Ctx, install
from backstay.web.exchange import Exchange
from tests.observing import Watcher, watched
from tests.support import async_test
from tests.web.by_hand import ByHand

HEADER = "X-Request-ID"


def make_app(**options: Any) -> FastAPI:
    """An app that answers in every way there is."""
    app = FastAPI()
    install(app, **options)
    fixed = JSONResponse("the same object every time")

    @app.get("/ok")
    async def ok() -> str:
        return "ok"

    @app.get("/sync")
    def sync() -> str | None:
        return correlation_id.get()

    @app.get("/number/{number}")
    async def number(number: int) -> int:
        return number

    @app.get("/handled")
    async def handled() -> None:
        raise HTTPException(418)

    @app.get("/unhandled")
    async def unhandled() -> None:
        raise RuntimeError("on purpose")

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def body() -> AsyncIterator[str]:
            yield str(correlation_id.get())
            yield " twice "
            yield str(correlation_id.get())

        return StreamingResponse(body())

    @app.get("/redirect")
    async def redirect() -> RedirectResponse:
        return RedirectResponse("/ok")

    @app.get("/own")
    async def same_object() -> JSONResponse:
        return fixed

    @app.get("/fixed")
    async def own() -> JSONResponse:
        return JSONResponse("mine", headers={HEADER: "chosen-by-the-endpoint"})

    @app.get("/id")
    async def the_id(ctx: Ctx) -> dict[str, str | None]:
        return {
            "context": ctx.correlation_id,
            "logger": ctx.logger.get_correlation_id(),
            "current": current_context().correlation_id,
            "variable": correlation_id.get(),
        }

    sub_app = FastAPI()

    @sub_app.get("/ok")
    async def in_sub_app() -> str:
        return "ok"

    @sub_app.get("/unhandled")
    async def unhandled_in_sub_app() -> None:
        raise RuntimeError("on purpose")

    async def plain(request: Request) -> PlainTextResponse:
        return PlainTextResponse("plain")

    app.mount("/sub", sub_app)
    app.mount("/starlette", Starlette(routes=[Route("/plain", plain)]))
    return app


EVERY_ANSWER = [
    ("GET", "/ok", 200),
    ("GET", "/sync", 200),
    ("GET", "/nowhere", 404),
    ("POST", "/ok", 405),
    ("GET", "/number/many", 422),
    ("GET", "/handled", 418),
    ("GET", "/unhandled", 500),
    ("GET", "/stream", 200),
    ("GET", "/redirect", 307),
    ("GET", "/ok/", 307),
    ("GET", "/sub/ok", 200),
    ("GET", "/sub/nowhere", 404),
    ("GET", "/sub/unhandled", 500),
    ("GET", "/starlette/plain", 200),
    ("GET", "/fixed", 200),
    ("GET", "/own", 200),
    ("GET", "/openapi.json", 200),
]


@pytest.mark.parametrize(("method", "path", "status"), EVERY_ANSWER)
@async_test
async def test_every_answer_carries_the_id_once(method: str, path: str, status: int) -> None:
    async with running(make_app(), raise_app_exceptions=False) as client:
        answer = await client.request(method, path, headers={HEADER: "chosen-by-the-client"})
    assert answer.status_code == status
    assert answer.headers.get_list(HEADER) == ["chosen-by-the-client"]


@pytest.mark.parametrize(("method", "path", "status"), EVERY_ANSWER)
@async_test
async def test_every_answer_carries_a_new_id_if_the_client_sent_none(
    method: str, path: str, status: int
) -> None:
    async with running(make_app(), raise_app_exceptions=False) as client:
        first = await client.request(method, path)
        second = await client.request(method, path)
    ids = [*first.headers.get_list(HEADER), *second.headers.get_list(HEADER)]
    assert len(ids) == len(set(ids)) == 2
    assert all(sane_correlation_id(each.encode()) == each for each in ids)


@pytest.mark.parametrize("sent", ["", "a b", "<script>", "x" * 129, "-rf", "ärger", "a\tb"])
@async_test
async def test_an_id_that_is_not_sane_is_replaced(sent: str) -> None:
    app = make_app(clock=FakeClock())
    by_hand = ByHand(app, "/id", headers={HEADER: sent})
    await by_hand.run()
    assert by_hand.header(HEADER) == [f"{1:032x}"]


@given(sent=st.binary(max_size=40))
@settings(max_examples=50, deadline=None)
def test_whatever_bytes_a_client_sends_the_answers_id_is_sane(sent: bytes) -> None:
    async def answer() -> list[str]:
        by_hand = ByHand(app, "/ok")
        by_hand.scope["headers"] = [(b"x-request-id", sent)]
        await by_hand.run()
        return by_hand.header(HEADER)

    (given_back,) = asyncio.run(answer())
    assert sane_correlation_id(given_back.encode("latin-1")) == given_back
    if sane_correlation_id(sent):
        assert given_back.encode() == sent


app = make_app()


@async_test
async def test_the_first_of_several_ids_counts() -> None:
    by_hand = ByHand(make_app(), "/ok", headers=[(HEADER, "first"), (HEADER, "second")])
    await by_hand.run()
    assert by_hand.header(HEADER) == ["first"]


@async_test
async def test_the_id_is_the_same_wherever_an_endpoint_looks() -> None:
    async with running(make_app()) as client:
        answer = await client.get("/id", headers={HEADER: "abc"})
        in_thread = await client.get("/sync", headers={HEADER: "abc"})
        streamed = await client.get("/stream", headers={HEADER: "abc"})
    assert set(answer.json().values()) == {"abc"}
    assert in_thread.json() == "abc"
    assert streamed.text == "abc twice abc"


@async_test
async def test_another_header_may_carry_the_id() -> None:
    async with running(make_app(correlation_header="X-Trace")) as client:
        answer = await client.get("/ok", headers={"X-Trace": "abc", HEADER: "other"})
    assert answer.headers.get_list("X-Trace") == ["abc"]
    assert HEADER not in answer.headers


@async_test
async def test_a_response_sent_many_times_collects_no_headers() -> None:
    async with running(make_app()) as client:
        lengths = [len((await client.get("/fixed")).headers.raw) for _ in range(5)]
        answer = await client.get("/fixed", headers={HEADER: "last"})
    assert len(set(lengths)) == 1
    assert answer.headers.get_list(HEADER) == ["last"]


@async_test
async def test_every_log_line_of_a_request_can_carry_its_id(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = make_app()

    @app.get("/log")
    async def log(ctx: Ctx) -> None:
        ctx.logger.warning("paid", extra={"order": 7})

    async with running(app) as client:
        await client.get("/log", headers={HEADER: "abc"})
    (record,) = [each for each in caplog.records if each.name == "app"]
    assert (record.__dict__["correlation_id"], record.__dict__["order"]) == ("abc", 7)
    assert record.levelno == logging.WARNING


@pytest.mark.parametrize("path", ["/ok", "/unhandled", "/nowhere", "/stream", "/id"])
@async_test
async def test_nothing_of_a_request_is_left_in_the_servers_context(path: str) -> None:
    outer = correlation_id.set("the server's own")
    try:
        by_hand = ByHand(make_app(), path)
        if path == "/unhandled":
            with pytest.raises(RuntimeError, match="on purpose"):
                await by_hand.run()
        else:
            await by_hand.run()
        assert correlation_id.get() == "the server's own"
        assert current_work.get() is None
    finally:
        correlation_id.reset(outer)


@async_test
async def test_nothing_of_a_request_is_left_when_the_server_cancels_it() -> None:
    app, begun = make_app(), asyncio.Event()
    left: list[object] = []

    @app.get("/slow")
    async def slow(ctx: Ctx) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def server() -> None:
        try:
            await ByHand(app, "/slow").run()
        finally:
            left.extend([correlation_id.get(), current_work.get()])

    serving = asyncio.create_task(server())
    await begun.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert left == [None, None]


@async_test
async def test_requests_that_run_together_see_each_their_own_id() -> None:
    app, together = make_app(), asyncio.Barrier(20)

    @app.get("/together")
    async def endpoint(ctx: Ctx) -> list[str | None]:
        await together.wait()
        return [ctx.correlation_id, correlation_id.get(), current_context().correlation_id]

    async with running(app) as client:

        async def ask(name: str) -> None:
            answer = await client.get("/together", headers={HEADER: name})
            assert answer.json() == [name] * 3
            assert answer.headers[HEADER] == name

        await asyncio.gather(*(ask(f"request-{number}") for number in range(20)))


class Base(BaseHTTPMiddleware):
    """The middleware most users write."""

    async def dispatch(self, request: Request, call_next: Any) -> Any:
        answer = await call_next(request)
        answer.headers["x-base"] = str(correlation_id.get())
        return answer


class Pure:
    """The middleware careful users write."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                value = str(correlation_id.get()).encode()
                message = {**message, "headers": [*message["headers"], (b"x-pure", value)]}
            await send(message)

        await self.app(scope, receive, send_more)


class Copying:
    """Hands on a copy of the scope, as ASGI allows."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(dict(scope), receive, send)


@pytest.mark.parametrize(("method", "path", "status"), EVERY_ANSWER)
@async_test
async def test_middleware_of_the_users_stands_between_without_harm(
    method: str, path: str, status: int
) -> None:
    app = make_app()
    for middleware in (Base, Pure, Copying, Base):
        app.add_middleware(middleware)
    async with running(app, raise_app_exceptions=False) as client:
        answer = await client.request(method, path, headers={HEADER: "abc"})
    assert answer.status_code == status
    assert answer.headers.get_list(HEADER) == ["abc"]
    if path != "/unhandled":  # its 500 is made outside of every middleware
        assert answer.headers["x-base"] == answer.headers["x-pure"] == "abc"


@async_test
async def test_compression_stands_between_without_harm() -> None:
    app = make_app()
    app.add_middleware(GZipMiddleware, minimum_size=1)
    by_hand = ByHand(app, "/id", headers={HEADER: "abc", "Accept-Encoding": "gzip"})
    sent = await by_hand.run()
    body = b"".join(each.get("body", b"") for each in sent)
    assert by_hand.header("content-encoding") == ["gzip"]
    assert by_hand.header(HEADER) == ["abc"]
    assert b'"context":"abc"' in gzip.decompress(body)


@async_test
async def test_a_users_own_handler_for_every_exception_answers_with_the_id() -> None:
    app, seen = make_app(), []

    @app.exception_handler(Exception)
    async def last_resort(request: Request, error: Exception) -> JSONResponse:
        seen.append(correlation_id.get())
        return JSONResponse({"reference": correlation_id.get()}, status_code=500)

    async with running(app, raise_app_exceptions=False) as client:
        answer = await client.get("/unhandled", headers={HEADER: "abc"})
    assert answer.status_code == 500
    assert answer.json() == {"reference": "abc"}
    assert answer.headers.get_list(HEADER) == ["abc"]
    assert seen == ["abc"]


class Part:
    """Any part at all."""

    attribute = "anything"

    def bind(self, ctx: Context) -> None: ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...


def make_websocket_app() -> FastAPI:
    app = FastAPI()
    install(app)

    @app.websocket("/accepted")
    async def accepted(websocket: WebSocket) -> None:
        await websocket.accept(headers=[(b"x-own", b"1")])
        await websocket.send_text(str(correlation_id.get()))
        await websocket.close()

    @app.websocket("/denied")
    async def denied(websocket: WebSocket) -> None:
        await websocket.send_denial_response(JSONResponse("no", status_code=403))

    @app.websocket("/refused")
    async def refused(websocket: WebSocket) -> None:
        raise WebSocketException(1008)

    return app


@async_test
async def test_accepting_a_websocket_carries_the_id() -> None:
    by_hand = ByHand(make_websocket_app(), "/accepted", kind="websocket", headers={HEADER: "abc"})
    sent = await by_hand.run()
    assert [each["type"] for each in sent] == [
        "websocket.accept",
        "websocket.send",
        "websocket.close",
    ]
    assert by_hand.header(HEADER) == ["abc"]
    assert by_hand.header("x-own") == ["1"]
    assert sent[1]["text"] == "abc"


@pytest.mark.parametrize("inner_has_more", [True, False])
@async_test
async def test_accepting_a_websocket_carries_the_id_once_through_two_apps(
    inner_has_more: bool,
) -> None:
    outer, inner = FastAPI(), make_websocket_app()
    install(outer)
    if inner_has_more:
        install(inner).add(Part())
    outer.mount("/inner", inner)
    by_hand = ByHand(outer, "/inner/accepted", kind="websocket", headers={HEADER: "abc"})
    await by_hand.run()
    assert by_hand.header(HEADER) == ["abc"]


@async_test
async def test_an_id_that_a_websocket_endpoint_chose_is_replaced() -> None:
    app = make_websocket_app()

    @app.websocket("/own")
    async def own(websocket: WebSocket) -> None:
        await websocket.accept(headers=[(b"x-request-id", b"chosen-by-the-endpoint")])
        await websocket.close()

    by_hand = ByHand(app, "/own", kind="websocket", headers={HEADER: "abc"})
    await by_hand.run()
    assert by_hand.header(HEADER) == ["abc"]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@async_test
async def test_a_message_that_an_app_keeps_and_sends_again_collects_no_ids(kind: str) -> None:
    messages: dict[str, list[Message]] = {
        "http": [
            {"type": "http.response.start", "status": 204, "headers": []},
            {"type": "http.response.body"},
        ],
        "websocket": [{"type": "websocket.accept", "headers": []}, {"type": "websocket.close"}],
    }

    async def constant(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages[kind]:
            await send(message)

    app = FastAPI()
    install(app)
    app.mount("/constant", constant)
    for name in ("a", "b", "c"):
        by_hand = ByHand(app, "/constant/", kind=kind, headers={HEADER: name})
        await by_hand.run()
        assert by_hand.header(HEADER) == [name]


@async_test
async def test_the_answer_that_denies_a_websocket_carries_the_id() -> None:
    by_hand = ByHand(
        make_websocket_app(),
        "/denied",
        kind="websocket",
        headers={HEADER: "abc"},
        extensions={"websocket.http.response": {}},
    )
    sent = await by_hand.run()
    assert sent[0]["type"] == "websocket.http.response.start"
    assert by_hand.header(HEADER) == ["abc"]


@async_test
async def test_closing_a_websocket_that_was_never_accepted_is_left_alone() -> None:
    sent = await ByHand(make_websocket_app(), "/refused", kind="websocket").run()
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": ""}]


request_scoped: ContextVar[str] = ContextVar("request_scoped")


@async_test
async def test_context_variables_of_the_users_behave_as_without_backstay() -> None:
    app = make_app()
    seen: list[str] = []

    async def set_it() -> AsyncIterator[None]:
        token = request_scoped.set("set by the dependency")
        yield
        request_scoped.reset(token)

    def sync_set_it() -> Iterator[None]:
        yield

    @app.get("/variable", dependencies=[Depends(set_it), Depends(sync_set_it)])
    async def endpoint(ctx: Ctx) -> None:
        seen.append(request_scoped.get())

    async with running(app) as client:
        await client.get("/variable")
    assert seen == ["set by the dependency"]
    assert request_scoped.get(None) is None


# ---------------------------------------------------------------------- being observed


def make_watched_app() -> tuple[FastAPI, Watcher]:
    app = make_app()

    @app.get("/items/{item_id}")
    async def item(item_id: int) -> int:
        if item_id == 500:
            raise RuntimeError("no such luck")
        if item_id == 503:
            raise HTTPException(503)
        return item_id

    return app, watched(app)


@pytest.mark.parametrize(
    ("path", "name", "outcome", "status"),
    [
        ("/items/1", "GET /items/{item_id}", "ok", 200),
        ("/items/x", "GET /items/{item_id}", "ok", 422),
        ("/items/503", "GET /items/{item_id}", "failed", 503),
        ("/nowhere", "GET", "ok", 404),
    ],
)
@async_test
async def test_a_request_is_seen_under_its_route(
    path: str, name: str, outcome: str, status: int
) -> None:
    app, watcher = make_watched_app()
    async with running(app) as client:
        answer = await client.get(path)
    [seen] = watcher.of(Kind.REQUEST)
    assert (seen.name, seen.outcome, seen.status) == (name, outcome, status)
    assert seen.correlation_id == answer.headers[HEADER]
    assert (seen.facts["method"], seen.facts["path"]) == ("GET", path)


@async_test
async def test_a_request_that_raises_is_seen_with_its_error() -> None:
    app, watcher = make_watched_app()
    with pytest.raises(RuntimeError, match="no such luck"):
        await ByHand(app, "/items/500").run()
    [seen] = watcher.of(Kind.REQUEST)
    assert (seen.outcome, seen.error, seen.status) == ("failed", "RuntimeError", 500)


@async_test
async def test_what_the_client_says_of_its_trace_is_handed_on() -> None:
    app, watcher = make_watched_app()
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with running(app) as client:
        await client.get("/items/1", headers={"traceparent": parent})
    assert watcher.of(Kind.REQUEST)[0].link == parent


@async_test
async def test_an_answer_given_before_routing_is_seen_too() -> None:
    app = FastAPI()
    watcher = watched(app)
    app.state.backstay.answer_headers = [(b"x-extra", b"1")]

    async def early(scope: Scope, send: Send) -> bool:
        await send({"type": "http.response.start", "status": 203, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return True

    app.state.backstay.early = early
    async with running(app) as client:
        answer = await client.get("/anything")
    [seen] = watcher.of(Kind.REQUEST)
    assert (seen.name, seen.status, seen.outcome) == ("GET (cache)", 203, "ok")
    assert answer.headers["x-extra"] == "1"


@async_test
async def test_a_client_that_leaves_before_routing_leaves_nothing_open() -> None:
    app = FastAPI()
    watcher = watched(app)

    async def early(scope: Scope, send: Send) -> bool:
        raise asyncio.CancelledError

    app.state.backstay.early = early
    with pytest.raises(asyncio.CancelledError):
        await ByHand(app, "/").run()
    assert [each.outcome for each in watcher.of(Kind.REQUEST)] == ["cancelled"]
    assert watcher.open == 0


@async_test
async def test_headers_of_the_app_go_with_every_answer_that_does_not_have_them() -> None:
    app, _ = make_watched_app()
    app.state.backstay.answer_headers = [(b"x-frame-options", b"DENY"), (b"x-fixed", b"app")]

    @app.get("/decided")
    async def own() -> JSONResponse:
        return JSONResponse("mine", headers={"X-Fixed": "own"})

    async with running(app) as client:
        for path in ("/ok", "/nowhere", "/items/x"):
            headers = (await client.get(path)).headers
            assert (headers["x-frame-options"], headers["x-fixed"]) == ("DENY", "app")
        assert (await client.get("/decided")).headers.get_list("x-fixed") == ["own"]


@async_test
async def test_headers_that_a_dependency_adds_go_with_whatever_answer_is_made() -> None:
    app = FastAPI()
    install(app)

    def add(request: Request) -> None:
        exchange = Exchange.of(request.scope)
        assert exchange is not None
        exchange.add_headers([(b"x-added", b"yes")])

    @app.get("/response", dependencies=[Depends(add)])
    async def response() -> PlainTextResponse:
        return PlainTextResponse("own")

    @app.get("/error", dependencies=[Depends(add)])
    async def error() -> None:
        raise HTTPException(409)

    async with running(app) as client:
        for path in ("/response", "/error"):
            assert (await client.get(path)).headers["x-added"] == "yes"


# ---------------------------------------------------------------------- layers


def noting(log: list[str], name: str) -> Callable[[ASGIApp], ASGIApp]:
    """A layer that writes down who passes it."""

    def layer(app: ASGIApp) -> ASGIApp:
        async def pass_through(scope: Scope, receive: Receive, send: Send) -> None:
            log.append(name)
            await app(scope, receive, send)

        return pass_through

    return layer


@pytest.mark.parametrize(
    ("headers", "passed"),
    [
        ({}, []),
        ({"Origin": "https://a.example"}, ["origin"]),
        ({"Content-Length": "0"}, ["body"]),
        ({"Transfer-Encoding": "chunked"}, ["body"]),
        ({"Origin": "x", "Content-Length": "0"}, ["origin", "body"]),
    ],
    ids=["none", "one", "another", "its other header", "both, the later one outside"],
)
@async_test
async def test_a_layer_is_passed_by_requests_with_its_headers_only(
    headers: dict[str, str], passed: list[str]
) -> None:
    app = make_app()
    log: list[str] = []
    app.state.backstay.add_layer(
        noting(log, "body"), headers=["Content-Length", "Transfer-Encoding"]
    )
    app.state.backstay.add_layer(noting(log, "origin"), headers=["Origin"])
    for path in ("/ok", "/nowhere"):
        log.clear()
        [start, *_] = await ByHand(app, path, headers=headers).run()
        assert log == passed
        assert any(name == b"x-request-id" for name, _ in start["headers"])


@async_test
async def test_a_layer_of_a_mounted_app_is_passed_too() -> None:
    app, mounted = make_app(), make_app()
    log: list[str] = []
    mounted.state.backstay.add_layer(noting(log, "mounted"), headers=["Origin"])
    mounted.state.backstay.answer_headers = [(b"x-mounted", b"1")]
    app.mount("/mounted", mounted)
    [start, *_] = await ByHand(app, "/mounted/ok", headers={"Origin": "x"}).run()
    assert log == ["mounted"]
    assert (b"x-mounted", b"1") in start["headers"]


@async_test
async def test_a_layer_comes_before_the_first_answer_or_not_at_all() -> None:
    app = make_app()
    async with running(app) as client:
        await client.get("/ok")
        with pytest.raises(RuntimeError, match="where the app is made"):
            app.state.backstay.add_layer(noting([], "late"), headers=["Origin"])


@async_test
async def test_answers_say_how_long_they_took_where_that_is_asked_for() -> None:
    app = FastAPI()
    clock = FakeClock()
    install(app, clock=clock).tells_time = True

    @app.get("/")
    async def endpoint() -> None:
        await clock.advance(0.25)

    async with running(app) as client:
        assert (await client.get("/")).headers["server-timing"] == "app;dur=250.00"
