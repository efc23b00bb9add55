"""From URLs to stores, and never a password in a message."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backstay.errors import BadState, StateUnavailable
from backstay.state import new_store, open_store
from backstay.state.memory import MemoryStore
from backstay.state.opening import url_beside
from backstay.state.postgres import PostgresStore
from backstay.state.redis import RedisStore
from backstay.state.sqlite import SqliteStore
from tests.support import PATIENCE_S, async_test


@pytest.mark.parametrize(
    ("url", "store"),
    [
        ("memory://", MemoryStore),
        ("sqlite://", MemoryStore),
        ("sqlite:///:memory:", MemoryStore),
        ("sqlite:///shop.db", SqliteStore),
        ("sqlite+aiosqlite:////tmp/shop.db", SqliteStore),
        ("postgresql://user@host/name", PostgresStore),
        ("postgres://user@host/name", PostgresStore),
        ("postgresql+asyncpg://user:secret@host:5433/name", PostgresStore),
        ("redis://host", RedisStore),
        ("rediss://user:secret@host:6380/2", RedisStore),
    ],
)
def test_the_address_says_which_store(url: str, store: type) -> None:
    found = new_store(url)
    assert type(found) is store
    assert "secret" not in found.url + repr(found)


def test_making_a_store_touches_nothing(tmp_path: Path) -> None:
    new_store(f"sqlite:///{tmp_path}/shop.db")
    new_store("postgresql://nobody@192.0.2.1/nothing")
    new_store("redis://192.0.2.1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["mysql://ali:secret@host/name", "shop.db", "", "sqlite:shop.db", "://", None, 7]
)
def test_an_address_no_store_knows_is_refused_with_the_choices(url: Any) -> None:
    with pytest.raises(BadState, match="memory://.*sqlite:///.*postgresql://.*redis://") as caught:
        new_store(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "Has-Dash", 'a"; DROP', "x" * 32, "1a"])
def test_a_prefix_or_schema_is_a_plain_name(name: str) -> None:
    with pytest.raises(BadState, match=r"prefix=.*no plain name"):
        new_store("memory://", prefix=name)
    with pytest.raises(BadState, match=r"schema=.*no plain name"):
        new_store("postgresql://host/name", schema=name)


def test_synchronous_is_one_of_two_words() -> None:
    new_store("sqlite:///x.db?synchronous=FULL")
    with pytest.raises(BadState, match="synchronous='off'; it is normal or full"):
        new_store("sqlite:///x.db?synchronous=off")


@pytest.mark.parametrize(
    ("url", "extra", "package"),
    [("postgresql://host/x", "postgres", "asyncpg"), ("redis://host", "redis", "redis")],
)
def test_a_missing_driver_names_its_extra(url: str, extra: str, package: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from backstay.state import new_store\n"
        "from backstay.errors import MissingExtra\n"
        f"try:\n    new_store({url!r})\n"
        "except MissingExtra as error:\n    print(error, error.name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert f'pip install "backstay[{extra}]"' in done.stdout
    assert done.stdout.split()[-1] == package


def test_the_door_loads_no_driver() -> None:
    code = (
        "import sys, backstay.state\n"
        "print([name for name in ('asyncpg', 'redis', 'sqlalchemy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ali:secret@127.0.0.1:9/x",
        "redis://ali:secret@127.0.0.1:9",
        "sqlite:////no/x.db",
    ],
)
@async_test
async def test_what_cannot_be_reached_says_where_and_no_password(url: str) -> None:
    with pytest.raises(StateUnavailable) as caught:
        await open_store(url, patience_s=2.0)
    assert "127.0.0.1" in str(caught.value) or "/no" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "ledger" not in str(caught.value)


@pytest.mark.parametrize(
    ("database", "url"),
    [
        ("sqlite:///shop.db", "sqlite:///shop-state.db"),
        ("sqlite+aiosqlite:////srv/v1.2/shop", "sqlite+aiosqlite:////srv/v1.2/shop-state"),
        ("sqlite:///a.sqlite3?synchronous=full", "sqlite:///a-state.sqlite3?synchronous=full"),
        ("sqlite://", "sqlite://"),
        ("memory://", "memory://"),
        ("postgresql://u@h/n", "postgresql://u@h/n"),
    ],
)
def test_beside_a_sqlite_file_is_a_file_of_its_own(database: str, url: str) -> None:
    assert url_beside(database) == url
