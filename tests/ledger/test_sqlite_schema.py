"""The tables: made once, by whoever comes first, and never out of what is not ours."""

import sqlite3
from collections.abc import Iterator

import pytest

from backstay.errors import LedgerMismatch, LedgerUnavailable
from backstay.ledger import sqlite_schema
from backstay.ledger.sqlite_schema import SCHEMA_VERSION, found_version, migrate


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def test_an_empty_database_gets_the_tables(connection: sqlite3.Connection) -> None:
    assert found_version(connection, "backstay_", "it") == 0
    migrate(connection, "backstay_", "it")
    assert found_version(connection, "backstay_", "it") == SCHEMA_VERSION
    assert not connection.in_transaction


def test_every_name_carries_the_prefix(connection: sqlite3.Connection) -> None:
    migrate(connection, "shop_", "it")
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master")]
    assert all(name.startswith(("shop_", "sqlite_autoindex_shop_")) for name in names)


def test_nothing_is_written_if_the_version_is_right(connection: sqlite3.Connection) -> None:
    migrate(connection, "backstay_", "it")
    connection.execute("PRAGMA query_only = 1")
    migrate(connection, "backstay_", "it")


def test_tables_without_our_mark_are_refused_and_named(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE backstay_jobs (id)")
    with pytest.raises(
        LedgerMismatch, match="it has backstay_jobs but no backstay_meta.*another prefix"
    ):
        migrate(connection, "backstay_", "it")


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE backstay_meta SET value = '99' WHERE key = 'schema_version'", "of version 99"),
        ("UPDATE backstay_meta SET value = 'x' WHERE key = 'schema_version'", "no number"),
        ("DELETE FROM backstay_meta WHERE key = 'schema_version'", "schema_version=None"),
        ("UPDATE backstay_meta SET value = 'rival' WHERE key = 'made_by'", "made_by='rival'"),
        ("ALTER TABLE backstay_meta RENAME COLUMN key TO name", "no such column: key"),
    ],
)
def test_what_is_not_ours_or_newer_is_refused_with_what_was_found(
    connection: sqlite3.Connection, statement: str, message: str
) -> None:
    migrate(connection, "backstay_", "it")
    connection.execute(statement)
    with pytest.raises(LedgerMismatch, match=message):
        migrate(connection, "backstay_", "it")


def test_a_migration_that_fails_leaves_nothing_behind(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE other (id)")
    connection.execute("CREATE INDEX backstay_edges_open ON other (id)")
    with pytest.raises(sqlite3.OperationalError, match="backstay_edges_open already exists"):
        migrate(connection, "backstay_", "it")
    assert found_version(connection, "backstay_", "it") == 0
    assert not connection.in_transaction


def test_who_only_looks_makes_no_tables(connection: sqlite3.Connection) -> None:
    with pytest.raises(LedgerUnavailable, match="'backstay_'; it is empty"):
        migrate(connection, "backstay_", "it", create=False)
    connection.execute("CREATE TABLE orders (id)")
    with pytest.raises(LedgerUnavailable, match="it has 1 other table"):
        migrate(connection, "backstay_", "it", create=False)
    assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)


def test_who_only_looks_changes_no_older_tables(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(connection, "backstay_", "it")
    migrate(connection, "backstay_", "it", create=False)
    monkeypatch.setattr(sqlite_schema, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    with pytest.raises(LedgerMismatch, match=f"of version {SCHEMA_VERSION}, .* start an app"):
        migrate(connection, "backstay_", "it", create=False)
    assert found_version(connection, "backstay_", "it") == SCHEMA_VERSION
