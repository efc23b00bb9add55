"""Integrations as the documentation shows them, and what went wrong with them elsewhere."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from backstay.errors import BadAnswer
from backstay.integration import add_integrations
from backstay.testing import FakeClock, running
from backstay.web import install
from tests.integration.upstream import Line, Received, Upstream, answer, json_answer
from tests.seeds.service import Service, serving
from tests.support import async_test

TRANSLATED = json_answer([["Baum"], ["Haus"]])


@asynccontextmanager
async def translating(script: Any, folder: Path) -> AsyncIterator[tuple[Service, Upstream]]:
    async with Upstream(script) as upstream:
        async with serving("sqlite", folder, translate_url=upstream.url) as service:
            yield service, upstream


def endpoints() -> Any:
    """The declaring class, imported by itself."""
    name = "tests.seeds.accelerator.integration.google_translate.endpoint"
    return importlib.import_module(name).GoogleTranslateEndpoints


@async_test
async def test_a_route_asks_the_other_service_and_its_answer_is_kept(tmp_path: Path) -> None:
    async with translating(TRANSLATED, tmp_path) as (service, upstream):
        for expected in ("MISS", "HIT"):
            answered = await service.client.get("/translate?text=tree%0Ahouse&to_lang=de")
            assert answered.json() == {"text": "Baum\nHaus"}
            assert answered.headers["x-cache"] == expected
        assert len(upstream.requests) == 1
        sent = upstream.last
        assert (sent.method, sent.target) == ("POST", "/v1/translateHtml")
        assert sent.json() == [[["tree", "house"], "en", "de"], "te_lib"]
        assert sent.header("x-goog-api-key") == "t0ken"
        assert sent.header("content-type") == "application/json+protobuf"


@async_test
async def test_the_request_and_its_calls_have_one_correlation_id(tmp_path: Path) -> None:
    async with translating(TRANSLATED, tmp_path) as (service, upstream):
        await service.client.get("/translate?text=tree", headers={"X-Request-ID": "mine-1"})
        assert upstream.last.header("x-request-id") == "mine-1"


@async_test
async def test_its_page_shows_where_it_is_used_and_no_credentials(tmp_path: Path) -> None:
    async with serving("sqlite", tmp_path, debug=True) as service:
        page = await service.client.get("/docintegration")
        assert page.status_code == 200
        assert "t0ken" not in page.text
        data = await service.client.get("/docintegration.json")
        assert "Google Translate" in data.text
        assert "t0ken" not in data.text
    async with serving("sqlite", tmp_path) as service:
        assert (await service.client.get("/docintegration")).status_code == 404


def test_credentials_are_not_in_what_is_printed() -> None:
    gtapi = endpoints()("http://x", {"API_TOKEN": "t0ken"})
    assert "t0ken" not in f"{gtapi} {gtapi.credentials} {vars(gtapi)}"


@async_test
async def test_an_error_body_never_becomes_a_default_answer() -> None:
    Endpoints = endpoints()
    body = {"error": {"code": 400, "message": "no such language"}}
    async with (
        Upstream(json_answer(body, 400)) as upstream,
        Endpoints(upstream.url, {"API_TOKEN": ""}) as gtapi,
    ):
        found = await gtapi.translate("tree", "en", "xx")
    assert type(found) is Endpoints.SchemaError.http400
    assert found.error == body["error"]


@async_test
async def test_an_answer_that_fits_nothing_is_an_error_and_no_raw_data() -> None:
    async with Upstream(json_answer(["x"], 400)) as upstream:
        async with endpoints()(upstream.url, {"API_TOKEN": ""}) as gtapi:
            with pytest.raises(BadAnswer, match=r"Google Translate\.translate answered 400"):
                await gtapi.translate("tree", "en", "de")


@async_test
async def test_a_post_that_may_have_been_done_is_not_sent_again() -> None:
    async def reset(line: Line, request: Received) -> None:
        line.reset()

    async with Upstream([reset, TRANSLATED]) as upstream:
        async with endpoints()(upstream.url, {"API_TOKEN": ""}) as gtapi:
            with pytest.raises(httpx.RequestError):
                await gtapi.translate("tree", "en", "de")
        assert len(upstream.requests) == 1


@async_test
async def test_all_calls_share_one_client() -> None:
    async with Upstream(TRANSLATED) as upstream:
        async with endpoints()(upstream.url, {"API_TOKEN": ""}) as gtapi:
            for _ in range(20):
                await gtapi.translate("tree", "en", "de")
        assert (len(upstream.requests), upstream.connections) == (20, 1)


@async_test
async def test_a_call_that_hangs_ends_with_a_504(tmp_path: Path) -> None:
    async def hang(line: Line, request: Received) -> None:
        await line.hang()

    async with Upstream(hang) as upstream:
        gtapi = endpoints()(upstream.url, {"API_TOKEN": ""}, timeout=None)
        app, clock = FastAPI(), FakeClock()
        install(app, clock=clock, env_file=None)
        add_integrations(app, [gtapi])

        @app.get("/")
        async def index() -> Any:
            return await gtapi.translate("tree", "en", "de")

        async with running(app) as client:
            asking = asyncio.create_task(client.get("/"))
            await upstream.until(lambda up: len(up.requests) == 1)
            await clock.advance(10.1)
            assert (await asking).status_code == 504


@async_test
async def test_an_upstreams_429_is_not_the_services_own(tmp_path: Path) -> None:
    script = answer(b"", 429, [("Retry-After", "60")])
    async with translating(script, tmp_path) as (service, _):
        answered = await service.client.get("/translate?text=tree")
        assert (answered.status_code, answered.headers["retry-after"]) == (503, "60")
        assert "Traceback" not in answered.text
