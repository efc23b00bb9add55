"""Events are written whole, counted once, read as they were, and deleted in time."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from backstay.db import Database
from backstay.errors import BadEvents, DatabaseUnavailable
from backstay.events import EventStore, Masking
from backstay.events.questions import EventFilter
from backstay.events.rows import event_rows
from backstay.events.store import Keeping
from tests.events.journal import BOTH, EVERY_KIND, START, a_minute, journal, seen
from tests.support import async_test

ALL = EventFilter()


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_what_is_written_is_read(kind: str, tmp_path: Path) -> None:
    async with journal(kind, tmp_path) as mine:
        told = seen(
            5,
            error=("ValueError", "naïve 'quotes' \"and\" \N{ROCKET}"),
            outcome="failed",
            status=None,
            facts={"ключ": ["значение", 1.5, None, {"a": True}]},
        )
        await mine.store.write(event_rows([told], Masking()), [])
        (found,) = await mine.store.find(ALL)
        assert found.started_at == told.started_at
        assert found.duration_ms == pytest.approx(12)
        assert found.error == "ValueError: naïve 'quotes' \"and\" \N{ROCKET}"
        assert found.facts == told.facts
        assert (found.kind, found.name, found.correlation_id) == told[:3]
        assert found.failed


@pytest.mark.parametrize("kind", BOTH)
@async_test
async def test_a_batch_whose_commit_nobody_heard_of_is_not_counted_twice(
    kind: str, tmp_path: Path
) -> None:
    async with journal(kind, tmp_path) as mine:
        rows = event_rows([seen(1), seen(2)], Masking())
        await mine.store.write(rows, [a_minute()])
        await mine.store.write(rows, [a_minute()], again=True)
        assert len(await mine.store.find(ALL)) == 2
        (minute,) = await mine.events.minutes(since=START)
        assert minute.count == 1
        other = event_rows([seen(3)], Masking())
        await mine.store.write(other, [a_minute()], again=True)  # this one had not come through
        (minute,) = await mine.events.minutes(since=START)
        assert minute.count == 2


@pytest.mark.parametrize("kind", EVERY_KIND)
@async_test
async def test_what_several_processes_count_is_added_up(kind: str, tmp_path: Path) -> None:
    async with journal(kind, tmp_path) as mine:
        others = [
            EventStore(Database(mine.database.address, options={"pool_size": 1})) for _ in range(4)
        ]
        names = [f"GET /{each}" for each in "abcdef"]
        rows = [a_minute(name=name, max_us=us) for name in names for us in (5, 9, 7)]

        async def write(store: EventStore) -> None:
            for _ in range(5):
                await store.write([], rows)

        try:
            await asyncio.gather(*map(write, others))
        finally:
            for each in others:
                await each.database.close()
        minutes = await mine.events.minutes(since=START)
        assert [each.name for each in minutes] == names
        assert {each.count for each in minutes} == {4 * 5 * 3}
        assert {each.status_2xx for each in minutes} == {4 * 5 * 3}
        assert {each.max_ms for each in minutes} == {0.009}
        assert {sum(each.histogram) for each in minutes} == {4 * 5 * 3}


@pytest.mark.parametrize("kind", BOTH)
@async_test
async def test_ten_thousand_events_are_pruned_to_the_newest(kind: str, tmp_path: Path) -> None:
    async with journal(kind, tmp_path, keeping=Keeping(events=1_500)) as mine:
        await mine.fill(10_000)
        await mine.clock.advance(10_000)
        assert await mine.events.prune() == (8_500, 0)
        kept = await mine.store.find(ALL, limit=1_000)
        assert kept[0].facts["path"] == "/items/9999"
        (found,) = await mine.database.fetch(
            sa.text("SELECT count(*) AS count, min(started_us) AS oldest FROM backstay_events")
        )
        assert found._mapping["count"] == 1_500
        assert found.oldest == (START + timedelta(seconds=8_500)).timestamp() * 1_000_000
        assert await mine.events.prune() == (0, 0)


@pytest.mark.parametrize("kind", BOTH)
@async_test
async def test_what_is_too_old_goes_events_and_minutes_each_in_its_time(
    kind: str, tmp_path: Path
) -> None:
    keeping = Keeping(events_s=3_600, minutes_s=7_200)
    async with journal(kind, tmp_path, keeping=keeping) as mine:
        await mine.fill(2)
        await mine.add_minutes(
            *(a_minute(START + timedelta(minutes=each)) for each in range(0, 600, 25))
        )
        await mine.clock.advance(3_600.5)
        assert await mine.events.prune() == (1, 0)
        await mine.clock.advance(6 * 3_600)
        events, minutes = await mine.events.prune()
        assert events == 1
        left = await mine.store.sums(START, START + timedelta(days=1))
        assert minutes == 24 - len(left)
        assert min(each.at for each in left) >= mine.clock.now() - timedelta(seconds=7_260)


@pytest.mark.parametrize("kind", BOTH)
@async_test
async def test_one_process_prunes_once_a_minute(kind: str, tmp_path: Path) -> None:
    async with journal(kind, tmp_path) as mine:
        now = mine.clock.now()
        turns = await asyncio.gather(*(mine.store.take_turn(now) for _ in range(5)))
        assert sorted(turns) == [False] * 4 + [True]
        assert not await mine.store.take_turn(now + timedelta(seconds=59))
        assert await mine.store.take_turn(now + timedelta(seconds=60))


@async_test
async def test_a_clock_that_went_wrong_keeps_nobody_from_pruning(tmp_path: Path) -> None:
    async with journal("sqlite", tmp_path) as mine:
        now = mine.clock.now()
        assert await mine.store.take_turn(now + timedelta(days=400))
        assert await mine.store.take_turn(now)


@pytest.mark.parametrize("kind", BOTH)
@async_test
async def test_two_who_prune_at_once_delete_everything_once(kind: str, tmp_path: Path) -> None:
    async with journal(kind, tmp_path, keeping=Keeping(events=100)) as mine:
        await mine.fill(4_000)
        done = await asyncio.gather(mine.events.prune(), mine.events.prune())
        assert sum(events for events, _ in done) == 3_900


@pytest.mark.parametrize("kind", BOTH)
@async_test
async def test_tables_that_were_dropped_are_made_again(kind: str, tmp_path: Path) -> None:
    async with journal(kind, tmp_path) as mine:
        await mine.fill(1)
        with mine.database.engine.begin() as connection:
            for name in ("backstay_events", "backstay_event_minutes", "backstay_events_meta"):
                connection.execute(sa.text(f"DROP TABLE {name}"))
        with pytest.raises(DatabaseUnavailable):
            await mine.fill(1)
        await mine.fill(1)
        assert len(await mine.store.find(ALL)) == 1


@async_test
async def test_a_database_that_is_away_is_said_to_be_without_its_password() -> None:
    database = Database("postgresql+asyncpg://shop:hunter2@127.0.0.1:1/shop")
    store = EventStore(database)
    for call in (store.make_ready(), store.find(ALL), store.write([], [a_minute()])):
        with pytest.raises(DatabaseUnavailable, match="cannot be had") as told:
            await call
        assert "hunter2" not in str(told.value)
    await database.close()


def test_other_kinds_of_databases_are_refused() -> None:
    class Other:
        dialect = "mysql"
        url = "mysql://db/shop"

    with pytest.raises(BadEvents, match="SQLite or PostgreSQL; mysql://db/shop is mysql"):
        EventStore(Other())  # type: ignore[arg-type]  # as much of one as it looks at
