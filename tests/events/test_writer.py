"""What was collected is written beside the work, whatever the database does."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DataError, OperationalError

from backstay.errors import DatabaseUnavailable
from backstay.events import Masking
from backstay.events.collector import Collector
from backstay.events.sampling import Sampling
from backstay.events.store import Keeping
from backstay.events.writer import Writer
from backstay.testing import FakeClock
from tests.events.journal import BOTH, journal, seen
from tests.support import async_test


class FakeStore:
    """Holds what it is given, unless it is away, or stands still, or does not like something."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.batches: list[int] = []
        self.counted = 0
        self.tries = 0
        self.again: list[bool] = []
        self.away = False
        self.dislikes = ""
        self.hold: asyncio.Event | None = None
        self.tried = asyncio.Event()
        self.pruned = 0
        self.turns = 0

    async def write(
        self,
        events: Sequence[Mapping[str, Any]],
        minutes: Sequence[Mapping[str, Any]],
        *,
        again: bool = False,
    ) -> None:
        self.tries += 1
        self.tried.set()
        self.again.append(again)
        if self.hold is not None:
            await self.hold.wait()
        if self.away:
            raise DatabaseUnavailable("it is away") from OperationalError("INSERT", {}, OSError())
        if self.dislikes and any(self.dislikes in str(each) for each in (*events, *minutes)):
            raise DatabaseUnavailable("no such text") from DataError("INSERT", {}, ValueError())
        self.written += [each["correlation_id"] for each in events]
        self.batches.append(len(events))
        self.counted += sum(each["count"] for each in minutes)

    async def take_turn(self, now: object) -> bool:
        self.turns += 1
        return self.turns == 1

    async def prune(self, keeping: Keeping, now: object) -> tuple[int, int]:
        self.pruned += 1
        return 0, 0


class Desk:
    """A writer in front of such a store."""

    def __init__(self, *, batch: int = 10, queue: int = 100) -> None:
        self.clock = FakeClock()
        self.store = FakeStore()
        self.collector = Collector(self.clock, Sampling.of(1.0), queue=queue, batch=batch)
        self.writer = Writer(
            self.collector,
            self.store,  # type: ignore[arg-type]  # as much of a store as a writer sees
            Masking(),
            self.clock,
            batch=batch,
            every_s=1.0,
            keeping=Keeping(),
        )

    def see(self, first: int, end: int) -> None:
        for number in range(first, end):
            self.collector.record(seen(number))

    async def until_tried(self) -> None:
        await self.store.tried.wait()
        self.store.tried.clear()

    async def until_idle(self) -> None:
        """Until it waits for its next time, with nothing in hand."""
        while self.collector.waiting or self.writer._in_hand or self.writer._turn.locked():
            await asyncio.sleep(0.001)
        await self.clock.until_polling()


@async_test
async def test_it_writes_once_in_a_while_and_nothing_when_there_is_nothing() -> None:
    desk = Desk()
    desk.writer.start()
    await desk.clock.until_polling()
    await desk.clock.advance(5)
    await desk.until_idle()
    assert desk.store.tries == 0
    desk.see(0, 3)
    await desk.clock.advance(1)
    await desk.until_idle()
    assert desk.store.written == ["work-0", "work-1", "work-2"]
    assert desk.store.counted == 3
    await desk.writer.stop(1)
    assert desk.store.tries == 1


@async_test
async def test_a_full_batch_does_not_wait_for_its_time() -> None:
    desk = Desk(batch=10)
    desk.writer.start()
    desk.see(0, 10)
    await desk.until_tried()
    await desk.until_idle()
    assert len(desk.store.written) == 10
    await desk.writer.stop(1)


@async_test
async def test_what_waits_is_written_in_batches_at_the_end() -> None:
    desk = Desk(batch=10)
    desk.writer.start()
    desk.see(0, 35)
    await desk.writer.stop(5)
    assert desk.store.batches == [10, 10, 10, 5]
    assert desk.store.counted == 35


@async_test
async def test_an_outage_loses_nothing_that_there_is_room_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = Desk(batch=10, queue=30)
    desk.store.away = True
    desk.writer.start()
    desk.see(0, 10)
    for pause_s in (1.5, 3.0, 6.0, 12.0, 22.5, 22.5, 22.5):  # FakeClock's chance is a half
        await desk.until_tried()
        await desk.clock.until_waiting()
        assert desk.clock.waiting == [pytest.approx(pause_s)]
        await desk.clock.advance(pause_s)
    desk.see(10, 60)
    assert desk.collector.dropped == 20
    await desk.until_tried()
    desk.store.away = False
    await desk.clock.until_waiting()
    await desk.clock.advance(30)
    await desk.until_idle()
    assert desk.store.written == [f"work-{each}" for each in (*range(10), *range(30, 60))]
    assert desk.store.counted == 60
    assert desk.store.again[:3] == [False, True, True]
    warnings = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(warnings) == 2  # it took 90 seconds, and one is said a minute
    assert "events cannot be written, and wait" in warnings[0].getMessage()
    await desk.writer.stop(1)


