"""``running(app)``: the app's whole life around a client, and its failures told as they are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from backstay import Context, Moment, Origin
from backstay.errors import NotInstalled
from backstay.tasks import Retry, State, Tasks, add_tasks, task
from backstay.testing import RunningApp, enqueued, running
from backstay.web import install
from tests.support import async_test


class LoggedPart:
    """A part that fails where it is told to."""

    attribute = "logged"

    def __init__(self, log: list[str], fails_at: str | None = None) -> None:
        self._log = log
        self.fails_at = fails_at

    def bind(self, ctx: Context) -> None: ...

    async def open(self) -> None:
        if self.fails_at == "open":
            raise OSError("port taken")
        self._log.append("part open")

    async def close(self) -> None:
        self._log.append("part closed")


def make_app(fails_at: str | None = None) -> tuple[FastAPI, list[str]]:
    log: list[str] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        if fails_at == "startup":
            raise OSError("no database here")
        log.append("up")
        yield {"pool": ["shared"]}
        log.append("down")
        if fails_at == "shutdown":
            raise OSError("the database hung up")

    app = FastAPI(lifespan=lifespan)
    add_tasks(app)
    install(app).add(LoggedPart(log, fails_at))

    @app.get("/")
    async def endpoint() -> str:
        log.append("request")
        return "ok"

    @app.get("/state")
    async def state(request: Request) -> int:
        request.state.mine = "this request's alone"
        request.state.pool.append("used")
        return len(request.state.pool)

    @app.get("/mine")
    async def mine(request: Request) -> bool:
        return hasattr(request.state, "mine")

    @app.get("/unhandled")
    async def unhandled() -> None:
        raise LookupError("on purpose")

    @app.get("/task")
    async def task(tasks: Tasks) -> None:
        async def slow() -> None:
            for _ in range(20):
                await asyncio.sleep(0)
            log.append("task done")

        tasks.after_response.schedule(slow)

    return app, log


@async_test
async def test_the_apps_own_lifespan_is_around_everything() -> None:
    app, log = make_app()
    async with running(app) as client:
        assert log == ["up", "part open"]
        assert (await client.get("/")).json() == "ok"
    assert log == ["up", "part open", "request", "part closed", "down"]


@async_test
async def test_the_end_drains_tasks_before_the_apps_own_shutdown() -> None:
    app, log = make_app()
    async with running(app) as client:
        await client.get("/task")
    assert log.index("task done") < log.index("down")


@async_test
async def test_settling_waits_until_nothing_is_left_to_do() -> None:
    app, log = make_app()
    async with running(app) as client:
        await client.get("/task")
        await client.tasks.settle()
        assert log[-1] == "task done"


@async_test
async def test_an_app_that_fails_to_start_raises_what_it_says() -> None:
    app, log = make_app("startup")
    with pytest.raises(RuntimeError, match=r"(?s)failed at startup: .*OSError: no database here"):
        async with running(app):
            raise AssertionError("it never gets here")
    assert log == []


@async_test
async def test_a_part_that_fails_to_start_is_an_app_that_fails_to_start() -> None:
    app, log = make_app("open")
    with pytest.raises(RuntimeError, match=r"(?s)failed at startup: .*OSError: port taken"):
        async with running(app):
            raise AssertionError("it never gets here")
    assert log == ["up"], "as for any error in a lifespan, what follows its yield is not run"


@async_test
async def test_an_app_that_fails_to_stop_raises_what_it_says() -> None:
    app, log = make_app("shutdown")
    with pytest.raises(RuntimeError, match=r"(?s)failed at shutdown: .*the database hung up"):
        async with running(app) as client:
            await client.get("/")
    assert log[-2:] == ["part closed", "down"]


@async_test
async def test_an_app_can_run_again_after_a_failed_start() -> None:
    app, log = make_app()
    failing = LoggedPart(log, "open")
    failing.attribute = "failing"
    install(app).add(failing)
    with pytest.raises(RuntimeError, match="port taken"):
        async with running(app):
            pass
    failing.fails_at = None
    async with running(app) as client:
        assert (await client.get("/")).status_code == 200


@async_test
async def test_what_fails_in_the_test_stops_the_app_and_is_what_the_test_sees() -> None:
    app, log = make_app()

    async def a_test_that_fails() -> None:
        async with running(app) as client:
            await client.get("/task")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await a_test_that_fails()
    # The part was added after tasks, so it closes before they are drained.
    assert log == ["up", "part open", "part closed", "task done", "down"]


@async_test
async def test_every_request_gets_the_lifespans_state_in_a_copy_of_its_own() -> None:
    app, _ = make_app()
    async with running(app) as client:
        assert (await client.get("/state")).json() == 2
        assert (await client.get("/state")).json() == 3, "the pool itself is shared, as on servers"
        assert (await client.get("/mine")).json() is False


@async_test
async def test_an_unhandled_error_is_raised_at_the_request() -> None:
    app, _ = make_app()
    async with running(app) as client:
        with pytest.raises(LookupError, match="on purpose"):
            await client.get("/unhandled")


@async_test
async def test_or_it_is_the_500_that_clients_see() -> None:
    app, _ = make_app()
    async with running(app, raise_app_exceptions=False) as client:
        answer = await client.get("/unhandled")
    assert answer.status_code == 500
    assert "X-Request-ID" in answer.headers


@async_test
async def test_relative_urls_start_at_the_base() -> None:
    app, _ = make_app()
    async with running(app) as client:
        assert str((await client.get("/")).url) == "http://testserver/"
    async with running(app, base_url="https://shop.example/") as client:
        assert str((await client.get("/")).url) == "https://shop.example/"


@async_test
async def test_the_client_is_an_httpx_client_with_a_context_of_the_app() -> None:
    app, _ = make_app()
    async with running(app) as client:
        assert isinstance(client, RunningApp)
        assert isinstance(client, httpx.AsyncClient)
        assert client.ctx.app is install(app)
        assert client.ctx.origin is Origin.SCRIPT
        assert client.ctx.moment is Moment.ANSWERED


@async_test
async def test_the_test_itself_can_schedule_tasks() -> None:
    app, _ = make_app()
    done: list[str] = []
    async with running(app) as client:
        client.tasks.schedule(done.append, "now")
        client.tasks.after_response.schedule(done.append, "and it waits for nothing")
        await client.tasks.settle()
        assert sorted(done) == ["and it waits for nothing", "now"]


@async_test
async def test_an_app_without_backstay_is_refused_with_the_line_to_add() -> None:
    with pytest.raises(NotInstalled, match="install"):
        async with running(FastAPI()):
            pass


@async_test
async def test_two_apps_may_run_side_by_side() -> None:
    first, first_log = make_app()
    second, second_log = make_app()
    async with running(first) as one, running(second) as two:
        await one.get("/task")
        await two.get("/")
        await asyncio.gather(one.tasks.settle(), two.tasks.settle())
    assert first_log == ["up", "part open", "task done", "part closed", "down"]
    assert second_log == ["up", "part open", "request", "part closed", "down"]


@async_test
async def test_an_app_that_ends_its_lifespan_without_a_word_is_said_to_do_so() -> None:
    app = FastAPI()
    install(app)

    async def silent(scope: Any, receive: Any, send: Any) -> None: ...

    app.router.app = silent  # type: ignore[method-assign]
    app.router.middleware_stack = silent
    with pytest.raises(RuntimeError, match="without an answer to 'startup'"):
        async with running(app):
            pass


# ---------------------------------------------------------------------- durable tasks


def shop(database: str = "memory://") -> tuple[FastAPI, list[Any]]:
    """An app whose endpoint schedules, and what the task was given."""
    given: list[Any] = []

    @task(name="tests.running.send", retry=Retry(attempts=1))
    async def send(order: int, ctx: Context) -> None:
        given.append((order, ctx.correlation_id))
        if order == 13:
            raise LookupError

    @task(name="tests.running.start")
    async def start(order: int, ctx: Context) -> None:
        ctx.durable.schedule(send, order)

    app = FastAPI()
    add_tasks(app, database=database)

    @app.post("/orders/{order}")
    async def create(order: int, tasks: Tasks) -> str:
        return str(tasks.durable.schedule(send, order).id)

    @app.post("/through/{order}")
    async def through(order: int, tasks: Tasks) -> str:
        return str(tasks.durable.schedule(start, order).id)

    @app.post("/later/{order}")
    async def later(order: int, tasks: Tasks) -> str:
        return str(tasks.durable.task(delay=3600).schedule(send, order).id)

    return app, given


@async_test
async def test_inline_the_answer_has_the_jobs_effects() -> None:
    app, given = shop()
    async with running(app, durable_inline=True) as client:
        await client.post("/orders/17", headers={"X-Request-ID": "r"})
        assert given == [(17, "r")]
        job = client.durable.job((await client.post("/later/18")).json())
        assert (await job.status()).state is State.SCHEDULED
        assert given == [(17, "r")]


@async_test
async def test_inline_a_job_that_fails_does_not_fail_the_request() -> None:
    app, given = shop()
    async with running(app, durable_inline=True) as client:
        answer = await client.post("/orders/13")
        assert answer.status_code == 200
        assert (await client.durable.job(answer.json()).status()).state is State.DISCARDED
        assert len(given) == 1


@async_test
async def test_inline_what_jobs_schedule_can_be_drained() -> None:
    app, given = shop()
    async with running(app, durable_inline=True) as client:
        await client.post("/through/17")
        await client.drain()
        assert len(given) == 1


@async_test
async def test_the_tests_database_takes_the_place_of_the_apps(tmp_path: Path) -> None:
    app, given = shop(f"sqlite:///{tmp_path}/production.db")
    async with running(app, database=f"sqlite:///{tmp_path}/test.db") as client:
        await client.post("/orders/17")
        await client.drain()
    assert len(given) == 1
    assert (tmp_path / "test.db").exists()
    assert not (tmp_path / "production.db").exists()


@async_test
async def test_a_database_in_memory_is_fresh_at_each_start() -> None:
    app, _ = shop()
    for _ in range(2):
        async with running(app, database="memory://") as client:
            await client.post("/later/17")
            assert len(await enqueued(client)) == 1


@async_test
async def test_the_next_run_is_not_inline_unless_it_says_so_too() -> None:
    app, given = shop()
    async with running(app, durable_inline=True) as client:
        await client.post("/orders/17")
    clock_free = len(given)
    async with running(app) as client:
        await client.post("/orders/18")
        await client.drain()
    assert (clock_free, len(given)) == (1, 2)


@async_test
async def test_inline_works_without_a_worker_of_the_apps() -> None:
    given: list[int] = []

    @task
    async def send(order: int) -> None:
        given.append(order)

    app = FastAPI()
    add_tasks(app, database="memory://", worker=False)

    @app.post("/")
    async def endpoint(tasks: Tasks) -> None:
        tasks.durable.schedule(send, 17)

    async with running(app, durable_inline=True) as client:
        async with asyncio.timeout(1):
            await client.post("/")
        assert given == [17]
