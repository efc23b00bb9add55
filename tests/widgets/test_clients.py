"""The official Python client and a real server: what both make of each other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import mcp_types as types
import pytest
from fastapi import FastAPI
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel

from backstay.tasks import add_tasks
from backstay.widgets import BaseWidget, WidgetContext, WidgetMCPServer
from tests.browser.serving import serving_app
from tests.support import async_test
from tests.widgets.wire import MODERN, Book

MODES: list[Any] = ["legacy", "auto", MODERN]


class Sum(BaseModel):
    a: int
    b: int = 2


class Size(BaseModel):
    size: int


class Add(BaseWidget):
    identifier = "add"
    title = "Add"
    input_schema = Sum
    template = "list"

    async def execute(self, inputs: Sum, ctx: WidgetContext) -> dict[str, Any]:
        for step in range(3):
            await ctx.progress(step + 1, 3, f"step {step + 1}")
        return {"sum": inputs.a + inputs.b}


def new_app(*, stateless: bool = True, book: Book | None = None) -> FastAPI:
    app = FastAPI()
    add_tasks(app, database="memory://")
    server = WidgetMCPServer(
        "shop", [Add], stateless=stateless, token_verifier=book, instructions="Add numbers."
    )

    @server.tool()
    async def order(ctx: WidgetContext) -> str:
        size = await ctx.elicit("Which size?", Size)
        return "none" if size.data is None else f"size {size.data.size}"

    @server.tool()
    async def count(ctx: WidgetContext) -> int:
        return int(await ctx.state.incr("n"))

    @server.tool()
    async def hurry(ctx: WidgetContext) -> str:
        await asyncio.Event().wait()
        return "never"

    @server.resource("shop://terms")
    def terms() -> str:
        return "pay first"

    @server.prompt()
    def advise(topic: str) -> str:
        return f"words about {topic}"

    @server.completion("advise", "topic")
    def topics(value: str) -> list[str]:
        return [each for each in ("hats", "gloves") if each.startswith(value)]

    server.mount(app)
    return app


@pytest.fixture(scope="module")
def stateless_url() -> Iterator[str]:
    with serving_app(new_app()) as url:
        yield f"{url}/mcp"


@pytest.fixture(scope="module")
def stateful_url() -> Iterator[str]:
    with serving_app(new_app(stateless=False)) as url:
        yield f"{url}/mcp"


@pytest.fixture(params=["stateless", "sessions"])
def url(request: pytest.FixtureRequest, stateless_url: str, stateful_url: str) -> str:
    return stateless_url if request.param == "stateless" else stateful_url


@pytest.mark.parametrize("mode", MODES)
@async_test
async def test_the_official_client_lists_calls_and_reads(url: str, mode: Any) -> None:
    async with Client(url, mode=mode) as client:
        if mode != MODERN:  # pinned, it does not ask
            assert client.instructions == "Add numbers."
        assert client.protocol_version == ("2025-11-25" if mode == "legacy" else MODERN)
        tools = {each.name: each for each in (await client.list_tools()).tools}
        assert set(tools) == {"add", "order", "count", "hurry"}
        page_uri = (tools["add"].meta or {})["ui"]["resourceUri"]
        result = await client.call_tool("add", {"a": 40})
        assert result.structured_content == {"sum": 42}
        assert not result.is_error
        uris = {str(each.uri) for each in (await client.list_resources()).resources}
        assert uris == {page_uri, "shop://terms"}
        (page,) = (await client.read_resource(page_uri)).contents
        assert page.mime_type == "text/html;profile=mcp-app"
        (terms,) = (await client.read_resource("shop://terms")).contents
        assert isinstance(terms, types.TextResourceContents)
        assert terms.text == "pay first"
        assert [each.name for each in (await client.list_prompts()).prompts] == ["advise"]
        (message,) = (await client.get_prompt("advise", {"topic": "hats"})).messages
        assert isinstance(message.content, types.TextContent)
        assert message.content.text == "words about hats"
        found = await client.complete(
            types.PromptReference(type="ref/prompt", name="advise"), {"name": "topic", "value": "h"}
        )
        assert found.completion.values == ["hats"]


@pytest.mark.parametrize("mode", MODES)
@async_test
async def test_progress_reaches_whoever_asked_for_it(url: str, mode: Any) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async with Client(url, mode=mode) as client:
        result = await client.call_tool("add", {"a": 1}, progress_callback=hear)
        assert result.structured_content == {"sum": 3}
    assert heard == [(1, 3, "step 1"), (2, 3, "step 2"), (3, 3, "step 3")]


@pytest.mark.parametrize("mode", MODES)
@async_test
async def test_what_goes_wrong_is_told_in_the_clients_own_terms(url: str, mode: Any) -> None:
    async with Client(url, mode=mode) as client:
        result = await client.call_tool("add", {"a": "many"})
        assert result.is_error
        with pytest.raises(MCPError, match="did you mean 'add'"):
            await client.call_tool("addd", {})
        with pytest.raises(MCPError, match="resources/list"):
            await client.read_resource("shop://nowhere")


async def large(context: Any, params: Any) -> types.ElicitResult:
    assert params.message == "Which size?"
    return types.ElicitResult(action="accept", content={"size": 7})


async def refuse(context: Any, params: Any) -> types.ElicitResult:
    return types.ElicitResult(action="decline")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("answer", "text"), [(large, "size 7"), (refuse, "none")])
@async_test
async def test_the_user_is_asked_where_there_is_a_way(
    stateful_url: str, mode: Any, answer: Any, text: str
) -> None:
    async with Client(stateful_url, mode=mode, elicitation_callback=answer) as client:
        result = await client.call_tool("order", {})
    assert isinstance(result.content[0], types.TextContent)
    assert result.content[0].text == text


@async_test
async def test_without_sessions_the_user_is_asked_by_the_revision_that_can(
    stateless_url: str,
) -> None:
    async with Client(stateless_url, elicitation_callback=large) as client:
        result = await client.call_tool("order", {})
        assert isinstance(result.content[0], types.TextContent)
        assert result.content[0].text == "size 7"
    async with Client(stateless_url, mode="legacy", elicitation_callback=large) as client:
        result = await client.call_tool("order", {})
        assert result.is_error
        assert isinstance(result.content[0], types.TextContent)
        assert "stateless=False" in result.content[0].text


@async_test
async def test_a_client_that_offers_no_elicitation_is_told_so(stateful_url: str) -> None:
    async with Client(stateful_url, mode="legacy") as client:
        result = await client.call_tool("order", {})
        assert result.is_error
        assert isinstance(result.content[0], types.TextContent)
        assert "does not offer elicitation" in result.content[0].text


@async_test
async def test_each_handshake_gets_state_of_its_own(url: str) -> None:
    async with Client(url, mode="legacy") as one, Client(url, mode="legacy") as other:
        counts = [
            (await client.call_tool("count", {})).structured_content for client in (one, one, other)
        ]
    assert counts == [{"result": 1}, {"result": 2}, {"result": 1}]


@pytest.mark.parametrize("mode", MODES)
@async_test
async def test_a_client_that_gives_up_leaves_nothing_broken(url: str, mode: Any) -> None:
    async with Client(url, mode=mode) as client:
        with pytest.raises((MCPError, TimeoutError)):
            await client.call_tool("hurry", {}, read_timeout_seconds=0.2)
        assert (await client.call_tool("add", {"a": 1})).structured_content == {"sum": 3}


@asynccontextmanager
async def signed_in(url: str, token: str | None, mode: Any) -> AsyncIterator[Client]:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=mode) as client:
            yield client


@pytest.mark.parametrize("stateless", [True, False])
@pytest.mark.parametrize("mode", ["legacy", MODERN])
@async_test
async def test_a_token_makes_the_same_user_in_every_session(stateless: bool, mode: Any) -> None:
    with serving_app(new_app(stateless=stateless, book=Book())) as url:
        counts = []
        for token in ("ada:", "ada:", "ben:"):
            async with signed_in(f"{url}/mcp", token, mode) as client:
                counts.append((await client.call_tool("count", {})).structured_content)
    assert counts == [{"result": 1}, {"result": 2}, {"result": 1}]


@async_test
async def test_a_standalone_server_serves_the_official_client() -> None:
    with serving_app(WidgetMCPServer("alone", [Add]).asgi("/")) as url:
        for mode in MODES:
            async with Client(f"{url}/", mode=mode) as client:
                result = await client.call_tool("add", {"a": 5})
                assert result.structured_content == {"sum": 7}


def test_a_server_that_stops_leaves_no_task_behind(caplog: pytest.LogCaptureFixture) -> None:
    """With every kind of stream open: asyncio says in its log what was destroyed while pending."""
    with caplog.at_level(logging.WARNING, logger="asyncio"):
        for stateless in (True, False):
            leave_open(stateless)
    assert "was destroyed" not in caplog.text
    assert "never retrieved" not in caplog.text


def leave_open(stateless: bool) -> None:
    @async_test
    async def run() -> None:
        with serving_app(new_app(stateless=stateless)) as url:
            async with httpx2.AsyncClient() as http:
                for mode in ("legacy", MODERN):
                    async with Client(
                        streamable_http_client(f"{url}/mcp", http_client=http), mode=mode
                    ) as client:
                        calling = asyncio.ensure_future(client.call_tool("hurry", {}))
                        await client.call_tool("add", {"a": 1})
                        calling.cancel()
                        await asyncio.gather(calling, return_exceptions=True)

    run()
