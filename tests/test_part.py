"""A part in a real app: open while, and only while, what the app's lifespan provides is there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from backstay import Context
from backstay.part import Part
from backstay.testing import running
from backstay.web import Ctx, install
from tests.support import async_test


class Greeter:
    """A user's own part: it needs a pool of the app's for as long as it is open."""

    attribute = "greeter"

    def __init__(self, app: FastAPI, log: list[str]) -> None:
        self._app = app
        self._log = log

    def bind(self, ctx: Context) -> str:
        return f"hello {ctx.correlation_id}"

    async def open(self) -> None:
        self._log.append(f"part opens, pool {self._app.state.pool}")

    async def close(self) -> None:
        self._log.append(f"part closes, pool {self._app.state.pool}")


def make_app() -> tuple[FastAPI, list[str]]:
    log: list[str] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.pool = "open"
        yield
        app.state.pool = "closed"
        log.append("lifespan ends")

    app = FastAPI(lifespan=lifespan)
    part: Part = Greeter(app, log)
    install(app).add(part)
    return app, log


@async_test
async def test_a_part_lives_inside_the_apps_own_lifespan() -> None:
    app, log = make_app()
    async with running(app):
        assert log == ["part opens, pool open"]
    assert log == ["part opens, pool open", "part closes, pool open", "lifespan ends"]


@async_test
async def test_a_part_opens_again_when_the_app_starts_again() -> None:
    app, log = make_app()
    for _ in range(2):
        async with running(app):
            pass
    assert log == ["part opens, pool open", "part closes, pool open", "lifespan ends"] * 2


@async_test
async def test_a_part_is_an_attribute_of_every_requests_context() -> None:
    app, _ = make_app()

    @app.get("/")
    async def endpoint(ctx: Ctx) -> Any:
        return ctx.greeter

    async with running(app) as client:
        for number in ("a", "b"):
            answer = await client.get("/", headers={"X-Request-ID": number})
            assert answer.json() == f"hello {number}"
