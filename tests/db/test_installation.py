"""``add_database(app, ...)`` takes whatever says where a database is."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from backstay.db import Database, MainDatabaseManager, add_database
from backstay.errors import NotInstalled
from backstay.web import Ctx, install


def test_a_url_an_engine_or_a_database_will_do(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    engine = create_engine(url)
    for given in (url, make_url(url), engine, Database(url)):
        app = FastAPI()
        database = add_database(app, given)
        assert database.url == url

        @app.get("/")
        async def endpoint(ctx: Ctx) -> int:
            found = await ctx.db.session.execute(text("SELECT 7"))
            return int(found.scalar_one())

        with TestClient(app) as client:
            assert client.get("/").json() == 7
    engine.dispose()


def test_a_managers_database_is_the_apps_and_the_app_knows_the_manager(tmp_path: Path) -> None:
    app = FastAPI()
    manager = MainDatabaseManager(f"sqlite:///{tmp_path / 'shop.db'}")
    assert add_database(app, manager) is manager.database
    assert app.state.DATABASE_MANAGER is manager

    @app.get("/")
    async def endpoint(ctx: Ctx) -> None:
        assert ctx.db.manager is manager
        assert ctx.db.database is manager.database
        await ctx.db.fetch(text("SELECT 1"))

    for _ in range(2):
        with TestClient(app) as client:
            assert client.get("/").status_code == 200


def test_a_manager_that_the_app_has_named_by_hand_stays(tmp_path: Path) -> None:
    app = FastAPI()
    app.state.DATABASE_MANAGER = by_hand = object()
    add_database(app, MainDatabaseManager(f"sqlite:///{tmp_path / 'shop.db'}"))
    assert app.state.DATABASE_MANAGER is by_hand


def test_engines_are_closed_with_the_app_and_made_again_with_the_next_start(
    tmp_path: Path,
) -> None:
    app = FastAPI()
    database = add_database(app, f"sqlite:///{tmp_path / 'shop.db'}", options={"pool_size": 2})
    engines = []

    @app.get("/")
    async def endpoint(ctx: Ctx) -> None:
        await ctx.db.session.execute(text("SELECT 1"))
        engines.append(database.async_engine)

    for _ in range(2):
        with TestClient(app) as client:
            client.get("/")
    assert engines[0] is not engines[1]
    assert engines[0].pool.size() == 2  # type: ignore[attr-defined]  # of a QueuePool


def test_without_it_ctx_db_says_what_to_add() -> None:
    app = FastAPI()
    install(app)

    @app.get("/")
    async def endpoint(ctx: Ctx) -> None:
        with pytest.raises(NotInstalled, match="add_database"):
            _ = ctx.db

    assert TestClient(app).get("/").status_code == 200
