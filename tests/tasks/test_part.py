"""Tasks as a part of an app."""

import asyncio
import math
from typing import Any

import pytest
from fastapi import FastAPI

from backstay import Origin
from backstay.errors import TasksClosed
from backstay.tasks import TaskConfig, add_tasks
from backstay.testing import running
from backstay.web import installed
from tests.support import async_test


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"max_running": 0}, "max_running="),
        ({"max_running": True}, "max_running="),
        ({"max_pending": -5}, "max_pending="),
        ({"threads": 1.5}, "threads="),
        ({"shutdown_grace_s": -1}, "shutdown_grace_s="),
        ({"shutdown_grace_s": math.inf}, "shutdown has to end"),
        ({"shield_grace_s": math.nan}, "shield_grace_s="),
        ({"shield_grace_s": "5"}, "shield_grace_s="),
        ({"config": TaskConfig(wait=True)}, "belong to one moment"),
        ({"config": TaskConfig(when="failure")}, "belong to one moment"),
    ],
)
def test_nonsense_is_refused_where_the_app_is_made(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        add_tasks(FastAPI(), **options)


def test_tasks_outside_requests_need_a_running_app() -> None:
    app = FastAPI()
    add_tasks(app)
    ctx = installed(app).open(Origin.SCRIPT)
    with pytest.raises(TasksClosed, match="has not started"):
        ctx.tasks.schedule(print)


@async_test
async def test_a_part_says_how_many_tasks_wait() -> None:
    app = FastAPI()
    add_tasks(app, max_running=1)
    gate = asyncio.Event()
    part = app.state.backstay.part("tasks")
    assert part.pending == 0
    async with running(app) as client:
        for _ in range(3):
            client.tasks.schedule(gate.wait)
        assert part.pending == 2
        gate.set()
        await client.tasks.settle()
        assert part.pending == 0
