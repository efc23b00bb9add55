"""What the official conformance suites ask of a server, through public names alone.

``python -m uvicorn tests.widgets.conformance.app:app`` serves it with sessions; ``new_app`` makes
one the other way, as a server is by default.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from backstay.tasks import Discard, add_tasks
from backstay.widgets import (
    Audio,
    Embedded,
    Field,
    Image,
    Message,
    Text,
    ValidationError,
    WidgetContext,
    WidgetMCPServer,
)

__all__ = ["app", "new_app", "new_server", "stateless_app"]

# What the suites wait between two things that they want to see apart.
STEP_S = 0.05

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)
WAV = base64.b64decode("UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=")

ADDRESS_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
REGION_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
    "required": ["region"],
}
DEFAULTS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "User name", "default": "John Doe"},
        "age": {"type": "integer", "description": "User age", "default": 30},
        "score": {"type": "number", "description": "User score", "default": 95.5},
        "status": {
            "type": "string",
            "description": "User status",
            "enum": ["active", "inactive", "pending"],
            "default": "active",
        },
        "verified": {"type": "boolean", "description": "Verification status", "default": True},
    },
    "required": [],
}
ENUMS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
        "titledSingle": {
            "type": "string",
            "oneOf": [
                {"const": "value1", "title": "First Option"},
                {"const": "value2", "title": "Second Option"},
                {"const": "value3", "title": "Third Option"},
            ],
        },
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {
            "type": "array",
            "items": {"type": "string", "enum": ["option1", "option2", "option3"]},
        },
        "titledMulti": {
            "type": "array",
            "items": {
                "anyOf": [
                    {"const": "value1", "title": "First Choice"},
                    {"const": "value2", "title": "Second Choice"},
                    {"const": "value3", "title": "Third Choice"},
                ]
            },
        },
    },
    "required": [],
}


class Name(BaseModel):
    """An answer."""

    name: str


class Color(BaseModel):
    """An answer."""

    color: str


class Consent(BaseModel):
    """An answer."""

    ok: bool


class Extra(BaseModel):
    """An answer."""

    context: str


class Confirmation(BaseModel):
    """An answer."""

    confirm: bool


class Login(BaseModel):
    """An answer."""

    username: str = Field(description="User's response")
    email: str = Field(description="User's email address")


def add_content(server: WidgetMCPServer) -> None:
    """Tools that give one kind of content each."""

    @server.tool()
    def test_simple_text() -> str:
        """Give text."""
        return "This is a simple text response for testing."

    @server.tool()
    def test_image_content() -> Image:
        """Give a picture."""
        return Image(PNG)

    @server.tool()
    def test_audio_content() -> Audio:
        """Give sound."""
        return Audio(WAV)

    @server.tool()
    def test_embedded_resource() -> Embedded:
        """Give a document."""
        return Embedded("test://embedded-resource", "This is an embedded resource content.")

    @server.tool()
    def test_multiple_content_types() -> list[Text | Image | Embedded]:
        """Give several."""
        return [
            Text("Multiple content types test:"),
            Image(PNG),
            Embedded(
                "test://mixed-content-resource",
                '{"test":"data","value":123}',
                "application/json",
            ),
        ]

    @server.tool()
    def test_error_handling() -> str:
        """Fail."""
        raise ValidationError("This tool intentionally returns an error for testing")

    @server.tool(input_schema=ADDRESS_SCHEMA)
    def json_schema_2020_12_tool(**address: Any) -> str:
        """Tool with JSON Schema 2020-12 features"""
        return f"got {len(address)}"

    @server.tool(input_schema=REGION_SCHEMA)
    def test_region(region: str) -> str:
        """Take an argument that proxies may route by."""
        return f"in {region}"

    @server.tool()
    def greet(name: str) -> str:
        """Greet."""
        return f"Hello, {name}!"


def add_talk(server: WidgetMCPServer) -> None:
    """Tools that speak to the client while they run."""

    @server.tool()
    async def test_tool_with_logging(ctx: WidgetContext) -> str:
        """Log three lines."""
        await ctx.client.log("info", "Tool execution started")
        await asyncio.sleep(STEP_S)
        await ctx.client.log("info", "Tool processing data")
        await asyncio.sleep(STEP_S)
        await ctx.client.log("info", "Tool execution completed")
        return "Tool with logging executed successfully"

    @server.tool()
    async def test_logging_tool(ctx: WidgetContext) -> str:
        """Log a line, for whoever has asked."""
        await ctx.client.log("info", "This is a log line")
        return "logged"

    @server.tool()
    async def test_tool_with_progress(ctx: WidgetContext) -> str:
        """Report progress three times."""
        for done in (0, 50, 100):
            await ctx.progress(done, 100, f"Completed step {done} of 100")
            await asyncio.sleep(STEP_S)
        return "done"

    @server.tool()
    async def test_reconnection(ctx: WidgetContext) -> str:
        """Close the stream in the middle, so that the client has to come back."""
        await ctx.client.log("info", "Before disconnect")
        await ctx.client.close_stream()
        await asyncio.sleep(4 * STEP_S)
        await ctx.client.log("info", "After reconnect")
        return "Reconnection test completed"

    @server.tool()
    async def test_sampling(prompt: str, ctx: WidgetContext) -> str:
        """Ask the client's model."""
        return f"LLM response: {await ctx.client.sample(prompt, max_tokens=100)}"

    @server.tool()
    async def test_missing_capability(ctx: WidgetContext) -> str:
        """Ask a client's model that may not be there."""
        return await ctx.client.sample("Anybody there?", max_tokens=100)

    @server.tool()
    async def test_elicitation(message: str, ctx: WidgetContext) -> str:
        """Ask the user."""
        answer = await ctx.elicit(message, Login)
        return f"User response: action={answer.action}, content={dict(answer.raw)}"

    @server.tool()
    async def test_elicitation_sep1034_defaults(ctx: WidgetContext) -> str:
        """Ask with defaults of every kind."""
        answer = await ctx.elicit(
            "Please review and update the form fields with defaults", DEFAULTS_SCHEMA
        )
        return f"Elicitation completed: action={answer.action}, content={dict(answer.raw)}"

    @server.tool()
    async def test_elicitation_sep1330_enums(ctx: WidgetContext) -> str:
        """Ask with enums of every kind."""
        answer = await ctx.elicit("Please select options from the enum fields", ENUMS_SCHEMA)
        return f"Elicitation completed: action={answer.action}, content={dict(answer.raw)}"

    @server.tool()
    async def test_trigger_tool_change() -> str:
        """Tell listeners that the tools have changed."""
        await server.tools_changed()
        return "told"

    @server.tool()
    async def test_trigger_prompt_change() -> str:
        """Tell listeners that the prompts have changed."""
        await server.prompts_changed()
        return "told"


