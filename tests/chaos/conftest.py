"""What tests of durable tasks share: a database of their own, and a seed that can be repeated."""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.databases import PostgresDatabase, SqliteDatabase, fresh_postgres

LONG = os.environ.get("BACKSTAY_CHAOS") == "long"


@pytest.fixture(scope="session")
def _postgres_database() -> Iterator[PostgresDatabase]:
    with fresh_postgres() as found:
        yield found


@pytest.fixture
def postgres(_postgres_database: PostgresDatabase) -> PostgresDatabase:
    _postgres_database.clear()
    _postgres_database.prepare()
    return _postgres_database


@pytest.fixture
def sqlite(tmp_path: Path) -> SqliteDatabase:
    file = SqliteDatabase(tmp_path / "chaos.db")
    file.prepare()
    return file


def found(request: pytest.FixtureRequest) -> SqliteDatabase | PostgresDatabase:
    database = request.getfixturevalue(request.param)
    assert isinstance(database, SqliteDatabase | PostgresDatabase)
    return database


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> SqliteDatabase | PostgresDatabase:
    """Both, one after the other."""
    return found(request)


@pytest.fixture(params=["sqlite", "postgres"] if LONG else ["sqlite"])
def on_sqlite(request: pytest.FixtureRequest) -> SqliteDatabase | PostgresDatabase:
    """For what is the worker's business and not the engine's: both if there is time."""
    return found(request)


@pytest.fixture(params=["sqlite", "postgres"] if LONG else ["postgres"])
def on_postgres(request: pytest.FixtureRequest) -> SqliteDatabase | PostgresDatabase:
    """The same."""
    return found(request)


@pytest.fixture
def chance() -> random.Random:
    """Shown where a test fails; BACKSTAY_SEED repeats it."""
    seed = int(os.environ.get("BACKSTAY_SEED", time.time_ns() % 1_000_000))
    print(f"BACKSTAY_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def long() -> bool:
    """Whether there is time for more: BACKSTAY_CHAOS=long."""
    return LONG
