"""The cache of a route is the one it names, else the app's."""

from typing import Any

import cashews
import pytest
import redis
import redis.asyncio
from fastapi import APIRouter, FastAPI
from starlette.requests import Request

from backstay.cache.cache import Cache
from backstay.cache.installation import add_cache
from backstay.cache.memory import MemoryStore
from backstay.cache.responses import cache_redis
from backstay.cache.whereabouts import Whereabouts, caches_of, close_caches
from backstay.errors import BadCache
from backstay.web import install
from backstay.web.exchange import Exchange
from tests.cache.serving import a_scope
from tests.support import async_test


def a_request(app: FastAPI, backstay: Any = None) -> Request:
    scope = a_scope(app=app)
    if backstay is not None:
        Exchange(backstay, scope, "0")
    return Request(scope)


def test_without_a_name_it_is_the_apps() -> None:
    app = FastAPI()
    cache = add_cache(app)
    assert Whereabouts().cache_for(a_request(app, install(app))) is cache


def test_without_a_name_and_without_the_apps_there_is_none() -> None:
    app = FastAPI()
    assert Whereabouts().cache_for(a_request(app)) is None
    assert Whereabouts().cache_for(a_request(app, install(app))) is None


def test_a_cache_is_used_as_it_is() -> None:
    cache = Cache()
    assert Whereabouts(cache).cache_for(a_request(FastAPI())) is cache


def a_cashews() -> cashews.Cache:
    cache = cashews.Cache()
    cache.setup("mem://")
    return cache


@pytest.mark.parametrize(
    "make",
    [
        lambda: redis.asyncio.from_url("redis://127.0.0.1:1"),
        MemoryStore,
        a_cashews,
        lambda: "memory://",
    ],
    ids=["redis", "store", "cashews", "url"],
)
def test_routes_of_one_app_that_name_one_thing_share_one_cache(make: Any) -> None:
    thing, app, other = make(), FastAPI(), FastAPI()
    one, two = Whereabouts(thing), Whereabouts(thing)
    assert one.cache_for(a_request(app)) is two.cache_for(a_request(app))
    assert list(caches_of(app).values()) == [one.cache_for(a_request(app))]
    assert caches_of(other) == {}


def test_the_caches_that_routes_name_are_known_before_anybody_asks_for_them() -> None:
    app, inner, router = FastAPI(), FastAPI(), APIRouter()
    store, given, far = MemoryStore(), Cache(), Cache()
    app.get("/store")(cache_redis(store)(lambda: None))
    app.get("/own")(cache_redis()(lambda: None))
    router.get("/given")(cache_redis(given)(lambda: None))
    router.get("/store")(cache_redis(store)(lambda: None))
    app.include_router(router, prefix="/in")
    inner.get("/far")(cache_redis(far)(lambda: None))
    app.mount("/sub", inner)
    found = list(caches_of(app).values())
    assert len(found) == 3
    assert found[1:] == [given, far]
    assert Whereabouts(store).cache_for(a_request(app)) is found[0]


@async_test
async def test_at_the_end_those_that_were_made_are_closed_and_those_that_were_given_are_not() -> (
    None
):
    app, closed = FastAPI(), []

    class Closing(Cache):
        async def close(self) -> None:
            closed.append(self)

    store = MemoryStore()
    given = Closing()
    app.get("/given")(cache_redis(given)(lambda: None))
    app.get("/store")(cache_redis(store)(lambda: None))
    store.put({"k": b"v"}, 60)
    made = Whereabouts(store).cache_for(a_request(app))
    assert made is not None
    await made.open()
    await close_caches(app)
    assert closed == []
    assert len(store) == 0


@pytest.mark.parametrize(
    "where",
    [7, object(), "nowhere", redis.from_url("redis://127.0.0.1:1")],
    ids=["number", "object", "text", "blocking"],
)
def test_what_is_no_cache_is_refused_where_it_is_named(where: Any) -> None:
    with pytest.raises(BadCache):
        Whereabouts(where)
