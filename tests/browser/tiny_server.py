"""A very small MCP server on the SDK alone, to try the hosts on: one tool, one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

__all__ = ["MIME_TYPE", "PAGE", "RESOURCE_META", "URI", "tiny_app"]

URI = "ui://tiny/sum.html"
MIME_TYPE = "text/html;profile=mcp-app"
PAGE = (Path(__file__).resolve().parent / "pages" / "tiny.html").read_text(encoding="utf-8")

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}
META = {
    "ui": {"resourceUri": URI, "visibility": ["model", "app"]},
    "openai/outputTemplate": URI,
    "openai/widgetAccessible": True,
}
RESOURCE_META: dict[str, dict[str, Any]] = {
    "ui": {"csp": {"connectDomains": ["https://api.example.com"], "resourceDomains": []}},
    "openai/widgetCSP": {"connect_domains": ["https://api.example.com"], "resource_domains": []},
}


async def _list_tools(ctx: ServerRequestContext[Any], params: object) -> types.ListToolsResult:
    tool = types.Tool.model_validate(
        {"name": "add", "description": "Add two numbers.", "inputSchema": SCHEMA, "_meta": META}
    )
    plain = types.Tool(name="plain", description="No face.", input_schema={"type": "object"})
    return types.ListToolsResult(tools=[tool, plain])


async def _call_tool(
    ctx: ServerRequestContext[Any], params: types.CallToolRequestParams
) -> types.CallToolResult:
    arguments = params.arguments or {}
    if params.name != "add":
        return types.CallToolResult(content=[types.TextContent(type="text", text="plain")])
    try:
        total = int(arguments["a"]) + int(arguments["b"])
    except (KeyError, TypeError, ValueError):
        wrong = types.TextContent(type="text", text="a and b are numbers")
        return types.CallToolResult(content=[wrong], is_error=True)
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=f"The sum is {total}.")],
        structured_content={"sum": total},
    )


def _resource() -> types.Resource:
    return types.Resource.model_validate(
        {"uri": URI, "name": "sum", "mimeType": MIME_TYPE, "_meta": RESOURCE_META}
    )


async def _list_resources(
    ctx: ServerRequestContext[Any], params: object
) -> types.ListResourcesResult:
    return types.ListResourcesResult(resources=[_resource()])


async def _read_resource(
    ctx: ServerRequestContext[Any], params: types.ReadResourceRequestParams
) -> types.ReadResourceResult:
    content = types.TextResourceContents.model_validate(
        {"uri": URI, "mimeType": MIME_TYPE, "text": PAGE, "_meta": RESOURCE_META}
    )
    return types.ReadResourceResult(contents=[content])


def tiny_app() -> Starlette:
    """The server at ``/mcp``, as browsers of other origins may call it."""
    server: Server[Any] = Server(
        "tiny",
        version="1.0.0",
        on_list_tools=_list_tools,
        on_call_tool=_call_tool,
        on_list_resources=_list_resources,
        on_read_resource=_read_resource,
    )
    app = server.streamable_http_app(json_response=True, stateless_http=True)
    app.user_middleware.append(
        Middleware(
            CORSMiddleware,
            allow_origins=["*"],
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["Mcp-Session-Id", "Mcp-Protocol-Version"],
        )
    )
    return app
