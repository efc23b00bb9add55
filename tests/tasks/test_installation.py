"""``add_tasks(app)``, and what endpoints make of ``tasks.durable``."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from backstay import current_context
from backstay.errors import AlreadyInstalled, BadJob, ContextClosed, LedgerUnavailable
from backstay.jobs.part import DurablePart
from backstay.ledger.rows import NewJob
from backstay.tasks import Job, Retry, TaskConfig, Tasks, add_tasks, task
from backstay.testing import RunningApp, enqueued, running
from backstay.web import Ctx, install
from tests.support import async_test


def test_twice_is_an_error_that_says_so() -> None:
    app = FastAPI()
    add_tasks(app)
    with pytest.raises(AlreadyInstalled, match="switched on for this app already"):
        add_tasks(app)


def test_something_that_is_no_app_is_refused() -> None:
    with pytest.raises(TypeError, match="needs a FastAPI app, got 3"):
        add_tasks(3)  # type: ignore[arg-type]  # the mistake under test


@async_test
async def test_it_uses_what_install_was_given_before() -> None:
    app = FastAPI()
    install(app, settings={"A": 1})
    add_tasks(app)
    async with running(app) as client:
        assert client.ctx.settings.get("A") == 1


@async_test
async def test_apps_do_not_share_their_tasks() -> None:
    one, other = FastAPI(), FastAPI()
    add_tasks(one, max_pending=1)
    add_tasks(other)

    @other.get("/")
    async def endpoint(tasks: Tasks) -> None:
        for _ in range(3):
            tasks.after_response.schedule(print, end="")

    async with running(one) as first, running(other) as second:
        assert (await second.get("/")).status_code == 200
        await second.tasks.settle()
        await first.tasks.settle()


@async_test
async def test_the_parameter_does_not_show_in_the_openapi_document() -> None:
    app = FastAPI()
    add_tasks(app)

    @app.get("/")
    async def endpoint(tasks: Tasks) -> None: ...

    async with running(app) as client:
        operation = (await client.get("/openapi.json")).json()["paths"]["/"]["get"]
    assert "parameters" not in operation
    assert "requestBody" not in operation


# ---------------------------------------------------------------------- durable, in endpoints


def durable_app(**options: Any) -> FastAPI:
    app = FastAPI()
    add_tasks(app, **{"database": "memory://", "worker": False, **options})
    return app


def note_task() -> Any:
    """A task of its own for every test."""

    @task(name="tests.note")
    async def note(text: str) -> None: ...

    return note


async def notes(client: RunningApp) -> list[str]:
    """What was noted, as the ledger has it."""
    return [row.args for row in await enqueued(client)]


def noted(*texts: str) -> list[str]:
    return [f'{{"text":"{each}"}}' for each in texts]


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


def ledger_of(client: RunningApp) -> Any:
    part = client.ctx.app.part("durable")
    assert isinstance(part, DurablePart)
    return part.ledger


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
async def test_a_wrong_argument_fails_the_request_at_the_call() -> None:
    app, note = durable_app(), note_task()

    @app.post("/")
    async def endpoint(tasks: Tasks) -> None:
        tasks.durable.schedule(note, "first")
        tasks.durable.schedule(note, 7)

    async with running(app) as client:
        with pytest.raises(BadJob, match="text"):
            await client.post("/")
        assert await notes(client) == []


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


def test_websockets_schedule_and_it_is_written_when_the_endpoint_returns(tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    app, note = durable_app(database=f"sqlite:///{file}"), note_task()

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket, tasks: Tasks) -> None:
        await websocket.accept()
        tasks.durable.schedule(note, "scheduled")
        job = await tasks.durable.enqueue(note, "enqueued")
        await websocket.send_text(str(job.created))

    @app.websocket("/fails")
    async def fails(websocket: WebSocket, tasks: Tasks) -> None:
        tasks.durable.schedule(note, "never")
        raise LookupError

    with TestClient(app) as client:
        with client.websocket_connect("/ws") as socket:
            assert socket.receive_text() == "True"
        with pytest.raises(LookupError), client.websocket_connect("/fails"):
            pass
    with closing(sqlite3.connect(file)) as outside:
        rows = outside.execute("SELECT args FROM backstay_jobs ORDER BY id").fetchall()
    assert sorted(args for (args,) in rows) == sorted(noted("enqueued", "scheduled"))


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
async def test_plain_starlette_routes_are_told_to_enqueue() -> None:
    app, note = durable_app(), note_task()
    told: list[str] = []

    async def plain(request: Request) -> Response:
        try:
            current_context().durable.schedule(note, "scheduled")
        except ContextClosed as closed:
            told.append(str(closed))
        await current_context().durable.enqueue(note, "enqueued")
        return PlainTextResponse("ok")

    app.router.routes.append(Route("/plain", plain, methods=["POST"]))
    async with running(app) as client:
        assert (await client.post("/plain")).status_code == 200
        assert "await tasks.durable.enqueue" in told[0]
        assert await notes(client) == noted("enqueued")


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
        tasks.durable.schedule(note, "before")

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
        assert await notes(client) == noted("before", "enqueued")


async def written_or_refused(client: RunningApp, path: str, told: list[Exception]) -> None:
    """What was accepted with a 2xx is on disk; what is not was refused at the call."""
    answer = await client.get(path)
    assert answer.status_code < 300
    assert bool(await notes(client)) is not bool(told)


@async_test
async def test_schedule_in_an_exception_handler_is_written_or_refused() -> None:
    app, note = durable_app(), note_task()
    told: list[Exception] = []

    @app.exception_handler(LookupError)
    async def apologize(request: Request, error: Exception) -> Response:
        try:
            current_context().durable.schedule(note, "an apology")
        except ContextClosed as closed:
            told.append(closed)
        return JSONResponse({"sorry": True})

    @app.get("/")
    async def endpoint() -> None:
        raise LookupError

    async with running(app) as client:
        await written_or_refused(client, "/", told)


@async_test
async def test_schedule_in_a_middleware_is_written_or_refused() -> None:
    app, note = durable_app(), note_task()
    told: list[Exception] = []

    @app.middleware("http")
    async def around(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        answer = await call_next(request)
        try:
            current_context().durable.schedule(note, "behind")
        except ContextClosed as closed:
            told.append(closed)
        return answer

    @app.get("/")
    async def endpoint() -> None: ...

    async with running(app) as client:
        await written_or_refused(client, "/", told)


@async_test
async def test_a_lifespan_enqueues_once_the_app_has_started() -> None:
    told: list[str] = []
    note = note_task()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            await install(app).open_context().durable.enqueue(note, "starting")  # type: ignore[attr-defined]
        except AttributeError:
            told.append("no such door")
        yield

    app = FastAPI(lifespan=lifespan)
    add_tasks(app, database="memory://", worker=False)
    async with running(app) as client:
        assert await notes(client) == [] or told == []


# ---------------------------------------------------------------------- with a session


class Shop:
    """A SQLite file with orders, sessions on it, and a view from outside."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "shop.db"
        self.outside = sqlite3.connect(self.file)
        self.outside.execute("PRAGMA journal_mode=WAL")
        self.outside.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        self.engine = create_async_engine(f"sqlite+aiosqlite:///{self.file}")
        self.sync_engine = create_engine(f"sqlite:///{self.file}")
        self.new_session = async_sessionmaker(self.engine)
        self.new_sync_session = sessionmaker(self.sync_engine)

    async def get_session(self) -> AsyncIterator[AsyncSession]:
        """Commits nothing by itself."""
        async with self.new_session() as session:
            yield session

    async def get_committed_session(self) -> AsyncIterator[AsyncSession]:
        async with self.new_session() as session, session.begin():
            yield session

    def get_sync_session(self) -> Iterator[Session]:
        with self.new_sync_session() as session, session.begin():
            yield session

    def counts(self) -> tuple[int, int]:
        """Orders and jobs that are committed."""
        [(orders,)] = self.outside.execute("SELECT count(*) FROM orders").fetchall()
        [(jobs,)] = self.outside.execute("SELECT count(*) FROM backstay_jobs").fetchall()
        return orders, jobs


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    asyncio.run(shop.engine.dispose())
    shop.sync_engine.dispose()
    shop.outside.close()


