"""The moments of a request, as they are told to whoever waits for them."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import WebSocketException
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from backstay import Context, Moment, Origin, User, current_context
from backstay.errors import ContextClosed
from backstay.testing import running
from backstay.web import Ctx, install
from backstay.web.exchange import Exchange
from tests.support import async_test
from tests.web.by_hand import ByHand

Log = list[object]

SUCCEEDED: Log = [("returned", True), ("answered", True)]
FAILED: Log = [("returned", False), ("answered", False)]
FAILED_LATER: Log = [("returned", True), ("answered", False)]
"""After the answer had begun to leave."""


def watch(ctx: Context, log: Log) -> None:
    """Write down each moment of a context when it comes."""
    for moment in (Moment.RETURNED, Moment.ANSWERED):
        name = moment.name.lower()
        ctx.at(moment, lambda ok, name=name: log.append((name, ok)))


def make_app() -> tuple[FastAPI, Log]:
    app = FastAPI()
    install(app)
    return app, []


async def ask(app: FastAPI, path: str = "/", **options: Any) -> Any:
    """One request, answered as a client would see it."""
    async with running(app, raise_app_exceptions=False) as client:
        return await client.get(path, **options)


@async_test
async def test_an_endpoint_that_returns() -> None:
    app, log = make_app()

    @app.get("/")
    async def endpoint(ctx: Ctx) -> None:
        watch(ctx, log)
        assert (ctx.origin, ctx.moment, ctx.succeeded) == (Origin.REQUEST, Moment.OPENED, None)

    assert (await ask(app)).status_code == 200
    assert log == SUCCEEDED


@async_test
async def test_a_sync_endpoint_is_told_in_the_event_loop() -> None:
    app, log = make_app()
    threads: list[int] = []

    @app.get("/")
    def endpoint(ctx: Ctx) -> None:
        watch(ctx, log)
        ctx.at(Moment.RETURNED, lambda _: threads.append(threading.get_ident()))
        assert threading.get_ident() != loop_thread

    loop_thread = threading.get_ident()
    assert (await ask(app)).status_code == 200
    assert log == SUCCEEDED
    assert threads == [loop_thread]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (HTTPException(404), 404),
        (HTTPException(307, headers={"Location": "/"}), 307),
        (RuntimeError("on purpose"), 500),
    ],
)
@async_test
async def test_an_endpoint_that_raises_did_not_return(error: Exception, status: int) -> None:
    app, log = make_app()

    @app.get("/")
    async def endpoint(ctx: Ctx) -> None:
        watch(ctx, log)
        raise error

    assert (await ask(app, follow_redirects=False)).status_code == status
    assert log == FAILED


@async_test
async def test_an_error_that_a_handler_answers_with_200_is_still_an_error() -> None:
    app, log = make_app()

    @app.exception_handler(LookupError)
    async def never_mind(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse("never mind")

    @app.get("/")
    async def endpoint(ctx: Ctx) -> None:
        watch(ctx, log)
        raise LookupError

    assert (await ask(app)).status_code == 200
    assert log == FAILED


@pytest.mark.parametrize("status", [204, 302, 404, 503])
@async_test
async def test_an_error_answer_that_the_endpoint_returned_is_a_success(status: int) -> None:
    app, log = make_app()

    @app.get("/")
    async def endpoint(ctx: Ctx) -> PlainTextResponse:
        watch(ctx, log)
        return PlainTextResponse("", status_code=status)

    assert (await ask(app)).status_code == status
    assert log == SUCCEEDED


@async_test
async def test_an_answer_that_is_not_what_was_declared_is_a_failure() -> None:
    app, log = make_app()

    @app.get("/", response_model=int)
    async def endpoint(ctx: Ctx) -> Any:
        watch(ctx, log)
        return "no number"

    assert (await ask(app)).status_code == 500
    assert log == FAILED


def watching(log: Log) -> Callable[..., Any]:
    async def dependency(ctx: Ctx) -> None:
        watch(ctx, log)

    return dependency


@async_test
async def test_a_request_that_is_not_valid_is_a_failure() -> None:
    app, log = make_app()

    @app.get("/{number}", dependencies=[Depends(watching(log))])
    async def endpoint(number: int) -> None: ...

    assert (await ask(app, "/many")).status_code == 422
    assert log == FAILED


@pytest.mark.parametrize("error", [HTTPException(401), RuntimeError("on purpose")])
@async_test
async def test_a_dependency_that_refuses_is_a_failure(error: Exception) -> None:
    app, log = make_app()

    async def refuse() -> None:
        raise error

    @app.get("/", dependencies=[Depends(watching(log)), Depends(refuse)])
    async def endpoint() -> None: ...

    assert (await ask(app)).is_error
    assert log == FAILED


@async_test
async def test_a_dependency_that_refuses_before_anybody_watches_bothers_nobody() -> None:
    app, log = make_app()

    async def refuse() -> None:
        raise HTTPException(401)

    @app.get("/", dependencies=[Depends(refuse), Depends(watching(log))])
    async def endpoint() -> None: ...

    assert (await ask(app)).status_code == 401
    assert log == []


def add_endpoint(app: FastAPI, log: Log, dependency: Any, *, scope: Any, ctx_first: bool) -> None:
    """``/``, with its two parameters in either order."""
    Session = Annotated[None, Depends(dependency, scope=scope)]
    if ctx_first:

        @app.get("/")
        async def one(ctx: Ctx, session: Session) -> str:
            watch(ctx, log)
            return "done"

    else:

        @app.get("/")
        async def other(session: Session, ctx: Ctx) -> str:
            watch(ctx, log)
            return "done"


either_order = pytest.mark.parametrize("ctx_first", [True, False])


@either_order
@async_test
async def test_returned_comes_after_function_scoped_dependencies_exited(ctx_first: bool) -> None:
    app, log = make_app()

    async def session() -> AsyncIterator[None]:
        yield
        log.append("commit")

    add_endpoint(app, log, session, scope="function", ctx_first=ctx_first)
    assert (await ask(app)).status_code == 200
    assert log == ["commit", *SUCCEEDED]


@either_order
@async_test
async def test_answered_comes_after_request_scoped_dependencies_exited(ctx_first: bool) -> None:
    app, log = make_app()

    def session() -> Iterator[None]:
        yield
        log.append("commit")

    add_endpoint(app, log, session, scope="request", ctx_first=ctx_first)
    assert (await ask(app)).status_code == 200
    assert log == [("returned", True), "commit", ("answered", True)]


@either_order
@pytest.mark.parametrize("error", [HTTPException(409), RuntimeError("the commit failed")])
@async_test
async def test_a_commit_that_fails_before_the_answer_is_a_failure(
    ctx_first: bool, error: Exception
) -> None:
    app, log = make_app()

    async def session() -> AsyncIterator[None]:
        yield
        raise error

    add_endpoint(app, log, session, scope="function", ctx_first=ctx_first)
    assert (await ask(app)).is_error
    assert log == FAILED


@either_order
@async_test
async def test_a_commit_that_fails_after_the_answer_fails_what_had_returned(
    ctx_first: bool,
) -> None:
    app, log = make_app()

    async def session() -> AsyncIterator[None]:
        yield
        raise RuntimeError("the commit failed")

    add_endpoint(app, log, session, scope="request", ctx_first=ctx_first)
    assert (await ask(app)).text == '"done"'
    assert log == FAILED_LATER


@async_test
async def test_a_dependency_may_turn_one_error_into_another() -> None:
    app, log = make_app()

    async def translate() -> AsyncIterator[None]:
        try:
            yield
        except LookupError:
            raise HTTPException(404) from None

    @app.get("/")
    async def endpoint(ctx: Ctx, _: Annotated[None, Depends(translate)]) -> None:
        watch(ctx, log)
        raise LookupError

    assert (await ask(app)).status_code == 404
    assert log == FAILED


@async_test
async def test_returned_comes_before_the_first_byte_and_answered_after_the_last() -> None:
    app, log = make_app()

    @app.get("/")
    async def endpoint(ctx: Ctx) -> StreamingResponse:
        async def body() -> AsyncIterator[str]:
            for number in range(3):
                log.append(number)
                yield str(number)

        watch(ctx, log)
        return StreamingResponse(body())

    assert (await ask(app)).text == "012"
    assert log == [("returned", True), 0, 1, 2, ("answered", True)]


@pytest.mark.parametrize("chunks", [0, 1, 3])
@async_test
async def test_a_body_that_breaks_off_fails_what_had_returned(chunks: int) -> None:
    app, log = make_app()

    @app.get("/")
    async def endpoint(ctx: Ctx) -> StreamingResponse:
        async def body() -> AsyncIterator[str]:
            for number in range(chunks):
                yield str(number)
            raise RuntimeError("broken off")

        watch(ctx, log)
        return StreamingResponse(body())

    by_hand = ByHand(app)
    with pytest.raises(RuntimeError, match="broken off"):
        await by_hand.run()
    assert len(by_hand.sent) == 1 + chunks
    assert log == FAILED_LATER


@async_test
async def test_a_body_may_be_the_first_to_ask_for_the_context() -> None:
    app, log = make_app()

    @app.get("/{ending}")
    async def endpoint(ending: str) -> StreamingResponse:
        async def body() -> AsyncIterator[str]:
            yield "one"
            watch(current_context(), log)
            log.append("asked")
            if ending == "bad":
                raise RuntimeError("broken off")

        return StreamingResponse(body())

    await ask(app, "/good")
    assert log == [("returned", True), "asked", ("answered", True)]
    log.clear()
    with pytest.raises(RuntimeError, match="broken off"):
        await ByHand(app, "/bad").run()
    assert log == [("returned", True), "asked", ("answered", False)]


@async_test
async def test_a_background_task_may_be_the_first_to_ask_for_the_context() -> None:
    app, log = make_app()

    @app.get("/")
    async def endpoint(background: BackgroundTasks) -> None:
        background.add_task(lambda: watch(current_context(), log))

    await ask(app)
    assert log == SUCCEEDED


@async_test
async def test_the_background_task_of_an_error_answer_may_be_the_first_to_ask() -> None:
    app, log = make_app()

    @app.exception_handler(LookupError)
    async def handle(request: Request, error: Exception) -> JSONResponse:
        background = BackgroundTask(lambda: watch(current_context(), log))
        return JSONResponse("not found", status_code=404, background=background)

    @app.get("/")
    async def endpoint() -> None:
        raise LookupError

    assert (await ask(app)).status_code == 404
    assert log == FAILED


@pytest.mark.parametrize("error", [HTTPException(404), RuntimeError("on purpose"), LookupError()])
@async_test
async def test_an_error_handler_may_be_the_first_to_ask_for_the_context(error: Exception) -> None:
    app, log = make_app()

    async def handle(request: Request, error: Exception) -> JSONResponse:
        watch(current_context(), log)
        return JSONResponse("handled", status_code=404)

    for kind in (HTTPException, Exception, LookupError):
        app.add_exception_handler(kind, handle)

    @app.get("/")
    async def endpoint() -> None:
        raise error

    assert (await ask(app)).json() == "handled"
    assert log == FAILED


async def endless(log: Log) -> AsyncIterator[bytes]:
    try:
        while True:
            yield b"x"
            await asyncio.sleep(0)
    finally:
        log.append("body over")


servers = pytest.mark.parametrize(
    ("spec_version", "send_raises"),
    [("2.3", False), ("2.3", True), ("2.4", True)],
    ids=["2.3 says disconnect", "2.3 raises", "2.4 raises"],
)


async def run_until_the_client_leaves(
    app: ASGIApp, spec_version: str, send_raises: bool, *, takes: int = 3
) -> ByHand:
    by_hand = ByHand(app, spec_version=spec_version, send_raises=send_raises, takes=takes)
    try:
        await by_hand.run()
    except (OSError, ClientDisconnect):
        assert send_raises
    assert by_hand.client_left.is_set()
    return by_hand


@servers
@pytest.mark.parametrize("takes", [0, 1, 3])
@async_test
async def test_a_client_that_leaves_midstream_changes_nothing(
    spec_version: str, send_raises: bool, takes: int
) -> None:
    app, log = make_app()

    async def session() -> AsyncIterator[None]:
        try:
            yield
        finally:
            log.append("session over")

    @app.get("/")
    async def endpoint(ctx: Ctx, _: Annotated[None, Depends(session)]) -> StreamingResponse:
        watch(ctx, log)
        return StreamingResponse(endless(log))

    await run_until_the_client_leaves(app, spec_version, send_raises, takes=takes)
    if "body over" in log:  # a body that was never asked for has nothing to end
        log.remove("body over")
    assert log == [("returned", True), "session over", ("answered", True)]


@servers
@async_test
async def test_a_client_that_leaves_midstream_changes_nothing_behind_a_middleware(
    spec_version: str, send_raises: bool
) -> None:
    app, log = make_app()
    app.add_middleware(BaseHTTPMiddleware, dispatch=lambda request, call_next: call_next(request))

    @app.get("/")
    async def endpoint(ctx: Ctx) -> StreamingResponse:
        watch(ctx, log)
        return StreamingResponse(endless([]))

    await run_until_the_client_leaves(app, spec_version, send_raises)
    assert log == SUCCEEDED


@servers
@pytest.mark.parametrize("ctx_first", [True, False])
@async_test
async def test_a_commit_that_fails_is_a_failure_even_if_the_client_has_left(
    spec_version: str, send_raises: bool, ctx_first: bool
) -> None:
    app, log = make_app()

    async def session() -> AsyncIterator[None]:
        try:
            yield
        finally:
            raise RuntimeError("the commit failed")

    Session = Annotated[None, Depends(session)]
    if ctx_first:

        @app.get("/")
        async def one(ctx: Ctx, session: Session) -> StreamingResponse:
            watch(ctx, log)
            return StreamingResponse(endless([]))

    else:

        @app.get("/")
        async def other(session: Session, ctx: Ctx) -> StreamingResponse:
            watch(ctx, log)
            return StreamingResponse(endless([]))

    with pytest.raises(RuntimeError, match="the commit failed"):
        await run_until_the_client_leaves(app, spec_version, send_raises)
    assert log == FAILED_LATER


@async_test
async def test_a_client_that_leaves_before_its_request_is_complete_got_nothing_done() -> None:
    app, log = make_app()

    @app.get("/")
    async def endpoint(request: Request, ctx: Ctx) -> None:
        watch(ctx, log)
        await request.body()
        log.append("never")

    by_hand = ByHand(app)
    by_hand.replace_request(
        {"type": "http.request", "body": b"half of", "more_body": True},
        {"type": "http.disconnect"},
    )
    with pytest.raises(ClientDisconnect):
        await by_hand.run()
    assert log == FAILED


def websocket_app(
    end: Callable[[WebSocket], Any], *, function_scope: bool = False
) -> tuple[FastAPI, Log]:
    app, log = make_app()

    async def session() -> AsyncIterator[None]:
        try:
            yield
        finally:
            log.append("session over")

    Session = Annotated[None, Depends(session, scope="function" if function_scope else "request")]

    @app.websocket("/")
    async def endpoint(websocket: WebSocket, ctx: Ctx, session: Session) -> None:
        watch(ctx, log)
        await websocket.accept()
        await end(websocket)

    return app, log


@pytest.mark.parametrize("function_scope", [True, False])
@async_test
async def test_a_websocket_that_ends_has_returned_and_is_answered(function_scope: bool) -> None:
    async def end(websocket: WebSocket) -> None:
        await websocket.send_text(await websocket.receive_text())
        await websocket.close()

    app, log = websocket_app(end, function_scope=function_scope)
    by_hand = ByHand(app, kind="websocket")
    by_hand.give({"type": "websocket.receive", "text": "hello"})
    sent = await by_hand.run()
    assert sent[1] == {"type": "websocket.send", "text": "hello"}
    assert log == ["session over", *SUCCEEDED]


@async_test
async def test_a_websocket_ends_as_well_when_its_client_leaves() -> None:
    async def end(websocket: WebSocket) -> None:
        while True:
            await websocket.receive_text()

    app, log = websocket_app(end)
    by_hand = ByHand(app, kind="websocket")
    by_hand.give(
        {"type": "websocket.receive", "text": "hello"},
        {"type": "websocket.disconnect", "code": 1001},
    )
    with pytest.raises(WebSocketDisconnect):
        await by_hand.run()
    assert log == ["session over", *SUCCEEDED]


@async_test
async def test_a_websocket_ends_as_well_when_its_client_leaves_while_the_app_speaks() -> None:
    async def end(websocket: WebSocket) -> None:
        while True:
            await websocket.send_text("anybody there?")

    app, log = websocket_app(end)
    with pytest.raises(WebSocketDisconnect):
        await ByHand(app, kind="websocket", takes=3).run()
    assert log == ["session over", *SUCCEEDED]


@pytest.mark.parametrize("error", [WebSocketException(1008), RuntimeError("on purpose")])
@async_test
async def test_a_websocket_that_raises_is_a_failure(error: Exception) -> None:
    async def end(websocket: WebSocket) -> None:
        raise error

    app, log = websocket_app(end)
    by_hand = ByHand(app, kind="websocket")
    if isinstance(error, RuntimeError):
        with pytest.raises(RuntimeError, match="on purpose"):
            await by_hand.run()
    else:
        await by_hand.run()
        assert by_hand.sent[-1]["code"] == 1008
    assert log == ["session over", *FAILED]


def add_three_endings(app: FastAPI, log: Log) -> None:
    @app.get("/good")
    async def good(ctx: Ctx) -> None:
        watch(ctx, log)

    @app.get("/bad")
    async def bad(ctx: Ctx) -> None:
        watch(ctx, log)
        raise RuntimeError("on purpose")

    @app.get("/returned-404")
    async def returned_404(ctx: Ctx) -> PlainTextResponse:
        watch(ctx, log)
        return PlainTextResponse("", status_code=404)

    @app.get("/late")
    async def late(ctx: Ctx) -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            yield b"x"
            raise RuntimeError("broken off")

        watch(ctx, log)
        return StreamingResponse(body())


ENDINGS = [
    ("/good", SUCCEEDED),
    ("/bad", FAILED),
    ("/returned-404", SUCCEEDED),
    ("/late", FAILED_LATER),
]


async def run_to_the_end(app: ASGIApp, path: str) -> None:
    try:
        await ByHand(app, path).run()
    except RuntimeError as error:
        if str(error) not in {"on purpose", "broken off"}:
            raise


class CopiesTheScope:
    """A pure ASGI middleware that hands on a copy of the scope, as ASGI allows."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(dict(scope), receive, send)


