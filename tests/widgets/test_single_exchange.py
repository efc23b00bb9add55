"""One request and its answer: as JSON, or as a stream once something is said before the end."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI

from backstay.testing import FakeClock
from backstay.web import install
from backstay.web.lifespan import started
from backstay.widgets import WidgetContext, WidgetMCPServer
from backstay.widgets.single_exchange import PING_S, encode
from tests.support import async_test
from tests.widgets.wire import EVERY_ERA, MODERN, Stream, envelope, events

ERAS = ["2025-11-25", MODERN]


class Bench:
    """An app with slow tools, and the means to see and steer them."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.app = FastAPI()
        install(self.app, clock=self.clock)
        self.begun, self.go_on, self.cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()
        server = WidgetMCPServer("s", timeout_s=3600)

        @server.tool()
        async def slow(ctx: WidgetContext, steps: int = 0) -> str:
            for step in range(steps):
                await ctx.progress(step, steps, f"step {step}")
            self.begun.set()
            try:
                await self.go_on.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
            return "done"

        @server.tool(timeout_s=30)
        async def bounded(ctx: WidgetContext) -> str:
            self.begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
            return "never"

        @server.tool()
        async def talkative(ctx: WidgetContext) -> str:
            for step in range(200):
                ctx.progress(step)  # not awaited: in order all the same
            return "done"

        server.mount(self.app)

    def send(
        self,
        tool: str,
        version: str = "2025-11-25",
        *,
        progress: str | int | None = None,
        accept: str | None = None,
        **arguments: Any,
    ) -> Stream:
        meta = {} if progress is None else {"progressToken": progress}
        body, headers = envelope(
            "tools/call", {"name": tool, "arguments": arguments}, version=version, meta=meta
        )
        if accept is not None:
            headers["accept"] = accept
        return Stream(self.app, body, headers)


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    found = Bench()
    async with started(found.app, {}):
        yield found


@pytest.mark.parametrize("version", EVERY_ERA)
@async_test
async def test_without_a_progress_token_the_answer_is_json(version: str) -> None:
    async with bench() as it:
        it.go_on.set()
        stream = it.send("slow", version, steps=3)
        await stream.task
    assert stream.headers["content-type"] == "application/json"
    assert stream.headers["content-length"] == str(len(stream.text.encode()))
    assert json.loads(stream.text)["result"]["content"][0]["text"] == "done"


@pytest.mark.parametrize("version", EVERY_ERA)
@pytest.mark.parametrize("token", ["p", 0, 17])
@async_test
async def test_with_a_progress_token_every_report_comes_before_the_result(
    version: str, token: str | int
) -> None:
    async with bench() as it:
        stream = it.send("slow", version, progress=token, steps=3)
        await it.begun.wait()
        await stream.until("step 2")
        assert not stream.over, "reports come while the call runs"
        it.go_on.set()
        await stream.task
    assert stream.headers["content-type"] == "text/event-stream"
    assert stream.headers["x-accel-buffering"] == "no"
    *reports, last = events(stream.text)
    assert [each["params"]["progress"] for each in reports] == [0, 1, 2]
    assert {each["params"]["progressToken"] for each in reports} == {token}
    assert last["result"]["content"][0]["text"] == "done"
    assert stream.over


@pytest.mark.parametrize("version", ERAS)
@async_test
async def test_reports_that_nobody_waited_for_come_in_order(version: str) -> None:
    async with bench() as it:
        stream = it.send("talkative", version, progress="p")
        await stream.task
    *reports, last = events(stream.text)
    assert [each["params"]["progress"] for each in reports] == list(range(200))
    assert "result" in last


@async_test
async def test_a_client_that_takes_no_stream_gets_json_and_no_reports() -> None:
    async with bench() as it:
        it.go_on.set()
        stream = it.send("slow", progress="p", accept="application/json", steps=3)
        await stream.task
    assert stream.headers["content-type"] == "application/json"


@pytest.mark.parametrize("version", ERAS)
@async_test
async def test_a_call_that_is_silent_becomes_a_stream_that_is_kept_alive(version: str) -> None:
    async with bench() as it:
        stream = it.send("slow", version)
        await it.begun.wait()
        await it.clock.advance(PING_S - 1)
        assert stream.sent == []
        await it.clock.advance(2)
        await stream.until(": still at work")
        await it.clock.advance(PING_S * 3)
        it.go_on.set()
        await stream.task
    assert stream.text.count(": still at work") == 4
    (last,) = events(stream.text)
    assert last["result"]["content"][0]["text"] == "done"


@async_test
async def test_a_client_that_takes_no_stream_waits_in_silence() -> None:
    async with bench() as it:
        stream = it.send("slow", accept="application/json")
        await it.begun.wait()
        await it.clock.advance(PING_S * 3)
        assert stream.sent == []
        it.go_on.set()
        await stream.task
    assert json.loads(stream.text)["result"]


