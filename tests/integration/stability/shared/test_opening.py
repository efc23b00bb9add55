"""From what people have to what processes share there."""

from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import create_engine

from backstay.db.database import Database
from backstay.db.manager import MainDatabaseManager
from backstay.errors import BadIntegration
from backstay.integration.stability.shared import SharedStates, open_shared_states
from backstay.integration.stability.shared.database_store import DatabaseStore
from backstay.integration.stability.shared.memory_store import MemoryStore
from backstay.integration.stability.shared.opening import new_store
from backstay.integration.stability.shared.redis_store import RedisStore
from backstay.testing import FakeClock
from tests.support import async_test


@pytest.mark.parametrize(
    ("where", "kind", "url"),
    [
        ("memory", MemoryStore, "memory://"),
        ("memory://", MemoryStore, "memory://"),
        ("redis://user:secret@host:1/2", RedisStore, "redis://host:1/2"),
        ("rediss://host", RedisStore, "redis://host:6379/0"),
        ("unix:///tmp/socket", RedisStore, "unix:///tmp/socket"),
        ("postgresql://u:secret@host/name", DatabaseStore, "postgresql://u:***@host/name"),
        ("postgresql+psycopg://u@host/name", DatabaseStore, "postgresql+psycopg://u@host/name"),
        ("sqlite:////tmp/x.db", DatabaseStore, "sqlite:////tmp/x.db"),
    ],
)
def test_an_address_is_enough(where: str, kind: type, url: str) -> None:
    states = open_shared_states(where)
    assert isinstance(states, SharedStates)
    assert isinstance(states.store, kind)
    assert states.url == url
    assert "secret" not in repr(states.store)


@pytest.mark.parametrize(
    "where",
    ["mysql://u:secret@host/name", "nonsense", "redis://host:port", "sqlite://", 3, None, object()],
    ids=lambda value: str(type(value)) if not isinstance(value, str) else value,
)
def test_what_is_no_place_is_refused_without_its_password(where: Any) -> None:
    with pytest.raises(BadIntegration) as caught:
        new_store(where)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("prefix", ["Big", "with space", "", "x" * 40, "a'b"])
def test_a_prefix_that_no_table_can_have_is_refused(prefix: str, tmp_path: Path) -> None:
    if prefix == "":
        new_store(f"sqlite:///{tmp_path}/x.db", key_prefix=prefix)  # "_circuits" is a name
        return
    with pytest.raises(BadIntegration, match="names of tables"):
        new_store(f"sqlite:///{tmp_path}/x.db", key_prefix=prefix)


@async_test
async def test_what_is_given_ready_made_is_left_open(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    manager = MainDatabaseManager(url)
    engine = create_engine(url)
    database = Database(url)
    for given in (manager, manager.database, database, engine):
        store = new_store(given, clock=FakeClock())
        assert isinstance(store, DatabaseStore)
        await store.open()
        await store.close()
    assert engine.pool is not None
    async with manager.asession() as session:
        assert session.is_active
    await manager.database.close()
    await database.close()
    engine.dispose()


@async_test
async def test_a_client_of_redis_is_used_and_left_open() -> None:
    client = Redis(host="127.0.0.1", port=1, db=3)
    store = new_store(client)
    assert store.url == "redis://127.0.0.1:1/3"
    await store.close()
    await client.aclose()


def test_a_store_of_ones_own_is_taken_as_it_is() -> None:
    store = MemoryStore()
    assert new_store(store) is store
    assert open_shared_states(store, timeout_s=1, lease_s=2).lease_s == 2
