"""The integrations of an app are closed with it, and known to its contexts."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from backstay.integration import (
    ApiHTTP,
    EndpointsDeclaration,
    HTTPMethod,
    IntegrationHTTP,
    add_integrations,
)
from backstay.integration.part import IntegrationsPart
from backstay.testing import running
from backstay.web import Ctx, install
from tests.integration.upstream import Upstream
from tests.support import async_test


class Names(EndpointsDeclaration):
    integration = IntegrationHTTP("Names")

    @integration.endpoint(HTTPMethod.get, "/")
    async def get(api: ApiHTTP) -> Any:
        return await api.send()


def app_with(*names: Names) -> FastAPI:
    app = FastAPI()
    add_integrations(app, names)

    @app.get("/")
    async def index(ctx: Ctx) -> Any:
        [found] = ctx.integrations
        return await found.get()

    return app


@async_test
async def test_connections_are_closed_with_the_app_and_opened_again_with_it() -> None:
    async with Upstream() as upstream:
        app = app_with(Names(upstream.url))
        for number in (1, 2):
            async with running(app) as client:
                assert (await client.get("/")).json() == {}
                assert (await client.get("/")).json() == {}
                assert upstream.open_connections == 1
            await upstream.until(lambda up: up.open_connections == 0)
            assert upstream.connections == number


class Stubborn(httpx.AsyncClient):
    async def aclose(self) -> None:
        raise OSError("it will not")


@async_test
async def test_one_that_cannot_be_closed_keeps_no_other_one_open() -> None:
    states = States()
    stubborn, names = Names("http://x", client=Stubborn), Names("http://x")
    part = IntegrationsPart(install(FastAPI(), env_file=None), shared_states=states)
    part.take([stubborn, names])
    await part.open()
    await stubborn.open_client()
    client = await names.open_client()
    with pytest.raises(OSError, match="it will not"):
        await part.close()
    assert client.is_closed
    assert states.closed


class States:
    """Stands for what patterns share."""

    closed = False

    async def open(self) -> None: ...

    async def close(self) -> None:
        self.closed = True


@async_test
async def test_calls_outside_of_any_work_belong_to_the_app_it_runs_in() -> None:
    async with Upstream() as upstream:
        names = Names(upstream.url)
        app = app_with(names)
        async with running(app) as client:
            assert names._app() is client.ctx.app
        assert names._app() is None


@async_test
async def test_what_processes_share_is_known_to_each_instance_while_the_app_is_open() -> None:
    names = Names("http://x")
    app = FastAPI()
    part = add_integrations(app, [names], shared_state="memory")
    assert names.owner.shared_states is None
    async with running(app):
        assert names.owner.shared_states is part.shared_states is not None
    assert names.owner.shared_states is None
