"""The store: events and minutes in the app's own database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from backstay.db.database import Database
from backstay.errors import BackstayError, BadEvents, DatabaseUnavailable, MissingExtra
from backstay.events import questions, tables
from backstay.events.event import Event, earliest_id
from backstay.events.minute import Minute
from backstay.events.questions import EventFilter
from backstay.events.tally import BUCKETS

try:
    from sqlalchemy import Select, case, delete, func, select, update
    from sqlalchemy.dialects import postgresql, sqlite
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.ext.asyncio import AsyncConnection
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = ["EventStore", "Keeping"]

_DELETED_AT_A_TIME = 1_000
_MINUTES_AT_A_TIME = 60
_BREATH_S = 0.01
_TURN_S = 60
_ADDED = (
    "count",
    "failed",
    "status_2xx",
    "status_3xx",
    "status_4xx",
    "status_5xx",
    "total_us",
    *BUCKETS,
)


@dataclass(frozen=True, slots=True)
class Keeping:
    """How much is kept.

    Attributes:
        events: how many events at most.
        events_s: seconds that an event is kept at most, from its beginning.
        minutes_s: the same for minutes.
    """

    events: int = 100_000
    events_s: float = 7 * 86_400
    minutes_s: float = 8 * 86_400


class EventStore:
    """Events and minutes, in SQLite or PostgreSQL. Any number of processes may have one.

    Every method may raise ``DatabaseUnavailable``: the database cannot be reached, or did not do
    it; and ``BadEvents``: what is found there is not ours, or of another version.

    Args:
        database: where. It stays its owner's, who closes it.
        create: whether to make the tables if they are missing.

    Raises:
        BadEvents: it is another kind of database.
    """

    def __init__(self, database: Database, *, create: bool = True) -> None:
        if database.dialect not in {"sqlite", "postgresql"}:
            raise BadEvents(
                f"events are kept in SQLite or PostgreSQL; {database.url} is {database.dialect}"
            )
        self.database = database
        self._create = create
        self._made: str | None = None

    async def make_ready(self) -> None:
        """See that the tables are there."""
        url = self.database.url
        if self._made == url:
            return
        async with _as_unavailable(url):
            async with self.database.reading() as connection:
                there = await connection.run_sync(_is_ours)
            if not there:
                engine = self.database.async_engine
                async with engine.begin() if self._create else engine.connect() as connection:
                    await connection.run_sync(tables.make_tables, create=self._create)
        self._made = url

    # ------------------------------------------------------------------ writing

    async def write(
        self,
        events: Sequence[Mapping[str, Any]],
        minutes: Sequence[Mapping[str, Any]],
        *,
        again: bool = False,
    ) -> None:
        """Write rows of ``rows.event_rows`` and ``rows.minute_rows``, all or none.

        Args:
            events: them.
            minutes: what to add to the table of minutes.
            again: nobody knows whether they have been written before; then nothing is counted
                twice, unless there are minutes alone.
        """
        async with self._writing() as connection:
            if again and events and await _is_there(connection, events[0]):
                return
            insert = self._insert
            if events:
                await connection.execute(
                    insert(tables.events).on_conflict_do_nothing(), [dict(each) for each in events]
                )
            if minutes:
                await connection.execute(self._upsert(), [dict(each) for each in minutes])

    @property
    def _insert(self) -> Any:
        return sqlite.insert if self.database.dialect == "sqlite" else postgresql.insert

    def _upsert(self) -> Any:
        insert = self._insert(tables.minutes)
        old, new = tables.minutes.c, insert.excluded
        added: dict[str, Any] = {name: old[name] + new[name] for name in _ADDED}
        added["max_us"] = case((new.max_us > old.max_us, new.max_us), else_=old.max_us)
        return insert.on_conflict_do_update(
            index_elements=[old.minute, old.kind, old.name], set_=added
        )

    # ------------------------------------------------------------------ pruning

    async def take_turn(self, now: datetime) -> bool:
        """Whether this process is the one to prune, which somebody may be once a minute."""
        seconds = int(now.timestamp())
        value = tables.facts.c.value
        async with self._writing() as connection:
            result = await connection.execute(
                update(tables.facts)
                .where(tables.facts.c.key == "pruned_at")
                .where(
                    # Nor does a clock that was wrong keep everybody from it for long.
                    (value <= f"{seconds - _TURN_S:012d}") | (value > f"{seconds + _TURN_S:012d}")
                )
                .values(value=f"{seconds:012d}")
            )
            return bool(result.rowcount)

    async def prune(self, keeping: Keeping, now: datetime) -> tuple[int, int]:
        """Delete what is too old or too much, a little at a time.

        Returns:
            How many events, and how many rows of minutes, are gone.
        """
        await self.make_ready()
        ids = tables.events.c.id
        too_many = await self._fetch(
            select(ids).order_by(ids.desc()).offset(keeping.events).limit(1)
        )
        too_old = earliest_id(now - timedelta(seconds=keeping.events_s))
        last = max([too_old, *(row.id for row in too_many)])
        events = minutes = 0
        oldest = select(ids).where(ids <= last).order_by(ids).limit(_DELETED_AT_A_TIME)
        while gone := await self._delete(delete(tables.events).where(ids.in_(oldest))):
            events += gone
            if gone < _DELETED_AT_A_TIME:
                break
            await asyncio.sleep(_BREATH_S)  # others write meanwhile
        minute = tables.minutes.c.minute
        end = int((now.timestamp() - keeping.minutes_s) // 60)
        while True:
            ((first,),) = await self._fetch(select(func.min(minute)))
            if first is None or first >= end:
                return events, minutes
            upto = min(end, first + _MINUTES_AT_A_TIME)
            minutes += await self._delete(delete(tables.minutes).where(minute < upto))
            await asyncio.sleep(_BREATH_S)

    async def _delete(self, statement: Any) -> int:
        async with self._writing() as connection:
            return int((await connection.execute(statement)).rowcount)

    # ------------------------------------------------------------------ reading

    async def find(
        self, which: EventFilter, *, limit: int = 50, before: str | None = None
    ) -> list[Event]:
        """Events, the newest first."""
        rows = await self._fetch(questions.select_events(which, limit=limit, before=before))
        return [questions.event_of(each) for each in rows]

    async def sums(
        self,
        since: datetime,
        until: datetime,
        *,
        kind: str | None = None,
        name: str | None = None,
        step: int | None = 1,
        by_name: bool = True,
        limit: int | None = None,
    ) -> list[Minute]:
        """Minutes, or sums of them.

        Args:
            since: from the minute of then on.
            until: up to the minute of then.
            kind: of these things only.
            name: the same.
            step: minutes that are added up; ``None``: all of them.
            by_name: whether names are told apart.
            limit: those with the highest counts only, so many, and not in the order of time.
        """
        first, end = questions.minutes_between(since, until)
        statement = questions.select_sums(
            first, end, kind=kind, name=name, step=step, by_name=by_name
        )
        if limit is None:
            statement = statement.order_by("at_minute", "kind", "name")
        else:
            statement = statement.order_by(func.sum(tables.minutes.c.count).desc(), "name")
            statement = statement.limit(limit)
        step_s = 60 * (step if step is not None else max(1, end - first))
        named = by_name or name is not None
        rows = await self._fetch(statement)
        return [questions.minute_of(each, step_s=step_s, named=named) for each in rows]

    # ------------------------------------------------------------------ the database

    async def _fetch(self, statement: Select[Any]) -> Sequence[Any]:
        await self.make_ready()
        async with self._watched():
            return await self.database.fetch(statement)

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        await self.make_ready()
        async with self._watched(), self.database.async_engine.begin() as connection:
            yield connection

    @asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        try:
            async with _as_unavailable(self.database.url):
                yield
        except DatabaseUnavailable:
            self._made = None  # perhaps somebody dropped the tables
            raise


def _is_ours(connection: Any) -> bool:
    """Whether the tables are there, without making them."""
    try:
        tables.make_tables(connection, create=False)
    except DatabaseUnavailable:
        return False
    return True


async def _is_there(connection: AsyncConnection, row: Mapping[str, Any]) -> bool:
    ids = tables.events.c.id
    return await connection.scalar(select(ids).where(ids == row["id"])) is not None


@asynccontextmanager
async def _as_unavailable(url: str) -> AsyncIterator[None]:
    """What drivers and SQLAlchemy raise, as one error."""
    try:
        yield
    except BackstayError:
        raise
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        said = str(getattr(error, "orig", None) or error).strip() or "it did not answer"
        raise DatabaseUnavailable(
            f"the events in {url} cannot be had: {type(error).__name__}: {said[:500]}"
        ) from error
