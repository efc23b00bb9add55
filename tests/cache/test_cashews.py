"""What is particular to cashews: it swallows errors, and what it swallows is noticed."""

import warnings

import cashews
import pytest

from backstay.cache import Cache
from backstay.cache.cashews import CashewsStore
from backstay.errors import BadCache, CacheUnavailable
from tests.cache.fakes import Maker, filled
from tests.cache.stores import REDIS_URL, a_namespace
from tests.state.stores import need_redis
from tests.support import async_test


async def closed(theirs: cashews.Cache) -> None:
    with warnings.catch_warnings():
        # It closes Redis by a name that redis 5 would rather not hear any more.
        warnings.simplefilter("ignore", DeprecationWarning)
        await theirs.close()


@async_test
async def test_a_cache_over_cashews_in_redis_works() -> None:
    need_redis()
    with a_namespace() as namespace:
        theirs = cashews.Cache()
        theirs.setup(REDIS_URL)
        async with Cache(theirs, namespace=namespace, op_timeout_s=5) as cache:
            make = Maker()
            assert (await filled(cache, make, tags=["t"])).status == "MISS"
            assert (await filled(cache, make, tags=["t"])).status == "HIT"
            await cache.invalidate("t")
            assert (await filled(cache, make, tags=["t"])).status == "MISS"
            await cache.clear()
            assert await cache.lookup("k") is None
        assert await theirs.ping(), "it is closed by whoever made it"
        await closed(theirs)


@async_test
async def test_what_it_swallows_is_an_outage() -> None:
    theirs = cashews.Cache()
    theirs.setup("redis://127.0.0.1:1/0")
    store = CashewsStore(theirs, namespace="n")
    with pytest.raises(CacheUnavailable):
        await store.set("n:k:k", b"1", 10)
    with pytest.raises(CacheUnavailable):
        await store.settle(["n:t:t"], b"1", 10)
    async with Cache(theirs) as cache:
        assert (await filled(cache, Maker(), tags=["t"])).status == "BYPASS"
        await cache.invalidate("t")
        assert cache._shelf.debts, "it is known that this was not done"
    await closed(theirs)


def test_before_its_setup_it_is_refused() -> None:
    with pytest.raises(BadCache, match="setup"):
        CashewsStore(cashews.Cache(), namespace="n")


@async_test
async def test_what_others_put_there_is_nothing() -> None:
    theirs = cashews.Cache()
    theirs.setup("mem://", check_interval=0)
    await theirs.set("n:k:k", {"an": "object"})
    assert await CashewsStore(theirs, namespace="n").get_many(["n:k:k"]) == [None]
    await theirs.close()