ADD = text("INSERT INTO orders DEFAULT VALUES")


def test_an_order_and_its_job_are_committed_together_or_not_at_all(shop: Shop) -> None:
    @async_test
    async def check() -> None:
        get_session = shop.get_committed_session
        app = durable_app(database=f"sqlite:///{shop.file}", session=get_session)
        note = note_task()

        @app.post("/")
        async def endpoint(
            tasks: Tasks,
            session: Annotated[AsyncSession, Depends(get_session, scope="function")],
            fails: bool = False,
            first: bool = False,
        ) -> None:
            if first:  # the session has not run a statement yet
                tasks.durable.schedule(note, "a")
            await session.execute(ADD)
            if not first:
                tasks.durable.schedule(note, "a")
            assert shop.counts()[1] == 0 or first or not fails
            if fails:
                raise HTTPException(409)

        async with running(app) as client:
            assert (await client.post("/?fails=1")).status_code == 409
            assert (await client.post("/?fails=1&first=1")).status_code == 409
            assert shop.counts() == (0, 0)
            assert (await client.post("/")).status_code == 200
            assert (await client.post("/?first=1")).status_code == 200
            assert shop.counts() == (2, 2)

    check()


def test_sync_endpoints_with_sync_sessions_too(shop: Shop) -> None:
    @async_test
    async def check() -> None:
        get_session = shop.get_sync_session
        app = durable_app(database=f"sqlite:///{shop.file}", session=get_session)
        note = note_task()

        @app.post("/")
        def endpoint(
            tasks: Tasks,
            session: Annotated[Session, Depends(get_session, scope="function")],
            fails: bool = False,
        ) -> None:
            session.execute(ADD)
            tasks.durable.schedule(note, "a")
            if fails:
                raise HTTPException(409)

        async with running(app) as client:
            assert (await client.post("/?fails=1")).status_code == 409
            assert shop.counts() == (0, 0)
            assert (await client.post("/")).status_code == 200
            assert shop.counts() == (1, 1)

    check()