class AsksEarly:
    """A middleware that wants the context before there is a route."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            current_context()
        await self.app(scope, receive, send)


class Base(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Any:
        return await call_next(request)


@pytest.mark.parametrize("middleware", [Base, CopiesTheScope, AsksEarly])
@pytest.mark.parametrize(("path", "expected"), ENDINGS)
@async_test
async def test_a_middleware_of_the_users_changes_no_moment(
    middleware: Any, path: str, expected: Log
) -> None:
    app, log = make_app()
    add_three_endings(app, log)
    app.add_middleware(middleware)
    await run_to_the_end(app, path)
    assert log == expected


@pytest.mark.parametrize(("path", "expected"), ENDINGS)
@async_test
async def test_a_mounted_app_has_the_same_moments(path: str, expected: Log) -> None:
    app, log = make_app()
    sub_app = FastAPI()
    add_three_endings(sub_app, log)
    app.mount("/sub", sub_app)
    await run_to_the_end(app, f"/sub{path}")
    assert log == expected


@pytest.mark.parametrize("mounted", [True, False])
@pytest.mark.parametrize(
    ("ending", "expected"),
    [("good", SUCCEEDED), ("404", FAILED), ("bad", FAILED), ("late", FAILED_LATER)],
)
@async_test
async def test_a_plain_starlette_route_is_judged_by_its_answer(
    mounted: bool, ending: str, expected: Log
) -> None:
    app, log = make_app()

    async def endpoint(request: Request) -> Any:
        watch(current_context(), log)
        if ending == "404":
            raise HTTPException(404)
        if ending == "bad":
            raise RuntimeError("on purpose")

        async def body() -> AsyncIterator[bytes]:
            yield b"x"
            if ending == "late":
                raise RuntimeError("broken off")

        return StreamingResponse(body())

    route = Route("/plain", endpoint)
    app.router.routes.append(Mount("/", Starlette(routes=[route])) if mounted else route)
    await run_to_the_end(app, "/plain")
    assert log == expected


async def cancelled_when(waiting: asyncio.Event, app: ASGIApp) -> None:
    """Serve one request, as a server that gives up when ``waiting`` is set."""
    serving = asyncio.create_task(ByHand(app).run())
    await waiting.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


@async_test
async def test_a_call_that_the_server_cancels_before_the_answer_failed() -> None:
    app, log = make_app()
    waiting = asyncio.Event()

    @app.get("/")
    async def endpoint(ctx: Ctx) -> None:
        watch(ctx, log)
        waiting.set()
        await asyncio.Event().wait()

    await cancelled_when(waiting, app)
    assert log == FAILED


@async_test
async def test_a_call_that_the_server_cancels_midstream_had_returned() -> None:
    app, log = make_app()
    waiting = asyncio.Event()

    @app.get("/")
    async def endpoint(ctx: Ctx) -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            yield b"x"
            waiting.set()
            await asyncio.Event().wait()

        watch(ctx, log)
        return StreamingResponse(body())

    await cancelled_when(waiting, app)
    assert log == SUCCEEDED


@async_test
async def test_a_call_that_the_server_cancels_after_the_answer_had_returned() -> None:
    app, log = make_app()
    waiting = asyncio.Event()

    async def background() -> None:
        waiting.set()
        await asyncio.Event().wait()

    @app.get("/")
    async def endpoint(ctx: Ctx) -> JSONResponse:
        watch(ctx, log)
        return JSONResponse("done", background=BackgroundTask(background))

    await cancelled_when(waiting, app)
    assert log == SUCCEEDED


@async_test
async def test_the_context_is_closed_when_the_call_is_over() -> None:
    app, _ = make_app()
    seen: list[Context] = []

    @app.get("/{ending}")
    async def endpoint(ctx: Ctx, ending: str) -> None:
        seen.append(ctx)
        ctx.progress(1, 2)
        if ending == "bad":
            raise RuntimeError("on purpose")

    await ask(app, "/good")
    await ask(app, "/bad")
    assert [ctx.succeeded for ctx in seen] == [True, False]
    for ctx in seen:
        assert ctx.moment is Moment.CLOSED
        assert ctx.settings is not None
        assert ctx.logger.get_correlation_id() == ctx.correlation_id
        with pytest.raises(ContextClosed):
            ctx.progress(2, 2)


@async_test
async def test_what_comes_before_the_close_is_awaited_between_answered_and_closed() -> None:
    app, log = make_app()

    @app.get("/")
    async def endpoint(ctx: Ctx) -> None:
        async def last_thing() -> None:
            log.append("last thing")

        watch(ctx, log)
        ctx.at(Moment.CLOSED, lambda _: log.append("closed"))
        assert isinstance(ctx.work, Exchange)
        ctx.work.before_close = [last_thing]

    await ask(app)
    assert log == [*SUCCEEDED, "last thing", "closed"]


def hold(ctx: Context, until: Callable[[], Any]) -> None:
    assert ctx.work is not None
    ctx.work.hold_answer(until)


@either_order
@async_test
async def test_an_answer_can_be_held_at_returned(ctx_first: bool) -> None:
    app, log = make_app()

    async def session() -> AsyncIterator[None]:
        yield
        log.append("commit")

    async def until() -> None:
        log.append("held")

    Session = Annotated[None, Depends(session, scope="function")]
    if ctx_first:

        @app.get("/")
        async def one(ctx: Ctx, session: Session) -> None:
            watch(ctx, log)
            hold(ctx, until)

    else:

        @app.get("/")
        async def other(session: Session, ctx: Ctx) -> None:
            watch(ctx, log)
            hold(ctx, until)

    assert (await ask(app)).status_code == 200
    assert log == ["commit", ("returned", True), "held", ("answered", True)]


@async_test
async def test_a_held_answer_has_not_left() -> None:
    app, _ = make_app()
    held, let_go = asyncio.Event(), asyncio.Event()

    async def until() -> None:
        held.set()
        await let_go.wait()

    @app.get("/")
    async def endpoint(ctx: Ctx) -> None:
        hold(ctx, until)

    by_hand = ByHand(app)
    serving = asyncio.create_task(by_hand.run())
    await held.wait()
    assert by_hand.sent == []
    let_go.set()
    await serving
    assert by_hand.start["status"] == 200


@async_test
async def test_what_holds_an_answer_can_fail_the_request() -> None:
    app, log = make_app()

    async def until() -> None:
        raise RuntimeError("on purpose")

    @app.get("/")
    async def endpoint(ctx: Ctx) -> None:
        watch(ctx, log)
        hold(ctx, until)

    assert (await ask(app)).status_code == 500
    assert log == FAILED_LATER


@pytest.mark.parametrize("where", ["endpoint", "dependency"])
@async_test
async def test_nothing_is_held_for_work_that_failed(where: str) -> None:
    app, log = make_app()

    async def until() -> None:
        log.append("held")

    async def session() -> AsyncIterator[None]:
        yield
        if where == "dependency":
            raise RuntimeError("on purpose")

    @app.get("/")
    async def endpoint(
        ctx: Ctx, session: Annotated[None, Depends(session, scope="function")]
    ) -> None:
        watch(ctx, log)
        hold(ctx, until)
        if where == "endpoint":
            raise RuntimeError("on purpose")

    assert (await ask(app)).status_code == 500
    assert log == FAILED


@async_test
async def test_it_is_too_late_to_hold_what_has_returned() -> None:
    app, _ = make_app()
    errors: list[str] = []

    @app.get("/")
    async def endpoint(ctx: Ctx) -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            try:
                hold(ctx, lambda: asyncio.sleep(0))
            except ContextClosed as error:
                errors.append(str(error))
            yield b"x"

        return StreamingResponse(body())

    await ask(app)
    (message,) = errors
    assert "the endpoint has returned" in message


@async_test
async def test_only_endpoints_of_fastapi_can_be_held() -> None:
    app, _ = make_app()
    errors: list[str] = []

    async def endpoint(request: Request) -> PlainTextResponse:
        try:
            hold(current_context(), lambda: asyncio.sleep(0))
        except ContextClosed as error:
            errors.append(str(error))
        return PlainTextResponse("x")

    app.router.routes.append(Route("/", endpoint))
    await ask(app)
    (message,) = errors
    assert "an answer can be held for an endpoint of FastAPI's" in message


class CountingVerifier:
    """Knows Ada by her header, and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def verify(self, connection: HTTPConnection) -> User | None:
        self.asked += 1
        name = connection.headers.get("x-name")
        return None if name is None else User(name)


