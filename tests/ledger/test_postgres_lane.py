"""Connections to PostgreSQL, and what their errors mean."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import sqlalchemy

from backstay.errors import LedgerUnavailable
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


class Line:
    """A line to the server that can be cut and mended."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        while self._writers:
            await asyncio.sleep(0)

    @property
    def url(self) -> str:
        return f"postgresql://{PARTS.username}@127.0.0.1:{self.port}{PARTS.path}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far = await asyncio.open_connection(PARTS.hostname, PARTS.port or 5432)
        self._writers |= {writer, far}

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    target.write(data)
                    await target.drain()
            target.transport.abort()

        await asyncio.gather(pump(reader, far), pump(far_reader, writer))
        self._writers -= {writer, far}


@async_test
async def test_rights_that_are_missing_are_named(
    schema: str, role: str, engine: sqlalchemy.Engine
) -> None:
    async with opened(schema):
        pass
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"REVOKE INSERT ON {schema}.backstay_jobs FROM {urlsplit(role).username}"
        )
    async with opened(schema, url=role) as ledger:
        with pytest.raises(LedgerUnavailable, match="GRANT SELECT, INSERT"):
            await ledger.insert([job()])


@async_test
async def test_a_server_that_is_not_there_is_named() -> None:
    ledger = PostgresLedger("postgresql://anna:secret@127.0.0.1:1/shop")
    with pytest.raises(LedgerUnavailable, match="127.0.0.1:1/shop") as caught:
        await ledger.open()
    assert "secret" not in str(caught.value)


@async_test
async def test_a_database_that_does_not_exist_is_named(schema: str) -> None:
    with pytest.raises(LedgerUnavailable, match=schema):
        await PostgresLedger(POSTGRES_URL.replace(PARTS.path, f"/{schema}")).open()


@async_test
async def test_a_roles_defaults_do_not_matter(
    schema: str, role: str, engine: sqlalchemy.Engine
) -> None:
    name = urlsplit(role).username
    with engine.begin() as connection:
        for setting in (
            "TimeZone TO 'Asia/Kathmandu'",
            "default_transaction_isolation TO 'serializable'",
            "DateStyle TO 'German'",
            "IntervalStyle TO 'sql_standard'",
        ):
            connection.exec_driver_sql(f"ALTER ROLE {name} SET {setting}")
    async with opened(schema), opened(schema, url=role) as ledger:
        before = await ledger.now()
        [inserted] = await ledger.insert([job(delay_s=60)])
        row = (await ledger.get([inserted.id]))[inserted.id]
        assert (row.run_at - row.created_at).total_seconds() == 60
        assert before <= row.created_at <= await ledger.now()
        connection = await ledger._open.claimer._lane.connected()
        assert await connection.fetchval("SHOW transaction_isolation") == "read committed"


@async_test
async def test_work_goes_on_once_the_server_is_back(schema: str) -> None:
    line = Line()
    await line.mend()
    async with opened(schema, url=line.url) as ledger:
        await ledger.register(WORKER)
        await ledger.insert([job(), job()])
        [first, _] = (await ledger.claim("w", {"default": 2})).jobs
        await line.cut()
        for attempt in (
            ledger.insert([job()]),
            ledger.claim("w", {"default": 1}),
            ledger.finish([success(first)]),
            ledger.cancel(first.id, "x"),
            ledger.counts(),
        ):
            with pytest.raises(LedgerUnavailable, match=f"127.0.0.1:{line.port}"):
                await attempt
        await line.mend()
        await ledger.insert([job()])
        assert len((await ledger.claim("w", {"default": 5})).jobs) == 1
        assert await ledger.finish([success(first)]) == set()
        await line.cut()
