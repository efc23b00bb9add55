"""FastAPI's own BackgroundTasks: unchanged in user code, supervised."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any

import anyio.from_thread
import httpx
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.background import BackgroundTask

from backstay.tasks import Task, TaskConfig, Tasks, add_tasks
from backstay.testing import running
from backstay.web import install
from tests.support import async_test


def fail() -> None:
    raise ValueError("no")


async def afail() -> None:
    raise ValueError("no")


@async_test
async def test_a_failing_task_no_longer_drops_those_behind_it_and_order_is_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[tuple[Task, Exception]] = []
    app = FastAPI()
    add_tasks(app, config=TaskConfig(on_error=lambda task, error: told.append((task, error))))
    log: list[int] = []

    async def note(number: int) -> None:
        log.append(number)

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(log.append, 1)
        background_tasks.add_task(fail)
        background_tasks.add_task(note, number=2)
        background_tasks.add_task(afail)
        background_tasks.add_task(log.append, 3)

    async with running(app) as client:
        answer = await client.get("/", headers={"X-Request-ID": "r-1"})
    assert answer.status_code == 200
    assert log == [1, 2, 3]
    assert [task.name for task, _ in told] == ["fail", "afail"]
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert {record.correlation_id for record in errors} == {"r-1"}  # type: ignore[attr-defined]  # put there by extra=


@async_test
async def test_after_response_tasks_neither_wait_for_background_tasks_nor_fall_with_them() -> None:
    app = FastAPI()
    add_tasks(app)
    ours_ran = asyncio.Event()

    async def theirs() -> None:
        await ours_ran.wait()  # would never end if ours waited for it
        raise ValueError("and then it fails")

    async def ours() -> None:
        ours_ran.set()

    @app.get("/")
    async def endpoint(tasks: Tasks, background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(theirs)
        tasks.after_response.schedule(ours)

    async with running(app) as client:
        assert (await client.get("/")).status_code == 200


@async_test
async def test_with_a_request_scoped_dependency_open_after_response_waits_for_its_exit() -> None:
    app = FastAPI()
    add_tasks(app)
    log: list[str] = []

    async def session() -> AsyncIterator[str]:
        yield "session"
        log.append("closed")

    @app.get("/")
    async def endpoint(
        tasks: Tasks,
        background_tasks: BackgroundTasks,
        session: Annotated[str, Depends(session)],
    ) -> None:
        tasks.after_response.schedule(log.append, "after_response")
        background_tasks.add_task(lambda: log.append(f"background with an open {session}"))

    async with running(app) as client:
        await client.get("/")
        await client.tasks.settle()
    assert log == ["background with an open session", "closed", "after_response"]


@async_test
async def test_injected_tasks_are_run_although_the_response_has_a_background_of_its_own() -> None:
    app = FastAPI()
    add_tasks(app)
    log: list[str] = []

    async def audit(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(log.append, "injected into a dependency")

    @app.get("/", dependencies=[Depends(audit)])
    async def endpoint(background_tasks: BackgroundTasks) -> JSONResponse:
        background_tasks.add_task(log.append, "injected")
        return JSONResponse({}, background=BackgroundTask(log.append, "the response's own"))

    async with running(app) as client:
        await client.get("/")
    assert log == ["the response's own", "injected into a dependency", "injected"]


@async_test
async def test_tasks_that_a_dependency_adds_after_its_yield_are_run() -> None:
    app = FastAPI()
    add_tasks(app)
    log: list[str] = []

    async def late(background_tasks: BackgroundTasks) -> AsyncIterator[None]:
        yield
        background_tasks.add_task(log.append, "added late")

    @app.get("/", dependencies=[Depends(late)])
    async def endpoint(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(log.append, "added in time")

    async with running(app) as client:
        await client.get("/")
    assert log == ["added in time", "added late"]


@async_test
async def test_an_endpoint_that_raises_drops_its_background_tasks_as_before() -> None:
    app = FastAPI()
    add_tasks(app)
    log: list[str] = []

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(log.append, "never")
        raise RuntimeError

    async with running(app, raise_app_exceptions=False) as client:
        assert (await client.get("/")).status_code == 500
    assert log == []


@async_test
async def test_an_instance_the_code_builds_and_never_attaches_is_not_run() -> None:
    app = FastAPI()
    add_tasks(app)
    log: list[str] = []

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> None:
        own = BackgroundTasks()
        own.add_task(log.append, "thought better of it")

    async with running(app) as client:
        await client.get("/")
    assert log == []


@async_test
async def test_instances_the_code_builds_itself_are_supervised_too() -> None:
    app = FastAPI()
    add_tasks(app)
    log: list[int] = []

    @app.get("/")
    async def endpoint() -> JSONResponse:
        tasks = BackgroundTasks(
            tasks=[
                BackgroundTask(log.append, 1),
                BackgroundTask(fail),
                BackgroundTask(log.append, 2),
            ]
        )
        return JSONResponse({}, background=tasks)

    async with running(app) as client:
        assert (await client.get("/")).status_code == 200
    assert log == [1, 2]


@async_test
async def test_a_client_that_leaves_midstream_does_not_drop_injected_tasks() -> None:
    app = FastAPI()
    add_tasks(app)
    log: list[str] = []

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> StreamingResponse:
        background_tasks.add_task(log.append, "ran")

        async def body() -> AsyncIterator[bytes]:
            yield b"a"

        return StreamingResponse(body())

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            raise OSError("the client has gone")

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async with running(app) as client:
        with pytest.raises(Exception, match="^$"):  # Starlette's ClientDisconnect
            await app(_scope(), receive, send)
        await client.tasks.settle()
    assert log == ["ran"]


@async_test
async def test_a_background_task_sees_the_requests_context_and_has_its_own() -> None:
    app = FastAPI()
    add_tasks(app)
    seen: list[str] = []

    def look() -> None:
        from backstay import current_context

        seen.append(f"{current_context().origin} {current_context().correlation_id}")

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(look)

    async with running(app) as client:
        await client.get("/", headers={"X-Request-ID": "r-2"})
    assert seen == ["task r-2"]


@pytest.mark.parametrize("how", ["switched off", "never added"])
@async_test
async def test_elsewhere_everything_is_as_fastapi_does_it(how: str) -> None:
    guarded = FastAPI()
    add_tasks(guarded)  # the patch is in place in this process
    app = FastAPI()
    if how == "switched off":
        add_tasks(app, guard_background_tasks=False)
    else:
        install(app)
    log: list[int] = []

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> None:
        assert type(background_tasks) is BackgroundTasks
        background_tasks.add_task(log.append, 1)
        background_tasks.add_task(fail)
        background_tasks.add_task(log.append, 2)

    async with running(app) as client:
        with pytest.raises(ValueError, match="no"):
            await client.get("/")
    assert log == [1]


@async_test
async def test_the_guard_adds_no_type_of_its_own() -> None:
    app = FastAPI()
    add_tasks(app)

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> bool:
        return type(background_tasks) is BackgroundTasks

    async with running(app) as client:
        assert (await client.get("/")).json() is True


def _scope() -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "client": None,
        "server": None,
        "state": {},
    }


class OwnWay(BackgroundTask):
    """A subclass that runs in a way of its own."""

    def __init__(self, log: list[str], error: Exception | None = None) -> None:
        super().__init__(log.append, "not used")
        self.log, self.error = log, error

    async def __call__(self) -> None:
        self.log.append("own way")
        if self.error is not None:
            raise self.error


@async_test
async def test_a_subclass_that_runs_in_a_way_of_its_own_runs_once_and_may_fail() -> None:
    app = FastAPI()
    add_tasks(app)
    log: list[str] = []

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> None:
        background_tasks.tasks.append(OwnWay(log, ValueError("no")))
        background_tasks.add_task(log.append, "behind it")

    async with running(app) as client:
        assert (await client.get("/")).status_code == 200
    assert log == ["own way", "behind it"]


@async_test
async def test_tasks_run_by_hand_run_again_with_the_response_as_before() -> None:
    app = FastAPI()
    add_tasks(app)
    log: list[str] = []

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(log.append, "task")
        await background_tasks()
        log.append("endpoint")

    async with running(app) as client:
        await client.get("/")
    assert log == ["task", "endpoint", "task"]


@async_test
async def test_injected_tasks_wrapped_in_the_responses_own_run_once() -> None:
    app = FastAPI()
    add_tasks(app)
    log: list[str] = []

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> JSONResponse:
        background_tasks.add_task(log.append, "injected")
        return JSONResponse({}, background=BackgroundTask(background_tasks))

    async with running(app) as client:
        await client.get("/")
    assert log == ["injected"]


@async_test
async def test_a_background_task_that_runs_others_needs_no_second_place() -> None:
    app = FastAPI()
    add_tasks(app, max_running=1)
    log: list[str] = []

    async def outer() -> None:
        await BackgroundTasks([BackgroundTask(log.append, "inner")])()
        log.append("outer")

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(outer)

    async with running(app) as client:
        await client.get("/")
    assert log == ["inner", "outer"]


@async_test
async def test_sync_tasks_reach_the_event_loop_through_anyio_as_in_starlettes_threads() -> None:
    app = FastAPI()
    add_tasks(app)
    log: list[str] = []

    async def in_the_loop() -> None:
        log.append("in the loop")

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(lambda: anyio.from_thread.run(in_the_loop))

    async with running(app) as client:
        await client.get("/")
    assert log == ["in the loop"]


@async_test
async def test_a_request_that_outlives_the_app_runs_its_tasks_as_fastapi_does() -> None:
    app = FastAPI()
    add_tasks(app)
    log: list[str] = []

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(log.append, "ran")

    async with running(app):
        pass
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as late:
        assert (await late.get("/")).status_code == 200
    assert log == ["ran"]