@pytest.mark.parametrize(("headers", "found"), [({"x-name": "ada"}, User("ada")), ({}, None)])
@async_test
async def test_who_asks_the_verifier_once(headers: dict[str, str], found: User | None) -> None:
    app, verifier, seen = FastAPI(), CountingVerifier(), []
    install(app, verify_user=verifier)

    @app.get("/")
    async def endpoint(request: Request) -> None:
        exchange = Exchange.of(request.scope)
        assert exchange is not None
        seen.append(await exchange.who(request))
        seen.append(await exchange.who(request))

    await ask(app, headers=headers)
    assert seen == [found, found]
    assert verifier.asked == 1


@async_test
async def test_who_is_nobody_and_opens_no_context_where_nobody_verifies() -> None:
    app, _ = make_app()
    seen: list[Any] = []

    async def endpoint(request: Request) -> PlainTextResponse:
        exchange = Exchange.of(request.scope)
        assert exchange is not None
        seen.extend([await exchange.who(request), exchange.opened])
        return PlainTextResponse("")

    app.router.routes.append(Route("/", endpoint))
    await ask(app)
    assert seen == [None, False]


class Part:
    """What a mounted app has and the one around it does not: its requests have their own context."""

    attribute = "part"

    def bind(self, ctx: Context) -> object:
        return self

    async def open(self) -> None: ...

    async def close(self) -> None: ...


