"""The table in PostgreSQL: made once, under a lock, and checked."""

import asyncio
from collections.abc import Iterator

import psycopg
import pytest

from backstay.errors import StateMismatch, StateUnavailable
from backstay.state import State, open_store
from backstay.state.postgres_tables import SCHEMA_VERSION, ddl
from tests.ledger.databases import POSTGRES_URL, need_postgres
from tests.state.stores import new_prefix, tidy_postgres
from tests.support import async_test


@pytest.fixture
def prefix() -> Iterator[str]:
    need_postgres()
    prefix = new_prefix()
    yield prefix
    tidy_postgres(prefix)


def execute(statement: str) -> None:
    with psycopg.connect(POSTGRES_URL, autocommit=True) as connection:
        connection.execute(statement)


@async_test
async def test_many_at_once_make_it_once(prefix: str) -> None:
    stores = await asyncio.gather(*(open_store(POSTGRES_URL, prefix=prefix) for _ in range(8)))
    await asyncio.gather(*(State(store, "s").incr("k") for store in stores))
    assert await State(stores[0], "s").get("k") == 8
    for store in stores:
        await store.close()


@async_test
async def test_a_schema_is_made_where_one_is_named(prefix: str) -> None:
    schema = prefix.rstrip("_")
    try:
        store = await open_store(POSTGRES_URL, prefix=prefix, schema=schema)
        await State(store, "s").set("k", 1)
        await store.close()
        with psycopg.connect(POSTGRES_URL) as connection:
            found = connection.execute(f"SELECT count(*) FROM {schema}.{prefix}state").fetchone()
        assert found == (1,)
    finally:
        execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


@async_test
async def test_what_ddl_prints_is_what_opening_looks_for(prefix: str) -> None:
    execute(ddl(prefix))
    store = await open_store(POSTGRES_URL, prefix=prefix, schema="public")
    assert await State(store, "s").incr("k") == 1
    await store.close()


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        ("CREATE TABLE {p}state (a int)", "state stands alone"),
        ("CREATE TABLE {p}state (a int); CREATE TABLE {p}state_meta (a int)", "is not ours"),
        (
            "CREATE TABLE {p}state (a int); CREATE TABLE {p}state_meta (key text, value text)",
            "says made_by=None",
        ),
        (
            (
                "CREATE TABLE {p}state (a int); CREATE TABLE {p}state_meta (key text, value text);"
                "INSERT INTO {p}state_meta VALUES ('made_by', 'backstay state'),"
                "('schema_version', '99')"
            ),
            f"schema_version='99', and this backstay knows {SCHEMA_VERSION}",
        ),
    ],
)
@async_test
async def test_what_is_not_ours_is_refused(prefix: str, statements: str, says: str) -> None:
    execute(statements.replace("{p}", prefix))
    with pytest.raises(StateMismatch, match=says) as caught:
        await open_store(POSTGRES_URL, prefix=prefix)
    assert "table_prefix=" in str(caught.value)


@async_test
async def test_a_role_that_may_not_make_it_is_told_who_may_and_how(prefix: str) -> None:
    role = prefix.rstrip("_")
    execute(
        f"CREATE ROLE {role} LOGIN; CREATE SCHEMA {role}; GRANT USAGE ON SCHEMA {role} TO {role}"
    )
    try:
        address = POSTGRES_URL.replace("//postgres@", f"//{role}@")
        with pytest.raises(
            StateUnavailable, match="may not make it.*CREATE rights.*GRANT"
        ) as caught:
            await open_store(address, prefix=prefix, schema=role)
        assert f'ddl("{prefix}", "{role}")' in str(caught.value)
    finally:
        execute(f"DROP SCHEMA {role} CASCADE; DROP ROLE {role}")
