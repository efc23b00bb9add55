"""An app is served from a thread, with its lifespan, and gone at the end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.browser.serving import serving_app


def test_an_app_answers_between_the_two_ends_of_its_lifespan() -> None:
    moments: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        moments.append("up")
        yield
        moments.append("down")

    async def hello(request: Request) -> PlainTextResponse:
        moments.append("asked")
        return PlainTextResponse("hello")

    with serving_app(Starlette(routes=[Route("/", hello)], lifespan=lifespan)) as url:
        assert httpx.get(url).text == "hello"
    assert moments == ["up", "asked", "down"]
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_an_app_whose_lifespan_fails_is_told() -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        raise ValueError("no")
        yield

    with pytest.raises(RuntimeError, match="did not start"):
        with serving_app(Starlette(lifespan=lifespan)):
            pass