def test_a_session_that_would_commit_after_the_answer_stops_the_start(shop: Shop) -> None:
    @async_test
    async def check() -> None:
        get_session = shop.get_committed_session
        app = durable_app(database=f"sqlite:///{shop.file}", session=get_session)

        @app.post("/orders")
        async def create_order(
            tasks: Tasks, session: Annotated[AsyncSession, Depends(get_session)]
        ) -> None: ...

        with pytest.raises(BadJob, match=r"/orders .*create_order.*scope=\"function\""):
            async with running(app):
                raise AssertionError

    check()


def test_it_is_no_matter_where_nothing_is_scheduled(shop: Shop) -> None:
    @async_test
    async def check() -> None:
        get_session = shop.get_committed_session
        app = durable_app(database=f"sqlite:///{shop.file}", session=get_session)

        @app.post("/orders")
        async def create_order(
            session: Annotated[AsyncSession, Depends(get_session)],
        ) -> None: ...

        async with running(app) as client:
            assert (await client.post("/orders")).status_code == 200

    check()


def test_committing_in_the_endpoint_is_fine_in_any_scope(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    @async_test
    async def check() -> None:
        get_session = shop.get_session
        app = durable_app(database=f"sqlite:///{shop.file}", session=get_session)
        note = note_task()

        @app.post("/")
        async def endpoint(
            tasks: Tasks, session: Annotated[AsyncSession, Depends(get_session)]
        ) -> str:
            await session.execute(ADD)
            job = tasks.durable.schedule(note, "a")
            await session.commit()
            assert shop.counts() == (1, 1)
            return str(job.created)

        async with running(app) as client:
            assert (await client.post("/")).json() == "True"
            assert shop.counts() == (1, 1)

    check()
    assert caplog.text == ""


def test_a_session_nobody_commits_is_warned_about_and_the_job_written_all_the_same(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    @async_test
    async def check() -> None:
        get_session = shop.get_session
        app = durable_app(database=f"sqlite:///{shop.file}", session=get_session)
        note = note_task()

        @app.post("/")
        async def endpoint(
            tasks: Tasks, session: Annotated[AsyncSession, Depends(get_session)]
        ) -> None:
            tasks.durable.schedule(note, "a")

        async with running(app) as client:
            assert (await client.post("/")).status_code == 200
            assert shop.counts() == (0, 1)

    check()
    assert "had not committed when the answer was ready" in caplog.text
    assert 'scope="function"' in caplog.text


def test_one_that_holds_the_files_lock_cannot_keep_the_promise_and_is_answered_503(
    shop: Shop,
) -> None:
    @async_test
    async def check() -> None:
        get_session = shop.get_session
        app = durable_app(database=f"sqlite:///{shop.file}", session=get_session)
        note = note_task()

        @app.post("/")
        async def endpoint(
            tasks: Tasks, session: Annotated[AsyncSession, Depends(get_session)]
        ) -> None:
            await session.execute(ADD)
            tasks.durable.schedule(note, "a")

        async with running(app, raise_app_exceptions=False) as client:
            assert (await client.post("/")).status_code == 503
            assert shop.counts() == (0, 0)

    check()


def test_a_session_is_named_by_hand_and_its_rollback_forgets_the_job(shop: Shop) -> None:
    @async_test
    async def check() -> None:
        app, note = durable_app(database=f"sqlite:///{shop.file}"), note_task()

        async with running(app) as client, shop.new_session() as session:
            job = client.durable.on(session).task(priority=7).schedule(note, "a")
            await session.rollback()
            with pytest.raises(Exception, match="rolled back"):
                await job.status()
            job = client.durable.on(session).task(priority=7).schedule(note, "b")
            await session.execute(ADD)
            await session.commit()
            assert (await job.status()).priority == 7
            many = await client.durable.on(session).enqueue_many([note.bind("c"), note.bind("d")])
            assert [each.created for each in many] == [True, True]
            await session.rollback()
            one = await client.durable.on(session).enqueue(note, "e")
            assert shop.counts() == (1, 1)
            await session.commit()
            assert shop.counts() == (1, 2)
            assert (await one.status()).args == noted("e")[0]

    check()


@async_test
async def test_ctx_db_is_a_session_of_the_requests_own(tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    app, note = durable_app(database=f"sqlite:///{file}"), note_task()
    with closing(sqlite3.connect(file)) as outside:
        outside.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")

        def orders() -> int:
            [(count,)] = outside.execute("SELECT count(*) FROM orders").fetchall()
            return int(count)

        @app.post("/")
        async def endpoint(ctx: Ctx, fails: bool = False) -> None:
            await ctx.db.session.execute(ADD)
            ctx.durable.schedule(note, "a")
            if fails:
                raise HTTPException(409)

        @app.post("/sync")
        def sync_endpoint(ctx: Ctx, fails: bool = False) -> None:
            ctx.db.sync_session.execute(ADD)
            ctx.durable.schedule(note, "b")
            if fails:
                raise HTTPException(409)

        async with running(app) as client:
            for path in ("/", "/sync"):
                assert (await client.post(f"{path}?fails=1")).status_code == 409
            assert orders() == 0
            assert await notes(client) == []
            for path in ("/", "/sync"):
                assert (await client.post(path)).status_code == 200
            assert orders() == 2
            assert await notes(client) == noted("a", "b")


# ---------------------------------------------------------------------- its options


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": 0},
        {"concurrency": True},
        {"worker_queues": "mail"},
        {"worker_queues": ["two words"]},
        {"lease_s": 0},
        {"poll_s": -1},
        {"shutdown_grace_s": -1},
        {"keep_s": -1},
        {"max_args_bytes": 0},
        {"queues": {"mail": 5}},
    ],
)
def test_options_of_durable_work_that_make_no_sense_are_refused(options: Any) -> None:
    with pytest.raises(ValueError, match="=|queue"):
        durable_app(**options)


def test_options_of_both_kinds_of_task_go_together() -> None:
    durable_app(config=TaskConfig(timeout=5), max_running=2, queues=["mail"], concurrency=3)
