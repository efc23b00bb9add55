"""From whatever names a place to the store there."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from backstay.auth.database_store import DatabaseAuthStore
from backstay.auth.memory_store import MemoryAuthStore
from backstay.auth.stores import open_store
from backstay.db import MainDatabaseManager
from backstay.db.database import Database
from backstay.errors import BadAuth
from tests.auth.test_rotation import RECORD
from tests.support import async_test, shown


def test_nothing_means_memory() -> None:
    assert isinstance(open_store(), MemoryAuthStore)
    assert isinstance(open_store("memory://"), MemoryAuthStore)
    assert open_store(None) is not open_store(None)


def test_a_store_is_used_as_it_is() -> None:
    store = MemoryAuthStore()
    assert open_store(store) is store


@async_test
async def test_a_manager_its_database_and_its_url_are_the_same_place(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    manager = MainDatabaseManager(url)
    other = Database(url)
    for what in (manager, manager.database, other, url):
        store = open_store(what)
        assert isinstance(store, DatabaseAuthStore)
        await store.open()
        if what is manager:
            await store.add_refresh(RECORD)
        assert await store.find_refresh(RECORD.digest) == RECORD
        await store.close()
    # Closing a store closes nobody else's database.
    assert await manager.database.fetch(sa.text("SELECT 1"))
    await manager.database.close()
    await other.close()


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("redis://:hunter2@host", "is no address for sessions and keys; use None"),
        ("shop.db", "is no address"),
        ("", "is no address"),
        ("sqlite://", "in memory"),
        ("mysql://host/db", "is no address"),
        (42, "type int is no place"),
        (object(), "type object is no place"),
    ],
    ids=shown,
)
def test_what_is_no_place_is_refused(what: str, says: str) -> None:
    with pytest.raises(BadAuth, match=says) as caught:
        open_store(what)
    assert "hunter2" not in str(caught.value)