@async_test
async def test_stopping_in_an_outage_takes_no_longer_and_says_what_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = Desk(batch=10)
    desk.store.away = True
    desk.writer.start()
    desk.see(0, 25)
    await desk.until_tried()
    await desk.clock.until_waiting()  # in its pause
    await desk.writer.stop(60)
    assert "25 events were not written before the app stopped" in caplog.text
    assert desk.clock.waiting == []


@async_test
async def test_stopping_does_not_wait_for_a_database_that_stands_still(
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = Desk(batch=10)
    desk.store.hold = asyncio.Event()
    desk.writer.start()
    desk.see(0, 10)
    await desk.until_tried()
    await desk.writer.stop(0.01)
    assert "10 events were not written" in caplog.text


@async_test
async def test_one_row_that_the_database_refuses_costs_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = Desk(batch=10)
    desk.store.dislikes = "work-3"
    desk.see(0, 6)
    await desk.writer.flush()
    assert desk.store.written == [f"work-{each}" for each in (0, 1, 2, 4, 5)]
    assert desk.store.counted == 6
    assert desk.collector.dropped == 1
    assert "no such text" in caplog.text


@async_test
async def test_one_event_that_makes_no_row_is_counted_as_dropped() -> None:
    desk = Desk()
    desk.see(0, 2)
    desk.collector._keep(seen(2)._replace(name=None), precious=False)  # type: ignore[arg-type]  # broken
    await desk.writer.flush()
    assert desk.store.written == ["work-0", "work-1"]
    assert desk.collector.dropped == 1


@async_test
async def test_an_outage_among_refusals_loses_nothing_either() -> None:
    desk = Desk(batch=10)
    desk.store.dislikes = "work-0"
    desk.see(0, 4)
    write = desk.store.write

    async def away_for_the_third(events: Any, minutes: Any, *, again: bool = False) -> None:
        desk.store.away = desk.store.tries == 2
        await write(events, minutes, again=again)

    desk.store.write = away_for_the_third  # type: ignore[method-assign]  # a moment of trouble
    with pytest.raises(DatabaseUnavailable, match="away"):
        await desk.writer.flush()
    await desk.writer.flush()
    assert desk.store.written == ["work-1", "work-2", "work-3"]
    assert desk.store.counted == 4


@async_test
async def test_whoever_flushes_hears_of_an_outage_and_may_come_again() -> None:
    desk = Desk()
    desk.see(0, 2)
    desk.store.away = True
    with pytest.raises(DatabaseUnavailable, match="it is away"):
        await desk.writer.flush()
    desk.store.away = False
    await desk.writer.flush()
    assert desk.store.written == ["work-0", "work-1"]


@async_test
async def test_many_who_flush_at_once_write_everything_once() -> None:
    desk = Desk(batch=3)
    desk.see(0, 20)
    await asyncio.gather(*(desk.writer.flush() for _ in range(5)))
    assert sorted(desk.store.written) == sorted(f"work-{each}" for each in range(20))


@async_test
async def test_it_prunes_about_once_a_minute_if_it_is_its_turn() -> None:
    desk = Desk()
    desk.writer.start()
    await desk.clock.until_polling()
    for _ in range(4):
        await desk.clock.advance(31)
        await desk.until_idle()
        await asyncio.sleep(0)
    assert desk.store.turns == 2
    assert desk.store.pruned == 1
    await desk.writer.stop(1)


@pytest.mark.parametrize("kind", BOTH)
@async_test
async def test_what_is_seen_is_in_the_database_after_a_while(kind: str, tmp_path: Path) -> None:
    async with journal(kind, tmp_path, batch=5) as mine:
        mine.writer.start()
        for number in range(12):
            mine.collector.record(seen(number))
        await mine.writer.stop(10)
        assert len((await mine.events.find()).events) == 12
        await mine.clock.advance(20)
        assert sum(each.count for each in await mine.events.minutes()) == 12


@pytest.mark.parametrize("kind", BOTH)
@async_test
async def test_texts_that_no_database_takes_are_written_all_the_same(
    kind: str, tmp_path: Path
) -> None:
    async with journal(kind, tmp_path) as mine:
        await mine.write(
            seen(name="a\0b\ud800", correlation_id="c\0", outcome="o\0", facts={"k\0": "v\ud800"})
        )
        (found,) = (await mine.events.find()).events
        assert found.name == "a\ufffdb?"
        assert found.facts == {"k\ufffd": "v?"}
        assert mine.events.dropped == 0


@async_test
async def test_what_comes_while_it_prunes_before_its_end_is_written_as_well() -> None:
    desk = Desk()
    pruning, go_on = asyncio.Event(), asyncio.Event()

    async def prune(keeping: Keeping, now: object) -> tuple[int, int]:
        pruning.set()
        await go_on.wait()
        return 0, 0

    desk.store.prune = prune  # type: ignore[method-assign]  # one that takes its time
    desk.writer.start()
    await desk.clock.until_polling()
    await desk.clock.advance(120)
    await pruning.wait()
    desk.see(0, 3)
    stopping = asyncio.create_task(desk.writer.stop(5.0))
    await asyncio.sleep(0)
    go_on.set()
    await stopping
    assert len(desk.store.written) == 3
