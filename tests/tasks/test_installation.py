"""``add_tasks(app)``."""

from typing import Any

import pytest
from fastapi import FastAPI

from backstay.errors import AlreadyInstalled
from backstay.tasks import TaskConfig, Tasks, add_tasks
from backstay.testing import running
from backstay.web import install
from tests.support import async_test
from tests.tasks.notebook import durable_app


def test_twice_is_an_error_that_says_so() -> None:
    app = FastAPI()
    add_tasks(app)
    with pytest.raises(AlreadyInstalled, match="switched on for this app already"):
        add_tasks(app)


def test_something_that_is_no_app_is_refused() -> None:
    with pytest.raises(TypeError, match="needs a FastAPI app, got 3"):
        add_tasks(3)  # type: ignore[arg-type]  # the mistake under test


@async_test
async def test_it_uses_what_install_was_given_before() -> None:
    app = FastAPI()
    install(app, settings={"A": 1})
    add_tasks(app)
    async with running(app) as client:
        assert client.ctx.settings.get("A") == 1


@async_test
async def test_apps_do_not_share_their_tasks() -> None:
    one, other = FastAPI(), FastAPI()
    add_tasks(one, max_pending=1)
    add_tasks(other)

    @other.get("/")
    async def endpoint(tasks: Tasks) -> None:
        for _ in range(3):
            tasks.after_response.schedule(print, end="")

    async with running(one) as first, running(other) as second:
        assert (await second.get("/")).status_code == 200
        await second.tasks.settle()
        await first.tasks.settle()


@async_test
async def test_the_parameter_does_not_show_in_the_openapi_document() -> None:
    app = FastAPI()
    add_tasks(app)

    @app.get("/")
    async def endpoint(tasks: Tasks) -> None: ...

    async with running(app) as client:
        operation = (await client.get("/openapi.json")).json()["paths"]["/"]["get"]
    assert "parameters" not in operation
    assert "requestBody" not in operation


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": 0},
        {"concurrency": True},
        {"worker_queues": "mail"},
        {"worker_queues": ["two words"]},
        {"lease_s": 0},
        {"poll_s": -1},
        {"shutdown_grace_s": -1},
        {"keep_s": -1},
        {"max_args_bytes": 0},
        {"queues": {"mail": 5}},
    ],
)
def test_options_of_durable_work_that_make_no_sense_are_refused(options: Any) -> None:
    with pytest.raises(ValueError, match="=|queue"):
        durable_app(**options)


def test_options_of_both_kinds_of_task_go_together() -> None:
    durable_app(config=TaskConfig(timeout=5), max_running=2, queues=["mail"], concurrency=3)
