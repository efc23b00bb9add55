"""``tasks.durable`` in everything that answers requests: written before the answer, or refused."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.testclient import TestClient
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from backstay import Origin, current_context
from backstay.errors import BadJob, ContextClosed, LedgerUnavailable
from backstay.ledger.rows import NewJob
from backstay.tasks import Job, Retry, State, Tasks, add_tasks, connect
from backstay.testing import enqueued, running
from backstay.web import Ctx, install
from tests.support import async_test
from tests.tasks.notebook import durable_app, ledger_of, note_task, noted, notes


@async_test
async def test_the_job_is_written_before_the_answer_leaves() -> None:
    app, note = durable_app(), note_task()
    handles: list[Job[None]] = []

    @app.post("/", status_code=202)
    async def endpoint(tasks: Tasks) -> dict[str, str]:
        job = tasks.durable.schedule(note, "a")
        assert job.created is None  # not yet
        handles.append(job)
        return {"job": str(job.id)}

    async with running(app) as client:
        sent = asyncio.Event()
        at_start: list[list[str]] = []
        original = app.middleware_stack
        assert original is not None

        async def watched(scope: Any, receive: Any, send: Any) -> None:
            async def send_on(message: Any) -> None:
                if message["type"] == "http.response.start":
                    at_start.append(await notes(client))
                    sent.set()
                await send(message)

            await original(scope, receive, send_on)

        app.middleware_stack = watched
        answer = await client.post("/")
        assert sent.is_set()
        assert at_start == [noted("a")]
        [handle] = handles
        assert handle.created
        assert answer.json() == {"job": str(handle.id)}
        assert (await client.durable.job(answer.json()["job"]).status()).task == note.name


@async_test
async def test_several_jobs_of_a_request_are_one_write() -> None:
    app, note = durable_app(), note_task()

    @app.post("/")
    async def endpoint(tasks: Tasks, ctx: Ctx) -> None:
        tasks.durable.schedule(note, "a")
        ctx.durable.schedule(note, "b")
        tasks.durable.task(priority=5).schedule(note, "c")

    async with running(app) as client:
        writes = 0
        ledger = ledger_of(client)
        original = ledger.insert

        async def insert(jobs: Sequence[NewJob]) -> Any:
            nonlocal writes
            writes += 1
            return await original(jobs)

        ledger.insert = insert
        await client.post("/")
        assert await notes(client) == noted("a", "b", "c")
        assert writes == 1


@async_test
async def test_sync_endpoints_and_dependencies_of_every_kind_schedule() -> None:
    app, note = durable_app(), note_task()

    async def plain(tasks: Tasks) -> None:
        tasks.durable.schedule(note, "plain")

    def in_thread(tasks: Tasks) -> None:
        tasks.durable.schedule(note, "in thread")

    async def around(tasks: Tasks) -> AsyncIterator[None]:
        tasks.durable.schedule(note, "before")
        yield
        tasks.durable.schedule(note, "behind")

    @app.post(
        "/",
        dependencies=[Depends(plain), Depends(in_thread), Depends(around, scope="function")],
    )
    def endpoint(tasks: Tasks) -> None:
        tasks.durable.schedule(note, "endpoint")

    async with running(app) as client:
        assert (await client.post("/")).status_code == 200
        assert sorted(await notes(client)) == sorted(
            noted("plain", "in thread", "before", "endpoint", "behind")
        )


@async_test
async def test_a_request_scoped_dependency_is_told_that_it_is_too_late_after_its_yield() -> None:
    app, note = durable_app(), note_task()
    told: list[ContextClosed] = []

    async def around(tasks: Tasks) -> AsyncIterator[None]:
        yield
        try:
            tasks.durable.schedule(note, "late")
        except ContextClosed as closed:
            told.append(closed)
        await tasks.durable.enqueue(note, "enqueued")

    @app.post("/", dependencies=[Depends(around)])
    async def endpoint() -> None: ...

    async with running(app) as client:
        await client.post("/")
        assert "await tasks.durable.enqueue" in str(told[0])
        assert await notes(client) == noted("enqueued")


def raises() -> None:
    raise LookupError


def answers_404() -> None:
    raise HTTPException(404)


def returns_nonsense() -> Any:
    return object()


@pytest.mark.parametrize("end", [raises, answers_404, returns_nonsense])
def test_a_request_that_fails_writes_nothing(end: Callable[[], Any]) -> None:
    @async_test
    async def check() -> None:
        app, note = durable_app(), note_task()

        @app.post("/", response_model=int)
        async def endpoint(tasks: Tasks) -> Any:
            tasks.durable.schedule(note, "never")
            return end()

        @app.post("/sync", response_model=int)
        def sync_endpoint(tasks: Tasks) -> Any:
            tasks.durable.schedule(note, "never")
            return end()

        async with running(app, raise_app_exceptions=False) as client:
            for path in ("/", "/sync"):
                assert (await client.post(path)).status_code >= 400
            assert await notes(client) == []

    check()


@async_test
async def test_a_dependency_that_fails_to_commit_leaves_no_job() -> None:
    app, note = durable_app(), note_task()

    async def commit() -> AsyncIterator[None]:
        yield
        raise ConnectionError("the commit failed")

    @app.post("/", dependencies=[Depends(commit, scope="function")])
    async def endpoint(tasks: Tasks) -> None:
        tasks.durable.schedule(note, "never")

    async with running(app, raise_app_exceptions=False) as client:
        assert (await client.post("/")).status_code == 500
        assert await notes(client) == []


@async_test
async def test_a_wrong_argument_fails_the_request_at_the_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, note = durable_app(), note_task()

    @app.post("/")
    async def endpoint(tasks: Tasks) -> None:
        tasks.durable.schedule(note, "first")
        tasks.durable.schedule(note, 7)

    async with running(app, raise_app_exceptions=False) as client:
        assert (await client.post("/")).status_code == 500
        assert await notes(client) == []
    assert "argument 'text' does not fit" in caplog.text


@async_test
async def test_a_ledger_that_is_down_is_a_503_problem_and_no_promise() -> None:
    app, note = durable_app(), note_task()

    @app.post("/schedule")
    async def schedule(tasks: Tasks) -> None:
        tasks.durable.schedule(note, "never")

    @app.post("/enqueue")
    async def enqueue(tasks: Tasks) -> None:
        await tasks.durable.enqueue(note, "never")

    async with running(app, raise_app_exceptions=False) as client:
        ledger = ledger_of(client)

        async def insert(jobs: Sequence[NewJob]) -> Any:
            raise LedgerUnavailable("cannot write to /var/secret/shop.db")

        original, ledger.insert = ledger.insert, insert
        for path in ("/schedule", "/enqueue"):
            answer = await client.post(path)
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["retry-after"] == "5"
            assert "secret" not in answer.text
        ledger.insert = original
        assert await notes(client) == []
        assert (await client.post("/schedule")).status_code == 200
        assert await notes(client) == noted("never")


def test_websockets_enqueue_because_they_have_no_answer_to_wait_for(tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    app, note = durable_app(database=f"sqlite:///{file}"), note_task()

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket, tasks: Tasks) -> None:
        await websocket.accept()
        try:
            tasks.durable.schedule(note, "never")
        except ContextClosed as closed:
            await websocket.send_text(str(closed))
        job = await tasks.durable.enqueue(note, "enqueued")
        await websocket.send_text(str(job.created))

    with TestClient(app) as client, client.websocket_connect("/ws") as socket:
        assert "await tasks.durable.enqueue" in socket.receive_text()
        assert socket.receive_text() == "True"
    with closing(sqlite3.connect(file)) as outside:
        rows = outside.execute("SELECT args FROM backstay_jobs").fetchall()
    assert [args for (args,) in rows] == noted("enqueued")


@async_test
async def test_included_routers_and_mounted_apps_write_to_the_ledger_of_the_app_around_them() -> (
    None
):
    app, note = durable_app(), note_task()
    router, mounted = APIRouter(prefix="/router"), FastAPI()

    @router.post("/")
    async def in_router(tasks: Tasks) -> None:
        tasks.durable.schedule(note, "router")

    @mounted.post("/")
    async def in_mounted(tasks: Tasks) -> None:
        tasks.durable.schedule(note, "mounted")

    app.include_router(router)
    app.mount("/mounted", mounted)
    async with running(app) as client:
        assert (await client.post("/router/")).status_code == 200
        assert (await client.post("/mounted/")).status_code == 200
        assert await notes(client) == noted("router", "mounted")


@async_test
async def test_plain_starlette_routes_write_when_their_answer_begins_unless_it_is_an_error() -> (
    None
):
    app, note = durable_app(), note_task()

    async def plain(request: Request) -> Response:
        current_context().durable.schedule(note, request.query_params["text"])
        return PlainTextResponse("ok", status_code=int(request.query_params["status"]))

    async def fails(request: Request) -> Response:
        current_context().durable.schedule(note, "never")
        raise LookupError

    app.router.routes.append(Route("/plain", plain))
    app.router.routes.append(Route("/fails", fails))
    async with running(app, raise_app_exceptions=False) as client:
        assert (await client.get("/plain?text=written&status=202")).status_code == 202
        assert (await client.get("/plain?text=never&status=409")).status_code == 409
        assert (await client.get("/fails")).status_code == 500
        assert await notes(client) == noted("written")


@async_test
async def test_in_process_tasks_schedule_with_their_own_success() -> None:
    app, note = durable_app(), note_task()

    async def work(text: str, fails: bool) -> None:
        current_context().durable.schedule(note, text)
        if fails:
            raise LookupError

    def work_in_thread(text: str) -> None:
        current_context().durable.schedule(note, text)

    @app.post("/")
    async def endpoint(tasks: Tasks) -> None:
        tasks.schedule(work, "now", False)
        tasks.schedule(work, "never", True)
        tasks.after_response.schedule(work, "after", False)
        tasks.after_response.schedule(work_in_thread, "thread")

    async with running(app) as client:
        await client.post("/")
        await client.tasks.settle()
        assert sorted(await notes(client)) == sorted(noted("now", "after", "thread"))


@async_test
async def test_a_retried_task_drops_what_its_failed_attempts_scheduled() -> None:
    app, note = durable_app(), note_task()
    attempts = 0

    async def flaky() -> None:
        nonlocal attempts
        attempts += 1
        current_context().durable.schedule(note, str(attempts))
        if attempts < 3:
            raise ConnectionError

    @app.post("/")
    async def endpoint(tasks: Tasks) -> None:
        tasks.task(retry=Retry(attempts=3, base_s=0, jitter=False)).schedule(flaky)

    async with running(app) as client:
        await client.post("/")
        await client.tasks.settle()
        assert await notes(client) == noted("3")


@async_test
async def test_error_handlers_of_tasks_enqueue() -> None:
    app, note = durable_app(), note_task()

    async def report(failed: Any, error: Exception) -> None:
        await current_context().durable.enqueue(note, "reported")

    async def fail() -> None:
        raise LookupError

    @app.post("/")
    async def endpoint(tasks: Tasks) -> None:
        tasks.task(on_error=report).schedule(fail)

    async with running(app) as client:
        await client.post("/")
        await client.tasks.settle()
        assert await notes(client) == noted("reported")


@async_test
async def test_fastapis_own_background_tasks_schedule_with_theirs() -> None:
    app, note = durable_app(), note_task()

    def work() -> None:
        current_context().durable.schedule(note, "in background")

    @app.post("/")
    async def endpoint(background: BackgroundTasks) -> None:
        background.add_task(work)

    async with running(app) as client:
        await client.post("/")
        await client.tasks.settle()
        assert await notes(client) == noted("in background")


@async_test
async def test_a_stream_enqueues_because_its_answer_has_left() -> None:
    app, note = durable_app(), note_task()
    told: list[str] = []

    @app.get("/")
    async def endpoint(tasks: Tasks) -> StreamingResponse:
        async def body() -> AsyncIterator[str]:
            yield "some"
            try:
                tasks.durable.schedule(note, "never")
            except ContextClosed as closed:
                told.append(str(closed))
            await tasks.durable.enqueue(note, "enqueued")
            yield "more"

        return StreamingResponse(body())

    async with running(app) as client:
        assert (await client.get("/")).text == "somemore"
        assert "await tasks.durable.enqueue" in told[0]
        assert await notes(client) == noted("enqueued")


@async_test
async def test_what_comes_late_is_written_or_refused_also_if_something_came_in_time() -> None:
    app, note = durable_app(), note_task()
    told: list[Exception] = []

    def too_late(tasks: Tasks) -> None:
        try:
            tasks.durable.schedule(note, "late")
        except ContextClosed as closed:
            told.append(closed)

    @app.get("/stream")
    async def stream(tasks: Tasks) -> StreamingResponse:
        tasks.durable.schedule(note, "in time")

        async def body() -> AsyncIterator[str]:
            yield "some"
            too_late(tasks)

        return StreamingResponse(body())

    @app.get("/background")
    async def in_background(tasks: Tasks, background: BackgroundTasks) -> None:
        tasks.durable.schedule(note, "in time")
        background.add_task(too_late, tasks)

    @app.get("/after_response")
    async def after_response(tasks: Tasks) -> None:
        tasks.durable.schedule(note, "in time")
        tasks.after_response.schedule(too_late, tasks)

    async with running(app) as client:
        for path in ("/stream", "/background", "/after_response"):
            await client.get(path)
            await client.tasks.settle()
        written = await notes(client)
        assert written.count(*noted("in time")) == 3
        assert written.count(*noted("late")) == 3 - len(told)


@async_test
async def test_what_an_exception_handler_schedules_is_written_whatever_it_answers() -> None:
    app, note = durable_app(), note_task()

    @app.exception_handler(LookupError)
    async def apologize(request: Request, error: Exception) -> Response:
        current_context().durable.schedule(note, "an apology")
        return JSONResponse({"sorry": True}, status_code=int(request.query_params["status"]))

    @app.get("/")
    async def endpoint(tasks: Tasks, early: bool = False) -> None:
        if early:
            tasks.durable.schedule(note, "dropped with the failure")
        raise LookupError

    async with running(app) as client:
        for query in ("status=200", "status=409", "status=200&early=1", "status=409&early=1"):
            await client.get(f"/?{query}")
        assert await notes(client) == noted(*["an apology"] * 4)


@async_test
async def test_what_a_middleware_schedules_is_written_before_the_answer_or_refused() -> None:
    app, note = durable_app(), note_task()
    told: list[Exception] = []

    @app.middleware("http")
    async def around(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        if "before" in request.query_params:
            current_context().durable.schedule(note, "before")
        answer = await call_next(request)
        if "behind" in request.query_params:
            try:
                current_context().durable.schedule(note, "behind")
            except ContextClosed as closed:  # the endpoint's own end has been waited for
                told.append(closed)
        return answer

    @app.get("/")
    async def endpoint(tasks: Tasks, within: bool = False) -> None:
        if within:
            tasks.durable.schedule(note, "within")

    async with running(app) as client:
        for query, texts in (
            ("before", ["before"]),
            ("behind", ["behind"]),
            ("within=1&behind=1", ["within", "behind"]),
            ("before=1&within=1", ["before", "within"]),
            ("before=1&within=1&behind=1", ["before", "within", "behind"]),
        ):
            told.clear()
            known = len(await notes(client))
            assert (await client.get(f"/?{query}")).status_code == 200
            written = sorted((await notes(client))[known:])
            assert written == sorted(noted(*texts[:-1] if told else texts)), query


@async_test
async def test_a_lifespan_that_starts_is_told_that_the_ledger_is_not_open_and_may_connect(
    tmp_path: Path,
) -> None:
    told: list[str] = []
    note = note_task()
    database = f"sqlite:///{tmp_path}/shop.db"

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            await install(app).open(Origin.SCRIPT).durable.enqueue(note, "never")
        except LedgerUnavailable as error:
            told.append(str(error))
        async with connect(database) as durable:
            await durable.enqueue(note, "starting")
        yield

    app = FastAPI(lifespan=lifespan)
    add_tasks(app, database=database, worker=False)
    async with running(app) as client:
        assert "has not started" in told[0]
        assert await notes(client) == noted("starting")


@async_test
async def test_jobs_of_one_request_may_wait_for_each_other() -> None:
    app, note = durable_app(), note_task()

    @app.post("/")
    async def endpoint(tasks: Tasks) -> list[str]:
        first = tasks.durable.task(delay=3600).schedule(note, "first")
        second = tasks.durable.task(after=first).schedule(note, "second")
        return [str(first.id), str(second.id)]

    async with running(app) as client:
        first, second = (await client.post("/")).json()
        assert (await client.durable.job(first).status()).state is State.SCHEDULED
        assert (await client.durable.job(second).status()).state is State.WAITING


@async_test
async def test_a_job_that_is_not_written_yet_cannot_be_waited_for_by_one_that_is() -> None:
    app, note = durable_app(), note_task()
    told: list[BadJob] = []

    @app.post("/")
    async def endpoint(tasks: Tasks) -> None:
        first = tasks.durable.task(delay=3600).schedule(note, "first")
        try:
            await tasks.durable.task(after=first).enqueue(note, "second")
        except BadJob as refused:
            told.append(refused)

    async with running(app) as client:
        await client.post("/")
        rows = {row.args: row.state for row in await enqueued(client)}
        assert told or rows[noted("second")[0]] is State.WAITING
