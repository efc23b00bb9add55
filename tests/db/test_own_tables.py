"""Backstay's own tables are found by their signature, and nothing else is taken for them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from backstay.auth.database_store import DatabaseAuthStore
from backstay.db import MainDatabaseManager
from backstay.db.own_tables import OwnTables
from backstay.ledger.opening import new_ledger
from backstay.state.opening import new_store
from tests.db.migrating import Migrations, tables_of
from tests.db.places import at
from tests.jobs.desks import needs_postgres
from tests.support import async_test

EITHER = ["sqlite", pytest.param("postgresql", marks=needs_postgres)]
NOT_OURS = {
    "backstay_jobs_archive": "id INTEGER NOT NULL PRIMARY KEY",
    "backstay_meta_of_mine": "key TEXT NOT NULL PRIMARY KEY, value TEXT",
    "my_jobs": "id INTEGER NOT NULL PRIMARY KEY",
    "my_meta": "key TEXT NOT NULL PRIMARY KEY, value TEXT",
    "other_meta": "id INTEGER NOT NULL PRIMARY KEY",
    "numbers_meta": "key INTEGER NOT NULL PRIMARY KEY, value INTEGER",
}


@contextlib.contextmanager
def furnished(kind: str, folder: Path) -> Iterator[MainDatabaseManager]:
    """A database in which jobs, state and a cache were kept, by two apps, beside other tables."""
    with at(kind, folder) as url:
        manager = MainDatabaseManager(url, DEV_STATUS=True)
        schema = url.rpartition("%3D")[2] if kind == "postgresql" else None
        plain = url.partition("?")[0]

        @async_test
        async def furnish() -> None:
            for prefix in ("backstay_", "second_"):
                ledger = new_ledger(plain, prefix=prefix, schema=schema)
                await ledger.open()
                await ledger.close()
            for prefix in ("backstay_", "second_", "backstay_cache_"):
                store = new_store(plain, prefix=prefix, schema=schema)
                await store.open()
                await store.close()

        furnish()
        with manager.engine.begin() as connection:
            for name, columns in NOT_OURS.items():
                connection.execute(sa.text(f"CREATE TABLE {name} ({columns})"))
            connection.execute(sa.text("INSERT INTO my_meta VALUES ('made_by', 'me')"))
        try:
            yield manager
        finally:
            manager.engine.dispose()


@pytest.mark.parametrize("kind", EITHER)
def test_all_of_them_are_found_whatever_their_prefix_and_no_others(
    kind: str, tmp_path: Path
) -> None:
    with furnished(kind, tmp_path) as manager:
        everything = tables_of(manager)
        assert len(everything) == 2 * 7 + 3 * 2 + len(NOT_OURS)
        with manager.engine.connect() as connection:
            own = OwnTables(connection)
            assert own.names() == everything - NOT_OURS.keys()
            assert own.names() is own.names()
            assert connection.scalar(sa.text("SELECT 1")) == 1  # the transaction goes on


@pytest.mark.parametrize("kind", EITHER)
def test_migrations_see_the_apps_tables_only(kind: str, tmp_path: Path) -> None:
    with furnished(kind, tmp_path) as manager:
        for name, columns in NOT_OURS.items():
            key, *rest = columns.split(", ")
            made = [sa.Column(key.split()[0], _type(key), primary_key=True)]
            made += [sa.Column(each.split()[0], _type(each)) for each in rest]
            sa.Table(name, manager.Base.metadata, *made)
        migrations = Migrations(tmp_path, manager)
        migrations.check()
        gone = manager.Base.metadata.tables["backstay_jobs_archive"]
        manager.Base.metadata.remove(gone)
        text = migrations.revise()
        assert text is not None
        assert text.count("op.drop_table(") == 1
        assert "op.drop_table('backstay_jobs_archive')" in text
        assert "index" not in text


def _type(column: str) -> type[sa.types.TypeEngine[object]]:
    return sa.Integer if "INTEGER" in column else sa.Text


@needs_postgres
def test_each_schema_has_its_own(tmp_path: Path) -> None:
    with furnished("postgresql", tmp_path) as manager, at("postgresql", tmp_path) as other:
        schema = other.rpartition("%3D")[2]
        plain = other.partition("?")[0]

        @async_test
        async def furnish() -> None:
            ledger = new_ledger(plain, prefix="third_", schema=schema)
            await ledger.open()
            await ledger.close()

        furnish()
        with manager.engine.connect() as connection:
            own = OwnTables(connection)
            assert "third_jobs" not in own.names()
            assert own.names(schema) == tables_of(manager, schema)


@pytest.mark.parametrize("kind", EITHER)
def test_those_of_sessions_and_keys_are_found_too(kind: str, tmp_path: Path) -> None:
    with furnished(kind, tmp_path) as manager:
        before = tables_of(manager)

        @async_test
        async def guard() -> None:
            for prefix in ("backstay_", "second_"):
                store = DatabaseAuthStore(manager.database, prefix=prefix)
                await store.open()
                await store.close()
            await manager.database.close()

        guard()
        made = tables_of(manager) - before
        assert len(made) == 2 * 5
        with manager.engine.connect() as connection:
            assert OwnTables(connection).names() >= made
