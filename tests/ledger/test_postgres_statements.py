"""Statements that stand for themselves are understood by PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backstay.ledger import postgres_statements
from tests.ledger.databases import fresh_schema, need_postgres
from tests.ledger.postgres_stage import opened
from tests.support import async_test


@pytest.fixture
def schema() -> Iterator[str]:
    need_postgres()
    with fresh_schema() as (name, _):
        yield name


@async_test
async def test_each_of_them_can_be_prepared(schema: str) -> None:
    async with opened(schema) as ledger:
        connection = await ledger._open.looking.connected()
        for name in postgres_statements.__all__:
            statement = getattr(postgres_statements, name).replace("$where", "true")
            await connection.prepare(ledger._open.tables[statement])
