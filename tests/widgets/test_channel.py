"""The way back to the client: questions, log lines and reports, in every revision."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from backstay.errors import ClientCannot
from backstay.testing import FakeClock
from backstay.web import install
from backstay.widgets import WidgetContext, WidgetMCPServer
from tests.support import async_test
from tests.widgets.wire import HANDSHAKES, MODERN, Book, Wire, events, reaching

ASKABLE: dict[str, Any] = {"elicitation": {"form": {}}}


class Size(BaseModel):
    size: int


class Colour(BaseModel):
    colour: str


class Shop:
    """An app whose tools ask."""

    def __init__(self, *, stateless: bool = True, book: Book | None = None) -> None:
        self.clock = FakeClock()
        self.runs = 0
        self.app = FastAPI()
        install(self.app, clock=self.clock)
        server = WidgetMCPServer("s", stateless=stateless, token_verifier=book)

        @server.tool()
        async def order(ctx: WidgetContext, item: str = "hat") -> str:
            self.runs += 1
            size = await ctx.elicit("Which size?", Size)
            if not size.accepted:
                return f"no {item}: {size.action}"
            assert size.data is not None
            colour = await ctx.elicit("Which colour?", Colour)
            assert colour.data is not None
            return f"{item} {size.data.size} {colour.data.colour}"

        @server.tool()
        async def careful(ctx: WidgetContext) -> str:
            try:
                await ctx.elicit("Sure?")
            except ClientCannot:
                return "went on without"
            except Exception:
                return "swallowed"
            return "asked"

        @server.tool()
        async def chatty(ctx: WidgetContext) -> str:
            for level in ("debug", "info", "warning", "error"):
                await ctx.client.log(level, f"at {level}", logger="shop")
            return "done"

        server.mount(self.app)


@asynccontextmanager
async def shop(
    version: str = MODERN,
    *,
    can: Mapping[str, Any] | None = ASKABLE,
    stateless: bool = True,
    book: Book | None = None,
) -> AsyncIterator[tuple[Shop, Wire]]:
    it = Shop(stateless=stateless, book=book)
    async with reaching(it.app) as http:
        yield it, Wire(http, version, can=can)


async def order(
    wire: Wire,
    state: str | None = None,
    answers: Mapping[str, Any] | None = None,
    *,
    item: str = "hat",
) -> dict[str, Any]:
    params: dict[str, Any] = {"name": "order", "arguments": {"item": item}}
    if state is not None:
        params["requestState"] = state
    if answers is not None:
        params["inputResponses"] = answers
    return await wire.ask("tools/call", params)


def question(result: Mapping[str, Any]) -> tuple[str, Any]:
    assert result["resultType"] == "input_required"
    ((key, asked),) = result["inputRequests"].items()
    return key, asked


def accept(**content: Any) -> dict[str, Any]:
    return {"action": "accept", "content": content}


@pytest.mark.parametrize("version", HANDSHAKES)
@async_test
async def test_without_a_connection_to_ask_on_the_model_is_told_how_there_could_be_one(
    version: str,
) -> None:
    async with shop(version) as (_, wire):
        await wire.hello()
        result = await wire.call("order")
    assert result["isError"]
    text = result["content"][0]["text"]
    assert "WidgetMCPServer(..., stateless=False)" in text
    assert version in text
    assert "error_id" not in text


@async_test
async def test_a_tool_may_go_on_where_nobody_can_be_asked() -> None:
    async with shop("2025-11-25") as (_, wire):
        assert (await wire.call("careful"))["content"][0]["text"] == "went on without"


@async_test
async def test_questions_travel_back_as_interim_results_and_come_again_with_answers() -> None:
    async with shop() as (it, wire):
        first = (await order(wire))["result"]
        key, asked = question(first)
        assert asked["method"] == "elicitation/create"
        assert asked["params"]["message"] == "Which size?"
        assert asked["params"]["requestedSchema"]["properties"]["size"]["type"] == "integer"
        second = (await order(wire, first["requestState"], {key: accept(size=7)}))["result"]
        key, asked = question(second)
        assert asked["params"]["message"] == "Which colour?"
        last = (await order(wire, second["requestState"], {key: accept(colour="red")}))["result"]
    assert last["resultType"] == "complete"
    assert last["content"][0]["text"] == "hat 7 red"
    assert it.runs == 3, "from the beginning each time"


@pytest.mark.parametrize("action", ["decline", "cancel"])
@async_test
async def test_a_user_may_say_no(action: str) -> None:
    async with shop() as (_, wire):
        first = (await order(wire))["result"]
        key, _ = question(first)
        result = (await order(wire, first["requestState"], {key: {"action": action}}))["result"]
    assert result["content"][0]["text"] == f"no hat: {action}"


@async_test
async def test_a_state_that_nobody_gave_is_refused() -> None:
    async with shop() as (it, wire):
        for forged in ("", "x", "a" * 5000, "\ud800", "named:x", '{"answers":{}}', "\x00"):
            answer = await order(wire, forged, {"question-1": accept(size=1)})
            assert answer["error"]["code"] == -32602
            assert "requestState" in answer["error"]["message"]
    assert it.runs == 0


@async_test
async def test_a_state_holds_for_the_same_arguments_only() -> None:
    async with shop() as (it, wire):
        first = (await order(wire))["result"]
        key, _ = question(first)
        answer = await order(wire, first["requestState"], {key: accept(size=7)}, item="crown")
    assert answer["error"]["code"] == -32602
    assert it.runs == 1


@async_test
async def test_a_state_holds_for_the_same_user_only() -> None:
    async with shop(book=Book()) as (it, ada):
        ada.headers["authorization"] = "Bearer ada:"
        ben = Wire(ada.http, MODERN, can=ASKABLE, headers={"authorization": "Bearer ben:"})
        first = (await order(ada))["result"]
        key, _ = question(first)
        stolen = await order(ben, first["requestState"], {key: accept(size=7)})
        assert stolen["error"]["code"] == -32602
        assert it.runs == 1
        own = (await order(ada, first["requestState"], {key: accept(size=7)}))["result"]
        assert question(own)[1]["params"]["message"] == "Which colour?"


@async_test
async def test_a_state_holds_for_ten_minutes() -> None:
    async with shop() as (it, wire):
        first = (await order(wire))["result"]
        key, _ = question(first)
        await it.clock.advance(timedelta(minutes=9).total_seconds())
        second = (await order(wire, first["requestState"], {key: accept(size=7)}))["result"]
        question(second)
        await it.clock.advance(timedelta(minutes=2).total_seconds())
        late = await order(wire, first["requestState"], {key: accept(size=7)})
    assert "ten minutes" in late["error"]["message"]


@async_test
async def test_answers_to_questions_that_were_not_asked_are_not_heard() -> None:
    async with shop() as (_, wire):
        first = (await order(wire))["result"]
        key, _ = question(first)
        ahead = {key.replace("question-1", "question-2"): accept(colour="red"), "x": accept()}
        again = (await order(wire, first["requestState"], ahead))["result"]
        assert question(again)[1]["params"]["message"] == "Which size?"


@async_test
async def test_a_client_that_knows_what_will_be_asked_may_answer_at_once() -> None:
    async with shop() as (it, wire):
        key, _ = question((await order(wire))["result"])
        alone = await order(wire, None, {key: accept(size=7)})
        assert question(alone["result"])[1]["params"]["message"] == "Which colour?"
    assert it.runs == 2


@pytest.mark.parametrize(
    "answer",
    [
        {"action": "accept", "content": {"size": "large"}},
        {"action": "accept", "content": {}},
        {"action": "accept"},
        {"action": "accept", "content": {"size": "\ud800"}},
    ],
)
@async_test
async def test_an_answer_that_does_not_fit_is_told_to_the_model(answer: Any) -> None:
    async with shop() as (_, wire):
        first = (await order(wire))["result"]
        key, _ = question(first)
        found = await order(wire, first["requestState"], {key: answer})
    assert "error_id" not in str(found)
    if "result" in found:
        assert found["result"]["isError"]
        assert found["result"]["structuredContent"]["field"] == "size"
    else:
        assert found["error"]["code"] == -32602


@pytest.mark.parametrize("answer", [None, 7, "yes", [], {"action": "maybe"}, {"content": {}}])
@async_test
async def test_an_answer_that_is_none_is_an_error_of_the_clients(answer: Any) -> None:
    async with shop() as (_, wire):
        first = (await order(wire))["result"]
        key, _ = question(first)
        found = await order(wire, first["requestState"], {key: answer})
    assert "error_id" not in str(found)


@async_test
async def test_an_answer_larger_than_can_be_kept_is_an_error_of_the_clients() -> None:
    async with shop() as (_, wire):
        first = (await order(wire))["result"]
        key, _ = question(first)
        large = {"size": 7, "note": "x" * 2_000_000}
        found = await order(wire, first["requestState"], {key: accept(**large)})
    assert found["error"]["code"] == -32602
    assert "error_id" not in str(found)


@async_test
async def test_a_client_that_cannot_be_asked_is_told_what_it_would_have_to_offer() -> None:
    async with shop(can={}) as (_, wire):
        answer = await order(wire)
        assert answer["error"]["data"]["requiredCapabilities"] == {"elicitation": {}}
        assert (await wire.call("careful"))["content"][0]["text"] == "went on without"


@async_test
async def test_a_tool_that_catches_every_error_still_asks() -> None:
    async with shop() as (_, wire):
        result = (await wire.ask("tools/call", {"name": "careful", "arguments": {}}))["result"]
    assert question(result)[1]["params"]["message"] == "Sure?"


# ---------------------------------------------------------------- log lines


@pytest.mark.parametrize(
    ("level", "heard"),
    [
        (None, []),
        ("debug", ["debug", "info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("emergency", []),
        ("nonsense", []),
    ],
)
@async_test
async def test_since_2026_a_call_hears_the_log_lines_it_asks_for(
    level: str | None, heard: list[str]
) -> None:
    meta = {} if level is None else {"io.modelcontextprotocol/logLevel": level}
    async with shop() as (_, wire):
        answer = await wire.post("tools/call", {"name": "chatty", "arguments": {}}, meta=meta)
    lines = [
        each["params"]
        for each in events(answer.text)
        if each.get("method") == "notifications/message"
    ]
    assert [each["level"] for each in lines] == heard
    assert all(each["logger"] == "shop" for each in lines)


@async_test
async def test_before_2026_a_session_says_from_which_level_on_it_hears() -> None:
    async with shop("2025-11-25", stateless=False) as (_, wire):
        await wire.hello()
        await wire.ask("logging/setLevel", {"level": "warning"})
        answer = await wire.post("tools/call", {"name": "chatty", "arguments": {}})
        lines = [each for each in events(answer.text) if "method" in each]
        assert [each["params"]["level"] for each in lines] == ["warning", "error"]


@async_test
async def test_without_sessions_the_level_goes_with_the_name_that_the_client_was_given() -> None:
    async with shop("2025-11-25") as (_, wire):
        await wire.hello()
        other = Wire(wire.http)
        await other.hello()
        await wire.ask("logging/setLevel", {"level": "error"})
        answer = await wire.post("tools/call", {"name": "chatty", "arguments": {}})
        assert answer.text.count("notifications/message") == 1
        answer = await other.post("tools/call", {"name": "chatty", "arguments": {}})
        assert answer.text.count("notifications/message") == 4