@async_test
async def test_nothing_is_pinged_when_the_answer_is_out() -> None:
    async with bench() as it:
        it.go_on.set()
        stream = it.send("slow", progress="p", steps=1)
        await stream.task
        before = len(stream.sent)
        await it.clock.advance(PING_S * 5)
        assert len(stream.sent) == before
        assert not [each for each in it.clock.waiting if each <= PING_S]


@pytest.mark.parametrize("version", ERAS)
@async_test
async def test_a_client_that_leaves_its_stream_cancels_the_call(version: str) -> None:
    async with bench() as it:
        stream = it.send("slow", version, progress="p", steps=1)
        await stream.until("step 0")
        await it.begun.wait()
        stream.leave()
        await it.cancelled.wait()
        await stream.task
    assert not stream.over


@async_test
async def test_a_client_that_leaves_without_a_stream_cancels_nothing() -> None:
    """Nobody has promised to say that it leaves; the call has its own time-out."""
    async with bench() as it:
        stream = it.send("slow")
        await it.begun.wait()
        stream.leave()
        it.go_on.set()
        await stream.task
    assert not it.cancelled.is_set()


@async_test
async def test_a_send_that_fails_says_that_the_client_has_gone() -> None:
    async with bench() as it:
        body, headers = envelope(
            "tools/call",
            {"name": "slow", "arguments": {"steps": 5}},
            version="2025-11-25",
            meta={"progressToken": 1},
        )

        async def refusing(scope: Any, receive: Any, send: Any) -> None:
            sent = 0

            async def some(message: Any) -> None:
                nonlocal sent
                sent += 1
                if sent > 2:
                    raise OSError("gone")
                await send(message)

            await it.app(scope, receive, some)

        stream = Stream(refusing, body, headers)
        await stream.task
        assert len(stream.sent) == 2
        assert it.cancelled.is_set() or not it.begun.is_set()


@pytest.mark.parametrize("fails_at", [1, 2, 3])
@async_test
async def test_an_answer_that_cannot_be_sent_is_no_fault_of_ours(fails_at: int) -> None:
    async with bench() as it:
        it.go_on.set()
        body, headers = envelope(
            "tools/call",
            {"name": "slow", "arguments": {"steps": 1 if fails_at == 3 else 0}},
            version="2025-11-25",
            meta={"progressToken": 1} if fails_at == 3 else {},
        )

        async def refusing(scope: Any, receive: Any, send: Any) -> None:
            sent = 0

            async def some(message: Any) -> None:
                nonlocal sent
                sent += 1
                if sent >= fails_at:
                    raise OSError("gone")
                await send(message)

            await it.app(scope, receive, some)
            await asyncio.sleep(0)  # where a cancellation that was left behind would strike

        await Stream(refusing, body, headers).task


@pytest.mark.parametrize("version", ERAS)
@pytest.mark.parametrize("progress", [None, "p"])
@async_test
async def test_a_call_that_takes_too_long_is_stopped_and_says_so(
    version: str, progress: str | None
) -> None:
    async with bench() as it:
        stream = it.send("bounded", version, progress=progress)
        await it.begun.wait()
        await it.clock.advance(31)
        await it.cancelled.wait()
        await stream.task
    text = stream.text
    answer = events(text)[-1] if "event: " in text else json.loads(text)
    assert answer["result"]["isError"]
    assert answer["result"]["structuredContent"]["error"] == "timeout_error"
    assert answer["result"]["structuredContent"]["error_id"]


@async_test
async def test_whoever_cancels_the_request_itself_is_obeyed() -> None:
    async with bench() as it:
        stream = it.send("slow", progress="p", steps=1)
        await it.begun.wait()
        stream.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stream.task
        assert it.cancelled.is_set()


@async_test
async def test_what_is_listened_to_ends_when_the_app_does() -> None:
    """MCP 2026-07-28, subscriptions: with a last message, so that clients know it was meant."""
    found = Bench()
    body, headers = envelope(
        "subscriptions/listen", {"notifications": {"toolsListChanged": True}}, version=MODERN
    )
    async with started(found.app, {}):
        stream = Stream(found.app, body, headers)
        await stream.until("subscriptions/acknowledged")
    await stream.task
    assert "result" in events(stream.text)[-1]
    assert stream.over
    async with started(found.app, {}):
        again = Stream(found.app, body, headers)
        await again.until("subscriptions/acknowledged")
        again.leave()
        await again.task


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        ({"a": "é"}, {"a": "é"}),
        ({"a": "\ud800"}, {"a": "\ud800"}),
        ({"a": math.nan}, {"a": None}),
        ({"a": math.inf, "b": "\udfff"}, {"a": None, "b": "\udfff"}),
        ({"a": 10**30}, {"a": 10**30}),
    ],
)
def test_whatever_is_sent_is_json(message: Any, wire: Any) -> None:
    found = encode(message)
    assert b"NaN" not in found
    assert b"Infinity" not in found
    assert json.loads(found.decode("utf-8")) == wire
