"""An app whose tools run in the background, and a client that keeps asking about them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import BaseModel

from backstay.tasks import Discard, add_tasks
from backstay.widgets import BaseWidget, ValidationError, WidgetContext, WidgetMCPServer
from tests.widgets.wire import MODERN, Book, Wire, reaching

__all__ = ["CORE", "TASKS", "Client", "Errands", "Report"]

CORE = "2025-11-25"
TASKS = "io.modelcontextprotocol/tasks"
KNOWS_TASKS: Mapping[str, Any] = {"elicitation": {}, "extensions": {TASKS: {}}}


class Name(BaseModel):
    name: str


class Pages(BaseModel):
    pages: int = 1


class Report(BaseWidget):
    """Write a report."""

    identifier = "report"
    title = "Report"
    input_schema = Pages
    task_support = "optional"

    async def execute(self, inputs: Pages, ctx: WidgetContext) -> dict[str, Any]:
        await ctx.progress(1, inputs.pages, f"page 1 of {inputs.pages}")
        return {
            "pages": inputs.pages,
            "user": None if ctx.user is None else ctx.user.subject,
            "locale": ctx.locale,
            "correlation": ctx.correlation_id,
            "seen": await ctx.state.incr("seen"),
        }


class Client(Wire):
    """A client that knows tasks."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        version: str = MODERN,
        *,
        token: str | None = None,
        **how: Any,
    ) -> None:
        how.setdefault("can", KNOWS_TASKS)
        super().__init__(http, version, **how)
        if token is not None:
            self.headers["authorization"] = f"Bearer {token}"

    async def start(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The task that a call has become."""
        params: dict[str, Any] = {"name": tool, "arguments": arguments}
        if self.version == CORE:
            params["task"] = {"ttl": 120_000}
        answer = await self.ask("tools/call", params)
        assert "result" in answer, answer
        found: dict[str, Any] = answer["result"]
        if self.version == CORE:
            found = found["task"]
        return found

    async def about(self, method: str, task_id: str, **params: Any) -> dict[str, Any]:
        """The answer of ``tasks/…``."""
        headers = {"mcp-name": task_id} if self.version == MODERN else {}
        return await self.ask(method, {"taskId": task_id, **params}, headers=headers)

    async def until(self, task_id: str, *statuses: str) -> dict[str, Any]:
        """Ask until the task has one of these statuses."""
        while True:
            found: dict[str, Any] = (await self.about("tasks/get", task_id))["result"]
            if found["status"] in statuses:
                return found
            await asyncio.sleep(0.01)


class Errands:
    """The app.

    Args:
        book: who has which token, ``None``: nobody is asked for any.
        stateless: as the server's.
        durable: whether there are durable tasks.
    """

    def __init__(
        self, *, book: Book | None = None, stateless: bool = True, durable: bool = True
    ) -> None:
        self.app = FastAPI()
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.runs: list[str] = []
        if durable:
            add_tasks(self.app, database="memory://")
        self.server = server = WidgetMCPServer(
            "errands", [Report], token_verifier=book, stateless=stateless
        )

        @server.tool()
        def at_once() -> str:
            return "done"

        @server.tool(task_support="optional")
        async def wait(ctx: WidgetContext) -> str:
            ctx.progress(1, 2, "waiting")
            self.begun.set()
            await self.may_end.wait()
            return "waited"

        @server.tool(task_support="optional")
        def echo(text: str) -> str:
            return text

        @server.tool(task_support="optional")
        def in_a_thread() -> str:
            return "threaded"

        @server.tool(task_support="optional")
        async def refuse() -> str:
            raise ValidationError("not today", field="day")

        @server.tool(task_support="optional")
        async def crash() -> str:
            raise RuntimeError("the secret is 42")

        @server.tool(task_support="optional")
        async def give_up() -> str:
            raise Discard("there is no paper")

        @server.tool(task_support="optional")
        def give_up_in_a_thread() -> str:
            raise Discard("there is no paper")

        @server.tool(task_support="optional")
        async def greet(ctx: WidgetContext) -> str:
            self.runs.append("greet")
            first = await ctx.elicit("First name?", Name)
            last = await ctx.elicit("Last name?", Name)
            return f"Hello, {first.raw['name']} {last.raw['name']}"

        @server.tool(task_support="optional")
        async def introduce(ctx: WidgetContext) -> str:
            both = await asyncio.gather(
                ctx.elicit("Who are you?", Name, key="you"),
                ctx.elicit("Who is that?", Name, key="that"),
            )
            return " meets ".join(each.raw["name"] for each in both)

        async def ask_first(ctx: WidgetContext) -> None:
            await ctx.elicit("What is your name?", Name, key="name")

        @server.tool(task_support="optional", before_task=ask_first)
        async def escalate(ctx: WidgetContext) -> str:
            return (
                f"Hello, {(await ctx.elicit('What is your name?', Name, key='name')).raw['name']}"
            )

        if durable:

            @server.tool(task_support="required")
            async def only_here() -> str:
                return "here"

        server.mount(self.app)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[httpx.AsyncClient]:
        """A way to reach it, while it runs."""
        async with reaching(self.app) as http:
            yield http
