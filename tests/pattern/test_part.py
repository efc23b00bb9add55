"""What lives as long as the app: its health, the signal that it ends, and early answers."""

import asyncio
import os
import signal
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from starlette.types import Scope, Send

from backstay.cache import add_cache, cache_redis
from backstay.pattern import base_pattern
from backstay.pattern.health import Health
from backstay.pattern.part import PatternPart
from backstay.testing import running
from tests.support import async_test


def part_of(app: FastAPI) -> PatternPart:
    part = app.state.backstay.part(PatternPart.attribute)
    assert isinstance(part, PatternPart)
    return part


@async_test
async def test_a_signal_is_the_beginning_of_the_end() -> None:
    app = FastAPI()
    base_pattern(app)
    heard = asyncio.Event()
    loop = asyncio.get_running_loop()
    before = signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(heard.set))
    try:
        async with running(app) as client:
            assert (await client.get("/readyz")).status_code == 200
            os.kill(os.getpid(), signal.SIGTERM)
            await heard.wait()
            assert (await client.get("/readyz")).status_code == 503
    finally:
        signal.signal(signal.SIGTERM, before)


@async_test
async def test_so_is_the_end_of_the_lifespan_and_a_new_start_ends_it() -> None:
    app = FastAPI()
    base_pattern(app)
    part = part_of(app)
    async with running(app) as client:
        assert not part.is_draining
        assert isinstance(client.ctx.pattern, Health)
    assert part.is_draining
    async with running(app) as client:
        assert (await client.get("/readyz")).status_code == 200


async def early_headers(app: FastAPI, path: str, **headers: str) -> Any:
    async with running(app) as client:
        await client.get(path, headers=headers)
        answer = await client.get(path, headers=headers)
        assert answer.headers["x-cache"] == "HIT"
        return answer.headers


@async_test
async def test_early_answers_have_what_all_others_have() -> None:
    app = FastAPI()

    @app.get("/page")
    @cache_redis(public=True, early=True)
    async def page(request: Request) -> HTMLResponse:
        return HTMLResponse("<p>")

    @app.get("/data")
    @cache_redis(public=True, early=True)
    async def data(request: Request) -> int:
        return 1

    base_pattern(app, origins=["https://shop.example"])
    add_cache(app)
    headers = await early_headers(app, "/page")
    assert "object-src 'none'" in headers["content-security-policy"]
    assert "Origin" in headers["vary"]
    assert headers["x-frame-options"] == "DENY"
    assert len(headers.get_list("x-request-id")) == 1
    headers = await early_headers(app, "/data")
    assert headers.get_list("content-security-policy") == [
        "default-src 'none'; frame-ancestors 'none'"
    ]


@async_test
async def test_what_an_early_answer_says_itself_stands() -> None:
    app = FastAPI()
    backstay = base_pattern(app)

    async def early(scope: Scope, send: Send) -> bool:
        headers = [(b"content-type", b"text/html"), (b"x-frame-options", b"SAMEORIGIN")]
        headers.append((b"content-security-policy", b"default-src 'self'"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return True

    backstay.early = early
    async with running(app) as client:
        headers = (await client.get("/")).headers
    assert headers.get_list("x-frame-options") == ["SAMEORIGIN"]
    assert headers.get_list("content-security-policy") == ["default-src 'self'"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "x-request-id" in headers
