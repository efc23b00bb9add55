"""What runs from the start of an app to its end."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from fastapi import FastAPI

from backstay.widgets import WidgetContext, WidgetMCPServer
from backstay.widgets.engine import Engine
from tests.support import async_test
from tests.widgets.wire import Stream, Wire, envelope, events, reaching


def engine(server: WidgetMCPServer, stopped: list[str], *, stateless: bool = True) -> Engine:
    return Engine(
        server.sdk,
        stateless=stateless,
        resumable=False,
        max_body_bytes=1000,
        session_idle_s=60,
        max_sessions=10,
        threads=2,
        on_stop=lambda: stopped.append("told"),
    )


@pytest.mark.parametrize("stateless", [True, False])
@async_test
async def test_it_starts_and_stops_from_whichever_tasks(stateless: bool) -> None:
    stopped: list[str] = []
    running = engine(WidgetMCPServer("s"), stopped, stateless=stateless)
    await asyncio.create_task(running.start())
    assert stopped == []
    await asyncio.create_task(running.stop())
    assert stopped == ["told"]


@async_test
async def test_one_that_was_never_started_can_be_stopped() -> None:
    stopped: list[str] = []
    await engine(WidgetMCPServer("s"), stopped).stop()
    assert stopped == []


def resumable_app() -> tuple[FastAPI, dict[str, Any]]:
    app = FastAPI()
    server = WidgetMCPServer("s", stateless=False, resumable=True)
    state: dict[str, Any] = {"begun": asyncio.Event(), "go_on": asyncio.Event()}

    @server.tool()
    async def secret(ctx: WidgetContext, text: str) -> str:
        return text

    @server.tool()
    async def long(ctx: WidgetContext, text: str) -> str:
        await ctx.client.close_stream()
        state["begun"].set()
        await state["go_on"].wait()
        return text

    server.mount(app)
    return app, state


def event_ids(text: str) -> list[str]:
    return re.findall(r"^id: (.+?)\r?$", text, re.MULTILINE)


@async_test
async def test_no_session_can_resume_the_stream_of_another() -> None:
    """The SDK calls a stream by its request's id, and every client counts from one."""
    app, _ = resumable_app()
    async with reaching(app) as http:
        ada, ben = Wire(http), Wire(http)
        await ada.hello()
        await ben.hello()
        body, headers = envelope(
            "tools/call",
            {"name": "secret", "arguments": {"text": "Ada's own"}},
            version="2025-11-25",
            request_id=5,
        )
        hers = Stream(app, body, {**headers, **ada.headers})
        await hers.task
        assert "Ada's own" in hers.text
        body["params"]["arguments"]["text"] = "Ben's"
        his = Stream(app, body, {**headers, **ben.headers})
        await his.task
        (first, *_) = event_ids(hers.text)
        for event_id in (first, "1.5", "0.5", *event_ids(his.text)[:1]):
            again = Stream(
                app, None, {**headers, **ben.headers, "last-event-id": event_id}, method="GET"
            )
            if event_id in event_ids(his.text):
                await again.until("Ben's")
            else:
                while not again.sent:
                    await asyncio.sleep(0)
            again.leave()
            await again.task
            assert "Ada's own" not in again.text


@async_test
async def test_a_stream_that_was_closed_on_purpose_is_resumed() -> None:
    app, state = resumable_app()
    async with reaching(app) as http:
        wire = Wire(http)
        await wire.hello()
        body, headers = envelope(
            "tools/call", {"name": "long", "arguments": {"text": "later"}}, version="2025-11-25"
        )
        stream = Stream(app, body, {**headers, **wire.headers})
        await state["begun"].wait()
        await stream.task
        assert "later" not in stream.text
        state["go_on"].set()
        # Again from the last event, as clients do: the SDK may lose to a stream that is just being
        # resumed what comes in that moment, and has it when asked again.
        found = stream.text
        while "later" not in found:
            event_id = event_ids(found)[-1]
            again = Stream(
                app, None, {**headers, **wire.headers, "last-event-id": event_id}, method="GET"
            )
            await again.until("id: ")
            again.leave()
            await again.task
            found += again.text
        assert events(found)[-1]["result"]["content"][0]["text"] == "later"


@async_test
async def test_there_are_no_more_sessions_than_there_may_be() -> None:
    app = FastAPI()
    WidgetMCPServer("s", stateless=False, max_sessions=2).mount(app)
    async with reaching(app) as http:
        wires = [Wire(http) for _ in range(3)]
        answers = [await wire.hello() for wire in wires]
        assert [each.status_code for each in answers] == [200, 200, 503]
        await http.delete("/mcp", headers=wires[0].headers)
        assert (await wires[2].hello()).status_code == 200


@async_test
async def test_calls_that_run_when_the_app_stops_are_cancelled_and_streams_end() -> None:
    app = FastAPI()
    server = WidgetMCPServer("s", stateless=False)
    begun, cancelled = asyncio.Event(), asyncio.Event()

    @server.tool()
    async def slow() -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return "never"

    server.mount(app)
    async with reaching(app) as http:
        wire = Wire(http)
        await wire.hello()
        body, headers = envelope("tools/call", {"name": "slow"}, version="2025-11-25")
        call = Stream(app, body, {**headers, **wire.headers})
        standing = Stream(app, None, {**headers, **wire.headers}, method="GET")
        await begun.wait()
        while not standing.sent:
            await asyncio.sleep(0)
    await asyncio.gather(call.task, standing.task, return_exceptions=True)
    assert cancelled.is_set()
