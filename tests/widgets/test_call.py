"""A call's life: what it may reach when, what is undone when it fails, and how it is stopped."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy
from fastapi import FastAPI, HTTPException

from backstay import Context, Origin, current_context
from backstay.context import Moment
from backstay.db import add_database
from backstay.errors import BadWidget, ClientCannot, ContextClosed, StateUnavailable
from backstay.observation import Kind
from backstay.state import add_state
from backstay.tasks import add_tasks, task
from backstay.testing import FakeClock, RunningApp, running
from backstay.web import install
from backstay.widgets import Result, ValidationError, WidgetContext, WidgetMCPServer
from backstay.widgets.call import DirectCaller, QuestionOpen
from backstay.widgets.context import UserContext
from tests.observing import Watcher
from tests.support import async_test
from tests.widgets.wire import MODERN, Wire, events

Function = Callable[..., Any]


@asynccontextmanager
async def serving(
    *functions: Function,
    database: str | None = None,
    clock: FakeClock | None = None,
    **options: Any,
) -> AsyncIterator[tuple[RunningApp, Wire, WidgetMCPServer]]:
    """Functions as the tools of a server in a running app."""
    app = FastAPI()
    install(app, clock=clock)
    add_tasks(app, database="memory://")
    add_state(app, "memory://")
    if database is not None:
        add_database(app, database)
    server = WidgetMCPServer("calls", **options)
    for function in functions:
        server.tool()(function)
    server.mount(app)
    async with running(app) as client:
        yield client, Wire(client), server


def file_with_table(path: Path) -> str:
    url = f"sqlite:///{path / 'calls.db'}"
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE seen (what TEXT CHECK (what <> 'bad'))"))
    engine.dispose()
    return url


def seen(url: str) -> list[str]:
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        found = [row[0] for row in connection.execute(sqlalchemy.text("SELECT what FROM seen"))]
    engine.dispose()
    return found


INSERT = sqlalchemy.text("INSERT INTO seen VALUES ('this')")


# ------------------------------------------------------------------ moments


@async_test
async def test_a_call_is_a_piece_of_work_of_the_origin_widget() -> None:
    found: list[Any] = []

    async def look(ctx: WidgetContext) -> str:
        found.extend([ctx, current_context(), ctx.origin, ctx.moment])
        return "seen"

    async with serving(look) as (_, wire, _):
        await wire.call("look")
    assert found[0] is found[1]
    assert found[2:] == [Origin.WIDGET, Moment.OPENED]
    assert found[0].moment is Moment.CLOSED


@async_test
async def test_moments_come_in_order_and_the_answer_waits_for_after_route() -> None:
    log: list[Any] = []

    async def note(what: str) -> None:
        log.append(what)

    async def work(ctx: WidgetContext) -> str:
        ctx.tasks.after_response.schedule(note, "after response")
        ctx.tasks.after_route.schedule(note, "after route")
        ctx.at(Moment.RETURNED, lambda ok: log.append(("returned", ok)))
        ctx.at(Moment.ANSWERED, lambda ok: log.append(("answered", ok)))
        log.append("worked")
        return "done"

    async with serving(work) as (client, wire, _):
        await wire.call("work")
        await client.tasks.settle()
    assert log[:2] == ["worked", ("returned", True)]
    assert log.index("after route") < log.index("after response")
    assert log.index(("answered", True)) < log.index("after response")


@async_test
async def test_after_response_runs_when_the_answer_is_out_and_not_before() -> None:
    answer_is_out = False
    found: list[bool] = []

    async def look() -> None:
        found.append(answer_is_out)

    async def work(ctx: WidgetContext) -> str:
        ctx.tasks.after_response.schedule(look)
        return "done"

    app = FastAPI()
    add_tasks(app, database="memory://")
    add_state(app, "memory://")
    server = WidgetMCPServer("calls")
    server.tool()(work)
    server.mount(app)

    async with running(app) as client:

        async def app_that_looks(scope: Any, receive: Any, send: Any) -> None:
            async def watched(message: Any) -> None:
                nonlocal answer_is_out
                await send(message)
                if message["type"] == "http.response.body" and not message.get("more_body"):
                    answer_is_out = True

            await app(scope, receive, watched)

        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app_that_looks), base_url="http://testserver"
        ) as watching:
            await Wire(watching).call("work")
        await client.tasks.settle()
    assert found == [True]


WRITTEN: list[str] = []


@task(name="test_call.write")
async def write_down(what: str) -> None:
    WRITTEN.append(what)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("no"),
        ValidationError("no"),
        HTTPException(404, "no such thing"),
        SystemExit(1),
    ],
    ids=lambda error: type(error).__name__,
)
@async_test
async def test_a_call_that_raises_leaves_nothing_behind(
    tmp_path: Path, error: BaseException
) -> None:
    WRITTEN.clear()
    log: list[str] = []
    url = file_with_table(tmp_path)

    async def note(what: str) -> None:
        log.append(what)

    async def work(ctx: WidgetContext) -> str:
        ctx.tasks.after_route.schedule(note, "after route")
        ctx.tasks.after_response.schedule(note, "after response")
        ctx.tasks.after_response.task(when="failure").schedule(note, "after failure")
        ctx.tasks.durable.schedule(write_down, "durable")
        await ctx.db.session.execute(INSERT)
        raise error

    async with serving(work, database=url) as (client, wire, _):
        result = await wire.call("work")
        await client.tasks.settle()
        await client.drain()
    assert result["isError"] is True
    assert (log, WRITTEN, seen(url)) == (["after failure"], [], [])


@async_test
async def test_a_result_that_says_it_is_an_error_leaves_nothing_behind_either(
    tmp_path: Path,
) -> None:
    url = file_with_table(tmp_path)

    async def work(ctx: WidgetContext) -> Result:
        await ctx.db.session.execute(INSERT)
        return Result(text="not in stock", is_error=True)

    async with serving(work, database=url) as (_, wire, _):
        result = await wire.call("work")
    assert result == {"content": [{"type": "text", "text": "not in stock"}], "isError": True}
    assert seen(url) == []


@async_test
async def test_an_answer_that_cannot_be_written_is_an_error_before_anything_is_committed(
    tmp_path: Path,
) -> None:
    url = file_with_table(tmp_path)

    async def work(ctx: WidgetContext) -> Any:
        await ctx.db.session.execute(INSERT)
        return {"what": object()}

    async with serving(work, database=url) as (_, wire, _):
        result = await wire.call("work")
    assert result["structuredContent"]["error"] == "internal_error"
    assert seen(url) == []


@async_test
async def test_a_commit_that_fails_is_the_calls_failure_and_no_success_is_told(
    tmp_path: Path,
) -> None:
    log: list[str] = []
    url = file_with_table(tmp_path)

    async def note(what: str) -> None:
        log.append(what)

    async def work(ctx: WidgetContext) -> str:
        ctx.tasks.after_response.schedule(note, "after response")
        session = ctx.db.session

        async def failing() -> None:
            raise OSError("the disk is full")

        await session.execute(INSERT)
        ctx.work.hold_answer(failing, first=True)  # type: ignore[union-attr]  # the call itself
        return "saved"

    async with serving(work, database=url) as (client, wire, _):
        result = await wire.call("work")
        await client.tasks.settle()
    assert result["isError"] is True
    assert "disk" not in json.dumps(result)
    assert log == []


@async_test
async def test_what_was_held_until_returned_and_fails_keeps_after_response_from_running() -> None:
    log: list[str] = []

    async def note(what: str) -> None:
        log.append(what)

    async def work(ctx: WidgetContext) -> str:
        ctx.tasks.after_response.schedule(note, "after response")

        async def failing() -> None:
            raise OSError("too late")

        ctx.work.hold_answer(failing)  # type: ignore[union-attr]  # the call itself
        return "saved"

    async with serving(work) as (client, wire, _):
        result = await wire.call("work")
        await client.tasks.settle()
    assert result["isError"] is True
    assert log == []


# ------------------------------------------------------------------ after the end


@async_test
async def test_after_the_end_state_settings_logger_and_tasks_go_on_and_the_rest_says_it_is_over(
    tmp_path: Path,
) -> None:
    url = file_with_table(tmp_path)
    kept: list[WidgetContext] = []
    ran: list[str] = []

    async def run(what: str) -> None:
        ran.append(what)

    async def work(ctx: WidgetContext) -> str:
        await ctx.state.set("k", 1)
        kept.append(ctx)
        return "done"

    async with serving(work, database=url) as (client, wire, _):
        await wire.hello()
        await wire.call("work")
        (ctx,) = kept
        assert ctx.moment is Moment.CLOSED
        assert await ctx.state.get("k") == 1
        assert ctx.settings.get("NOTHING", "default") == "default"
        assert ctx.logger.get_correlation_id() == ctx.correlation_id
        ctx.tasks.schedule(run, "late")
        await client.tasks.settle()
        await ctx.db.session.execute(INSERT)
        await ctx.db.commit()
        await ctx.db.close()
        with pytest.raises(
            ContextClosed, match=r"progress\(1, 2\) came after this widget was over"
        ):
            ctx.progress(1, 2)
        with pytest.raises(ContextClosed, match=r"ask inside execute"):
            await ctx.elicit("Still there?")
    assert ran == ["late"]
    assert seen(url) == ["this"]


# ------------------------------------------------------------------ sync functions


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


@async_test
async def test_a_sync_function_runs_in_a_thread_and_finds_its_context_there() -> None:
    def work(ctx: WidgetContext) -> dict[str, Any]:
        return {
            "main": threading.current_thread() is threading.main_thread(),
            "same": current_context() is ctx,
            "variable": VARIABLE.get(),
        }

    async with serving(work) as (_, _, server):
        VARIABLE.set("set by whoever calls")
        found = await server.call("work")
    assert found == {"main": False, "same": True, "variable": "set by whoever calls"}


@pytest.mark.parametrize("version", ["2025-11-25", MODERN])
@async_test
async def test_progress_from_a_thread_arrives_in_order_and_before_the_result(version: str) -> None:
    def work(ctx: WidgetContext) -> str:
        for step in range(20):
            ctx.progress(step, 20, f"step {step}")
        return "done"

    async with serving(work) as (client, _, _):
        wire = Wire(client, version)
        answer = await wire.post(
            "tools/call", {"name": "work", "arguments": {}}, meta={"progressToken": "p"}
        )
    *reports, last = events(answer.text)
    assert [each["params"]["progress"] for each in reports] == list(range(20))
    assert reports[3]["params"]["message"] == "step 3"
    assert last["result"]["content"][0]["text"] == "done"


@async_test
async def test_progress_that_is_not_awaited_arrives_all_the_same() -> None:
    async def work(ctx: WidgetContext) -> str:
        ctx.progress(1)
        await ctx.progress(2, 2, "half")
        ctx.progress(3)
        return "done"

    async with serving(work) as (_, wire, _):
        answer = await wire.post(
            "tools/call", {"name": "work", "arguments": {}}, meta={"progressToken": 1}
        )
    assert [each["params"]["progress"] for each in events(answer.text)[:-1]] == [1, 2, 3]


# ------------------------------------------------------------------ being stopped


@async_test
async def test_a_call_that_takes_too_long_is_stopped_and_the_model_hears_how_long() -> None:
    clock = FakeClock()
    began, ended = asyncio.Event(), asyncio.Event()

    async def work() -> str:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return "never"

    async with serving(work, clock=clock, timeout_s=7.5) as (_, wire, _):
        calling = asyncio.create_task(wire.call("work"))
        await began.wait()
        await clock.advance(7.6)
        result = await calling
    assert ended.is_set()
    assert result["structuredContent"]["error"] == "timeout_error"
    assert "7.5 s" in result["content"][0]["text"]
    assert result["structuredContent"]["error_id"]


@async_test
async def test_a_call_that_catches_its_cancellation_may_still_answer() -> None:
    clock = FakeClock()
    began = asyncio.Event()

    async def work() -> str:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "what there was"
        return "never"

    after: list[int] = []

    async with serving(work, clock=clock, timeout_s=5) as (_, _, server):

        async def call() -> Any:
            result = await server.call("work")
            task = asyncio.current_task()
            assert task is not None
            after.append(task.cancelling())
            return result

        calling = asyncio.create_task(call())
        await began.wait()
        await clock.advance(6)
        assert await calling == "what there was"
    assert after == [0], "whatever comes next is not taken for cancelled"


@pytest.mark.parametrize("used_before", [False, True])
@async_test
async def test_a_timeout_leaves_a_thread_behind_and_ctx_db_refuses_it(
    tmp_path: Path, used_before: bool
) -> None:
    url = file_with_table(tmp_path)
    clock = FakeClock()
    loop = asyncio.get_running_loop()
    began, over = asyncio.Event(), asyncio.Event()
    go_on = threading.Event()
    refused: list[str] = []

    def work(ctx: WidgetContext) -> str:
        session = None
        if used_before:
            session = ctx.db.sync_session
            session.execute(INSERT)
        loop.call_soon_threadsafe(began.set)
        go_on.wait(20)
        try:
            (session or ctx.db.sync_session).execute(INSERT)
        except (ContextClosed, sqlalchemy.exc.InvalidRequestError) as error:
            refused.append(str(error))
        loop.call_soon_threadsafe(over.set)
        return "too late"

    async with serving(work, database=url, clock=clock, timeout_s=5) as (_, wire, _):
        calling = asyncio.create_task(wire.call("work"))
        await began.wait()
        await clock.advance(6)
        result = await calling
        assert result["structuredContent"]["error"] == "timeout_error"
        go_on.set()
        await over.wait()
    assert len(refused) == 1
    assert ("utobegin" if used_before else "given up") in refused[0]
    assert seen(url) == []


@async_test
async def test_a_call_that_is_cancelled_from_outside_undoes_what_it_wrote(tmp_path: Path) -> None:
    url = file_with_table(tmp_path)
    began = asyncio.Event()

    async def work(ctx: WidgetContext) -> str:
        await ctx.db.session.execute(INSERT)
        began.set()
        await asyncio.Event().wait()
        return "never"

    async with serving(work, database=url) as (_, _, server):
        calling = asyncio.create_task(server.call("work"))
        await began.wait()
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
    assert seen(url) == []


@pytest.mark.parametrize("timeout_s", [0, -1, True, "5"])
def test_a_timeout_that_is_none_is_refused_where_it_is_declared(timeout_s: Any) -> None:
    def work() -> None: ...

    server = WidgetMCPServer("calls")
    with pytest.raises(BadWidget, match="seconds, more than 0"):
        server.tool(timeout_s=timeout_s)(work)


# ------------------------------------------------------------------ what is told of errors


@pytest.mark.parametrize(
    ("error", "about"),
    [
        (
            ValidationError("too many", field="count"),
            {"error": "validation_error", "message": "too many", "field": "count"},
        ),
        (
            HTTPException(409, "it is taken"),
            {"error": "refused", "message": "it is taken", "status": 409},
        ),
        (
            ClientCannot("take it as an input"),
            {"error": "client_cannot", "message": "take it as an input"},
        ),
    ],
    ids=lambda each: type(each).__name__,
)
@async_test
async def test_what_is_meant_for_the_model_reaches_it(
    error: Exception, about: dict[str, Any]
) -> None:
    async def work() -> str:
        raise error

    async with serving(work) as (_, wire, _):
        result = await wire.call("work")
    assert result["structuredContent"] == about
    assert result["isError"] is True


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("swordfish"),
        HTTPException(500, "swordfish"),
        KeyError("swordfish"),
        SystemExit("swordfish"),
        ExceptionGroup("swordfish", [ValueError("swordfish")]),
    ],
    ids=lambda each: type(each).__name__,
)
@async_test
async def test_what_is_not_meant_for_the_model_is_in_the_log_under_the_id_it_hears(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> str:
        raise error

    async with serving(work) as (_, wire, _):
        result = await wire.call("work")
    assert "swordfish" not in json.dumps(result)
    error_id = result["structuredContent"]["error_id"]
    lines = [each for each in caplog.records if getattr(each, "correlation_id", "") == error_id]
    assert any(each.exc_info and each.exc_info[1] is error for each in lines)


@async_test
async def test_a_store_that_cannot_be_reached_is_told_as_something_that_may_pass() -> None:
    async def work() -> str:
        raise StateUnavailable("redis://10.0.0.7 is gone")

    async with serving(work) as (_, wire, _):
        result = await wire.call("work")
    assert result["structuredContent"]["error"] == "unavailable"
    assert "10.0.0.7" not in json.dumps(result)


# ------------------------------------------------------------------ questions


@async_test
async def test_handlers_of_a_widgets_own_errors_let_a_question_pass() -> None:
    async def work(ctx: WidgetContext) -> str:
        try:
            answer = await ctx.elicit("Really?")
        except Exception as error:
            return f"caught {error!r}"
        return answer.action

    async with serving(work) as (client, _, _):
        wire = Wire(client, MODERN, can={"elicitation": {"form": {}}})
        asked = (await wire.ask("tools/call", {"name": "work", "arguments": {}}))["result"]
        assert asked["resultType"] == "input_required"
        ((key, question),) = asked["inputRequests"].items()
        assert question["params"]["message"] == "Really?"
        params = {
            "name": "work",
            "arguments": {},
            "requestState": asked["requestState"],
            "inputResponses": {key: {"action": "decline"}},
        }
        answered = (await wire.ask("tools/call", params))["result"]
    assert answered["content"][0]["text"] == "decline"


@async_test
async def test_a_question_undoes_what_was_written_before_it(tmp_path: Path) -> None:
    url = file_with_table(tmp_path)

    async def work(ctx: WidgetContext) -> str:
        await ctx.db.session.execute(INSERT)
        await ctx.elicit("Really?")
        return "yes"

    async with serving(work, database=url) as (client, _, _):
        wire = Wire(client, MODERN, can={"elicitation": {"form": {}}})
        await wire.ask("tools/call", {"name": "work", "arguments": {}})
    assert seen(url) == []


def test_a_question_is_no_error() -> None:
    assert not issubclass(QuestionOpen, Exception)


# ------------------------------------------------------------------ calls by the program


@async_test
async def test_the_program_calls_as_the_user_of_the_work_that_calls() -> None:
    found: list[Any] = []

    async def inner(ctx: WidgetContext) -> str:
        found.append((ctx.user, ctx.correlation_id))
        return "inner"

    async def outer(ctx: WidgetContext) -> Any:
        return await ctx.widgets.call("inner")

    async with serving(inner, outer) as (client, _, server):
        ada = UserContext("ada", issuer="https://id.example.com")
        result = await server.call_with("outer", user=ada, correlation_id="one-id")
        assert await client.ctx.widgets.call("inner") == "inner"
    assert result["content"][0]["text"] == "inner"
    assert found[0] == (ada, "one-id")
    assert found[-1][0] is None


@async_test
async def test_a_task_that_a_call_started_belongs_to_the_calls_user() -> None:
    found: list[Any] = []

    async def look() -> None:
        ctx: Context = current_context()
        found.append((ctx.user, ctx.correlation_id, ctx.origin))

    async def work(ctx: WidgetContext) -> str:
        ctx.tasks.schedule(look)
        return "done"

    async with serving(work) as (client, _, server):
        await server.call_with("work", user=UserContext("ada"), correlation_id="one-id")
        await client.tasks.settle()
    assert found == [(UserContext("ada"), "one-id", Origin.TASK)]


@async_test
async def test_a_direct_caller_has_nobody_to_talk_to_and_says_so() -> None:
    caller = DirectCaller(meta={"openai/locale": "fr"})
    assert caller.client().locale == "fr"
    assert caller.channel.wants_progress is False
    with pytest.raises(ClientCannot, match="pass what it asks for as an input"):
        await caller.channel.elicit("Really?", {})


@async_test
async def test_the_log_of_a_refused_call_is_no_alarm(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="backstay.widgets")

    async def work() -> str:
        raise ValidationError("too many")

    async with serving(work) as (_, wire, _):
        await wire.call("work")
    levels = {each.levelno for each in caplog.records if each.name == "backstay.widgets"}
    assert levels == {logging.INFO}


@async_test
async def test_each_call_is_seen_with_what_came_of_it() -> None:
    async def works() -> str:
        return "done"

    async def fails() -> str:
        raise RuntimeError("inside")

    async def refuses() -> Result:
        return Result("no", is_error=True)

    async with serving(works, fails, refuses) as (client, wire, _):
        watcher = Watcher()
        client.ctx.app.add_observer(watcher)
        for name in ("works", "fails", "refuses"):
            await wire.call(name)
    seen = [(each.name, each.outcome, each.error) for each in watcher.of(Kind.WIDGET)]
    assert seen == [
        ("works", "ok", None),
        ("fails", "failed", "RuntimeError"),
        ("refuses", "failed", None),
    ]