@pytest.mark.parametrize(("headers", "found"), [({"x-name": "ada"}, User("ada")), ({}, None)])
@pytest.mark.parametrize("asked_before", [True, False])
@async_test
async def test_a_mounted_app_without_a_verifier_has_the_users_of_the_one_around_it(
    asked_before: bool, headers: dict[str, str], found: User | None
) -> None:
    app, inner, verifier, seen = FastAPI(), FastAPI(), CountingVerifier(), []
    install(app, verify_user=verifier)
    install(inner).add(Part())

    @inner.get("/")
    async def endpoint(ctx: Ctx) -> None:
        seen.append(ctx.user)

    async def asking(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange.of(scope)
        assert exchange is not None
        if asked_before:
            seen.append(await exchange.who(HTTPConnection(scope)))
        await inner(scope, receive, send)

    app.mount("/inner", asking)
    assert (await ask(app, "/inner/", headers=headers)).status_code == 200
    assert seen == ([found, found] if asked_before else [found])
    assert verifier.asked == 1


@async_test
async def test_an_exchange_knows_the_apps_it_came_through_the_innermost_first() -> None:
    app, middle, inner, seen = FastAPI(), FastAPI(), FastAPI(), []
    around = [install(app), install(middle), install(inner)]
    around[2].add(Part())

    for each in (app, middle, inner):

        @each.get("/")
        async def endpoint(request: Request) -> None:
            exchange = Exchange.of(request.scope)
            assert exchange is not None
            seen.append([around.index(each) for each in exchange.apps()])

    middle.mount("/inner", inner)
    app.mount("/middle", middle)
    for path in ("/", "/middle/", "/middle/inner/"):
        assert (await ask(app, path)).status_code == 200
    assert seen == [[0], [1, 0], [2, 1, 0]]
