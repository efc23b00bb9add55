"""What a store can do is seen by its methods."""

from backstay.cache.memory import MemoryStore
from backstay.cache.port import CacheStore, LocalStore, LockingStore
from backstay.cache.redis import RedisStore
from backstay.cache.state_store import StateCacheStore


def test_a_store_in_memory_can_be_asked_at_once_and_has_no_locks() -> None:
    store = MemoryStore()
    assert isinstance(store, CacheStore)
    assert isinstance(store, LocalStore)
    assert not isinstance(store, LockingStore)


def test_stores_that_processes_share_have_locks_and_cannot_be_asked_at_once() -> None:
    for store in (
        RedisStore("redis://127.0.0.1", namespace="n"),
        StateCacheStore("sqlite:///cache.db", namespace="n"),
    ):
        assert isinstance(store, LockingStore)
        assert not isinstance(store, LocalStore)


def test_what_lacks_a_method_is_no_store() -> None:
    class Half:
        url = "half://"

        async def get_many(self, keys: list[str]) -> list[None]:
            return [None for _ in keys]

    assert not isinstance(Half(), CacheStore)
