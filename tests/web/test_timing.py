"""How long requests take, told and logged."""

import logging
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from backstay.testing import FakeClock
from backstay.web.timing import Timing, request_log_format
from tests.support import async_test
from tests.web.by_hand import ByHand

SCOPE = {
    "type": "http",
    "method": "GET",
    "path": "/items",
    "query_string": b"",
    "client": ("192.0.2.1", 4321),
    "headers": [],
}


def make_app(clock: FakeClock) -> FastAPI:
    app = FastAPI()

    @app.get("/slow")
    async def slow() -> str:
        await clock.advance(0.0123)
        return "done"

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("on purpose")

    return app


@async_test
async def test_an_answer_says_how_long_it_took(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    call = ByHand(Timing(make_app(clock), clock=clock), "/slow")
    with caplog.at_level(logging.INFO):
        await call.run()
    assert call.header("x-process-time") == ["12.30 ms"]
    assert caplog.messages == []


@async_test
async def test_each_request_is_a_line_if_that_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    call = ByHand(Timing(make_app(clock), log=True, clock=clock), "/slow")
    call.scope["query_string"] = b"page=2&api_key=hush"
    with caplog.at_level(logging.INFO, logger="uvicorn"):
        await call.run()
    assert caplog.messages == ['127.0.0.1:123 - "GET /slow?page=2&api_key=***" - 200 - [12.30 ms]']


@async_test
async def test_one_that_fails_is_a_line_too(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("on purpose")

    with caplog.at_level(logging.INFO, logger="uvicorn"), pytest.raises(RuntimeError):
        await ByHand(Timing(broken, log=True, clock=FakeClock()), "/x").run()
    assert caplog.messages == ['127.0.0.1:123 - "GET /x" - 500 - [0.00 ms]']


@async_test
async def test_websockets_pass() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.close", "code": 1000})

    await ByHand(Timing(app, log=True), kind="websocket").run()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, '192.0.2.1:4321 - "GET /items" - 200'),
        ({"client": None}, '-:0 - "GET /items" - 200'),
        ({"path": "/a\nfake line"}, '192.0.2.1:4321 - "GET /a%0Afake%20line" - 200'),
        ({"path": "/a\x1b[31m"}, '192.0.2.1:4321 - "GET /a%1B%5B31m" - 200'),
        ({"query_string": b"q=a\xff"}, '192.0.2.1:4321 - "GET /items?q=a%FF" - 200'),
        ({"query_string": b"Password=x"}, '192.0.2.1:4321 - "GET /items?Password=***" - 200'),
        ({"query_string": b"%74oken=x"}, '192.0.2.1:4321 - "GET /items?%74oken=***" - 200'),
    ],
)
def test_a_line_is_one_line_and_has_no_secrets(changes: dict[str, Any], line: str) -> None:
    assert request_log_format({**SCOPE, **changes}, 200) == line


@given(st.text(), st.binary())
def test_nothing_that_is_asked_for_breaks_the_line(path: str, query: bytes) -> None:
    line = request_log_format({**SCOPE, "path": path, "query_string": query}, 404, 1.5)
    assert line.isascii()
    assert line.isprintable()
