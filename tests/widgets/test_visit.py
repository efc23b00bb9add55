"""One request to the endpoint, and the calls that it has led to."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request

from backstay.auth.token import VerifiedToken
from backstay.tasks import add_tasks
from backstay.web.lifespan import started
from backstay.widgets import WidgetContext, WidgetMCPServer
from backstay.widgets.visit import Visit, user_of
from tests.support import async_test
from tests.widgets.wire import Stream, Wire, envelope, reaching


class Call:
    """As much of a call as a visit knows."""

    def __init__(self, log: list[str], name: str) -> None:
        self._log = log
        self._name = name

    def answered(self) -> None:
        self._log.append(self._name)


def visit(**headers: str) -> Visit:
    return Visit(
        "c1", {name.encode(): value.encode() for name, value in headers.items()}, None, None, None
    )


def test_a_call_that_has_finished_is_told_when_the_answer_is_out() -> None:
    log: list[str] = []
    here = visit()
    here.finished(Call(log, "one"))  # type: ignore[arg-type]  # as much of a call as it asks for
    here.finished(Call(log, "two"))  # type: ignore[arg-type]  # the same
    assert log == []
    here.answered()
    assert log == ["one", "two"]
    here.answered()
    assert log == ["one", "two"]


def test_a_call_that_outlasts_the_answer_is_told_at_its_own_end() -> None:
    log: list[str] = []
    here = visit()
    here.answered()
    assert log == []
    here.finished(Call(log, "late"))  # type: ignore[arg-type]  # as above
    assert log == ["late"]


def test_a_visit_is_found_in_the_scope_it_was_attached_to_and_nowhere_else() -> None:
    here = visit()
    scope: dict[str, Any] = {"type": "http"}
    assert Visit.of(Request(scope)) is None
    here.attach(scope)
    assert Visit.of(Request(scope)) is here
    assert Visit.of(None) is None
    assert Visit.of(object()) is None


def test_the_user_agent_is_the_header() -> None:
    assert visit(**{"user-agent": "curl/8"}).user_agent == "curl/8"
    assert visit().user_agent is None


def test_a_token_stands_for_its_subject_at_its_issuer() -> None:
    user = user_of(
        VerifiedToken(
            "ada", issuer="https://id", scopes=frozenset({"a"}), client_id="c", claims={"x": 1}
        )
    )
    assert (user.subject, user.issuer, user.client_id) == ("ada", "https://id", "c")
    assert user.has_scope("a")
    assert user.claims == {"x": 1}
    assert user.is_authenticated


@async_test
async def test_a_call_in_a_session_whose_client_has_gone_keeps_its_context_until_it_ends() -> None:
    """Told too early that it is over, it would let go of what it had written and not finished."""
    app = FastAPI()
    add_tasks(app, database="memory://")
    server = WidgetMCPServer("s", stateless=False)
    log: list[str] = []
    begun, go_on, finished = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def told() -> None:
        log.append("task")
        finished.set()

    @server.tool()
    async def slow(ctx: WidgetContext) -> str:
        ctx.tasks.after_response.schedule(told)
        begun.set()
        await go_on.wait()
        await ctx.progress(1, 2)  # raises if the context is closed
        log.append(f"{ctx.moment.name} after {len(log)}")
        return "done"

    server.mount(app)
    async with reaching(app) as http:
        wire = Wire(http)
        await wire.hello()
        body, headers = envelope("tools/call", {"name": "slow"}, version="2025-11-25")
        stream = Stream(app, body, {**headers, **wire.headers})
        await begun.wait()
        stream.leave()
        await stream.task
        assert log == []
        go_on.set()
        await finished.wait()
    assert log == ["OPENED after 0", "task"]


@async_test
async def test_what_was_scheduled_for_after_the_answer_runs_after_it() -> None:
    app = FastAPI()
    add_tasks(app, database="memory://")
    server = WidgetMCPServer("s")
    sent: list[int] = []
    ran = asyncio.Event()
    seen_by_task: list[int] = []

    def told() -> None:
        seen_by_task.append(len(sent))
        ran.set()

    @server.tool()
    async def quick(ctx: WidgetContext) -> str:
        ctx.tasks.after_response.schedule(told)
        return "done"

    server.mount(app)

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        async def note(message: Any) -> None:
            await send(message)
            sent.append(1)

        await app(scope, receive, note)

    body, headers = envelope("tools/call", {"name": "quick"}, version="2025-11-25")
    async with started(app, {}):
        stream = Stream(watched, body, headers)
        await stream.task
        await ran.wait()
    assert seen_by_task == [2], "start and body"
