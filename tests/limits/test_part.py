"""The limits as a part of an app: opened and closed with it, and tidied up now and then."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from fastapi import Depends, FastAPI
from sqlalchemy import text

from backstay.db import Database, add_database
from backstay.errors import BadLimit
from backstay.limits import add_limits, rate_limit
from backstay.limits.database import DatabaseCounts
from backstay.tasks import add_tasks
from backstay.testing import FakeClock, running
from backstay.web import install
from tests.support import async_test


@async_test
async def test_old_counts_are_removed_now_and_then(tmp_path: Path) -> None:
    clock = FakeClock()
    app = FastAPI()
    install(app, clock=clock, env_file=None)
    part = add_limits(app, f"sqlite:///{tmp_path}/x.db", prune_every_s=60)
    database = Database(f"sqlite:///{tmp_path}/x.db")
    async with running(app):
        for number in range(1200):
            await part.limiter.hit(f"k{number}", rate_limit("5/minute").limits)
        await clock.advance(121)
        async with asyncio.timeout(10):
            while await database.fetch(text("SELECT 1 FROM backstay_limits LIMIT 1")):
                await asyncio.sleep(0.01)
        assert await part.prune() == 0
    await database.close()


@async_test
async def test_the_apps_own_database_counts_whenever_it_was_switched_on(tmp_path: Path) -> None:
    app = FastAPI()
    install(app, env_file=None)
    part = add_limits(app)

    @app.get("/", dependencies=[Depends(rate_limit("2/day"))])
    async def index() -> int:
        return 1

    add_database(app, f"sqlite:///{tmp_path}/shop.db")
    async with running(app) as client:
        assert isinstance(part.limiter.store, DatabaseCounts)
        assert [(await client.get("/")).status_code for _ in range(3)] == [200, 200, 429]
    # And after a restart it still knows.
    async with running(app) as client:
        assert (await client.get("/")).status_code == 429


@async_test
async def test_the_file_of_durable_tasks_that_nobody_has_named_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = FastAPI()
    install(app, settings={}, env_file=None)
    part = add_limits(app)
    add_tasks(app)
    async with running(app):
        assert part.limiter.store.is_local


@async_test
async def test_an_app_does_not_start_over_somebody_elses_tables(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/x.db")
    await database.write(text("CREATE TABLE backstay_limits (id integer)"))
    await database.close()
    app = FastAPI()
    add_limits(app, f"sqlite:///{tmp_path}/x.db")
    with pytest.raises((BadLimit, RuntimeError), match="stands alone"):
        async with running(app):
            raise AssertionError("it started")


@async_test
async def test_an_app_starts_without_its_store_and_counts_by_itself() -> None:
    app = FastAPI()
    add_limits(app, "redis://127.0.0.1:1")

    @app.get("/", dependencies=[Depends(rate_limit("1/day"))])
    async def index() -> int:
        return 1

    async with running(app) as client:
        assert [(await client.get("/")).status_code for _ in range(3)] == [200, 429, 429]
