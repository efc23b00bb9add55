"""From URLs, and what has one, to engines; and never a password in a message."""

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from backstay.clock import SystemClock
from backstay.errors import BadJob, LedgerUnavailable
from backstay.ledger import DEFAULT_URL, new_ledger
from backstay.ledger.opening import url_of, without_password
from backstay.ledger.postgres import PostgresLedger
from backstay.ledger.sqlite import SqliteLedger
from backstay.testing.fake_clock import FakeClock
from tests.support import async_test


@pytest.mark.parametrize(
    ("url", "engine"),
    [
        ("memory://", SqliteLedger),
        ("sqlite://", SqliteLedger),
        ("sqlite:///shop.db", SqliteLedger),
        ("sqlite+aiosqlite:///shop.db", SqliteLedger),
        ("sqlite+pysqlite:////tmp/shop.db", SqliteLedger),
        ("postgresql://user@host/name", PostgresLedger),
        ("postgres://user@host/name", PostgresLedger),
        ("postgresql+asyncpg://user:secret@host:5433/name", PostgresLedger),
        ("postgresql+psycopg://user@/name?host=/var/run", PostgresLedger),
        (DEFAULT_URL, SqliteLedger),
    ],
)
def test_the_address_says_which_engine(url: str, engine: type) -> None:
    ledger = new_ledger(url)
    assert type(ledger) is engine
    assert ledger.dialect == ("sqlite" if engine is SqliteLedger else "postgresql")


def test_the_default_is_a_file_here() -> None:
    assert new_ledger().url == "sqlite:///backstay.db"


def test_making_a_ledger_touches_nothing(tmp_path: Path) -> None:
    new_ledger(f"sqlite:///{tmp_path}/shop.db")
    new_ledger("postgresql://nobody@192.0.2.1/nothing")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "database",
    ["mysql://host/name", "redis://host", "shop.db", "", "sqlite:shop.db", "://", "SQLITE://"],
)
def test_an_address_no_engine_knows_is_refused_with_examples(database: str) -> None:
    with pytest.raises(BadJob, match="sqlite:///file.db") as caught:
        new_ledger(database)
    assert repr(database) in str(caught.value)


@pytest.mark.parametrize("database", [None, 5, object()])
def test_what_is_no_address_and_has_none_is_refused(database: Any) -> None:
    with pytest.raises(BadJob, match="neither a URL nor an engine"):
        new_ledger(database)


def test_a_refusal_does_not_show_the_password() -> None:
    with pytest.raises(BadJob) as caught:
        new_ledger("mysql://user:secret@host/name")
    assert "secret" not in str(caught.value)
    assert "mysql://user:***@host/name" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h/d", "postgresql://u:***@h/d"),
        ("postgresql+asyncpg://u:p:q@h/d", "postgresql+asyncpg://u:***@h/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("sqlite:////a/b@c:d/e.db", "sqlite:////a/b@c:d/e.db"),
    ],
)
def test_addresses_are_shown_without_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


@pytest.mark.parametrize("url", ["postgresql://user:secret@host/name"])
def test_a_ledgers_address_has_no_password(url: str) -> None:
    assert "secret" not in new_ledger(url).url


@pytest.mark.parametrize("option", ["prefix", "schema"])
@pytest.mark.parametrize(
    "name", ["", "1abc", "Abc", "a-b", "a b", 'a"b', "a;b", "ä", "a" * 32, "a\n"]
)
def test_names_that_would_have_to_be_quoted_are_refused(option: str, name: str) -> None:
    with pytest.raises(BadJob, match=option):
        new_ledger("memory://", **{option: name})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a", "_", "a1_b", "a" * 31])
def test_plain_names_are_taken(name: str) -> None:
    new_ledger("memory://", prefix=name, schema=name)


def test_an_engine_of_sqlalchemy_stands_for_its_address() -> None:
    engine = sqlalchemy.create_engine("postgresql+psycopg://user:secret@host/name")
    assert url_of(engine) == "postgresql+psycopg://user:secret@host/name"
    assert type(new_ledger(engine)) is PostgresLedger


def test_an_async_engine_of_sqlalchemy_stands_for_its_address() -> None:
    engine = create_async_engine("sqlite+aiosqlite:///shop.db")
    assert url_of(engine) == "sqlite+aiosqlite:///shop.db"
    assert type(new_ledger(engine)) is SqliteLedger


class _Manager:
    def __init__(self, database_url: str) -> None:
        self.database_url = database_url


def test_anything_with_a_database_url_stands_for_it() -> None:
    assert url_of(_Manager("sqlite:///shop.db")) == "sqlite:///shop.db"


@async_test
async def test_a_clock_that_is_given_is_the_ledgers() -> None:
    start = datetime(2001, 2, 3, tzinfo=UTC)
    ledger = new_ledger("memory://", clock=FakeClock(start))
    await ledger.open()
    assert await ledger.now() == start
    await ledger.close()


@pytest.mark.parametrize("clock", [lambda: None, SystemClock], ids=["none", "system"])
def test_without_one_the_database_says_what_time_it_is(clock: Callable[[], Any]) -> None:
    @async_test
    async def test() -> None:
        ledger = new_ledger("memory://", clock=clock())
        await ledger.open()
        assert (await ledger.now()).year >= 2026
        await ledger.close()

    test()


@async_test
async def test_patience_with_a_locked_file_is_the_callers_choice(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    ledger = new_ledger(f"sqlite:///{path}", patience_s=0.05)
    await ledger.open()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(LedgerUnavailable, match="kept it locked for 0.05 s"):
            await ledger.pause("default", True)
    finally:
        other.close()
        await ledger.close()


def test_patience_with_a_server_is_what_the_address_says_first() -> None:
    for url, seconds in (("postgresql://h/d", 5.0), ("postgresql://h/d?connect_timeout=2", 2.0)):
        ledger = new_ledger(url, patience_s=5.0)
        assert isinstance(ledger, PostgresLedger)
        assert ledger._address.connect_timeout_s == seconds
