"""What the server answers, and what those hear whose request came to nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from backstay.errors import StateUnavailable
from backstay.tasks import add_tasks
from backstay.web.lifespan import started
from backstay.widgets import ValidationError, WidgetContext, WidgetMCPServer
from tests.support import async_test
from tests.widgets.wire import (
    EVERY_ERA,
    HANDSHAKES,
    MODERN,
    Stream,
    Wire,
    envelope,
    events,
    reaching,
)

ERAS = ["2025-11-25", MODERN]


class Strict(BaseModel):
    number: int


def new_server(**options: Any) -> WidgetMCPServer:
    server = WidgetMCPServer("s", **options)

    @server.tool()
    async def add(a: int, b: int = 0) -> int:
        return a + b

    @server.tool()
    async def breaks() -> str:
        raise ZeroDivisionError("inner workings")

    @server.resource("shop://terms")
    async def terms() -> str:
        return "pay first"

    @server.resource("shop://orders/{number}")
    def an_order(number: str) -> dict[str, str]:
        if number == "0":
            raise ValidationError("orders begin with 1", field="number")
        return {"number": number}

    @server.resource("shop://broken")
    async def broken() -> str:
        raise ZeroDivisionError("inner workings")

    @server.resource("shop://mistyped")
    async def mistyped() -> str:
        return str(Strict.model_validate({"number": "inner workings"}))

    @server.resource("shop://down")
    async def down() -> str:
        raise StateUnavailable("inner workings")

    @server.prompt()
    async def advise(topic: str, tone: str = "kind") -> str:
        return f"{tone} words about {topic}"

    @server.prompt()
    def broken_prompt() -> str:
        raise ZeroDivisionError("inner workings")

    @server.completion("advise", "topic")
    def topics(value: str) -> list[str]:
        return [each for each in ("hats", "ham", "gloves") if each.startswith(value)]

    @server.completion("advise", "tone")
    async def tones(value: str, known: dict[str, str]) -> list[str]:
        if value == "break":
            raise ZeroDivisionError("inner workings")
        return [f"{known.get('topic', '')}-{number}" for number in range(150)]

    return server


@asynccontextmanager
async def talking(version: str = "2025-11-25", **options: Any) -> AsyncIterator[Wire]:
    app = FastAPI()
    add_tasks(app, database="memory://")
    new_server(**options).mount(app)
    async with reaching(app) as http:
        wire = Wire(http, version)
        if version in HANDSHAKES:
            await wire.hello()
        yield wire


@pytest.mark.parametrize("version", EVERY_ERA)
@async_test
async def test_tools_resources_prompts_and_completion_are_there(version: str) -> None:
    async with talking(version) as wire:
        found = (await wire.ask("resources/read", {"uri": "shop://terms"}))["result"]
        assert found["contents"][0]["text"] == "pay first"
        found = (await wire.ask("resources/read", {"uri": "shop://orders/7"}))["result"]
        assert found["contents"][0]["text"] == '{"number":"7"}'
        found = await wire.ask("prompts/get", {"name": "advise", "arguments": {"topic": "hats"}})
        assert found["result"]["messages"][0]["content"]["text"] == "kind words about hats"
        reference = {"type": "ref/prompt", "name": "advise"}
        found = await wire.ask(
            "completion/complete", {"ref": reference, "argument": {"name": "topic", "value": "ha"}}
        )
        assert found["result"]["completion"]["values"] == ["hats", "ham"]


@async_test
async def test_completion_gives_a_hundred_values_and_says_that_there_are_more() -> None:
    async with talking() as wire:
        found = await wire.ask(
            "completion/complete",
            {
                "ref": {"type": "ref/prompt", "name": "advise"},
                "argument": {"name": "tone", "value": ""},
                "context": {"arguments": {"topic": "hats"}},
            },
        )
        completion = found["result"]["completion"]
        assert completion["values"][0] == "hats-0"
        assert len(completion["values"]) == 100
        assert completion["total"] == 150
        assert completion["hasMore"]


@pytest.mark.parametrize("version", ERAS)
@pytest.mark.parametrize(
    ("method", "params", "code", "said"),
    [
        ("tools/call", {"name": "ad", "arguments": {}}, -32602, "did you mean 'add'?"),
        ("tools/call", {"arguments": {}}, -32602, "name"),
        ("tools/call", {"name": "add", "arguments": [1]}, -32602, "arguments"),
        ("prompts/get", {"name": "advice"}, -32602, "did you mean 'advise'?"),
        ("prompts/get", {"name": "advise"}, -32602, "needs 'topic'"),
        ("prompts/get", {"name": "advise", "arguments": {"topic": "x", "y": "z"}}, -32602, "'y'"),
        ("resources/read", {"uri": "shop://orders/0"}, -32602, "orders begin with 1"),
        ("resources/read", {}, -32602, "uri"),
        ("nope", {}, -32601, "not found"),
        ("nope/\n" + "x" * 3000, {}, -32601, "not found"),
    ],
)
@async_test
async def test_what_cannot_be_done_is_told_with_the_reason(
    method: str, params: dict[str, Any], code: int, said: str, version: str
) -> None:
    if version == MODERN and "\n" in method:
        return  # no header can carry that
    async with talking(version) as wire:
        answer = await wire.ask(method, params)
    assert answer["error"]["code"] == code
    assert said.lower() in answer["error"]["message"].lower()


@async_test
async def test_a_resource_that_is_not_there_has_the_code_of_its_revision() -> None:
    for version, code in (("2025-11-25", -32002), (MODERN, -32602)):
        async with talking(version) as wire:
            answer = await wire.ask("resources/read", {"uri": "shop://nowhere"})
            assert answer["error"]["code"] == code
            assert "resources/list" in answer["error"]["message"]


FAULTS = [
    ("resources/read", {"uri": "shop://broken"}),
    ("resources/read", {"uri": "shop://mistyped"}),
    ("resources/read", {"uri": "shop://down"}),
    ("prompts/get", {"name": "broken_prompt"}),
    (
        "completion/complete",
        {
            "ref": {"type": "ref/prompt", "name": "advise"},
            "argument": {"name": "tone", "value": "break"},
        },
    ),
]


@pytest.mark.parametrize("version", ["2025-11-25", MODERN])
@pytest.mark.parametrize("stateless", [True, False])
@pytest.mark.parametrize(("method", "params"), FAULTS)
@async_test
async def test_a_fault_is_told_by_an_id_that_the_log_has(
    method: str,
    params: dict[str, Any],
    version: str,
    stateless: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with talking(version, stateless=stateless) as wire:
        answer = await wire.ask(method, params, headers={"x-request-id": "fault-17"})
    error = answer["error"]
    assert error["code"] == -32603
    assert error["data"] == {"error_id": "fault-17"}
    assert "fault-17" in error["message"]
    for inner in ("inner workings", "ZeroDivision", "Traceback", "Strict", "number"):
        assert inner not in str(answer)
    logged = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert any(getattr(each, "correlation_id", "") == "fault-17" for each in logged)
    assert "inner workings" in caplog.text


@pytest.mark.parametrize("version", ERAS)
@async_test
async def test_a_fault_of_a_tool_is_a_result_that_the_model_reads(version: str) -> None:
    async with talking(version) as wire:
        result = await wire.call("breaks")
    assert result["isError"]
    assert result["structuredContent"]["error_id"] in result["content"][0]["text"]
    assert "inner workings" not in str(result)


@pytest.mark.parametrize("version", ERAS)
@async_test
async def test_arguments_that_do_not_fit_are_a_result_that_the_model_can_mend(version: str) -> None:
    async with talking(version) as wire:
        result = await wire.call("add", a="one", c=1)
    assert result["isError"]
    about = result["_meta"]["backstay/error"]
    assert about["error"] == "invalid_inputs"
    assert [each["field"] for each in about["problems"]] == ["a", "c"]


@async_test
async def test_a_resource_has_the_time_that_a_tool_has() -> None:
    app = FastAPI()
    server = WidgetMCPServer("s", timeout_s=0.01)

    @server.resource("shop://slow")
    async def slow() -> str:
        await asyncio.Event().wait()
        return "never"

    server.mount(app)
    async with reaching(app) as http:
        answer = await Wire(http).ask("resources/read", {"uri": "shop://slow"})
    assert answer["error"]["data"]["error_id"]


# ---------------------------------------------------------------- changes


@async_test
async def test_a_session_hears_when_a_document_changes_until_it_says_no_more() -> None:
    app = FastAPI()
    server = new_server(stateless=False)
    server.mount(app)
    async with reaching(app) as http:
        wire = Wire(http)
        await wire.hello()
        _, headers = envelope("x", version="2025-11-25")
        standing = Stream(app, None, {**headers, **wire.headers}, method="GET")
        assert "result" in await wire.ask("resources/subscribe", {"uri": "shop://terms"})
        assert "result" in await wire.ask("resources/subscribe", {"uri": "shop://orders/7"})
        unknown = await wire.ask("resources/subscribe", {"uri": "shop://nowhere"})
        assert unknown["error"]["code"] == -32002
        while not standing.sent:
            await asyncio.sleep(0)
        await server.resource_updated("shop://terms")
        await standing.until("shop://terms")
        await wire.ask("resources/unsubscribe", {"uri": "shop://terms"})
        await server.resource_updated("shop://terms")
        await server.resource_updated("shop://orders/7")
        await standing.until("shop://orders/7")
        updates = [each for each in events(standing.text) if "method" in each]
        assert [each["params"]["uri"] for each in updates] == ["shop://terms", "shop://orders/7"]
        standing.leave()
        await standing.task


@async_test
async def test_a_session_that_has_ended_keeps_no_other_from_hearing() -> None:
    app = FastAPI()
    server = new_server(stateless=False)
    server.mount(app)
    async with reaching(app) as http:
        gone, here = Wire(http), Wire(http)
        for wire in (gone, here):
            await wire.hello()
            await wire.ask("resources/subscribe", {"uri": "shop://terms"})
        await http.delete("/mcp", headers=gone.headers)
        _, headers = envelope("x", version="2025-11-25")
        standing = Stream(app, None, {**headers, **here.headers}, method="GET")
        while not standing.sent:
            await asyncio.sleep(0)
        await server.resource_updated("shop://terms")
        await standing.until("shop://terms")
        standing.leave()
        await standing.task


@async_test
async def test_a_listener_hears_of_the_documents_it_has_named() -> None:
    app = FastAPI()
    server = new_server()
    server.mount(app)
    body, headers = envelope(
        "subscriptions/listen",
        {"notifications": {"resourceSubscriptions": ["shop://terms"]}},
        version=MODERN,
    )
    async with started(app, {}):
        stream = Stream(app, body, headers)
        await stream.until("acknowledged")
        await server.resource_updated("shop://orders/7")
        await server.resource_updated("shop://terms")
        await stream.until("resources/updated")
        assert "shop://orders/7" not in stream.text
        stream.leave()
        await stream.task


@async_test
async def test_a_running_call_in_a_session_is_cancelled_when_its_client_says_so() -> None:
    app = FastAPI()
    server = WidgetMCPServer("s", stateless=False)
    begun, cancelled = asyncio.Event(), asyncio.Event()

    @server.tool()
    async def slow(ctx: WidgetContext) -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return "never"

    server.mount(app)
    async with reaching(app) as http:
        wire, stranger = Wire(http), Wire(http)
        await wire.hello()
        await stranger.hello()
        body, headers = envelope("tools/call", {"name": "slow"}, version="2025-11-25", request_id=9)
        stream = Stream(app, body, {**headers, **wire.headers})
        await begun.wait()
        await stranger.post("notifications/cancelled", {"requestId": 9}, request_id=None)
        assert (await stranger.ask("ping"))["result"] == {}
        assert not cancelled.is_set(), "another session's requests have the same ids"
        await wire.post("notifications/cancelled", {"requestId": 9}, request_id=None)
        await cancelled.wait()
        stream.leave()
        await stream.task
