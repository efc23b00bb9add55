"""A service of several processes for tests that kill them. Told by its environment: DATABASE, a
URL; JOURNAL, a file that gets a line for each run; WORKER, whether this process runs jobs.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from fastapi import FastAPI

from backstay.tasks import add_tasks
from backstay.widgets import WidgetContext, WidgetMCPServer

JOURNAL = Path(os.environ["JOURNAL"])

app = FastAPI()
add_tasks(
    app,
    database=os.environ["DATABASE"],
    worker=os.environ.get("WORKER", "1") == "1",
    lease_s=1.0,
    poll_s=0.1,
)
server = WidgetMCPServer("shop")


@server.tool(task_support="required")
async def pack(order: int, ctx: WidgetContext) -> str:
    """Pack an order, once the file ``go`` is there."""
    with JOURNAL.open("a") as journal:
        journal.write(f"{order} {os.getpid()}\n")
    ctx.progress(1, 2, "packing")
    while not JOURNAL.with_name("go").exists():
        await asyncio.sleep(0.01)
    return f"packed {order}"


server.mount(app)
