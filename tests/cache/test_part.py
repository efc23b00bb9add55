"""The app's cache lives as long as the app does, and every piece of work sees the same."""

from fastapi import FastAPI

from backstay.cache import Cache, add_cache
from backstay.cache.part import CachePart, ContextCache
from backstay.testing import FakeClock, running
from backstay.web import Ctx
from tests.cache.fakes import Shaky
from tests.support import async_test


@async_test
async def test_it_is_opened_and_closed_with_the_app() -> None:
    app, store = FastAPI(), Shaky(FakeClock())
    add_cache(app, store)
    async with running(app) as client:
        assert store.opened == 1
        await client.ctx.cache.set("k", 1)
    assert store.opened == 0


@async_test
async def test_every_piece_of_work_sees_the_same_cache() -> None:
    app = FastAPI()
    cache = add_cache(app)
    seen = []

    @app.get("/")
    async def endpoint(ctx: Ctx) -> None:
        assert isinstance(ctx.cache, ContextCache)
        assert isinstance(ctx.cache, Cache)
        assert ctx.cache is ctx.cache
        seen.append(await ctx.cache.get("k"))
        await ctx.cache.set("k", len(seen))

    async with running(app) as client:
        await client.get("/")
        await client.get("/")
        assert seen == [None, 1]
        assert await cache.get("k") == 2
        assert cache.stats().hits == client.ctx.cache.stats().hits == 2


@async_test
async def test_an_app_whose_cache_is_down_starts_and_answers() -> None:
    app, store = FastAPI(), Shaky(FakeClock())
    store.break_down()
    add_cache(app, store)

    @app.get("/")
    async def endpoint(ctx: Ctx) -> str:
        await ctx.cache.invalidate("t")
        return await ctx.cache.get("k", "default")  # type: ignore[no-any-return]  # a text

    async with running(app) as client:
        assert (await client.get("/")).json() == "default"


def test_it_is_a_part_like_others() -> None:
    assert CachePart(Cache()).attribute == "cache"
