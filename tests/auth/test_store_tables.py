"""The tables are made once, whole, and only where nothing else stands."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from backstay.auth.database_store import DatabaseAuthStore
from backstay.auth.store_tables import AuthTables, Instant, Texts, ddl
from backstay.db.database import Database
from backstay.errors import BadAuth
from tests.auth.auth_stores import a_database
from tests.db.places import at
from tests.jobs.desks import needs_postgres
from tests.support import async_test

EITHER = ["sqlite", pytest.param("postgresql+asyncpg", marks=needs_postgres)]
NAMES = {
    *("backstay_auth_sessions", "backstay_auth_refresh", "backstay_auth_revocations"),
    *("backstay_auth_api_keys", "backstay_auth_meta"),
}


async def names_in(database: Database) -> set[str]:
    async with database.reading() as connection:
        return set(await connection.run_sync(lambda sync: sa.inspect(sync).get_table_names()))


async def change(database: Database, statement: str) -> None:
    async with database.async_engine.begin() as connection:
        await connection.execute(sa.text(statement))


@given(
    st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-7, minutes=-13))])),
    st.datetimes(timezones=st.just(UTC)),
)
def test_times_are_stored_exactly_and_in_order(one: datetime, other: datetime) -> None:
    kind = Instant()
    stored, others = (kind.process_bind_param(each, None) for each in (one, other))
    assert stored is not None
    assert others is not None
    assert kind.process_result_value(stored, None) == one
    assert (stored < others) == (one < other)
    assert abs(stored) < 2**63


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        Instant().process_bind_param(datetime(2027, 1, 1), None)


@given(st.lists(st.text()))
def test_texts_come_back_whatever_is_in_them(texts: list[str]) -> None:
    stored = Texts().process_bind_param(tuple(texts), None)
    assert Texts().process_result_value(stored, None) == tuple(texts)


@pytest.mark.parametrize("kind", EITHER)
def test_several_processes_may_make_them_at_once(kind: str, tmp_path: Path) -> None:
    with at(kind, tmp_path) as url:

        @async_test
        async def make() -> None:
            databases = [Database(url) for _ in range(5)]
            stores = [DatabaseAuthStore(each, owned=True) for each in databases]
            await asyncio.gather(*(each.open() for each in stores))
            assert await names_in(databases[0]) == NAMES
            for each in stores:
                await each.close()

        make()


@pytest.mark.parametrize("kind", EITHER)
@async_test
async def test_each_prefix_has_its_own(kind: str, tmp_path: Path) -> None:
    async with a_database(kind, tmp_path) as database:
        for prefix in ("backstay_", "other_"):
            await DatabaseAuthStore(database, prefix=prefix, owned=True).open()
        found = await names_in(database)
        assert found == NAMES | {each.replace("backstay_", "other_") for each in NAMES}


@pytest.mark.parametrize("kind", EITHER)
@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE backstay_auth_meta SET value = '99' WHERE key = 'schema_version'", "99.*knows 1"),
        ("DELETE FROM backstay_auth_meta WHERE key = 'schema_version'", "None.*knows 1"),
        ("UPDATE backstay_auth_meta SET value = 'me' WHERE key = 'made_by'", "made_by='me'"),
        ("DROP TABLE backstay_auth_revocations", "without backstay_auth_revocations"),
        ("ALTER TABLE backstay_auth_meta RENAME COLUMN value TO worth", "is not ours"),
    ],
)
@async_test
async def test_what_is_not_ours_is_refused_and_left(
    kind: str, statement: str, says: str, tmp_path: Path
) -> None:
    async with a_database(kind, tmp_path) as database:
        await DatabaseAuthStore(database, owned=True).open()
        await change(database, statement)
        before = await names_in(database)
        with pytest.raises(BadAuth, match=says) as caught:
            await DatabaseAuthStore(database).open()
        assert "prefix" in str(caught.value)
        assert await names_in(database) == before


@pytest.mark.parametrize("kind", EITHER)
@async_test
async def test_they_may_be_made_by_hand(kind: str, tmp_path: Path) -> None:
    async with a_database(kind, tmp_path) as database:
        for statement in ddl(dialect=database.dialect).split(";\n"):
            if statement:
                await change(database, statement)
        assert await names_in(database) == NAMES
        store = DatabaseAuthStore(database, owned=True)
        await store.open()
        assert await store.api_keys() == []


@pytest.mark.parametrize("prefix", ["", "Shop_", "a-b", 'x"; DROP TABLE y; --', "x" * 32, "a\n"])
def test_a_prefix_is_a_plain_name(prefix: str) -> None:
    with pytest.raises(BadAuth, match="prefix="):
        AuthTables(prefix)


def test_everything_that_is_looked_up_has_an_index() -> None:
    indexed = {
        (table.name.removeprefix("backstay_auth_"), column.name)
        for table in AuthTables().metadata.tables.values()
        for column in [
            *list(table.primary_key)[:1],
            *(each for index in table.indexes for each in index.columns),
        ]
    }
    assert indexed >= {
        *(("refresh", name) for name in ("digest", "session", "expires_at")),
        *(("sessions", name) for name in ("session", "subject", "expires_at")),
        *(("revocations", name) for name in ("kind", "expires_at", "noted_at")),
        *(("api_keys", name) for name in ("id", "owner")),
    }
