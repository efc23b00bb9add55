"""Every store has what the port says, as it says it."""

import inspect

import pytest

from backstay.state.memory import MemoryStore
from backstay.state.port import StateStore
from backstay.state.postgres import PostgresStore
from backstay.state.redis import RedisStore
from backstay.state.sqlite import SqliteStore

METHODS = [
    name
    for name, value in vars(StateStore).items()
    if inspect.iscoroutinefunction(value) and not name.startswith("_")
]


@pytest.mark.parametrize("store", [MemoryStore, SqliteStore, PostgresStore, RedisStore])
@pytest.mark.parametrize("name", METHODS)
def test_methods_have_the_signature_of_the_port(store: type, name: str) -> None:
    assert inspect.iscoroutinefunction(getattr(store, name))
    assert inspect.signature(getattr(store, name)) == inspect.signature(getattr(StateStore, name))


def test_the_port_is_small_and_documented() -> None:
    assert len(METHODS) == 10
    for name in METHODS:
        assert inspect.getdoc(getattr(StateStore, name))
