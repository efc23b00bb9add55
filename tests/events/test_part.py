"""Events in an app: switched on by a line, harmless whatever happens to their database."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import text

from backstay.context import Context
from backstay.db import Database, MainDatabaseManager, add_database
from backstay.errors import BadEvents, DatabaseUnavailable
from backstay.events import add_events
from backstay.events.questions import EventFilter
from backstay.observation import Kind
from backstay.testing import FakeClock, running
from backstay.web import Ctx, install
from tests.db.places import at
from tests.events.journal import BOTH
from tests.support import async_test


def happen(ctx: Context, name: str = "send", outcome: str = "ok", **end: Any) -> None:
    begun = ctx.app.observe(Kind.TASK, name, ctx.correlation_id, facts={"to": "bob"})
    assert begun is not None
    begun.end(outcome, **end)


def quiet_app(**settings: str) -> FastAPI:
    app = FastAPI()
    install(app, settings=settings, env_file=None, clock=FakeClock())
    return app


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("database_first", [True, False])
@async_test
async def test_what_happens_is_kept_in_the_app_s_own_database(
    kind: str, database_first: bool, tmp_path: Path
) -> None:
    with at(kind, tmp_path) as url:
        manager = MainDatabaseManager(url)
        app = quiet_app()
        if database_first:
            add_database(app, manager)
            part = add_events(app)
        else:
            part = add_events(app)
            add_database(app, manager)
        async with running(app) as client:
            happen(client.ctx)
            await client.ctx.events.flush()
            (found,) = (await client.ctx.events.find()).events
            assert (found.name, found.facts) == ("send", {"to": "bob"})
            happen(client.ctx, "last")
        # What was waiting was written when the app stopped, and no connection is left open.
        assert manager.database.pools() == {}
        assert [each.name for each in await part.store.find(EventFilter(), limit=1_000)] == [
            "last",
            "send",
        ]
        await manager.dispose()


@async_test
async def test_an_endpoint_records_and_reads_by_its_context(tmp_path: Path) -> None:
    app = quiet_app()
    add_events(app, f"sqlite:///{tmp_path / 'events.db'}", record_requests=False)

    @app.get("/buy")
    async def buy(ctx: Ctx) -> dict[str, Any]:
        await ctx.events.record("audit", "bought", facts={"card": "4111 1111 1111 1111"})
        await ctx.events.flush()
        (found,) = await ctx.events.trace(ctx.correlation_id)
        return {"facts": found.facts, "work": found.correlation_id}

    async with running(app) as client:
        answer = await client.get("/buy", headers={"X-Request-ID": "work-77"})
        assert answer.json() == {"facts": {"card": "***"}, "work": "work-77"}


@async_test
async def test_an_app_without_a_database_is_told_so_at_its_start() -> None:
    app = quiet_app()
    add_events(app)
    with pytest.raises(RuntimeError, match=r"found no database in the app.*add_database"):
        async with running(app):
            raise AssertionError("it has started")


@async_test
async def test_an_app_whose_events_are_off_needs_none_and_keeps_nothing(tmp_path: Path) -> None:
    app = quiet_app(BACKSTAY_EVENTS="off")
    add_events(app)
    async with running(app) as client:
        assert client.ctx.app.observe(Kind.TASK, "send", None) is None
        with pytest.raises(BadEvents, match="found no database"):
            await client.ctx.events.find()


@async_test
async def test_what_was_kept_before_can_be_read_while_events_are_off(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'events.db'}"
    app = quiet_app()
    add_events(app, url)
    async with running(app) as client:
        happen(client.ctx)
    off = quiet_app()
    add_events(off, url, on=False)
    async with running(off) as client:
        await client.ctx.events.record("audit", "x")
        await client.ctx.events.flush()
        assert [each.name for each in (await client.ctx.events.find()).events] == ["send"]


@async_test
async def test_the_setting_has_the_last_word(tmp_path: Path) -> None:
    app = quiet_app(BACKSTAY_EVENTS="0")
    add_events(app, f"sqlite:///{tmp_path / 'events.db'}", on=False)
    async with running(app) as client:
        happen(client.ctx, "well")
        happen(client.ctx, "badly", "failed", error=ValueError("token=abc"))
        await client.ctx.events.flush()
        (found,) = (await client.ctx.events.find()).events
        assert (found.name, found.error) == ("badly", "ValueError: token=***")
        assert {each.name: each.count for each in await client.ctx.events.minutes()} == {
            "well": 1,
            "badly": 1,
        }


@async_test
async def test_an_app_whose_database_is_away_starts_works_and_stops(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = quiet_app()
    add_events(app, "postgresql+asyncpg://shop:hunter2@127.0.0.1:1/shop")
    async with running(app) as client:
        happen(client.ctx)
        with pytest.raises(DatabaseUnavailable):
            await client.ctx.events.flush()
        with pytest.raises(DatabaseUnavailable):
            await client.ctx.events.find()
    warnings = [each for each in caplog.records if each.name == "backstay.events"]
    assert {each.levelno for each in warnings} == {logging.WARNING}
    assert "the app starts without its events" in caplog.text
    assert "1 events were not written" in caplog.text
    assert "hunter2" not in caplog.text


@async_test
async def test_tables_that_are_not_ours_stop_the_start(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'events.db'}")
    await database.write(text("CREATE TABLE backstay_events (id INTEGER)"))
    app = quiet_app()
    add_events(app, database)
    with pytest.raises(RuntimeError, match="stands alone, so it is not ours"):
        async with running(app):
            raise AssertionError("it has started")
    await database.close()


@async_test
async def test_an_app_may_stop_and_start_again(tmp_path: Path) -> None:
    app = quiet_app()
    part = add_events(app, f"sqlite:///{tmp_path / 'events.db'}")
    for number in range(2):
        async with running(app) as client:
            happen(client.ctx, f"run {number}")
    assert [each.name for each in await part.store.find(EventFilter(), limit=1_000)] == [
        "run 1",
        "run 0",
    ]
    assert part.events.waiting == 0
    await part.store.database.close()


@async_test
async def test_a_database_of_somebody_else_s_is_not_closed(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'events.db'}")
    app = quiet_app()
    add_events(app, database)
    async with running(app) as client:
        happen(client.ctx)
        await client.ctx.events.flush()
        before = database.async_engine
    assert database.async_engine is before
    await database.close()


@async_test
async def test_the_app_s_own_transaction_and_its_events_do_not_stand_in_each_others_way(
    tmp_path: Path,
) -> None:
    app = quiet_app()
    database = add_database(app, f"sqlite:///{tmp_path / 'shop.db'}")
    await database.write(text("CREATE TABLE orders (id INTEGER PRIMARY KEY)"))
    add_events(app)

    @app.post("/orders")
    async def order(ctx: Ctx) -> dict[str, int]:
        await ctx.db.session.execute(text("INSERT INTO orders DEFAULT VALUES"))
        happen(ctx)  # the write lock of the file is ours for as long as this request takes
        await asyncio.sleep(0)
        return {"orders": 1}

    async with running(app) as client:
        answers = await asyncio.gather(*(client.post("/orders") for _ in range(20)))
        assert {each.status_code for each in answers} == {200}
        await client.ctx.events.flush()
        assert len((await client.ctx.events.find(kind="task")).events) == 20


CRASHING = """
    import asyncio, os, signal, sys
    from fastapi import FastAPI
    from backstay.events import add_events
    from backstay.observation import Kind
    from backstay.testing import running

    app = FastAPI()
    add_events(app, sys.argv[1], every_s=0.01, batch=1)

    async def main():
        async with running(app) as client:
            for number in range(50):
                client.ctx.app.observe(Kind.TASK, f"t{number}", None).end("ok")
            while client.ctx.events.waiting or not (await client.ctx.events.find()).events:
                await asyncio.sleep(0.01)
            client.ctx.app.observe(Kind.TASK, "lost", None).end("ok")
            os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(main())
"""


@async_test
async def test_a_killed_process_loses_only_what_was_waiting(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'events.db'}"
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", textwrap.dedent(CRASHING), url],
        env={**os.environ, "BACKSTAY_EVENTS": "on"},
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL
    app = quiet_app()
    part = add_events(app, url)
    async with running(app):
        names = {each.name for each in await part.store.find(EventFilter(), limit=1_000)}
        assert names >= {f"t{each}" for each in range(49)}
        assert "lost" not in names
