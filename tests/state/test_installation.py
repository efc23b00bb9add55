"""``add_state(app)`` and what endpoints see of it."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import create_engine

from backstay.errors import AlreadyInstalled, BadState
from backstay.state import add_state
from backstay.testing import running
from backstay.web import Ctx, install
from tests.support import async_test


@async_test
async def test_requests_share_one_scope_and_it_outlives_them() -> None:
    app = FastAPI()
    part = add_state(app, "memory://")

    @app.get("/")
    async def endpoint(ctx: Ctx) -> int:
        return int(await ctx.state.incr("visits"))

    async with running(app) as client:
        assert [(await client.get("/")).json() for _ in range(3)] == [1, 2, 3]
        assert await client.ctx.state.get("visits") == 3
        assert await part.state("other").get("visits") is None


def test_an_engine_stands_for_its_url(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/x.db")
    app = FastAPI()
    assert add_state(app, engine).store.url == str(engine.url)


def test_values_outlive_the_app(tmp_path: Path) -> None:
    for expected in (1, 2):
        app = FastAPI()
        add_state(app, f"sqlite:///{tmp_path}/x.db", table_prefix="shop_")

        @app.get("/")
        async def endpoint(ctx: Ctx) -> int:
            return int(await ctx.state.incr("starts"))

        with TestClient(app) as client:
            assert client.get("/").json() == expected


def test_an_app_has_one() -> None:
    app = FastAPI()
    add_state(app, "memory://")
    with pytest.raises(AlreadyInstalled):
        add_state(app, "memory://")


def test_what_is_no_database_is_refused_where_the_app_is_made() -> None:
    with pytest.raises(BadState, match="no address of a state"):
        add_state(FastAPI(), "mongodb://host")


def test_a_store_that_is_away_is_a_503_that_tells_nothing_of_it(tmp_path: Path) -> None:
    app = FastAPI()
    install(app, env_file=None)
    add_state(app, f"sqlite:///{tmp_path}/x.db")

    @app.get("/")
    async def endpoint(ctx: Ctx) -> None:
        await ctx.state.set("k", 1)

    with TestClient(app, raise_server_exceptions=False) as client:
        (tmp_path / "x.db").unlink()
        answer = client.get("/")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert "x.db" not in answer.text
