"""``add_integrations`` looks over what it is given, and clients' errors get answers that tell nothing."""

from __future__ import annotations

from typing import Any

import httpx
import httpx2
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from backstay.errors import BadIntegration
from backstay.integration import (
    ApiHTTP,
    EndpointsDeclaration,
    HTTPMethod,
    IntegrationHTTP,
    add_integrations,
)
from backstay.testing import running
from tests.integration.upstream import Line, Received, Upstream, answer, closed_port
from tests.support import async_test

clients = pytest.mark.parametrize("client", [httpx, httpx2], ids=["httpx", "httpx2"])


class Names(EndpointsDeclaration):
    integration = IntegrationHTTP("Names")

    @integration.endpoint(HTTPMethod.get, "/names/{number}")
    async def get(api: ApiHTTP, number: str) -> Any:
        return (await api.send()).raise_for_status()


def app_with(names: Names) -> FastAPI:
    app = FastAPI()
    add_integrations(app, [names])

    @app.get("/{number}")
    async def index(number: str) -> Any:
        return await names.get(number)

    return app


@clients
@async_test
async def test_a_service_that_is_not_there_is_a_502_without_its_address(client: Any) -> None:
    with closed_port() as port:
        async with running(app_with(Names(f"http://127.0.0.1:{port}", client=client))) as asked:
            answered = await asked.get("/s3cret")
    assert answered.status_code == 502
    assert answered.headers["content-type"] == "application/problem+json"
    assert answered.json()["title"] == "Bad Gateway"
    assert "127.0.0.1" not in answered.text
    assert "names/s3cret" not in answered.text


@clients
@async_test
async def test_one_that_does_not_answer_in_time_is_a_504(client: Any) -> None:
    async def hang(line: Line, request: Received) -> None:
        await line.hang()

    async with Upstream(hang) as upstream:
        names = Names(upstream.url, client=client, timeout=0.05)
        async with running(app_with(names)) as asked:
            answered = await asked.get("/1")
    assert answered.status_code == 504
    assert "Traceback" not in answered.text


@clients
@async_test
async def test_an_error_that_it_answered_is_a_502_whatever_it_was(client: Any) -> None:
    async with Upstream([answer(status=404), answer(status=429)]) as upstream:
        async with running(app_with(Names(upstream.url, client=client))) as asked:
            assert [(await asked.get("/1")).status_code for _ in range(2)] == [502, 502]


@async_test
async def test_an_apps_own_handler_comes_first() -> None:
    with closed_port() as port:
        app = app_with(Names(f"http://127.0.0.1:{port}"))

        @app.exception_handler(httpx.HTTPError)
        async def teapot(request: Request, error: Exception) -> JSONResponse:
            return JSONResponse({}, status_code=418)

        async with running(app) as asked:
            assert (await asked.get("/1")).status_code == 418


def test_what_is_no_instance_is_refused() -> None:
    with pytest.raises(BadIntegration, match="give an instance"):
        add_integrations(FastAPI(), [Names])  # type: ignore[list-item]  # that is the point
    with pytest.raises(BadIntegration, match="something else"):
        add_integrations(FastAPI(), [3])  # type: ignore[list-item]  # that is the point


@async_test
async def test_more_may_be_added_until_the_app_has_started() -> None:
    app = FastAPI()
    one, two = Names("http://one"), Names("http://two")
    part = add_integrations(app, [one])
    assert add_integrations(app, [one, two]) is part
    assert part.integrations == (one, two)
    async with running(app):
        with pytest.raises(RuntimeError, match="started"):
            add_integrations(app, [one])
