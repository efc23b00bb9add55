"""Scheduling: the moments, the callers, and what is refused."""

import asyncio
import contextlib
import functools
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Annotated, Any

import pytest
from fastapi import (
    APIRouter,
    Depends,
    FastAPI,
    HTTPException,
    Request,
    WebSocket,
    WebSocketDisconnect,
)
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.testclient import TestClient

from backstay import Context, current_context
from backstay.errors import ContextClosed, HeldTaskFailed, NotInstalled, TooManyTasks
from backstay.tasks import Failed, Skipped, Succeeded, Task, Tasks, add_tasks
from backstay.testing import running
from tests.support import async_test

Log = list[str]


def make_app(**options: Any) -> tuple[FastAPI, Log]:
    app = FastAPI()
    add_tasks(app, **options)
    return app, []


@async_test
async def test_the_three_moments_come_in_order() -> None:
    app, log = make_app()

    async def note(what: str) -> None:
        log.append(what)

    async def function_scoped() -> AsyncIterator[None]:
        yield
        log.append("function-scoped exit")

    async def request_scoped() -> AsyncIterator[None]:
        yield
        log.append("request-scoped exit")

    @app.get("/")
    async def endpoint(
        tasks: Tasks,
        first: Annotated[None, Depends(function_scoped, scope="function")],
        second: Annotated[None, Depends(request_scoped)],
    ) -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            await asyncio.sleep(0)
            log.append("body")
            yield b"x"

        tasks.after_response.schedule(note, "after_response")
        tasks.after_route.schedule(note, "after_route")
        tasks.schedule(note, "now")
        await asyncio.sleep(0)
        log.append("endpoint")
        return StreamingResponse(body())

    async with running(app) as client:
        await client.get("/")
        await client.tasks.settle()
    assert log == [
        "now",
        "endpoint",
        "function-scoped exit",
        "after_route",
        "body",
        "request-scoped exit",
        "after_response",
    ]


@pytest.mark.parametrize("tasks_first", [True, False])
@pytest.mark.parametrize("moment", ["after_route", "after_response"])
@async_test
async def test_nothing_waits_in_vain_for_a_commit_whatever_the_parameter_order(
    tasks_first: bool, moment: str
) -> None:
    app, log = make_app()

    async def session() -> AsyncIterator[None]:
        yield
        log.append("commit")

    Session = Annotated[None, Depends(session, scope="function")]

    def schedule(tasks: Any) -> None:
        getattr(tasks, moment).schedule(log.append, "task")

    if tasks_first:

        @app.get("/")
        async def one(tasks: Tasks, session: Session) -> None:
            schedule(tasks)

    else:

        @app.get("/")
        async def other(session: Session, tasks: Tasks) -> None:
            schedule(tasks)

    async with running(app) as client:
        await client.get("/")
        await client.tasks.settle()
    assert log == ["commit", "task"]


