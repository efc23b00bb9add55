"""A service for several processes: ``python -m uvicorn tests.widgets.worker_service:app``.

``BACKSTAY_STATE`` says where its state is, ``SESSIONS=1`` has it keep sessions.
"""

from __future__ import annotations

import asyncio
import os

from fastapi import FastAPI

from backstay.tasks import add_tasks
from backstay.widgets import WidgetContext, WidgetMCPServer, no_auth
from tests.widgets.wire import Book

__all__ = ["app"]

app = FastAPI()
add_tasks(app, database="memory://")
server = WidgetMCPServer("s", token_verifier=Book(), stateless=not os.environ.get("SESSIONS"))


@server.tool()
@no_auth
async def count(ctx: WidgetContext) -> dict[str, int]:
    """Count the calls of this user or session."""
    return {"n": int(await ctx.state.incr("n")), "pid": os.getpid()}


@server.tool()
async def held(ctx: WidgetContext) -> bool:
    """Whether ``hold`` has written."""
    return bool(await ctx.state.scope("holding").get("held", False))


@server.tool()
async def hold(ctx: WidgetContext) -> str:
    """Write where ``held`` looks, and then never return."""
    await ctx.state.scope("holding").set("held", True)
    await ctx.progress(0, 1, f"holding in {os.getpid()}")
    await asyncio.Event().wait()
    return "never"


@server.tool(timeout_s=1)
@no_auth
async def brief(ctx: WidgetContext) -> str:
    """Never return, and be stopped."""
    await ctx.progress(0, 1, "begun")
    await asyncio.Event().wait()
    return "never"


server.mount(app)
