"""What tests of PostgreSQL's engine share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy

from backstay.ledger import (
    Claimed,
    Finish,
    NewJob,
    State,
    WorkerRow,
    new_job_id,
)
from backstay.ledger.postgres import PostgresLedger
from tests.ledger.databases import POSTGRES_URL

__all__ = ["PARTS", "WORKER", "job", "joined", "opened", "success"]

WORKER = WorkerRow(id="w", host="h", pid=1, lease_s=30, concurrency=1, queues=("default",))
PARTS = urlsplit(POSTGRES_URL)


@asynccontextmanager
async def opened(
    schema: str | None, *, url: str = POSTGRES_URL, prefix: str = "backstay_"
) -> AsyncIterator[PostgresLedger]:
    ledger = PostgresLedger(url, schema=schema, prefix=prefix)
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.close()


def job(**rest: Any) -> NewJob:
    return NewJob(new_job_id(), "t", **rest)


def success(claimed: Claimed) -> Finish:
    return Finish(claimed.id, claimed.fence, State.SUCCEEDED)


@contextmanager
def joined(connection: sqlalchemy.Connection) -> Iterator[Any]:
    def execute(sql: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        result = connection.execute(sqlalchemy.text(sql), parameters)
        return result.all() if result.returns_rows else ()

    yield execute
