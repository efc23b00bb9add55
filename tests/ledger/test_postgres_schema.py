"""The tables in PostgreSQL, and how they come to be."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import sqlalchemy

from backstay.errors import LedgerMismatch, LedgerUnavailable
from backstay.ledger import (
    Gate,
    JobFilter,
    UniqueKey,
)
from backstay.ledger.postgres import PostgresLedger
from tests.ledger.databases import POSTGRES_URL, fresh_schema, need_postgres
from tests.ledger.postgres_stage import PARTS, WORKER, job, opened, success
from tests.support import async_test


@pytest.fixture
def schema() -> Iterator[str]:
    need_postgres()
    with fresh_schema() as (name, _):
        yield name


@pytest.fixture
def engine() -> Iterator[sqlalchemy.Engine]:
    need_postgres()
    engine = sqlalchemy.create_engine(POSTGRES_URL.replace("postgresql:", "postgresql+psycopg:", 1))
    yield engine
    engine.dispose()


@pytest.fixture
def role(schema: str, engine: sqlalchemy.Engine) -> Iterator[str]:
    """The URL of a role that may use the schema and its tables, and make nothing."""
    name = f"r_{uuid.uuid4().hex[:20]}"
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN")
        connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {schema} TO {name}")
        connection.exec_driver_sql(
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} "
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {name}"
        )
    yield POSTGRES_URL.replace(f"{PARTS.username}@", f"{name}@")
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {name}")
        connection.exec_driver_sql(f"DROP ROLE {name}")


@async_test
async def test_several_engines_that_open_at_once_make_the_tables_once(schema: str) -> None:
    ledgers = [PostgresLedger(POSTGRES_URL, schema=schema) for _ in range(6)]
    await asyncio.gather(*(ledger.open() for ledger in ledgers))
    await asyncio.gather(*(ledger.insert([job()]) for ledger in ledgers))
    assert len(await ledgers[0].find(JobFilter())) == 6
    await asyncio.gather(*(ledger.close() for ledger in ledgers))


@async_test
async def test_a_schema_that_is_missing_is_made(schema: str, engine: sqlalchemy.Engine) -> None:
    made = f"{schema}_m"
    try:
        async with opened(made) as ledger:
            await ledger.insert([job()])
            assert len(await ledger.find(JobFilter())) == 1
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"DROP SCHEMA {made} CASCADE")


@async_test
async def test_ledgers_with_other_prefixes_or_schemas_know_nothing_of_each_other(
    schema: str,
) -> None:
    async with opened(schema) as one, opened(schema, prefix="other_") as other:
        await one.insert([job()])
        assert await other.find(JobFilter()) == []


@async_test
async def test_without_a_schema_the_first_of_the_search_path_is_used(
    schema: str, role: str, engine: sqlalchemy.Engine
) -> None:
    name = urlsplit(role).username
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"ALTER ROLE {name} SET search_path TO missing, {schema}, public"
        )
    async with opened(schema) as by_name, opened(None, url=role) as by_path:
        await by_name.insert([job()])
        assert len(await by_path.find(JobFilter())) == 1


@async_test
async def test_a_role_that_may_make_nothing_says_what_has_to_be_done(
    schema: str, role: str
) -> None:
    with pytest.raises(LedgerUnavailable, match=r"may not make them") as caught:
        await PostgresLedger(role, schema=schema).open()
    said = str(caught.value)
    assert f'ddl("backstay_", "{schema}")' in said
    assert "let a role with CREATE rights start once" in said


@async_test
async def test_a_role_that_may_make_nothing_runs_where_the_tables_are(
    schema: str, role: str
) -> None:
    async with opened(schema):
        pass
    async with opened(schema, url=role) as ledger:
        [inserted] = await ledger.insert([job(gate=Gate("g", limit=1), unique=UniqueKey("k"))])
        await ledger.register(WORKER)
        [claimed] = (await ledger.claim("w", {"default": 5})).jobs
        assert claimed.id == inserted.id
        assert await ledger.finish([success(claimed)]) == set()
        assert await ledger.delete(JobFilter()) == 1


@async_test
async def test_tables_of_somebody_else_are_refused(schema: str, engine: sqlalchemy.Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE {schema}.backstay_jobs (id int)")
    with pytest.raises(LedgerMismatch, match="found backstay_jobs in schema"):
        await PostgresLedger(POSTGRES_URL, schema=schema).open()
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE {schema}.backstay_meta (name int)")
    with pytest.raises(LedgerMismatch, match="backstay_meta"):
        await PostgresLedger(POSTGRES_URL, schema=schema).open()


@async_test
async def test_tables_of_another_version_are_refused(
    schema: str, engine: sqlalchemy.Engine
) -> None:
    async with opened(schema):
        pass
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE {schema}.backstay_meta SET value = '99' WHERE key = 'schema_version'"
        )
    with pytest.raises(LedgerMismatch, match="schema_version='99'.*upgrade"):
        await PostgresLedger(POSTGRES_URL, schema=schema).open()
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM {schema}.backstay_meta")
    with pytest.raises(LedgerMismatch, match="made_by=None"):
        await PostgresLedger(POSTGRES_URL, schema=schema).open()


@async_test
async def test_who_only_looks_makes_nothing(schema: str, engine: sqlalchemy.Engine) -> None:
    for name in (schema, f"{schema}_none"):
        with pytest.raises(
            LedgerUnavailable, match="begins with 'backstay_', so there are no jobs"
        ):
            await PostgresLedger(POSTGRES_URL, schema=name).open(create=False)
    with engine.connect() as connection:
        made = connection.exec_driver_sql(
            f"SELECT (SELECT count(*) FROM pg_tables WHERE schemaname = '{schema}') "
            f"+ (SELECT count(*) FROM pg_namespace WHERE nspname = '{schema}_none')"
        )
        assert made.scalar() == 0
    async with opened(schema):
        looking = PostgresLedger(POSTGRES_URL, schema=schema)
        await looking.open(create=False)
        assert await looking.counts() == []
        await looking.close()
