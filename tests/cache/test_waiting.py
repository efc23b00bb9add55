"""Invalidation comes after the commit it is about, before the answer, and not at all if that fails."""

import asyncio
import contextvars
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException
from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from backstay.cache import Cache, Fill, Outcome, add_cache
from backstay.context import Moment, Origin, current_context
from backstay.db import add_database
from backstay.tasks import add_tasks, task
from backstay.testing import running
from backstay.web import Ctx
from backstay.web.installation import installed
from tests.support import async_test

RAISE = text("UPDATE prices SET price = :price")


class Shop:
    """An app with a table, a cache in front of it, and a look from outside."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.app = FastAPI()
        add_database(self.app, f"sqlite:///{file}")
        add_tasks(self.app, database="memory://")
        self.cache = add_cache(self.app)

    def committed(self) -> int:
        with closing(sqlite3.connect(self.file)) as outside:
            [[price]] = outside.execute("SELECT price FROM prices").fetchall()
            return int(price)

    async def ask(self) -> Outcome:
        """As another process or request does."""

        async def produce() -> Fill:
            return Fill(b"%d" % self.committed())

        return await self.cache.get_or_fill("price", produce, ttl_s=1000, tags=["prices"])

    async def asked(self) -> bytes | None:
        """From no piece of work."""
        loop = asyncio.get_running_loop()
        return (await loop.create_task(self.ask(), context=contextvars.Context())).value


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    file = tmp_path / "shop.db"
    with closing(sqlite3.connect(file)) as outside, outside:
        outside.execute("CREATE TABLE prices (price INTEGER PRIMARY KEY)")
        outside.execute("INSERT INTO prices VALUES (1)")
        # Checked at the commit, and not before.
        outside.execute(
            "CREATE TABLE offers (price INTEGER REFERENCES prices DEFERRABLE INITIALLY DEFERRED)"
        )
    return Shop(file)


@async_test
async def test_who_reads_before_the_commit_cannot_keep_what_was_there(shop: Shop) -> None:
    seen: list[Any] = []

    @shop.app.put("/")
    async def put(ctx: Ctx) -> None:
        await ctx.db.session.execute(RAISE, {"price": 2})
        await ctx.cache.invalidate("prices")
        seen.append(await shop.asked())  # finds and keeps the old one, which is still true

    async with running(shop.app) as client:
        assert await shop.asked() == b"1"
        await client.put("/")
        assert seen == [b"1"]
        assert await shop.asked() == b"2"


@async_test
async def test_the_answer_leaves_when_it_is_done(shop: Shop) -> None:
    order: list[str] = []
    invalidate = shop.cache._waiting._invalidate

    async def slowly(tags: Any) -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        await invalidate(tags)
        order.append(f"invalidated at {shop.committed()}")

    shop.cache._waiting._invalidate = slowly

    @shop.app.put("/")
    async def put(ctx: Ctx) -> None:
        await ctx.db.session.execute(RAISE, {"price": 2})
        for _ in range(3):
            await ctx.cache.invalidate("prices")
        await shop.cache.invalidate("others")

    async with running(shop.app) as client:
        await client.put("/")
        order.append("answered")
    assert order == ["invalidated at 2", "answered"], "once, and after the commit"


@pytest.mark.parametrize("how", ["raises", "refuses", "cannot commit"])
def test_what_fails_invalidates_nothing(shop: Shop, how: str) -> None:
    @async_test
    async def run() -> None:
        @shop.app.put("/")
        async def put(ctx: Ctx) -> None:
            await ctx.db.session.execute(RAISE, {"price": 3})
            await ctx.cache.invalidate("prices")
            if how == "raises":
                raise ZeroDivisionError
            if how == "refuses":
                raise HTTPException(409)
            await ctx.db.session.execute(text("INSERT INTO offers VALUES (404)"))

        async with running(shop.app, raise_app_exceptions=False) as client:
            assert await shop.asked() == b"1"
            assert (await client.put("/")).status_code >= 400
            assert (await shop.ask()).status == "HIT"
            assert not shop.cache._waiting

    run()


@async_test
async def test_the_work_itself_sees_what_it_has_changed_and_keeps_none_of_it(shop: Shop) -> None:
    seen: list[Any] = []

    async def mine(ctx: Ctx) -> Outcome:
        async def produce() -> Fill:
            price = (await ctx.db.session.execute(text("SELECT price FROM prices"))).scalar_one()
            return Fill(b"%d" % price)

        return await ctx.cache.get_or_fill("price", produce, ttl_s=1000, tags=["prices"])

    @shop.app.put("/")
    async def put(ctx: Ctx, fail: bool = False) -> None:
        await ctx.cache.set("other", 1, tags=["others"])
        await ctx.db.session.execute(RAISE, {"price": 5})
        await ctx.cache.invalidate("prices")
        for _ in range(2):
            found = await mine(ctx)
            seen.append((found.value, found.status))
        seen.append(await ctx.cache.lookup("price"))
        seen.append(await ctx.cache.get("other"))
        if fail:
            raise HTTPException(409)

    async with running(shop.app) as client:
        assert await shop.asked() == b"1"
        await client.put("/", params={"fail": True})
        assert seen == [(b"5", "BYPASS")] * 2 + [None, 1]
        assert await shop.asked() == b"1"
        await client.put("/")
        assert await shop.asked() == b"5"
        assert (await shop.ask()).status == "HIT"


@async_test
async def test_who_commits_himself_need_not_wait(shop: Shop) -> None:
    @shop.app.put("/")
    async def put(ctx: Ctx) -> None:
        await ctx.db.session.execute(RAISE, {"price": 2})
        await ctx.db.commit()
        await ctx.cache.invalidate("prices")
        raise HTTPException(409)

    async with running(shop.app) as client:
        assert await shop.asked() == b"1"
        await client.put("/")
        assert await shop.asked() == b"2"


@async_test
async def test_a_task_and_a_job_invalidate_when_they_are_committed(shop: Shop) -> None:
    seen: list[Any] = []

    @task
    async def raise_price(price: int) -> None:
        ctx = current_context()
        await ctx.db.session.execute(RAISE, {"price": price})
        await ctx.cache.invalidate("prices")
        seen.append(await shop.asked())

    @shop.app.post("/task")
    async def in_a_task(ctx: Ctx) -> None:
        ctx.tasks.after_response.schedule(raise_price, 2)

    invalidate = shop.cache._waiting._invalidate

    async def noted(tags: Any) -> None:
        committed.append(shop.committed())
        await invalidate(tags)

    committed: list[int] = []
    shop.cache._waiting._invalidate = noted

    async with running(shop.app) as client:
        assert await shop.asked() == b"1"
        await client.post("/task")
        await client.tasks.settle()
        assert await shop.asked() == b"2"
        await client.durable.enqueue(raise_price, 3)
        await client.drain()
        await shop.cache.settle()
        assert await shop.asked() == b"3"
        assert seen == [b"1", b"2"]
        assert committed == [2, 3]
        assert not shop.cache._waiting


@async_test
async def test_a_failed_job_invalidates_nothing(shop: Shop) -> None:
    @task
    async def raise_price(ctx: Ctx) -> None:
        await ctx.db.session.execute(RAISE, {"price": 7})
        await ctx.cache.invalidate("prices")
        raise ZeroDivisionError

    async with running(shop.app) as client:
        assert await shop.asked() == b"1"
        await client.durable.task(max_attempts=1).enqueue(raise_price)
        await client.drain()
        await shop.cache.settle()
        assert (await shop.ask()).status == "HIT"


@async_test
async def test_a_route_that_is_not_fastapis_does_so_too(shop: Shop) -> None:
    async def put(request: Request) -> Response:
        ctx = current_context()
        await ctx.db.session.execute(RAISE, {"price": 4})
        await ctx.cache.invalidate("prices")
        return PlainTextResponse("done")

    shop.app.add_route("/", put, methods=["PUT"])
    async with running(shop.app) as client:
        assert await shop.asked() == b"1"
        assert (await client.put("/")).text == "done"
        await shop.cache.settle()
        assert await shop.asked() == b"4"


@async_test
async def test_outside_of_any_work_there_is_nothing_to_wait_for(shop: Shop) -> None:
    async with running(shop.app) as client:
        for cache in (shop.cache, client.ctx.cache):
            await cache.set("k", 1, tags=["t"])
            await cache.invalidate("t")
            assert await cache.get("k") is None
        script = installed(shop.app).open(Origin.SCRIPT)
        await script.cache.set("k", 1, tags=["t"])
        await script.cache.invalidate("t")
        assert await script.cache.get("k") is None
        script.reach(Moment.ANSWERED, True)


@async_test
async def test_a_work_without_a_database_waits_for_its_success_as_well() -> None:
    app = FastAPI()
    cache: Cache = add_cache(app)

    @app.put("/{status}")
    async def put(ctx: Ctx, status: int) -> None:
        await cache.invalidate("t")
        if status >= 400:
            raise HTTPException(status)

    async with running(app) as client:
        await cache.set("k", 1, tags=["t"])
        await client.put("/404")
        assert await cache.get("k") == 1
        await client.put("/200")
        assert await cache.get("k") is None