@pytest.mark.parametrize("tasks_first", [True, False])
@pytest.mark.parametrize("scope", ["function", "request"])
@async_test
async def test_a_failing_commit_fires_nothing_that_waits_for_success(
    tasks_first: bool, scope: Any
) -> None:
    app, log = make_app()

    async def session() -> AsyncIterator[None]:
        yield
        raise RuntimeError("the commit failed")

    Session = Annotated[None, Depends(session, scope=scope)]

    def schedule(tasks: Any) -> None:
        tasks.after_response.schedule(log.append, "after_response")
        tasks.after_response.task(when="failure").schedule(log.append, "failure")
        tasks.after_response.task(when="always").schedule(log.append, "always")
        if scope == "function":
            tasks.after_route.schedule(log.append, "after_route")

    if tasks_first:

        @app.get("/")
        async def one(tasks: Tasks, session: Session) -> None:
            schedule(tasks)

    else:

        @app.get("/")
        async def other(session: Session, tasks: Tasks) -> None:
            schedule(tasks)

    async with running(app, raise_app_exceptions=False) as client:
        await client.get("/")
        await client.tasks.settle()
    assert sorted(log) == ["always", "failure"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (409, HTTPException(409)),
        (500, RuntimeError("no")),
    ],
)
@async_test
async def test_an_endpoint_that_raises_skips_what_waits_for_success_and_says_so(
    status: int, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    app, log = make_app()
    kept: list[Task] = []

    @app.get("/")
    async def endpoint(tasks: Tasks) -> None:
        tasks.schedule(log.append, "now")
        kept.append(tasks.after_route.schedule(log.append, "after_route"))
        kept.append(tasks.after_response.schedule(log.append, "after_response"))
        tasks.after_response.task(when="failure").schedule(log.append, "failure")
        raise error

    async with running(app, raise_app_exceptions=False) as client:
        with caplog.at_level(logging.INFO, "backstay.tasks"):
            assert (await client.get("/")).status_code == status
        await client.tasks.settle()
    assert sorted(log) == ["failure", "now"]
    assert all(isinstance(task.outcome, Skipped) for task in kept)
    assert sum("was not run" in line for line in caplog.messages) == 2


@async_test
async def test_a_dependency_that_answers_401_skips_what_other_dependencies_scheduled() -> None:
    app, log = make_app()

    async def audit(tasks: Tasks) -> None:
        tasks.after_response.schedule(log.append, "success")
        tasks.after_response.task(when="always").schedule(log.append, "always")

    async def guard() -> None:
        raise HTTPException(401)

    @app.get("/", dependencies=[Depends(audit), Depends(guard)])
    async def endpoint() -> None: ...

    async with running(app) as client:
        assert (await client.get("/")).status_code == 401
        await client.tasks.settle()
    assert log == ["always"]


@async_test
async def test_a_response_that_fails_validation_is_a_failure() -> None:
    app, log = make_app()

    @app.get("/", response_model=int)
    async def endpoint(tasks: Tasks) -> Any:
        tasks.after_route.schedule(log.append, "after_route")
        return "not a number"

    async with running(app, raise_app_exceptions=False) as client:
        assert (await client.get("/")).status_code == 500
        await client.tasks.settle()
    assert log == []


@async_test
async def test_an_immediate_task_starts_no_later_than_the_answer_even_if_nothing_is_awaited() -> (
    None
):
    app, log = make_app()

    async def work() -> None:
        log.append("task")

    @app.get("/")
    async def endpoint(tasks: Tasks) -> None:
        tasks.schedule(work)
        log.append("endpoint")

    async def answer(message: Any) -> None:
        if message["type"] == "http.response.start":
            log.append("answer")

    async with running(app):
        await app(http_scope("/"), receive_nothing, answer)
    assert log == ["endpoint", "task", "answer"]


@async_test
async def test_a_sync_task_runs_while_the_endpoint_that_scheduled_it_blocks_the_loop() -> None:
    app, _ = make_app()
    done = threading.Event()

    @app.get("/")
    async def endpoint(tasks: Tasks) -> bool:
        tasks.schedule(done.set)
        return done.wait(timeout=10)  # blocks the event loop, on purpose

    async with running(app) as client:
        assert (await client.get("/")).json() is True


@async_test
async def test_wait_holds_the_answer_until_the_task_is_done() -> None:
    app, log = make_app()

    async def reserve() -> None:
        await asyncio.sleep(0)
        log.append("reserved")

    @app.get("/")
    async def endpoint(tasks: Tasks) -> None:
        tasks.after_route.task(wait=True).schedule(reserve)

    async def answer(message: Any) -> None:
        log.append(message["type"])

    async with running(app):
        await app(http_scope("/"), receive_nothing, answer)
    assert log == ["reserved", "http.response.start", "http.response.body"]


@async_test
async def test_a_held_task_that_fails_turns_the_answer_into_a_500_problem() -> None:
    app, log = make_app()

    async def reserve() -> None:
        raise RuntimeError("sold out, and a secret")

    async def session() -> AsyncIterator[None]:
        try:
            yield
        except BaseException:
            log.append("rolled back")
            raise
        log.append("committed")

    @app.get("/")
    async def endpoint(
        tasks: Tasks, session: Annotated[None, Depends(session, scope="request")]
    ) -> None:
        tasks.after_route.task(wait=True, name="reserve").schedule(reserve)
        tasks.after_response.schedule(log.append, "success")

    async with running(app) as client:
        answer = await client.get("/")
        await client.tasks.settle()
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["correlation_id"] == answer.headers["x-request-id"]
    assert "secret" not in answer.text
    assert log == ["rolled back"]


@async_test
async def test_an_exception_handler_learns_why_the_held_task_failed() -> None:
    app, _ = make_app()

    class SoldOut(Exception):
        pass

    async def reserve() -> None:
        raise SoldOut

    @app.exception_handler(HeldTaskFailed)
    async def conflict(request: Request, error: HeldTaskFailed) -> JSONResponse:
        return JSONResponse({}, 409 if isinstance(error.__cause__, SoldOut) else 500)

    @app.get("/")
    async def endpoint(tasks: Tasks) -> None:
        tasks.after_route.task(wait=True).schedule(reserve)

    async with running(app) as client:
        assert (await client.get("/")).status_code == 409


@pytest.mark.parametrize("tasks_first", [True, False])
@async_test
async def test_a_held_task_starts_after_every_function_scoped_dependency(tasks_first: bool) -> None:
    app, log = make_app()

    async def session() -> AsyncIterator[None]:
        yield
        log.append("commit")

    Session = Annotated[None, Depends(session, scope="function")]

    if tasks_first:

        @app.get("/")
        async def one(tasks: Tasks, session: Session) -> None:
            tasks.after_route.task(wait=True).schedule(log.append, "one")
            tasks.after_route.task(wait=True).schedule(log.append, "two")

    else:

        @app.get("/")
        def other(session: Session, tasks: Tasks) -> None:
            tasks.after_route.task(wait=True).schedule(log.append, "one")
            tasks.after_route.task(wait=True).schedule(log.append, "two")

    async with running(app) as client:
        await client.get("/")
    assert log[0] == "commit"
    assert sorted(log[1:]) == ["one", "two"]


@async_test
async def test_tasks_scheduled_in_a_stream_are_not_lost() -> None:
    app, log = make_app()

    @app.get("/")
    async def endpoint(tasks: Tasks) -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            yield b"a"
            tasks.after_route.schedule(log.append, "after_route")
            tasks.after_response.schedule(log.append, "after_response")
            with pytest.raises(ContextClosed, match="nothing can be held"):
                tasks.after_route.task(wait=True).schedule(log.append, "too late")
            yield b"b"

        return StreamingResponse(body())

    async with running(app) as client:
        assert (await client.get("/")).text == "ab"
        await client.tasks.settle()
    assert sorted(log) == ["after_response", "after_route"]


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
@async_test
async def test_a_client_that_leaves_midstream_changes_nothing(spec_version: str) -> None:
    app, log = make_app()
    gone = asyncio.Event()

    @app.get("/")
    async def endpoint(tasks: Tasks) -> StreamingResponse:
        tasks.after_route.schedule(log.append, "after_route")
        tasks.after_response.schedule(log.append, "after_response")

        async def body() -> AsyncIterator[bytes]:
            yield b"a"
            gone.set()
            while True:
                await asyncio.sleep(0)
                yield b"b"

        return StreamingResponse(body())

    async def receive() -> Any:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if gone.is_set() and spec_version == "2.4":
            raise OSError("the client has gone")

    async with running(app) as client:
        scope = http_scope("/")
        scope["asgi"]["spec_version"] = spec_version
        try:
            await app(scope, receive, send)
        except Exception as error:
            assert type(error).__name__ == "ClientDisconnect"  # noqa: PT017
        await client.tasks.settle()
    assert sorted(log) == ["after_response", "after_route"]


@async_test
async def test_a_body_that_raises_fails_what_waits_for_the_answer() -> None:
    app, log = make_app()

    @app.get("/")
    async def endpoint(tasks: Tasks) -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            yield b"a"
            raise RuntimeError("in the middle")

        tasks.after_route.schedule(log.append, "after_route")
        tasks.after_response.schedule(log.append, "after_response")
        tasks.after_response.task(when="failure").schedule(log.append, "failure")
        return StreamingResponse(body())

    async with running(app, raise_app_exceptions=False) as client:
        await client.get("/")
        await client.tasks.settle()
    assert sorted(log) == ["after_route", "failure"]


@async_test
async def test_a_sync_endpoint_schedules_from_its_thread() -> None:
    app, log = make_app()
    word: ContextVar[str] = ContextVar("word", default="lost")

    def note(moment: str) -> None:
        log.append(f"{moment} {word.get()}")

    @app.get("/")
    def endpoint(tasks: Tasks) -> None:
        word.set("kept")
        tasks.schedule(note, "now")
        tasks.after_route.schedule(note, "after_route")
        tasks.after_response.schedule(note, "after_response")

    async with running(app) as client:
        await client.get("/")
        await client.tasks.settle()
    assert sorted(log) == ["after_response kept", "after_route kept", "now kept"]


@async_test
async def test_tasks_are_scheduled_from_a_thread_of_the_endpoints_own() -> None:
    app, log = make_app()

    @app.get("/")
    async def endpoint(tasks: Tasks) -> None:
        await asyncio.to_thread(lambda: tasks.schedule(log.append, "now"))
        await asyncio.to_thread(lambda: tasks.after_response.schedule(log.append, "after"))

    async with running(app) as client:
        await client.get("/")
        await client.tasks.settle()
    assert sorted(log) == ["after", "now"]


@async_test
async def test_context_variables_of_the_request_are_visible_in_its_tasks() -> None:
    app, log = make_app()
    word: ContextVar[str] = ContextVar("word", default="lost")

    async def note(moment: str) -> None:
        log.append(f"{moment} {word.get()} {current_context().correlation_id}")

    @app.get("/")
    async def endpoint(tasks: Tasks) -> None:
        word.set("kept")
        tasks.schedule(note, "now")
        tasks.after_response.task(limit=1).schedule(note, "later")
        tasks.after_response.task(limit=1).schedule(note, "queued")
        word.set("changed later")

    async with running(app) as client:
        await client.get("/", headers={"X-Request-ID": "abc"})
        await client.tasks.settle()
    assert sorted(log) == ["later kept abc", "now kept abc", "queued kept abc"]


@async_test
async def test_dependencies_of_any_scope_may_take_tasks() -> None:
    app, log = make_app()

    async def plain(tasks: Tasks) -> None:
        tasks.after_route.schedule(log.append, "plain")

    async def request_scoped(tasks: Tasks) -> AsyncIterator[None]:
        yield
        tasks.after_response.schedule(log.append, "request teardown")

    async def function_scoped(tasks: Tasks) -> AsyncIterator[None]:
        yield
        tasks.after_route.schedule(log.append, "function teardown")

    def sync_scoped(tasks: Tasks) -> Iterator[None]:
        yield
        tasks.after_response.schedule(log.append, "sync teardown")

    @app.get(
        "/",
        dependencies=[
            Depends(plain),
            Depends(request_scoped),
            Depends(function_scoped, scope="function"),
            Depends(sync_scoped),
        ],
    )
    async def endpoint() -> None: ...

    async with running(app) as client:
        await client.get("/")
        await client.tasks.settle()
    assert sorted(log) == ["function teardown", "plain", "request teardown", "sync teardown"]


@async_test
async def test_routers_and_mounted_apps_use_the_tasks_of_the_app_around_them() -> None:
    app, log = make_app()
    router = APIRouter(prefix="/router")
    inner = FastAPI()

    async def endpoint(tasks: Tasks) -> None:
        tasks.schedule(log.append, "now")
        tasks.after_route.schedule(log.append, "after_route")
        tasks.after_response.schedule(log.append, "after_response")

    router.get("/")(endpoint)
    inner.get("/")(endpoint)
    app.include_router(router)
    app.mount("/inner", inner)
    async with running(app) as client:
        for path in ("/router/", "/inner/"):
            assert (await client.get(path)).status_code == 200
            await client.tasks.settle()
            assert sorted(log) == ["after_response", "after_route", "now"]
            log.clear()


def test_an_app_mounted_in_one_without_backstay_runs_its_tasks_before_its_call_ends() -> None:
    inner, log = make_app()
    outer = FastAPI()
    outer.mount("/inner", inner)

    @inner.get("/")
    async def endpoint(tasks: Tasks) -> None:
        tasks.schedule(log.append, "now")
        tasks.after_response.schedule(log.append, "after_response")

    with TestClient(outer) as client:
        assert client.get("/inner/").status_code == 200
    assert sorted(log) == ["after_response", "now"]


def test_a_test_client_without_its_lifespan_runs_tasks_too() -> None:
    app, log = make_app()

    async def slow() -> None:
        await asyncio.sleep(0.01)
        log.append("slow")

    @app.get("/")
    async def endpoint(tasks: Tasks) -> None:
        tasks.schedule(slow)
        tasks.after_response.schedule(log.append, "after_response")

    client = TestClient(app)
    for _ in range(2):  # each call has an event loop of its own
        assert client.get("/").status_code == 200
        assert sorted(log) == ["after_response", "slow"]
        log.clear()


def test_websocket_endpoints_schedule_tasks() -> None:
    app, log = make_app()

    @app.websocket("/")
    async def endpoint(websocket: WebSocket, tasks: Tasks) -> None:
        await websocket.accept()
        tasks.schedule(log.append, "now")
        tasks.after_route.schedule(log.append, "after_route")
        tasks.after_response.schedule(log.append, "after_response")
        while True:  # until the client leaves, which raises WebSocketDisconnect
            await websocket.send_text(await websocket.receive_text())

    with TestClient(app) as client:
        # Starlette lets the disconnect out of the app, and the test client lets us see it.
        with contextlib.suppress(WebSocketDisconnect), client.websocket_connect("/") as websocket:
            websocket.send_text("hello")
            assert websocket.receive_text() == "hello"
    assert sorted(log) == ["after_response", "after_route", "now"]


@async_test
async def test_helpers_are_handed_tasks() -> None:
    app, log = make_app()

    def helper(tasks: Tasks, word: str) -> Task:
        return tasks.schedule(log.append, word)

    @app.get("/")
    async def endpoint(tasks: Tasks) -> None:
        helper(tasks, "from a helper")

    async with running(app) as client:
        await client.get("/")
        await client.tasks.settle()
    assert log == ["from a helper"]


@async_test
async def test_a_running_task_schedules_more_and_its_moments_are_its_own() -> None:
    app, log = make_app()

    async def parent() -> None:
        ctx = current_context()
        assert ctx.origin == "task"
        child = ctx.tasks.schedule(log.append, "child")
        ctx.tasks.after_route.schedule(log.append, "after the parent")
        ctx.tasks.after_route.task(wait=True).schedule(log.append, "held by the parent")
        await child.wait()
        log.append("parent")

    @app.get("/")
    async def endpoint(tasks: Tasks) -> None:
        tasks.schedule(parent)

    async with running(app) as client:
        await client.get("/")
        await client.tasks.settle()
    assert log[:2] == ["child", "parent"]
    assert sorted(log[2:]) == ["after the parent", "held by the parent"]


@async_test
async def test_a_tasks_children_that_wait_for_its_success_are_skipped_when_it_fails() -> None:
    app, log = make_app()

    async def parent() -> None:
        tasks = current_context().tasks
        tasks.after_route.schedule(log.append, "success")
        tasks.after_response.task(when="failure").schedule(log.append, "failure")
        raise ValueError("no")

    async with running(app) as client:
        task = client.tasks.schedule(parent)
        await client.tasks.settle()
        assert isinstance(task.outcome, Failed)
    assert log == ["failure"]


@async_test
async def test_a_requests_tasks_still_work_after_the_request_is_over() -> None:
    app, log = make_app()
    kept: list[Context] = []

    @app.get("/")
    async def endpoint(tasks: Tasks) -> None:
        kept.append(current_context())

    async with running(app) as client:
        await client.get("/")
        tasks = kept[0].tasks
        tasks.schedule(log.append, "now")
        tasks.after_route.schedule(log.append, "after_route")
        tasks.after_response.schedule(log.append, "after_response")
        await client.tasks.settle()
    assert sorted(log) == ["after_response", "after_route", "now"]


@async_test
async def test_anything_callable_can_be_scheduled() -> None:
    app, log = make_app()

    class Mailer:
        async def send(self, to: str) -> str:
            log.append(to)
            return to

        def sync(self, to: str) -> str:
            log.append(to)
            return to

        async def __call__(self, to: str) -> str:
            return await self.send(to)

    mailer = Mailer()
    async with running(app) as client:
        schedule = client.tasks.schedule
        tasks = [
            schedule(mailer.send, "method"),
            schedule(mailer.sync, "sync method"),
            schedule(mailer, "instance"),
            schedule(functools.partial(mailer.send, "partial")),
            schedule(functools.partial(mailer.sync, to="sync partial")),
            schedule(lambda: mailer.send("lambda around a coroutine function")),
        ]
        outcomes = [await task.wait() for task in tasks]
    assert [outcome.value for outcome in outcomes if isinstance(outcome, Succeeded)] == [
        "method",
        "sync method",
        "instance",
        "partial",
        "sync partial",
        "lambda around a coroutine function",
    ]


@async_test
async def test_what_is_no_function_is_refused_at_the_call() -> None:
    app, _ = make_app()

    async def send(to: str) -> None: ...

    async with running(app) as client:
        tasks = client.tasks
        with pytest.raises(
            TypeError, match=r"coroutine object send\(\.\.\.\).*schedule\(send, \.\.\.\)"
        ):
            tasks.schedule(send("x"))  # type: ignore[call-overload]  # the mistake under test
        with pytest.raises(TypeError, match="needs a function, got 3 of type int"):
            tasks.after_route.schedule(3)  # type: ignore[call-overload]  # the mistake under test
        with pytest.raises(TypeError, match="got an awaitable of type Future"):
            tasks.task(name="x").schedule(asyncio.get_running_loop().create_future())  # type: ignore[call-overload]  # the mistake under test


@async_test
async def test_options_that_make_no_sense_at_a_moment_are_refused() -> None:
    app, _ = make_app()
    async with running(app) as client:
        tasks = client.tasks
        with pytest.raises(ValueError, match="goes with tasks.after_route only"):
            tasks.task(wait=True)
        with pytest.raises(ValueError, match="goes with tasks.after_route only"):
            tasks.after_response.task(wait=True)
        with pytest.raises(ValueError, match="waits for none"):
            tasks.task(when="always")
        with pytest.raises(ValueError, match="none to hold"):
            tasks.after_route.task(wait=True, when="failure")


@async_test
async def test_options_add_up_and_the_nearest_wins() -> None:
    app, _ = make_app()
    async with running(app) as client:
        named = client.tasks.after_response.task(name="a", timeout=3)
        task = named.task(name="b", shield=True).schedule(print, end="")
        assert (task.config.name, task.config.timeout, task.config.shield) == ("b", 3, True)
        await client.tasks.settle()


def test_without_add_tasks_the_first_request_names_the_line_to_add() -> None:
    app = FastAPI()

    @app.get("/")
    async def endpoint(tasks: Tasks) -> None: ...

    with TestClient(app) as client, pytest.raises(NotInstalled, match=r"add_tasks\(app\)"):
        client.get("/")


@async_test
async def test_one_task_too_many_is_answered_503_and_nothing_accepted_is_lost() -> None:
    app, log = make_app(max_pending=2)

    @app.get("/{count}")
    async def endpoint(tasks: Tasks, count: int) -> None:
        for number in range(count):
            tasks.after_response.schedule(log.append, str(number))

    async with running(app) as client:
        answer = await client.get("/3")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
        assert answer.headers["content-type"] == "application/problem+json"
        assert (await client.get("/2")).status_code == 200
        await client.tasks.settle()
    assert sorted(log) == ["0", "1"]


@async_test
async def test_threads_are_refused_too_when_there_is_no_room() -> None:
    app, log = make_app(max_pending=10)

    @app.get("/")
    def endpoint(tasks: Tasks) -> int:
        accepted = 0
        for number in range(50):
            try:
                tasks.after_response.schedule(log.append, str(number))
                accepted += 1
            except TooManyTasks:
                pass
        return accepted

    async with running(app) as client:
        assert (await client.get("/")).json() == 10
        await client.tasks.settle()
    assert len(log) == 10


@async_test
async def test_settle_inside_a_task_would_wait_for_itself_and_says_so() -> None:
    app, _ = make_app()

    async def impatient() -> None:
        await current_context().tasks.settle()

    async with running(app) as client:
        outcome = await client.tasks.schedule(impatient).wait()
        assert isinstance(outcome, Failed)
        assert "would wait for itself" in str(outcome.error)


@async_test
async def test_concurrent_requests_keep_their_tasks_apart() -> None:
    app, _ = make_app()
    seen: dict[str, set[str]] = {}

    async def note(request: str) -> None:
        seen.setdefault(request, set()).add(current_context().correlation_id)

    @app.get("/{request}")
    async def endpoint(request: str, tasks: Tasks) -> None:
        await asyncio.sleep(0)
        tasks.schedule(note, request)
        tasks.after_route.schedule(note, request)
        tasks.after_response.schedule(note, request)

    async with running(app) as client:
        answers = await asyncio.gather(*(client.get(f"/r{number}") for number in range(50)))
        await client.tasks.settle()
    for number, answer in enumerate(answers):
        assert seen[f"r{number}"] == {answer.headers["x-request-id"]}


def http_scope(path: str) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }


async def receive_nothing() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}
