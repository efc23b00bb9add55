"""Whoever waits for a connection in vain is answered 503, wherever that was."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.responses import PlainTextResponse
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from backstay.db import MainDatabaseManager, OrmAsync, add_database
from backstay.db.exhaustion import exhaustion_as_ours
from backstay.errors import DatabaseUnavailable
from backstay.testing import running
from backstay.web import Ctx, install
from tests.db.places import at
from tests.jobs.desks import needs_postgres
from tests.support import async_test

ONE = text("SELECT 1")


def made(url: str) -> MainDatabaseManager:
    return MainDatabaseManager(url, pool_size=1, options={"pool_timeout": 0.01})


def add_routes(app: FastAPI, manager: MainDatabaseManager) -> list[str]:
    """Routes that need a connection, each by another way of the manager's."""

    @app.get("/session")
    def session(session: Annotated[Session, Depends(manager.get_session)]) -> None:
        session.execute(ONE)

    @app.post("/transaction")
    def transaction(
        session: Annotated[Session, Depends(manager.get_session_transaction)],
    ) -> None:
        session.execute(ONE)

    @app.get("/asession")
    async def asession(
        session: Annotated[AsyncSession, Depends(manager.aget_session)],
    ) -> None:
        await session.execute(ONE)

    @app.post("/atransaction")
    async def atransaction(
        session: Annotated[AsyncSession, Depends(manager.aget_session_transaction)],
    ) -> None:
        await session.execute(ONE)

    @app.post("/orm")
    async def orm(orm: Annotated[OrmAsync, Depends(manager.aget_orm)]) -> None:
        await orm.asession.execute(ONE)

    return ["GET /session", "POST /transaction", "GET /asession", "POST /atransaction", "POST /orm"]


async def require_503(app: FastAPI, manager: MainDatabaseManager, requests: list[str]) -> None:
    """While somebody has all connections, and then no more."""
    async with running(app) as client:
        with manager.engine.connect():
            async with manager.aengine.connect():
                for request in requests:
                    answer = await client.request(*request.split())
                    assert answer.status_code == 503, request
                    assert answer.headers["retry-after"] == "2"
                    assert answer.headers["content-type"] == "application/problem+json"
                    assert "QueuePool" not in answer.text
        for request in requests:
            assert (await client.request(*request.split())).status_code == 200, request
    await manager.dispose()


@pytest.mark.parametrize("how", ["installed", "beside"])
@async_test
async def test_the_managers_dependencies_say_503(how: str, tmp_path: Path) -> None:
    app = FastAPI()
    with at("sqlite", tmp_path) as url:
        manager = made(url)
        if how == "installed":
            add_database(app, manager)
        else:
            install(app)
        await require_503(app, manager, add_routes(app, manager))


@needs_postgres
@async_test
async def test_so_do_all_ways_of_the_contexts_in_mounted_apps_too(tmp_path: Path) -> None:
    app, inner = FastAPI(), FastAPI()
    with at("postgresql", tmp_path) as url:
        manager = made(url)
        add_database(app, manager)

        async def by_session(ctx: Ctx) -> None:
            await ctx.db.session.execute(ONE)

        async def by_fetch(ctx: Ctx) -> None:
            await ctx.db.fetch(ONE)

        async def by_reading(ctx: Ctx) -> None:
            async with ctx.db.reading():
                pass

        def by_sync_session(ctx: Ctx) -> None:
            ctx.db.sync_session.execute(ONE)

        ways: list[Callable[..., Awaitable[None] | None]] = [
            *(by_session, by_fetch, by_reading, by_sync_session)
        ]
        requests = add_routes(app, manager)
        for way in ways:
            for each in (app, inner):
                each.post(f"/{way.__name__}")(way)
            requests += [f"POST /{way.__name__}", f"POST /inner/{way.__name__}"]
        app.mount("/inner", inner)
        await require_503(app, manager, requests)


@pytest.mark.parametrize("kind", [PoolTimeout, SQLAlchemyError])
@async_test
async def test_an_app_may_answer_it_itself(kind: type[Exception], tmp_path: Path) -> None:
    app = FastAPI()
    with at("sqlite", tmp_path) as url:
        manager = made(url)
        add_database(app, manager)

        @app.exception_handler(kind)
        async def answer(_: Request, __: Exception) -> PlainTextResponse:
            return PlainTextResponse("busy", 418)

        @app.get("/")
        async def index(ctx: Ctx) -> Any:
            await ctx.db.session.execute(ONE)

        async with running(app) as client, manager.aengine.connect():
            assert (await client.get("/")).status_code == 418
        await manager.dispose()


def test_the_cause_is_kept_and_other_errors_are_left_alone() -> None:
    with pytest.raises(DatabaseUnavailable, match="pool_size=") as caught, exhaustion_as_ours():
        raise PoolTimeout("QueuePool limit of size 1 reached")
    assert isinstance(caught.value.__cause__, PoolTimeout)
    with pytest.raises(TimeoutError), exhaustion_as_ours():
        raise TimeoutError
