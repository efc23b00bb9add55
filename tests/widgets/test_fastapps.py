"""What the documentation this toolkit follows promises, and its own package never did."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from backstay.state import add_state
from backstay.testing import running
from backstay.web import install
from backstay.widgets import BaseWidget, WidgetContext, WidgetMCPServer
from tests.support import async_test
from tests.widgets.wire import EVERY_ERA, Book, Wire


class NameInput(BaseModel):
    name: str


PAGE = "<p>Good day, this is the page.</p>"


class TwoParameters(BaseWidget):
    identifier = "two"
    title = "Two"
    input_schema = NameInput
    html = PAGE

    async def execute(self, inputs, ctx):  # type: ignore[no-untyped-def]  # as documented
        return {"hello": inputs.name}


class ThreeParameters(BaseWidget):
    identifier = "three"
    title = "Three"
    input_schema = NameInput

    async def execute(self, input_data, context, user):  # type: ignore[no-untyped-def]  # as documented
        return {
            "hello": input_data.name,
            "locale": context.locale,
            "agent": context.user_agent,
            "place": context.user_location,
            "raw": context.raw_meta.get("openai/subject"),
            "signed_in": user.is_authenticated,
            "subject": user.subject,
        }


class OneParameter(BaseWidget):
    identifier = "one"
    title = "One"
    input_schema = NameInput

    async def execute(self, input_data):  # type: ignore[no-untyped-def]  # as documented
        return {"hello": input_data.name}


class Sync(BaseWidget):
    identifier = "sync"
    title = "Sync"
    input_schema = NameInput

    def execute(self, inputs, ctx):  # type: ignore[no-untyped-def]  # as documented
        return {"hello": inputs.name}


class Everything(BaseWidget):
    identifier = "everything"
    title = "Everything"
    input_schema = NameInput

    async def execute(self, inputs, ctx):  # type: ignore[no-untyped-def]  # as documented
        ctx.logger.info("here")
        await ctx.state.set("k", 1)
        return {
            "state": await ctx.state.get("k"),
            "setting": ctx.settings.get("GREETING"),
            "id": ctx.logger.get_correlation_id(),
        }


class Answer(BaseModel):
    total: int


class Announced(BaseWidget):
    identifier = "announced"
    title = "Announced"
    input_schema = NameInput

    async def execute(self, inputs: NameInput, ctx: WidgetContext) -> Answer:
        return Answer(total=len(inputs.name))


class Broken(BaseWidget):
    identifier = "broken"
    title = "Broken"
    input_schema = NameInput

    async def execute(self, inputs, ctx):  # type: ignore[no-untyped-def]  # as documented
        raise RuntimeError("the password of the database is swordfish")


ALL = [TwoParameters, ThreeParameters, OneParameter, Sync, Everything, Announced, Broken]


def make_app(widgets: Any = ALL, **options: Any) -> FastAPI:
    app = FastAPI()
    install(app, settings={"GREETING": "ahoy"})
    add_state(app, "memory://")
    WidgetMCPServer("documented", widgets=widgets, **options).mount(app)
    return app


@pytest.mark.parametrize("version", EVERY_ERA)
@async_test
async def test_a_server_starts_and_serves_in_every_revision(version: str) -> None:
    async with running(make_app()) as client:
        assert (await Wire(client, version).call("two", name="Ada"))["structuredContent"] == {
            "hello": "Ada"
        }


@pytest.mark.parametrize("tool", ["one", "two", "three", "sync"])
@async_test
async def test_execute_works_in_each_documented_form(tool: str) -> None:
    async with running(make_app()) as client:
        result = await Wire(client).call(tool, name="Ada")
    assert result["structuredContent"]["hello"] == "Ada"


@async_test
async def test_state_settings_and_logger_are_there() -> None:
    async with running(make_app()) as client:
        found = (await Wire(client).call("everything", name="Ada"))["structuredContent"]
    assert found["state"] == 1
    assert found["setting"] == "ahoy"
    assert found["id"]


HINTS = {
    "openai/locale": "fr-CA",
    "openai/userAgent": "ChatGPT/1.0",
    "openai/userLocation": {"city": "Montréal", "country": "CA"},
    "openai/subject": "whoever",
}


@pytest.mark.parametrize("version", EVERY_ERA)
@async_test
async def test_locale_user_agent_and_location_are_what_the_client_sent(version: str) -> None:
    async with running(make_app()) as client:
        answer = await Wire(client, version).ask(
            "tools/call", {"name": "three", "arguments": {"name": "Ada"}}, meta=HINTS
        )
    assert answer["result"]["structuredContent"] == {
        "hello": "Ada",
        "locale": "fr-CA",
        "agent": "ChatGPT/1.0",
        "place": {"city": "Montréal", "country": "CA"},
        "raw": "whoever",
        "signed_in": False,
        "subject": None,
    }


@async_test
async def test_a_client_that_says_less_is_known_by_its_http_header() -> None:
    async with running(make_app()) as client:
        wire = Wire(client, headers={"user-agent": "curl/8"})
        found = (await wire.call("three", name="Ada"))["structuredContent"]
    assert (found["agent"], found["place"], found["locale"]) == ("curl/8", None, "en")


@async_test
async def test_the_third_parameter_is_the_user_that_a_token_proves() -> None:
    app = make_app(token_verifier=Book())
    async with running(app) as client:
        wire = Wire(client, headers={"authorization": "Bearer ada:orders"})
        found = (await wire.call("three", name="Ada"))["structuredContent"]
    assert (found["signed_in"], found["subject"]) == (True, "ada")


def test_auth_issuer_url_is_taken() -> None:
    server = WidgetMCPServer(
        "documented",
        widgets=ALL,
        auth_issuer_url="https://id.example.com",
        auth_resource_server_url="https://shop.example.com/mcp",
        auth_required_scopes=["user"],
        auth_audience="shop",
    )
    assert server.audience == ("shop",)
    assert server.resource_metadata is not None
    assert server.resource_metadata["authorization_servers"] == ["https://id.example.com"]


class Speaking(BaseWidget):
    """Waits until two calls are inside it, so that what one sets the other would see."""

    identifier = "speaking"
    title = "Speaking"
    supported_locales = ("en", "fr", "de-CH")
    default_locale = "en"

    def __init__(self) -> None:
        self.together = asyncio.Barrier(2)

    async def execute(self, inputs: BaseModel, ctx: WidgetContext) -> dict[str, Any]:
        before = ctx.locale
        await self.together.wait()
        return {"before": before, "after": ctx.locale}


@async_test
async def test_two_calls_at_a_time_keep_their_own_locale() -> None:
    widget = Speaking()
    async with running(make_app([widget])) as client:
        wire = Wire(client)

        async def call(locale: str) -> Any:
            params = {"name": "speaking", "arguments": {}}
            answer = await wire.ask("tools/call", params, meta={"openai/locale": locale})
            return answer["result"]["structuredContent"]

        found = await asyncio.gather(call("fr-FR"), call("de"))
    assert found == [{"before": "fr", "after": "fr"}, {"before": "de-CH", "after": "de-CH"}]
    assert set(vars(widget)) == {"together"}


@pytest.mark.parametrize("version", EVERY_ERA)
@async_test
async def test_a_result_does_not_carry_the_page(version: str) -> None:
    async with running(make_app()) as client:
        result = await Wire(client, version).call("two", name="Ada")
    assert "<p>" not in json.dumps(result)
    assert "openai.com/widget" not in result.get("_meta", {})


@async_test
async def test_an_error_is_not_told_raw() -> None:
    async with running(make_app()) as client:
        result = await Wire(client).call("broken", name="Ada")
    told = json.dumps(result)
    assert result["isError"] is True
    assert result["structuredContent"]["error_id"]
    for secret in ("swordfish", "RuntimeError", "Traceback", "execute"):
        assert secret not in told


@async_test
async def test_what_a_widget_is_annotated_to_return_is_its_output_schema() -> None:
    async with running(make_app()) as client:
        wire = Wire(client)
        tools = {each["name"]: each for each in (await wire.ask("tools/list"))["result"]["tools"]}
        result = await wire.call("announced", name="Ada")
    assert tools["announced"]["outputSchema"]["properties"]["total"]["type"] == "integer"
    assert "outputSchema" not in tools["two"]
    assert result["structuredContent"] == {"total": 3}
    assert json.loads(result["content"][0]["text"]) == {"total": 3}


@async_test
async def test_a_page_is_what_mcp_apps_call_one_and_the_tool_names_it_in_both_dialects() -> None:
    async with running(make_app()) as client:
        wire = Wire(client)
        tools = {each["name"]: each for each in (await wire.ask("tools/list"))["result"]["tools"]}
        (listed,) = (await wire.ask("resources/list"))["result"]["resources"]
        answer = await wire.ask("resources/read", {"uri": listed["uri"]})
    meta = tools["two"]["_meta"]
    assert meta["ui"]["resourceUri"] == meta["openai/outputTemplate"] == listed["uri"]
    (content,) = answer["result"]["contents"]
    assert content["mimeType"] == listed["mimeType"] == "text/html;profile=mcp-app"
    assert "Good day" in content["text"]
    assert content["_meta"] == listed["_meta"]
    assert "csp" not in json.dumps(meta).lower()


@async_test
async def test_call_and_discovery_are_there_for_the_program() -> None:
    app = FastAPI()
    add_state(app, "memory://")
    server = WidgetMCPServer("found", widgets=__name__)
    server.mount(app)
    async with running(app) as client:
        assert await server.call("two", name="Ada") == {"hello": "Ada"}
        assert await client.ctx.widgets.call("sync", name="Ben") == {"hello": "Ben"}
    assert set(server.registry.tools) >= {each.identifier for each in ALL}