def add_rounds(server: WidgetMCPServer) -> None:
    """Tools of MCP 2026-07-28 that need answers before they go on."""

    @server.tool()
    async def test_input_required_result_elicitation(ctx: WidgetContext) -> str:
        """Ask the user."""
        answer = await ctx.elicit("What is your name?", Name, key="user_name")
        return f"Hello, {answer.data.name if answer.data else 'stranger'}!"

    @server.tool()
    async def test_streaming_elicitation(ctx: WidgetContext) -> str:
        """The same, for a stream."""
        await ctx.progress(0, 1)
        answer = await ctx.elicit("What is your name?", Name, key="user_name")
        return f"Hello, {answer.data.name if answer.data else 'stranger'}!"

    @server.tool()
    async def test_input_required_result_sampling(ctx: WidgetContext) -> str:
        """Ask the client's model."""
        return await ctx.client.sample("What is the capital of France?", max_tokens=100)

    @server.tool()
    async def test_input_required_result_list_roots(ctx: WidgetContext) -> str:
        """Ask for the client's roots."""
        roots = await ctx.client.roots()
        return ", ".join(str(each["uri"]) for each in roots)

    @server.tool()
    async def test_input_required_result_request_state(ctx: WidgetContext) -> str:
        """Ask for a yes."""
        answer = await ctx.elicit("Please confirm", Consent)
        return "state-ok" if answer.accepted else "declined"

    @server.tool()
    async def test_input_required_result_tampered_state(ctx: WidgetContext) -> str:
        """Ask for a yes."""
        answer = await ctx.elicit("Please confirm", Consent)
        return "state-ok" if answer.accepted else "declined"

    @server.tool()
    async def test_input_required_result_multiple_inputs(ctx: WidgetContext) -> str:
        """Ask for three things at a time."""
        answer, greeting, roots = await asyncio.gather(
            ctx.elicit("What is your name?", Name),
            ctx.client.sample("Generate a greeting", max_tokens=50),
            ctx.client.roots(),
        )
        return f"{greeting} {answer.data.name if answer.data else ''} {len(roots)}"

    @server.tool()
    async def test_input_required_result_multi_round(ctx: WidgetContext) -> str:
        """Ask twice."""
        first = await ctx.elicit("Step 1: What is your name?", Name)
        second = await ctx.elicit("Step 2: What is your favorite color?", Color)
        return f"{first.raw.get('name')} likes {second.raw.get('color')}"

    @server.tool()
    async def test_input_required_result_capabilities(ctx: WidgetContext) -> str:
        """Ask in whichever way the client can be asked."""
        if ctx.client.can("elicitation"):
            return str((await ctx.elicit("What is your name?", Name)).raw)
        return await ctx.client.sample("What is your name?", max_tokens=100)


