"""Stores of every kind, and things that have happened, for tests of events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backstay.db import Database
from backstay.events import Events, EventStore, Masking
from backstay.events.collector import Collector, Seen
from backstay.events.rows import event_rows, minute_rows
from backstay.events.sampling import Sampling
from backstay.events.store import Keeping
from backstay.events.writer import Writer
from backstay.testing import FakeClock
from tests.db.places import at
from tests.jobs.desks import needs_postgres

__all__ = ["BOTH", "EVERY_KIND", "START", "Journal", "a_minute", "journal", "seen"]

BOTH = ["sqlite", pytest.param("postgresql+asyncpg", marks=needs_postgres)]
EVERY_KIND = [*BOTH, pytest.param("postgresql+psycopg", marks=needs_postgres)]
START = FakeClock().now()


def seen(number: int = 0, **changes: Any) -> Seen:
    """A request, so many seconds after the start."""
    plain = Seen(
        kind="request",
        name="GET /items/{item_id}",
        correlation_id=f"work-{number}",
        started_at=START + timedelta(seconds=number),
        duration_s=0.012,
        outcome="ok",
        status=200,
        error=None,
        facts={"method": "GET", "path": f"/items/{number}", "route": "/items/{item_id}"},
    )
    return plain._replace(**changes)


def a_minute(at: datetime = START, **changes: Any) -> dict[str, Any]:
    """A row of the table of minutes: one request of 12 ms."""
    collector = Collector(FakeClock(), Sampling.of(1.0), queue=10, batch=10)
    collector.record(seen(started_at=at))
    (row,) = collector.tally.take()
    return {**row, **changes}


@dataclass
class Journal:
    """A store, and everything that leads to it, on a clock of the test's."""

    clock: FakeClock
    database: Database
    store: EventStore
    collector: Collector
    writer: Writer
    events: Events

    async def write(self, *several: Seen) -> None:
        """Have them written, as if they had been seen."""
        for each in several:
            self.collector.record(each)
        await self.events.flush()

    async def fill(self, count: int) -> None:
        """Many, in the cheapest way."""
        rows = event_rows((seen(number) for number in range(count)), Masking())
        for start in range(0, count, 2_000):
            await self.store.write(rows[start : start + 2_000], [])

    async def add_minutes(self, *rows: dict[str, Any]) -> None:
        await self.store.write([], minute_rows(rows, Masking()))


@asynccontextmanager
async def journal(
    kind: str,
    folder: Path,
    *,
    queue: int = 10_000,
    batch: int = 200,
    sample: Any = 1.0,
    keeping: Keeping | None = None,
) -> AsyncIterator[Journal]:
    keeping = keeping or Keeping()
    clock = FakeClock()
    with at(kind, folder) as url:
        database = Database(url)
        store = EventStore(database)
        collector = Collector(clock, Sampling.of(sample), queue=queue, batch=batch)
        writer = Writer(
            collector, store, Masking(), clock, batch=batch, every_s=1.0, keeping=keeping
        )
        events = Events(store, collector, Masking(), clock, keeping, writer=writer)
        try:
            yield Journal(clock, database, store, collector, writer, events)
        finally:
            await database.close()
