"""The servers that are compared: the same tool, ``add``, behind ``POST /mcp`` of a FastAPI app.

Each side imports what it needs itself, since fastmcp lives in an environment of its own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

__all__ = ["SIDES", "app_from_environment"]


class Numbers(BaseModel):
    """What the tool takes."""

    a: int
    b: int


class Params(BaseModel):
    """Of the plain route, which is no MCP."""

    name: str
    arguments: Numbers


class Call(BaseModel):
    """The same message as the others get."""

    jsonrpc: str
    id: int
    method: str
    params: Params


def plain() -> FastAPI:
    """The floor: a route that reads a body by a model and answers with JSON."""
    app = FastAPI(openapi_url=None)

    @app.post("/mcp")
    async def call(message: Call) -> dict[str, Any]:
        numbers = message.params.arguments
        return {
            "jsonrpc": "2.0",
            "id": message.id,
            "result": {"structuredContent": {"sum": numbers.a + numbers.b}},
        }

    return app


def sdk() -> FastAPI:
    """The official SDK's low-level server as its documentation mounts it, stateless, JSON."""
    import mcp_types as types
    from mcp.server.lowlevel import Server
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from starlette.routing import Route

    schema = Numbers.model_json_schema()

    async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
        tool = types.Tool(name="add", description="Add two numbers.", input_schema=schema)
        return types.ListToolsResult(tools=[tool])

    async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        numbers = Numbers.model_validate(params.arguments)
        found = {"sum": numbers.a + numbers.b}
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=str(found))], structured_content=found
        )

    server: Any = Server(
        "bench",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        get_tool_input_schema={"add": schema}.get,
    )
    manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with manager.run():
            yield

    class Endpoint:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await manager.handle_request(scope, receive, send)

    app = FastAPI(openapi_url=None, lifespan=lifespan)
    app.router.routes.insert(0, Route("/mcp", Endpoint()))
    return app


def backstay() -> FastAPI:
    """A widget of ours, with context, logs and time-out as every widget has them."""
    from backstay.widgets import BaseWidget, WidgetContext, WidgetMCPServer

    class Add(BaseWidget):
        """Add two numbers."""

        identifier = "add"
        title = "Add"
        input_schema = Numbers

        async def execute(self, inputs: Numbers, ctx: WidgetContext) -> dict[str, int]:
            return {"sum": inputs.a + inputs.b}

    app = FastAPI(openapi_url=None)
    WidgetMCPServer("bench", [Add]).mount(app)
    return app


def fastmcp() -> FastAPI:
    """fastmcp, stateless, JSON."""
    from fastmcp import FastMCP

    server = FastMCP("bench")

    @server.tool
    async def add(a: int, b: int) -> dict[str, int]:
        """Add two numbers."""
        return {"sum": a + b}

    inner = server.http_app(path="/mcp", stateless_http=True, json_response=True)
    app = FastAPI(openapi_url=None, lifespan=inner.lifespan)
    app.mount("/", inner)
    return app


SIDES: dict[str, Callable[[], FastAPI]] = {
    "plain": plain,
    "sdk": sdk,
    "backstay": backstay,
    "fastmcp": fastmcp,
}


def app_from_environment() -> FastAPI:
    """The app named in ``BENCH_APP``, for ``uvicorn --factory``."""
    return SIDES[os.environ["BENCH_APP"]]()