def add_long(server: WidgetMCPServer) -> None:
    """Tools that run in the background."""

    @server.tool(task_support="optional")
    async def slow_compute(seconds: float, label: str = "") -> str:
        """Take a while."""
        await asyncio.sleep(seconds)
        return f"computed {label}"

    @server.tool(task_support="required")
    async def failing_job() -> str:
        """Fail as a tool."""
        raise ValidationError("This job intentionally fails")

    @server.tool(task_support="optional")
    async def protocol_error_job() -> str:
        """Fail as a task."""
        raise Discard("This job intentionally breaks down")

    @server.tool(task_support="optional")
    async def confirm_delete(filename: str, ctx: WidgetContext) -> str:
        """Ask in the middle."""
        answer = await ctx.elicit(f"Delete {filename}?", Confirmation)
        sure = answer.data is not None and answer.data.confirm
        return f"deleted {filename}" if sure else "kept"

    @server.tool(task_support="optional")
    async def multi_input(ctx: WidgetContext) -> str:
        """Ask two things at a time in the middle."""
        first, second = await asyncio.gather(
            ctx.elicit("The first name?", Name), ctx.elicit("The second name?", Name)
        )
        return f"{first.raw.get('name')} and {second.raw.get('name')}"

    async def ask_name(ctx: WidgetContext) -> None:
        await ctx.elicit("What is your name?", Name, key="user_name")

    @server.tool(task_support="required", before_task=ask_name)
    async def test_tool_with_task(ctx: WidgetContext) -> str:
        """Ask first, then go into the background."""
        answer = await ctx.elicit("What is your name?", Name, key="user_name")
        return f"Hello, {answer.raw.get('name')}!"


def add_documents(server: WidgetMCPServer) -> None:
    """Resources, prompts, completion."""

    @server.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        """Text."""
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        """A picture."""
        return PNG

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def template(id: str) -> dict[str, Any]:
        """A document for each id."""
        return {"id": id, "templateTest": True, "data": f"Data for ID: {id}"}

    @server.resource("test://watched-resource", mime_type="text/plain")
    def watched() -> str:
        """A document that may change."""
        return "Watched resource content"

    @server.prompt()
    def test_simple_prompt() -> str:
        """A prompt."""
        return "This is a simple prompt for testing."

    @server.prompt(arguments={"arg1": "First test argument", "arg2": "Second test argument"})
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        """A prompt with arguments."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt(arguments={"resourceUri": "URI of the resource to embed"})
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[Message]:
        """A prompt with a document."""
        return [
            Message(Embedded(resourceUri, "Embedded resource content for testing.")),
            Message("Please process the embedded resource above."),
        ]

    @server.prompt()
    def test_prompt_with_image() -> list[Message]:
        """A prompt with a picture."""
        return [Message(Image(PNG)), Message("Please analyze the image above.")]

    @server.prompt()
    async def test_input_required_result_prompt(ctx: WidgetContext) -> str:
        """A prompt that asks back."""
        answer = await ctx.elicit("What context should the prompt use?", Extra)
        return f"Work with this: {answer.raw.get('context')}"

    @server.completion("test_prompt_with_arguments", "arg1")
    def complete_arg1(value: str) -> list[str]:
        return [each for each in ("paris", "park", "party") if each.startswith(value)]


def new_server(*, stateless: bool) -> WidgetMCPServer:
    """A server with everything.

    Args:
        stateless: as by default; else with sessions whose streams can be resumed.
    """
    server = WidgetMCPServer(
        "conformance", title="Conformance", stateless=stateless, resumable=not stateless
    )
    add_content(server)
    add_talk(server)
    add_rounds(server)
    add_long(server)
    add_documents(server)
    return server


def new_app(*, stateless: bool) -> FastAPI:
    """An app with that server at ``/mcp``."""
    made = FastAPI()
    add_tasks(made, database="memory://")
    new_server(stateless=stateless).mount(made, "/mcp")
    return made


app = new_app(stateless=False)
stateless_app = new_app(stateless=True)
